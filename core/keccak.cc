#include "core/keccak.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "core/keccak_internal.h"

namespace mptd {
namespace {

using keccak_internal::Kernel;
using keccak_internal::Lane;

static_assert(kKeccakRate == keccak_internal::kRateBytes);

struct ScalarOps {
  using V = uint64_t;
  static V Xor(V a, V b) { return a ^ b; }
  static V Xor5(V a, V b, V c, V d, V e) { return a ^ b ^ c ^ d ^ e; }
  template <int n>
  static V Rol(V a) {
    return a << n | a >> (64 - n);
  }
  static V Chi(V a, V b, V c) { return a ^ (~b & c); }
  static V Broadcast(uint64_t word) { return word; }
};

void Permute(uint64_t (&state)[25]) { keccak_internal::Permute<ScalarOps>(state); }

#if defined(__x86_64__)
// Three-operand andn and rorx make it a sixth faster.
[[gnu::target("bmi,bmi2")]] void PermuteBmi(uint64_t (&state)[25]) { keccak_internal::Permute<ScalarOps>(state); }
const bool kHasBmi = [] {
  __builtin_cpu_init();
  return __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}();
#endif

constexpr uint64_t LittleEndian(uint64_t word) {
  return std::endian::native == std::endian::little ? word : __builtin_bswap64(word);
}

void Absorb(uint64_t (&state)[25], const uint8_t* block) {
  for (size_t i = 0; i < keccak_internal::kRateWords; ++i) {
    uint64_t word;
    std::memcpy(&word, block + 8 * i, 8);
    state[i] ^= LittleEndian(word);
  }
#if defined(__x86_64__)
  if (kHasBmi) return PermuteBmi(state);
#endif
  Permute(state);
}

void HashScalar(const Lane& lane) {
  uint64_t state[25] = {};
  const uint8_t* data = lane.data;
  size_t rest = lane.size;
  for (; rest >= kKeccakRate; rest -= kKeccakRate, data += kKeccakRate) Absorb(state, data);
  uint8_t last[kKeccakRate] = {};
  std::memcpy(last, data, rest);
  last[rest] = 0x01;
  last[kKeccakRate - 1] |= 0x80;
  Absorb(state, last);
  for (size_t i = 0; i < 4; ++i) {
    const uint64_t word = LittleEndian(state[i]);
    std::memcpy(lane.output + 8 * i, &word, 8);
  }
}

void HashLanesScalar(const Lane* lanes, size_t count) {
  for (size_t i = 0; i < count; ++i) HashScalar(lanes[i]);
}

// What one implementation hashes with: `wide` where enough inputs have the same number of permutations, else `narrow`,
// and `single` for the last one.
struct Kernels {
  Kernel wide;
  size_t wide_lanes;
  Kernel narrow;
  size_t narrow_lanes;
  Kernel single;
};
constexpr size_t kMaxLanes = 8;

Kernels KernelsOf(KeccakImpl impl) {
#if defined(__x86_64__)
  using namespace keccak_internal;
  switch (impl) {
    case KeccakImpl::kAvx512:
      return {HashLanesAvx512x8, 8, HashLanesAvx512x4, 4, HashLanesAvx512x4};
    case KeccakImpl::kAvx2:
      return {HashLanesAvx2x4, 4, HashLanesAvx2x4, 4, HashLanesScalar};
    case KeccakImpl::kScalar:
      break;
  }
#else
  static_cast<void>(impl);
#endif
  return {HashLanesScalar, kMaxLanes, HashLanesScalar, kMaxLanes, HashLanesScalar};
}

const Kernels& BestKernels() {
  static const Kernels kernels = KernelsOf(BestKeccakImpl());
  return kernels;
}

Lane LaneOf(BytesView input, uint8_t* output) {
  static constexpr uint8_t kNothing = 0;
  const auto* data = input.empty() ? &kNothing : reinterpret_cast<const uint8_t*>(input.data());
  return {data, input.size(), output};
}

size_t Blocks(const KeccakJob& job) { return KeccakBlocks(job.input.size()); }

// The long inputs, which are rare, share a class; the others have one for each number of permutations.
constexpr size_t kLongClass = 8;
size_t ClassOf(const KeccakJob& job) { return std::min(Blocks(job) - 1, kLongClass); }

// Sorts by number of permutations, most first, in place: a counting sort, after which the long inputs are compared.
void SortByBlocks(std::span<KeccakJob> jobs) {
  std::array<size_t, kLongClass + 1> ends{};
  bool sorted = true;
  size_t previous = kLongClass;
  for (const KeccakJob& job : jobs) {
    const size_t job_class = ClassOf(job);
    sorted &= job_class <= previous;
    previous = job_class;
    ++ends[job_class];
  }
  const size_t long_jobs = ends[kLongClass];
  if (!sorted) {
    std::array<size_t, kLongClass + 1> next{};
    for (size_t c = kLongClass; c-- > 0;) {
      next[c] = ends[c + 1];
      ends[c] += ends[c + 1];
    }
    for (size_t c = 0; c <= kLongClass; ++c) {
      while (next[c] < ends[c]) {
        const size_t job_class = ClassOf(jobs[next[c]]);
        if (job_class != c) std::swap(jobs[next[c]], jobs[next[job_class]]);
        ++next[job_class];
      }
    }
  }
  if (long_jobs > 1) {
    const auto more = [](const KeccakJob& a, const KeccakJob& b) { return Blocks(a) > Blocks(b); };
    std::sort(jobs.begin(), jobs.begin() + static_cast<std::ptrdiff_t>(long_jobs), more);
  }
}

// How many jobs at the front, up to `limit`, have as many permutations as the first.
size_t SameBlocks(std::span<const KeccakJob> jobs, size_t limit) {
  size_t n = 1;
  while (n < std::min(limit, jobs.size()) && Blocks(jobs[n]) == Blocks(jobs[0])) ++n;
  return n;
}

// Asks for the inputs that the next kernel call reads and for the places where it writes, of a long input only for the
// start. A kernel runs for longer than a cache miss takes, but waits for its own.
// Must be inlined: GCC 12 takes a function that only prefetches for one without effect, and drops the call.
[[gnu::always_inline]] inline void Prefetch(std::span<const KeccakJob> jobs) {
  constexpr size_t kCacheLine = 64;
  constexpr size_t kMaxBytes = 5 * kKeccakRate;
  for (const KeccakJob& job : jobs) {
    const char* const data = job.input.data();
    const size_t size = std::min(job.input.size(), kMaxBytes);
    for (size_t i = 0; i < size; i += kCacheLine) __builtin_prefetch(data + i);
    if (size != 0) __builtin_prefetch(data + size - 1);
    __builtin_prefetch(job.output, 1);
  }
}

// Lanes left over by the longest inputs go to the next ones in order, which end early. Such a lane is free: the kernel
// runs as long as its longest lane anyway.
void HashSorted(const Kernels& kernels, std::span<const KeccakJob> jobs) {
  while (!jobs.empty()) {
    const bool wide = SameBlocks(jobs, kernels.wide_lanes) > kernels.narrow_lanes;
    const size_t count = std::min(jobs.size(), wide ? kernels.wide_lanes : kernels.narrow_lanes);
    Lane lanes[kMaxLanes];
    for (size_t i = 0; i < count; ++i) lanes[i] = LaneOf(jobs[i].input, jobs[i].output);
    jobs = jobs.subspan(count);
    Prefetch(jobs.first(std::min(jobs.size(), kernels.wide_lanes)));
    (count == 1 ? kernels.single : wide ? kernels.wide : kernels.narrow)(lanes, count);
  }
}

void HashBatch(const Kernels& kernels, std::span<KeccakJob> jobs) {
  SortByBlocks(jobs);
  HashSorted(kernels, jobs);
}

}  // namespace

Hash Keccak256(BytesView input) {
  Hash out;
  const Lane lane = LaneOf(input, out.bytes.data());
  BestKernels().single(&lane, 1);
  return out;
}

void Keccak256Batch(std::span<KeccakJob> jobs) { HashBatch(BestKernels(), jobs); }

void Keccak256BatchWith(KeccakImpl impl, std::span<KeccakJob> jobs) { HashBatch(KernelsOf(impl), jobs); }

KeccakImpl BestKeccakImpl() {
  for (const KeccakImpl impl : {KeccakImpl::kAvx512, KeccakImpl::kAvx2}) {
    if (KeccakImplSupported(impl)) return impl;
  }
  return KeccakImpl::kScalar;
}

bool KeccakImplSupported(KeccakImpl impl) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  switch (impl) {
    case KeccakImpl::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
    case KeccakImpl::kAvx2:
      return __builtin_cpu_supports("avx2");
    case KeccakImpl::kScalar:
      break;
  }
#endif
  return impl == KeccakImpl::kScalar;
}

std::string_view KeccakImplName(KeccakImpl impl) {
  switch (impl) {
    case KeccakImpl::kScalar:
      return "scalar";
    case KeccakImpl::kAvx2:
      return "avx2";
    case KeccakImpl::kAvx512:
      return "avx512";
  }
  return "unknown";
}

}  // namespace mptd
