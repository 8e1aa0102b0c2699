// Watches the engine for operators: writes its events to the log, counts them, and says how it is. Safe from any
// thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "core/engine/engine.h"
#include "metrics/log.h"
#include "metrics/metrics.h"

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
  void Write(const EngineStatus& status, MetricsWriter& writer) const;

 private:
  void LogEvent(const EngineEvent& event);

  Logger& log_;
  std::atomic<uint64_t> flushes_{0};
  std::atomic<uint64_t> flushed_rows_{0};
  std::atomic<uint64_t> flush_failures_{0};
  std::atomic<uint64_t> rollbacks_{0};
  std::atomic<uint64_t> back_pressure_{0};
  std::atomic<bool> flush_failing_{false};
  std::atomic<bool> corrupt_{false};
};

}  // namespace mptd
