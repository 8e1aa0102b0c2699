// How the daemon is, in the words of AdminService.GetMetrics, which are also those of the gauges that are worked out
// from several sources: sizes of the state, latencies and rates of the last minute, shares of caches, memory and disk.
#pragma once

#include <mutex>
#include <string>

#include "absl/time/time.h"
#include "core/engine/engine.h"
#include "metrics/metrics.h"
#include "metrics/recent.h"
#include "mptd/v1/admin.pb.h"
#include "server/block_metrics.h"
#include "server/engine_watch.h"
#include "server/health_monitor.h"
#include "server/memory_guard.h"
#include "server/trie_depth.h"

namespace mptd {

namespace pb = ::mptd::v1;

// Safe from any thread.
class StateMetrics {
 public:
  // All that is referred to must outlive this. `data_dir` may be empty: then nothing is said of the disk's space.
  StateMetrics(const StateEngine& engine, const EngineWatch& watch, const HealthMonitor& health,
               const CallMetrics& calls, const BlockMetrics& blocks, const MemoryGuard& memory, std::string data_dir);

  // `status` and `statistics` are the engine's, of now.
  pb::GetMetricsResponse Collect(const EngineStatus& status, const EngineStatistics& statistics);
  pb::GetMetricsResponse Collect() { return Collect(engine_.Status(), engine_.Statistics()); }
  // The worst of what the engine told and what the checks found, 0 to 3.
  int HealthLevel(const EngineStatus& status) const;

 private:
  // Everything that is counted up and asked for by the minute.
  struct Totals {
    LatencyHistogram::Snapshot lookups;
    LatencyHistogram::Snapshot updates;
    LatencyHistogram::Snapshot roots;
    LatencyHistogram::Snapshot proofs;
    LatencyHistogram::Snapshot blocks;
    LatencyHistogram::Snapshot flushes;
    uint64_t operations = 0;
    uint64_t flushed_rows = 0;
    CacheLookups accounts;
    CacheLookups nodes;

    Totals Since(const Totals& earlier) const;
  };
  Totals ReadTotals(const EngineStatistics& statistics) const;
  TrieDepth Depth();
  void FillHealth(const EngineStatus& status, pb::HealthMetrics& out) const;

  const StateEngine& engine_;
  const EngineWatch& watch_;
  const HealthMonitor& health_;
  const CallMetrics& calls_;
  const BlockMetrics& blocks_;
  const MemoryGuard& memory_;
  const std::string data_dir_;
  const absl::Time started_ = absl::Now();

  // Not absl::Mutex: the distribution's Abseil is built without the hooks that ThreadSanitizer needs to see it.
  std::mutex mutex_;
  // Guarded by mutex_.
  Recent<Totals> recent_{started_};
  TrieDepth depth_;
  absl::Time next_sample_ = absl::InfinitePast();
};

// The gauges of it that nobody else writes.
void WriteStateMetrics(const pb::GetMetricsResponse& metrics, MetricsWriter& writer);
// What the engine counts: caches, sizes of tables, RocksDB.
void WriteStatistics(const EngineStatistics& statistics, MetricsWriter& writer);

}  // namespace mptd
