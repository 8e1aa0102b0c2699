// The overlay of recent rows: what the writer puts and what readers find.
#include <benchmark/benchmark.h>

#include <memory>

#include "bench/rng.h"
#include "bench/workload.h"
#include "core/account.h"
#include "core/keccak.h"
#include "storage/version_index.h"

namespace mptd::bench {
namespace {

using storage::EpochDomain;
using storage::EpochPin;
using storage::VersionIndex;

constexpr uint8_t kTable = 0;

std::vector<Hash> Keys(uint64_t count) {
  std::vector<Hash> keys(count);
  for (uint64_t i = 0; i < count; ++i) keys[i] = Keccak256(AddressOf(i).view());
  return keys;
}

Bytes SomeRow() {
  Account account;
  account.nonce = 1;
  account.balance = BalanceOf(1);
  return SlimAccount(account);
}

// {rows, updates}: one transition of the writer's, and the oldest of the window forgotten.
void BM_VersionIndexPut(benchmark::State& state) {
  constexpr uint64_t kWindow = 128;
  const std::vector<Hash> keys = Keys(static_cast<uint64_t>(state.range(0)));
  const Bytes row = SomeRow();
  EpochDomain epochs;
  VersionIndex index(epochs, keys.size());
  std::vector<std::vector<VersionIndex::Entry*>> window(kWindow);
  Rng rng(42);
  uint64_t sequence = 0;
  for (auto _ : state) {
    ++sequence;
    std::vector<VersionIndex::Entry*>& entries = window[sequence % kWindow];
    if (sequence > kWindow) {
      for (VersionIndex::Entry* entry : entries) index.Trim(entry, sequence - kWindow);
    }
    entries.clear();
    for (int64_t i = 0; i < state.range(1); ++i) {
      entries.push_back(index.Put(kTable, keys[rng.Next() % keys.size()].view(), row, row, sequence));
    }
    epochs.Collect();
  }
  state.SetItemsProcessed(state.iterations() * state.range(1));
}

void BM_VersionIndexFind(benchmark::State& state) {
  const std::vector<Hash> keys = Keys(static_cast<uint64_t>(state.range(0)));
  const Bytes row = SomeRow();
  EpochDomain epochs;
  VersionIndex index(epochs, keys.size());
  for (const Hash& key : keys) index.Put(kTable, key.view(), row, row, 1);
  const EpochPin pin(epochs);
  Rng rng(7);
  for (auto _ : state) {
    const VersionIndex::Entry* entry = index.Find(kTable, keys[rng.Next() % keys.size()].view());
    benchmark::DoNotOptimize(VersionIndex::ValueAt(*entry, 1));
  }
}

BENCHMARK(BM_VersionIndexPut)->Args({1'000'000, 1000})->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_VersionIndexFind)->Arg(1000)->Arg(1'000'000);

}  // namespace
}  // namespace mptd::bench
