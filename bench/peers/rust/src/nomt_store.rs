//! NOMT: a binary trie with Blake3, so its roots are others; synced commits, and rollback of 128 of them.

use nomt::hasher::Blake3Hasher;
use nomt::{KeyReadWrite, Nomt, Options, SessionParams, WitnessMode};

use crate::store::Store;
use crate::workload::{Funds, Key, balance, minimal};

pub struct NomtStore {
    path: String,
    buckets: u32,
    db: Option<Nomt<Blake3Hasher>>,
}

impl NomtStore {
    /// Opens what is in the folder, or starts empty.
    pub fn new(path: &str, buckets: u32) -> Self {
        let mut store = NomtStore { path: path.to_string(), buckets, db: None };
        store.open();
        store
    }

    fn db(&self) -> &Nomt<Blake3Hasher> {
        self.db.as_ref().unwrap()
    }
}

impl Store for NomtStore {
    fn encode(&self, funds: Funds) -> Vec<u8> {
        let mut value = vec![funds.nonce as u8];
        value.extend(minimal(balance(funds)));
        value
    }

    fn apply(&mut self, block: Vec<(Key, Vec<u8>)>) -> Key {
        // Sorted and unique, of equal keys the last.
        let sorted: std::collections::BTreeMap<_, _> = block.into_iter().collect();
        let session = self.db().begin_session(SessionParams::default().witness_mode(WitnessMode::disabled()));
        for key in sorted.keys() {
            session.warm_up(*key);
            session.preserve_prior_value(*key);
        }
        let writes = sorted.into_iter().map(|(key, value)| (key, KeyReadWrite::Write(Some(value)))).collect();
        let finished = session.finish(writes).unwrap();
        let root = finished.root().into_inner();
        finished.commit(self.db()).unwrap();
        root
    }

    fn has(&self, key: &Key) -> bool {
        self.db().read(*key).unwrap().is_some()
    }

    fn prove(&self, key: &Key) -> usize {
        let session = self.db().begin_session(SessionParams::default());
        session.prove(*key).unwrap().siblings.len()
    }

    fn close(&mut self) {
        self.db = None;
    }

    fn open(&mut self) {
        let mut options = Options::new();
        options.path(&self.path);
        options.commit_concurrency(2);
        options.io_workers(2);
        options.hashtable_buckets(self.buckets);
        options.page_cache_size(256);
        options.leaf_cache_size(256);
        options.rollback(true);
        options.max_rollback_log_len(128);
        self.db = Some(Nomt::open(options).unwrap());
    }
}
