//! What is measured: a store that takes blocks of accounts.

use crate::workload::{Funds, Key};

pub trait Store {
    /// The account as a value of this store.
    fn encode(&self, funds: Funds) -> Vec<u8>;
    /// Applies one block, in which later values of a key win, and returns the root.
    fn apply(&mut self, block: Vec<(Key, Vec<u8>)>) -> Key;
    fn has(&self, key: &Key) -> bool;
    /// How many nodes or siblings the proof has.
    fn prove(&self, key: &Key) -> usize;
    fn close(&mut self);
    fn open(&mut self);
}
