// How often the caches had what was asked for. Any thread counts, without sharing a cache line with the others: each
// has a stripe of its own, as long as there are no more threads than stripes. Internal to core/engine.
#pragma once

#include <array>
#include <atomic>

#include "core/engine/statistics.h"

namespace mptd {

class CacheCounters {
 public:
  void Count(CacheKind kind, uint64_t hits, uint64_t misses) {
    Stripe& mine = stripes_[StripeOfThisThread()];
    const auto k = static_cast<size_t>(kind);
    if (hits != 0) mine.hits[k].fetch_add(hits, std::memory_order_relaxed);
    if (misses != 0) mine.misses[k].fetch_add(misses, std::memory_order_relaxed);
  }

  CacheLookups Read(CacheKind kind) const {
    const auto k = static_cast<size_t>(kind);
    CacheLookups sum;
    for (const Stripe& stripe : stripes_) {
      sum.hits += stripe.hits[k].load(std::memory_order_relaxed);
      sum.misses += stripe.misses[k].load(std::memory_order_relaxed);
    }
    return sum;
  }

 private:
  static constexpr size_t kStripes = 64;
  struct alignas(64) Stripe {
    std::array<std::atomic<uint64_t>, kCacheKinds> hits{};
    std::array<std::atomic<uint64_t>, kCacheKinds> misses{};
  };

  static size_t StripeOfThisThread() {
    static std::atomic<size_t> next{0};
    thread_local const size_t mine = next.fetch_add(1, std::memory_order_relaxed) % kStripes;
    return mine;
  }

  std::array<Stripe, kStripes> stripes_;
};

}  // namespace mptd
