// A block's changes applied to a trie in memory, and a trie built from sorted keys.
#include <benchmark/benchmark.h>

#include "bench/trie_in_memory.h"
#include "core/trie/trie_builder.h"

namespace mptd::bench {
namespace {

// {accounts, updates}: copies, encodes and hashes the nodes on the paths of existing accounts, on one core.
void BM_TrieUpdate(benchmark::State& state) {
  const auto accounts = static_cast<uint64_t>(state.range(0));
  SortedLeaves leaves(accounts);
  const TrieInMemory trie(leaves);
  if (!trie.status().ok()) return state.SkipWithError("the trie cannot be built");
  for (uint64_t i = 0; i < accounts; ++i) leaves.values[i] = SortedLeaves::Value(i + accounts);
  const NoSource source;
  Rng rng(42);
  uint64_t nodes = 0;
  uint64_t permutations = 0;
  for (auto _ : state) {
    state.PauseTiming();
    std::vector<uint64_t> indices(static_cast<size_t>(state.range(1)));
    for (uint64_t& index : indices) index = rng.Next() % accounts;
    std::vector<LeafOp> ops = MakeOps(leaves, std::move(indices), true);
    TrieJob job;
    job.root = trie.root();
    job.ops = ops;
    state.ResumeTiming();
    TrieChanges changes;  // thrown away
    if (!RunUpdate(source, 2, job, changes).ok()) return state.SkipWithError("the update failed");
    nodes += changes.nodes_hashed;
    permutations += changes.permutations;
  }
  state.SetItemsProcessed(state.iterations() * state.range(1));
  using benchmark::Counter;
  state.counters["nodes"] = Counter(static_cast<double>(nodes), Counter::kAvgIterations);
  state.counters["permutations"] = Counter(static_cast<double>(permutations), Counter::kAvgIterations);
}

void BM_TrieBuild(benchmark::State& state) {
  const SortedLeaves leaves(static_cast<uint64_t>(state.range(0)));
  for (auto _ : state) {
    TrieBuilder builder([](const NibblePath&, const BranchValue& branch) { benchmark::DoNotOptimize(branch.refs); });
    for (size_t i = 0; i < leaves.keys.size(); ++i) builder.Add(leaves.keys[i], leaves.values[i], false);
    benchmark::DoNotOptimize(builder.Finish());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

BENCHMARK(BM_TrieUpdate)
    ->Args({100'000, 1000})
    ->Args({1'000'000, 1000})
    ->Args({1'000'000, 10'000})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_TrieBuild)->Arg(100'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace mptd::bench
