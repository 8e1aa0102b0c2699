// What applied blocks took and changed. Safe from any thread; recording never locks.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "absl/time/time.h"
#include "core/engine/block.h"
#include "metrics/metrics.h"

namespace mptd {

class BlockMetrics {
 public:
  // A block that the engine has just applied. One that was there already counts for nothing.
  void Record(const ApplyResult& result);
  // A block that was refused because its root is not the one that the caller expected.
  void RecordRootMismatch() { root_mismatches_.fetch_add(1, std::memory_order_relaxed); }

  // From the turn in the writer's queue to the readers' sight of it.
  LatencyHistogram::Snapshot Whole() const { return whole_.Read(); }
  // The new branches and their hashes.
  LatencyHistogram::Snapshot Tries() const { return parts_[kTries].Read(); }
  // When a block was recorded last; the infinite past before the first.
  absl::Time last_applied() const;
  void Write(MetricsWriter& writer) const;

 private:
  enum Part : uint8_t { kQueue, kRead, kTries, kLog, kPublish };
  static constexpr std::array<const char*, 5> kPartNames = {"queue", "read", "tries", "log", "publish"};

  LatencyHistogram whole_;
  std::array<LatencyHistogram, kPartNames.size()> parts_;
  std::atomic<uint64_t> accounts_{0};
  std::atomic<uint64_t> slots_{0};
  std::atomic<uint64_t> nodes_hashed_{0};
  std::atomic<uint64_t> root_mismatches_{0};
  std::atomic<int64_t> last_applied_{0};  // nanoseconds since the epoch
};

}  // namespace mptd
