#include "server/engine_watch.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace mptd {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

double Number(uint64_t value) { return static_cast<double>(value); }

}  // namespace

void EngineWatch::OnEvent(const EngineEvent& event) {
  switch (event.kind) {
    case EngineEvent::Kind::kFlushed:
      flush_latency_.Record(event.duration);
      flushed_rows_.fetch_add(event.b, kRelaxed);
      flush_failing_.store(false, kRelaxed);
      SetFlushError("");
      break;
    case EngineEvent::Kind::kFlushFailed:
      flush_failures_.fetch_add(1, kRelaxed);
      flush_failing_.store(true, kRelaxed);
      SetFlushError(event.text);
      break;
    case EngineEvent::Kind::kCorruption:
      SetCorruption(event.text);
      break;
    case EngineEvent::Kind::kRolledBack:
      rollbacks_.fetch_add(1, kRelaxed);
      break;
    case EngineEvent::Kind::kBackPressure:
      back_pressure_.fetch_add(1, kRelaxed);
      break;
    case EngineEvent::Kind::kPruned:
      prune_latency_.Record(event.duration);
      pruned_blocks_.fetch_add(event.b, kRelaxed);
      break;
    case EngineEvent::Kind::kLogSynced:
      sync_latency_.Record(event.duration);
      break;
    case EngineEvent::Kind::kRecovered:
    case EngineEvent::Kind::kReadOnly:
      break;
  }
  LogEvent(event);
}

void EngineWatch::LogEvent(const EngineEvent& event) {
  constexpr LogModule kEngine = LogModule::kEngine;
  constexpr LogModule kStorage = LogModule::kStorage;
  switch (event.kind) {
    case EngineEvent::Kind::kRecovered:
      return log_.Info(kEngine, "recovered", {{"replayed_blocks", event.a}, {"head", event.b}});
    case EngineEvent::Kind::kFlushed:
      return log_.Debug(kStorage, "persistence_completed",
                        {{"block", event.a}, {"rows", event.b}, {"duration_ms", event.duration}});
    case EngineEvent::Kind::kPruned:
      return log_.Debug(kStorage, "trie_node_pruned",
                        {{"oldest_served", event.a}, {"blocks", event.b}, {"duration_ms", event.duration}});
    case EngineEvent::Kind::kLogSynced:
      return log_.Log(LogLevel::kTrace, kStorage, "log_synced", {{"duration_ms", event.duration}});
    case EngineEvent::Kind::kRolledBack:
      return log_.Info(kEngine, "rolled_back", {{"head", event.a}, {"blocks_undone", event.b}});
    case EngineEvent::Kind::kReadOnly:
      return log_.Critical(kEngine, "read_only", {{"reason", event.text}});
    case EngineEvent::Kind::kCorruption:
      return log_.Critical(kStorage, "state_corruption_detected",
                           {{"details", event.text}, {"requires_operator_intervention", true}});
    case EngineEvent::Kind::kFlushFailed:
      return log_.Error(kStorage, "persistence_failed", {{"reason", event.text}, {"node_count", event.a}});
    case EngineEvent::Kind::kBackPressure:
      return log_.Warn(kEngine, "back_pressure", {{"queue_bytes", event.a}});
  }
}

void EngineWatch::SetFlushError(const std::string& text) {
  const MutexLock lock(mutex_);
  flush_error_ = text;
}

void EngineWatch::SetCorruption(const std::string& text) {
  corrupt_.store(true, kRelaxed);
  const MutexLock lock(mutex_);
  if (corruption_.empty()) corruption_ = text.empty() ? "damaged data" : text;
}

std::string EngineWatch::corruption() const {
  const MutexLock lock(mutex_);
  return corruption_;
}

std::string EngineWatch::flush_error() const {
  const MutexLock lock(mutex_);
  return flush_error_;
}

absl::Status EngineWatch::Ready(const EngineStatus& status) {
  if (!status.read_only) return absl::OkStatus();
  return absl::UnavailableError(absl::StrFormat("read-only: %s", status.read_only_reason));
}

int EngineWatch::HealthLevel(const EngineStatus& status) const {
  if (corrupt_.load(kRelaxed)) return 0;
  if (status.read_only) return 1;
  return flush_failing_.load(kRelaxed) ? 2 : 3;
}

void EngineWatch::Write(const EngineStatus& status, MetricsWriter& writer) const {
  writer.Gauge("state_head_block", "Number of the newest block.", Number(status.head.number));
  writer.Gauge("state_durable_block", "Newest block that a crash cannot take back.", Number(status.durable_number));
  writer.Gauge("state_flushed_block", "Newest block that is in the tables.", Number(status.flushed_number));
  writer.Gauge("state_oldest_served_block", "Oldest block whose state is served.", Number(status.oldest_served_number));
  writer.Gauge("state_durable_lag_blocks", "Blocks behind the head that a crash could take back.",
               Number(status.head.number - std::min(status.durable_number, status.head.number)));
  writer.Gauge("state_persistence_queue_depth", "Blocks that are not in the tables yet.", Number(status.queue_blocks));
  writer.Gauge("state_persistence_queue_bytes", "Memory held by them.", Number(status.queue_bytes));
  writer.Gauge("state_cache_memory_bytes", "Memory of a cache.", Number(status.node_cache_bytes), {{"cache", "nodes"}});
  writer.Gauge("state_cache_memory_bytes", "Memory of a cache.", Number(status.row_cache_bytes), {{"cache", "rows"}});
  writer.Gauge("state_cache_memory_bytes", "Memory of a cache.", Number(status.history_bytes), {{"cache", "history"}});
  writer.Gauge("state_disk_bytes", "Size of the data folder.", Number(status.disk_bytes));
  writer.Gauge("state_change_log_bytes", "Size of the change log.", Number(status.change_log_bytes));
  writer.Gauge("state_corruption_detected", "1 when data on disk did not check out.", corrupt() ? 1 : 0);
  writer.Gauge("state_read_only", "1 when no blocks are accepted until a restart.", status.read_only ? 1 : 0);
  WriteCounters(writer);
}

void EngineWatch::WriteCounters(MetricsWriter& writer) const {
  const LatencyHistogram::Snapshot flushes = flush_latency_.Read();
  writer.Histogram("state_flush_seconds", "Time to write the queue to the tables.", flushes);
  writer.Counter("state_flushes_total", "Times that blocks were written to the tables.", Number(flushes.total()));
  writer.Counter("state_flushed_rows_total", "Rows written to the tables.", Number(flushed_rows_.load(kRelaxed)));
  writer.Counter("state_persistence_failures_total", "Times that writing to the tables failed.",
                 Number(flush_failures_.load(kRelaxed)));
  writer.Histogram("state_log_sync_seconds", "Time to make the change log durable.", sync_latency_.Read());
  const LatencyHistogram::Snapshot prunes = prune_latency_.Read();
  writer.Histogram("state_prune_seconds", "Time of flushes that dropped history.", prunes);
  writer.Counter("state_prunes_total", "Times that history was dropped.", Number(prunes.total()));
  writer.Counter("state_pruned_blocks_total", "Blocks whose history was dropped.",
                 Number(pruned_blocks_.load(kRelaxed)));
  writer.Counter("state_rollbacks_total", "Times that the head went back, by rollback or reorganisation.",
                 Number(rollbacks_.load(kRelaxed)));
  writer.Counter("state_back_pressure_total", "Times that blocks had to wait for room in the queue.",
                 Number(back_pressure_.load(kRelaxed)));
}

}  // namespace mptd
