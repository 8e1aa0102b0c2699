//! The workload of bench/peers/README.md, draw by draw as bench/workload.cc makes it (its profile of accounts).

use tiny_keccak::{Hasher, Keccak};

pub type Key = [u8; 32];

/// splitmix64, as in bench/rng.h.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e3779b97f4a7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
        z ^ (z >> 31)
    }
}

/// An account's nonce, and its balance above 10^18.
#[derive(Clone, Copy)]
pub struct Funds {
    pub nonce: u64,
    pub x: u64,
}

fn keccak256(bytes: &[u8]) -> Key {
    let mut hasher = Keccak::v256();
    let mut out = [0; 32];
    hasher.update(bytes);
    hasher.finalize(&mut out);
    out
}

/// The hashed address of account `index`.
pub fn key_of(index: u64) -> Key {
    let mut draws = Rng(index);
    let mut address = [0; 24];
    for chunk in address.chunks_mut(8) {
        chunk.copy_from_slice(&draws.next().to_le_bytes());
    }
    keccak256(&address[..20])
}

pub fn balance(funds: Funds) -> u128 {
    1_000_000_000_000_000_000 + u128::from(funds.x)
}

/// Big-endian without leading zeros.
pub fn minimal(value: u128) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

fn rlp_string(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() != 1 || bytes[0] >= 0x80 {
        out.push(0x80 + bytes.len() as u8);
    }
    out.extend_from_slice(bytes);
}

/// The account as Ethereum's state trie holds it, without code and storage.
pub fn account_rlp(funds: Funds) -> Vec<u8> {
    let empty_root = keccak256(&[0x80]);
    let empty_code = keccak256(&[]);
    let mut payload = Vec::new();
    for item in [&minimal(u128::from(funds.nonce))[..], &minimal(balance(funds)), &empty_root, &empty_code] {
        rlp_string(&mut payload, item);
    }
    let mut out = vec![0xf8, payload.len() as u8];
    out.extend(payload);
    out
}

/// The blocks of the preload, as indices and what these accounts get.
pub fn preload(accounts: u64) -> impl Iterator<Item = Vec<(u64, Funds)>> {
    const IN_BLOCK: u64 = 10_000;
    (0..accounts)
        .step_by(IN_BLOCK as usize)
        .map(move |begin| (begin..accounts.min(begin + IN_BLOCK)).map(|i| (i, Funds { nonce: 1, x: i })).collect())
}

/// Block `number`, counted from 0. Where an account comes twice, the later one wins.
pub fn block(number: u64, accounts: u64, updates: u64, draws: &mut Rng) -> Vec<(u64, Funds)> {
    (0..updates).map(|_| (draws.next() % accounts, Funds { nonce: number + 2, x: draws.next() })).collect()
}
