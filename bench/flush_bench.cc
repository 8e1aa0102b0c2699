// The rows of a flush brought together, and written by the store.
#include <benchmark/benchmark.h>

#include <filesystem>
#include <string>

#include "bench/trie_in_memory.h"
#include "core/engine/flush_batch.h"
#include "storage/rocksdb_store.h"

namespace mptd::bench {
namespace {

using storage::Table;

// Rows in random order.
void BM_FlushBatchPut(benchmark::State& state) {
  std::vector<Hash> keys(static_cast<size_t>(state.range(0)));
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = Keccak256(AddressOf(i).view());
  const Bytes row(12, 'r');
  for (auto _ : state) {
    FlushBatch batch;
    for (const Hash& key : keys) batch.Put(Table::kAccounts, key.view(), row);
    benchmark::DoNotOptimize(batch.Finish());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

// Every branch of a trie.
void BM_FlushBatchBranches(benchmark::State& state) {
  const SortedLeaves leaves(static_cast<uint64_t>(state.range(0)));
  const TrieInMemory trie(leaves);
  if (!trie.status().ok()) return state.SkipWithError("the trie cannot be built");
  uint64_t rows = 0;
  for (auto _ : state) {
    FlushBatch batch;
    batch.AddBranches(trie.root(), 0, {});
    benchmark::DoNotOptimize(batch.Finish());
    rows += batch.rows();
  }
  state.SetItemsProcessed(static_cast<int64_t>(rows));
}

// The same rows put into the tables of RocksDB, until they are durable.
void BM_Ingest(benchmark::State& state) {
  const std::string dir = (std::filesystem::temp_directory_path() / "mptd-micro-bench-ingest").string();
  std::filesystem::remove_all(dir);
  storage::RocksDbOptions options;
  options.dir = dir;
  absl::StatusOr<std::unique_ptr<storage::KeyValueStore>> store = storage::OpenRocksDb(options);
  if (!store.ok()) return state.SkipWithError("no store");
  const SortedLeaves leaves(static_cast<uint64_t>(state.range(0)));
  for (auto _ : state) {
    std::vector<storage::TableBatch> batches(1);
    batches[0].table = Table::kAccounts;
    for (size_t i = 0; i < leaves.keys.size(); ++i) {
      batches[0].rows.push_back({leaves.keys[i].view(), BytesView(leaves.values[i])});
    }
    if (!(*store)->Ingest(batches).ok()) return state.SkipWithError("cannot ingest");
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  store->reset();
  std::filesystem::remove_all(dir);
}

BENCHMARK(BM_FlushBatchPut)->Arg(100'000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_FlushBatchBranches)->Arg(100'000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Ingest)->Arg(10'000)->Arg(100'000)->Unit(benchmark::kMillisecond)->Iterations(5)->UseRealTime();

}  // namespace
}  // namespace mptd::bench
