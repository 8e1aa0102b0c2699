// Keccak-256: nanoseconds a permutation, by implementation, input size and number of inputs.
#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "core/keccak.h"

namespace mptd {
namespace {

// Inputs one behind the other, as the trie encodes its nodes.
struct Batch {
  explicit Batch(const std::vector<size_t>& sizes) : hashes(sizes.size()) {
    size_t total = 0;
    for (const size_t size : sizes) total += size;
    bytes.assign(total, 'x');
    size_t at = 0;
    for (size_t i = 0; i < sizes.size(); ++i) {
      jobs.push_back({BytesView(bytes).substr(at, sizes[i]), hashes[i].bytes.data()});
      at += sizes[i];
      permutations += KeccakBlocks(sizes[i]);
    }
  }

  Bytes bytes;
  std::vector<Hash> hashes;
  std::vector<KeccakJob> jobs;
  size_t permutations = 0;
};

void Run(benchmark::State& state, KeccakImpl impl, const Batch& batch) {
  if (!KeccakImplSupported(impl)) return state.SkipWithError("not supported by this CPU");
  std::vector<KeccakJob> jobs;
  for (auto _ : state) {
    jobs = batch.jobs;  // in the order in which they were made, as they are sorted in place
    Keccak256BatchWith(impl, jobs);
    benchmark::DoNotOptimize(batch.hashes.data());
    benchmark::ClobberMemory();
  }
  using benchmark::Counter;
  state.counters["per_permutation"] =
      Counter(static_cast<double>(batch.permutations), Counter::kIsIterationInvariantRate | Counter::kInvert);
}

// `count` inputs of one size.
void BM_KeccakBatch(benchmark::State& state, KeccakImpl impl) {
  const auto size = static_cast<size_t>(state.range(0));
  const auto count = static_cast<size_t>(state.range(1));
  Run(state, impl, Batch(std::vector<size_t>(count, size)));
}

// One level of a trie: a third leaves, the others branches with 2 to 16 children.
void BM_KeccakTrieLevel(benchmark::State& state, KeccakImpl impl) {
  std::mt19937_64 random(1);
  std::vector<size_t> sizes(static_cast<size_t>(state.range(0)));
  for (size_t& size : sizes) size = random() % 3 == 0 ? 100 + random() % 20 : 84 + 32 * (random() % 15);
  Run(state, impl, Batch(sizes));
}

void BM_Keccak256(benchmark::State& state) {
  Bytes input(static_cast<size_t>(state.range(0)), 'x');
  for (auto _ : state) {
    const Hash hash = Keccak256(input);
    input[0] = static_cast<char>(hash[0]);  // so that one has to end before the next begins
  }
}

void Sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"size", "count"})->ArgsProduct({{110, 532}, {1, 2, 4, 8, 13, 1000}});
}

BENCHMARK_CAPTURE(BM_KeccakBatch, scalar, KeccakImpl::kScalar)->Apply(Sizes);
BENCHMARK_CAPTURE(BM_KeccakBatch, avx2, KeccakImpl::kAvx2)->Apply(Sizes);
BENCHMARK_CAPTURE(BM_KeccakBatch, avx512, KeccakImpl::kAvx512)->Apply(Sizes);
BENCHMARK_CAPTURE(BM_KeccakTrieLevel, scalar, KeccakImpl::kScalar)->Arg(30)->Arg(1000);
BENCHMARK_CAPTURE(BM_KeccakTrieLevel, avx2, KeccakImpl::kAvx2)->Arg(30)->Arg(1000);
BENCHMARK_CAPTURE(BM_KeccakTrieLevel, avx512, KeccakImpl::kAvx512)->Arg(30)->Arg(1000);
BENCHMARK(BM_Keccak256)->Arg(20)->Arg(32)->Arg(110)->Arg(532);

}  // namespace
}  // namespace mptd
