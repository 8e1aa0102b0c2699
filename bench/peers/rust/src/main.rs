//! Runs the workload of bench/peers/README.md on Firewood or NOMT and prints its figures as one JSON object, with the keys
//! that mptd-bench uses.
//!
//!     peers firewood|nomt --data-dir DIR --accounts N --updates U --blocks B [--buckets N]

mod firewood_store;
mod nomt_store;
mod store;
mod workload;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use firewood_store::FirewoodStore;
use nomt_store::NomtStore;
use store::Store;
use workload::{Funds, Key, Rng, key_of};

/// The value behind `--name` on the command line.
fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|word| word != name).nth(1)
}

fn number(name: &str, default: u64) -> u64 {
    argument(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} {text} is not a number")))
}

fn percentile(sorted: &[Duration], part: f64) -> f64 {
    sorted.get(((sorted.len() as f64 - 1.0) * part) as usize).map_or(0.0, |time| 1e3 * time.as_secs_f64())
}

/// What a file, or the files in a folder, take on disk.
fn disk_bytes(path: &Path) -> u64 {
    let Ok(metadata) = path.symlink_metadata() else { return 0 };
    if !metadata.is_dir() {
        return metadata.blocks() * 512;
    }
    std::fs::read_dir(path).unwrap().map(|entry| disk_bytes(&entry.unwrap().path())).sum()
}

fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn hex(key: &Key) -> String {
    key.iter().fold("0x".to_string(), |text, byte| text + &format!("{byte:02x}"))
}

fn encoded(store: &dyn Store, block: Vec<(u64, Funds)>) -> Vec<(Key, Vec<u8>)> {
    block.into_iter().map(|(index, funds)| (key_of(index), store.encode(funds))).collect()
}

/// How many calls a second, with the draws of a seed.
fn measure_pass(count: u64, seed: u64, accounts: u64, call: impl Fn(&Key) -> bool) -> f64 {
    let mut draws = Rng(seed);
    let start = Instant::now();
    for _ in 0..count {
        assert!(call(&key_of(draws.next() % accounts)), "an account that was written is not there");
    }
    count as f64 / start.elapsed().as_secs_f64()
}

fn measure_blocks(store: &mut dyn Store, accounts: u64, record: &mut Map<String, Value>) {
    let (updates, blocks) = (number("--updates", 1000), number("--blocks", 300));
    let mut draws = Rng(42);
    let mut times = Vec::new();
    let mut root = [0; 32];
    let start = Instant::now();
    for block in 0..blocks {
        let drawn = workload::block(block, accounts, updates, &mut draws);
        let one = Instant::now();
        root = store.apply(encoded(store, drawn));
        times.push(one.elapsed());
    }
    record.insert("updates_per_s".into(), json!((blocks * updates) as f64 / start.elapsed().as_secs_f64()));
    record.insert("block_ms".into(), times.iter().map(|time| json!(1e3 * time.as_secs_f64())).collect());
    times.sort();
    for (name, part) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
        record.insert(format!("block_{name}_ms"), json!(percentile(&times, part)));
    }
    record.insert("root".into(), json!(hex(&root)));
}

fn measure_questions(store: &dyn Store, accounts: u64, record: &mut Map<String, Value>) {
    for pass in ["cold", "warm"] {
        let rate = measure_pass(number("--reads", 200_000), 7, accounts, |key| store.has(key));
        record.insert(format!("read_{pass}_per_s"), json!(rate));
    }
    for pass in ["cold", "warm"] {
        let rate = measure_pass(number("--proofs", 5000), 9, accounts, |key| store.prove(key) > 0);
        record.insert(format!("proof_{pass}_per_s"), json!(rate));
    }
}

fn main() {
    let which = std::env::args().nth(1).unwrap_or_default();
    if which != "firewood" && which != "nomt" {
        eprintln!("usage: peers firewood|nomt --data-dir DIR [--accounts N] [--updates U] [--blocks B] [--buckets N]");
        std::process::exit(2);
    }
    let path = format!("{}/{which}", argument("--data-dir").unwrap_or("./peers-data".into()));
    let _ = std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path));
    std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
    let accounts = number("--accounts", 1_000_000);
    let mut store: Box<dyn Store> = match which.as_str() {
        "nomt" => Box::new(NomtStore::new(&path, number("--buckets", 1_000_000) as u32)),
        _ => Box::new(FirewoodStore::new(&path)),
    };

    let mut record = Map::new();
    record.insert("target".into(), json!(which));
    let start = Instant::now();
    let mut root = [0; 32];
    for block in workload::preload(accounts) {
        root = store.apply(encoded(store.as_ref(), block));
    }
    record.insert("preload_s".into(), json!(start.elapsed().as_secs_f64()));
    record.insert("preload_root".into(), json!(hex(&root)));
    store.close();
    store.open();
    measure_blocks(store.as_mut(), accounts, &mut record);
    store.close();
    record.insert("disk_mb".into(), json!(disk_bytes(Path::new(&path)) as f64 / 1e6));
    store.open();
    measure_questions(store.as_ref(), accounts, &mut record);
    record.insert("peak_mb".into(), json!(peak_memory_bytes() as f64 / 1e6));
    store.close();
    println!("{}", Value::Object(record));
}
