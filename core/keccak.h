// Keccak-256 as Ethereum uses it (the original padding, not SHA-3's), one input at a time or many at once in SIMD
// lanes. Pure functions; safe from any thread. The implementation is chosen once per process from what the CPU can do.
#pragma once

#include <span>
#include <string_view>

#include "core/types.h"

namespace mptd {

// Bytes absorbed by one permutation.
inline constexpr size_t kKeccakRate = 136;

// How many permutations an input of `size` bytes costs.
constexpr size_t KeccakBlocks(size_t size) { return size / kKeccakRate + 1; }

Hash Keccak256(BytesView input);

// One input and where its hash goes. `output` has room for 32 bytes and may not overlap any input.
struct KeccakJob {
  BytesView input;
  uint8_t* output;
};

// Hashes all jobs. They are grouped by number of permutations inside, so callers need not sort;
// throughput is best when many jobs have the same number. Jobs may be reordered in place.
void Keccak256Batch(std::span<KeccakJob> jobs);

enum class KeccakImpl { kScalar, kAvx2, kAvx512 };

// The widest implementation that this CPU runs.
KeccakImpl BestKeccakImpl();
// True when this CPU can run `impl`.
bool KeccakImplSupported(KeccakImpl impl);
// As Keccak256Batch with a given implementation, for tests and benchmarks. The CPU must support it.
void Keccak256BatchWith(KeccakImpl impl, std::span<KeccakJob> jobs);
std::string_view KeccakImplName(KeccakImpl impl);

}  // namespace mptd
