//! Firewood with Ethereum's hashes: 512 MB of cache, 128 revisions.

use std::num::NonZeroUsize;

use firewood::api::{Db as _, DbView as _, Proposal as _};
use firewood::db::{BatchOp, Db, DbConfig};
use firewood::manager::RevisionManagerConfig;
use firewood_storage::NodeHashAlgorithm;

use crate::store::Store;
use crate::workload::{Funds, Key, account_rlp};

pub struct FirewoodStore {
    path: String,
    db: Option<Db>,
}

impl FirewoodStore {
    /// Starts empty.
    pub fn new(path: &str) -> Self {
        let mut store = FirewoodStore { path: path.to_string(), db: None };
        store.open_with(true);
        store
    }

    fn open_with(&mut self, truncate: bool) {
        let cache = NonZeroUsize::new(512 << 20).unwrap();
        let manager = RevisionManagerConfig::builder().node_cache_memory_limit(cache).max_revisions(128).build();
        let config = DbConfig::builder()
            .node_hash_algorithm(NodeHashAlgorithm::Ethereum)
            .truncate(truncate)
            .manager(manager)
            .build();
        self.db = Some(Db::new(&self.path, config).unwrap());
    }

    fn db(&self) -> &Db {
        self.db.as_ref().unwrap()
    }
}

impl Store for FirewoodStore {
    fn encode(&self, funds: Funds) -> Vec<u8> {
        account_rlp(funds)
    }

    fn apply(&mut self, block: Vec<(Key, Vec<u8>)>) -> Key {
        let puts: Vec<_> = block.into_iter().map(|(key, value)| BatchOp::Put { key: key.to_vec(), value }).collect();
        let proposal = self.db().propose(puts).unwrap();
        let root = proposal.root_hash().unwrap();
        proposal.commit().unwrap();
        let bytes: &[u8] = root.as_ref();
        bytes.try_into().unwrap()
    }

    fn has(&self, key: &Key) -> bool {
        let newest = self.db().revision(self.db().root_hash().unwrap()).unwrap();
        newest.val(key.as_slice()).unwrap().is_some()
    }

    fn prove(&self, key: &Key) -> usize {
        let newest = self.db().revision(self.db().root_hash().unwrap()).unwrap();
        newest.single_key_proof(key.as_slice()).unwrap().len()
    }

    fn close(&mut self) {
        self.db.take().unwrap().close().unwrap();
    }

    fn open(&mut self) {
        self.open_with(false);
    }
}
