// Watches the engine for operators: writes its events to the log, counts them, and says how it is. Safe from any
// thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "core/engine/engine.h"
#include "metrics/log.h"
#include "metrics/metrics.h"
#include "server/mutex.h"

namespace mptd {

class EngineWatch {
 public:
  // `log` must outlive this, and this the engine whose EngineOptions::on_event calls OnEvent.
  explicit EngineWatch(Logger& log) : log_(log) {}

  void OnEvent(const EngineEvent& event);

  // OK when blocks can be applied; else why not.
  static absl::Status Ready(const EngineStatus& status);
  // 3 healthy, 2 degraded (the tables cannot be written; retried), 1 critical (read-only), 0 failed (damaged data).
  int HealthLevel(const EngineStatus& status) const;
  // What was found damaged first, and why the tables cannot be written at present; empty when all is well.
  std::string corruption() const;
  std::string flush_error() const;
  bool corrupt() const { return corrupt_.load(std::memory_order_relaxed); }
  LatencyHistogram::Snapshot Flushes() const { return flush_latency_.Read(); }
  uint64_t flushed_rows() const { return flushed_rows_.load(std::memory_order_relaxed); }
  uint64_t flush_failures() const { return flush_failures_.load(std::memory_order_relaxed); }
  void Write(const EngineStatus& status, MetricsWriter& writer) const;

 private:
  void LogEvent(const EngineEvent& event);
  void WriteCounters(MetricsWriter& writer) const;
  void SetFlushError(const std::string& text);
  void SetCorruption(const std::string& text);

  Logger& log_;
  LatencyHistogram flush_latency_;
  LatencyHistogram sync_latency_;
  std::atomic<uint64_t> flushed_rows_{0};
  std::atomic<uint64_t> flush_failures_{0};
  LatencyHistogram prune_latency_;
  std::atomic<uint64_t> pruned_blocks_{0};
  std::atomic<uint64_t> rollbacks_{0};
  std::atomic<uint64_t> back_pressure_{0};
  std::atomic<bool> flush_failing_{false};
  std::atomic<bool> corrupt_{false};
  mutable Mutex mutex_;
  std::string corruption_ ABSL_GUARDED_BY(mutex_);
  std::string flush_error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mptd
