#include "server/state_metrics.h"

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <system_error>

#include "server/converters.h"
#include "server/rpc.h"

namespace mptd {
namespace {

// Sampling the depth takes no more than this part of the time, however often somebody asks.
constexpr int kSamplingShare = 20;

LatencyHistogram::Snapshot Latency(const CallMetrics& calls, std::initializer_list<Method> methods) {
  LatencyHistogram::Snapshot sum;
  for (const Method method : methods) sum.Add(calls.Latency(static_cast<size_t>(method)));
  return sum;
}

CacheLookups Since(const CacheLookups& now, const CacheLookups& earlier) {
  return {now.hits - earlier.hits, now.misses - earlier.misses};
}

// 1 when nothing was looked up: nothing was missed, and an alert for a low share must not fire while nobody asks.
double Share(const CacheLookups& lookups) {
  const uint64_t all = lookups.hits + lookups.misses;
  return all == 0 ? 1 : static_cast<double>(lookups.hits) / static_cast<double>(all);
}

double Rate(uint64_t count, absl::Duration length) {
  return length > absl::ZeroDuration() ? static_cast<double>(count) / absl::ToDoubleSeconds(length) : 0;
}

double Percent(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

void FillLatency(const LatencyHistogram::Snapshot& recent, pb::LatencySummary& out) {
  constexpr double kMilliseconds = 1e3;
  const uint64_t count = recent.total();
  out.set_p50(kMilliseconds * recent.QuantileSeconds(0.5));
  out.set_p95(kMilliseconds * recent.QuantileSeconds(0.95));
  out.set_p99(kMilliseconds * recent.QuantileSeconds(0.99));
  out.set_p999(kMilliseconds * recent.QuantileSeconds(0.999));
  out.set_max(kMilliseconds * recent.max_seconds);
  out.set_avg(count == 0 ? 0 : kMilliseconds * recent.sum_seconds / static_cast<double>(count));
  out.set_count(count);
}

const char* HealthName(int level) {
  switch (level) {
    case 3:
      return "Healthy";
    case 2:
      return "Degraded";
    case 1:
      return "Critical";
    default:
      return "Failed";
  }
}

}  // namespace

StateMetrics::StateMetrics(const StateEngine& engine, const EngineWatch& watch, const HealthMonitor& health,
                           const CallMetrics& calls, const BlockMetrics& blocks, const MemoryGuard& memory,
                           std::string data_dir)
    : engine_(engine),
      watch_(watch),
      health_(health),
      calls_(calls),
      blocks_(blocks),
      memory_(memory),
      data_dir_(std::move(data_dir)) {}

StateMetrics::Totals StateMetrics::Totals::Since(const Totals& earlier) const {
  return {.lookups = lookups.Since(earlier.lookups),
          .updates = updates.Since(earlier.updates),
          .roots = roots.Since(earlier.roots),
          .proofs = proofs.Since(earlier.proofs),
          .blocks = blocks.Since(earlier.blocks),
          .flushes = flushes.Since(earlier.flushes),
          .operations = operations - earlier.operations,
          .flushed_rows = flushed_rows - earlier.flushed_rows,
          .accounts = mptd::Since(accounts, earlier.accounts),
          .nodes = mptd::Since(nodes, earlier.nodes)};
}

StateMetrics::Totals StateMetrics::ReadTotals(const EngineStatistics& statistics) const {
  Totals out;
  out.lookups = Latency(calls_, {Method::kGetAccount, Method::kGetAccounts, Method::kGetStorage});
  out.updates = Latency(calls_, {Method::kApplyStateChanges, Method::kApplyStateChangesStream});
  out.roots = Latency(calls_, {Method::kComputeStateRoot});
  out.roots.Add(blocks_.Tries());
  out.proofs = Latency(calls_, {Method::kGetProof, Method::kGetMultiProof});
  out.blocks = blocks_.Whole();
  out.flushes = watch_.Flushes();
  out.flushed_rows = watch_.flushed_rows();
  for (size_t method = 0; method < kMethodNames.size(); ++method) out.operations += calls_.Latency(method).total();
  out.accounts = statistics.lookups[static_cast<size_t>(CacheKind::kAccounts)];
  out.nodes = statistics.lookups[static_cast<size_t>(CacheKind::kNodes)];
  return out;
}

// A view that cannot be had, or read, leaves what was known before.
TrieDepth StateMetrics::Depth() {
  const absl::Time start = absl::Now();
  if (start < next_sample_) return depth_;
  const absl::StatusOr<StateViewPtr> view = engine_.View(LatestBlock{});
  if (!view.ok()) return depth_;
  const absl::StatusOr<TrieDepth> depth = SampleDepth(**view);
  if (!depth.ok()) return depth_;
  depth_ = *depth;
  const absl::Time end = absl::Now();
  next_sample_ = end + kSamplingShare * (end - start);
  return depth_;
}

int StateMetrics::HealthLevel(const EngineStatus& status) const {
  return std::min(watch_.HealthLevel(status), WorstLevel(health_.Read()));
}

void StateMetrics::FillHealth(const EngineStatus& status, pb::HealthMetrics& out) const {
  out.set_health_level(HealthName(HealthLevel(status)));
  out.set_memory_usage_percent(Percent(ResidentMemoryBytes(), memory_.Limit()));
  std::error_code unknown;
  const std::filesystem::space_info space = std::filesystem::space(data_dir_, unknown);
  if (!unknown) {
    out.set_disk_usage_percent(Percent(space.capacity - space.available, space.capacity));
    out.set_disk_free_bytes(space.available);
  }
  out.set_uptime_secs(static_cast<uint64_t>(absl::ToInt64Seconds(absl::Now() - started_)));
  const absl::Time last = blocks_.last_applied();
  if (last != absl::InfinitePast()) out.set_last_state_update(static_cast<uint64_t>(absl::ToUnixSeconds(last)));
  out.set_state_corruption_detected(watch_.corrupt());
}

pb::GetMetricsResponse StateMetrics::Collect(const EngineStatus& status, const EngineStatistics& statistics) {
  const absl::Time now = absl::Now();
  const Totals totals = ReadTotals(statistics);
  const std::lock_guard lock(mutex_);
  const auto [length, recent] = recent_.Note(now, totals);
  const TrieDepth depth = Depth();
  pb::GetMetricsResponse out;

  pb::TrieMetrics& trie = *out.mutable_trie();
  SetBytes(status.head.state_root.view(), trie.mutable_state_root());
  trie.set_total_accounts(statistics.counts.accounts);
  trie.set_total_slots(statistics.counts.slots);
  trie.set_total_nodes(statistics.counts.nodes());
  trie.set_counts_estimated(statistics.counts.estimated);
  trie.set_avg_depth(depth.average);
  trie.set_max_depth(depth.max);
  trie.set_trie_size_bytes(statistics.trie_disk_bytes);
  trie.set_dirty_nodes(statistics.dirty_nodes);

  pb::PerformanceMetrics& performance = *out.mutable_performance();
  FillLatency(recent.lookups, *performance.mutable_lookup_latency_ms());
  FillLatency(recent.updates, *performance.mutable_update_latency_ms());
  FillLatency(recent.roots, *performance.mutable_root_compute_latency_ms());
  FillLatency(recent.proofs, *performance.mutable_proof_gen_latency_ms());
  FillLatency(recent.blocks, *performance.mutable_batch_process_time_ms());
  performance.set_throughput_ops_per_sec(Rate(recent.operations, length));

  pb::CacheMetrics& cache = *out.mutable_cache();
  cache.set_account_cache_hit_rate(Share(recent.accounts));
  cache.set_node_cache_hit_rate(Share(recent.nodes));
  cache.set_cache_size(statistics.cached_rows);
  cache.set_cache_memory_bytes(status.node_cache_bytes + status.row_cache_bytes + status.history_bytes);
  cache.set_cache_evictions(statistics.evicted_rows + statistics.evicted_nodes);

  pb::PersistenceMetrics& persistence = *out.mutable_persistence();
  persistence.set_pending_queue_depth(status.queue_blocks);
  FillLatency(recent.flushes, *persistence.mutable_persistence_latency_ms());
  persistence.set_persistence_throughput(Rate(recent.flushed_rows, length));
  persistence.set_persistence_failures(watch_.flush_failures());
  persistence.set_total_persisted_nodes(totals.flushed_rows);
  persistence.set_disk_usage_bytes(status.disk_bytes);

  FillHealth(status, *out.mutable_health());
  return out;
}

void WriteStateMetrics(const pb::GetMetricsResponse& metrics, MetricsWriter& writer) {
  const pb::TrieMetrics& trie = metrics.trie();
  const pb::PerformanceMetrics& performance = metrics.performance();
  writer.Gauge("state_total_accounts", "Accounts in the newest state.", static_cast<double>(trie.total_accounts()));
  writer.Gauge("state_total_slots", "Storage slots in the newest state.", static_cast<double>(trie.total_slots()));
  writer.Gauge("state_total_nodes", "Nodes of all tries of the newest state, leaves among them.",
               static_cast<double>(trie.total_nodes()));
  writer.Gauge("state_counts_estimated", "1 when the totals of the state are estimates, for data from before counting.",
               trie.counts_estimated() ? 1 : 0);
  writer.Gauge("state_trie_size_bytes", "Accounts, slots and branches on disk, without history.",
               static_cast<double>(trie.trie_size_bytes()));
  writer.Gauge("state_avg_depth", "Nibbles above a leaf of the account trie, the mean of a sample.", trie.avg_depth());
  writer.Gauge("state_max_depth", "Nibbles above a leaf of the account trie, the most in a sample.",
               static_cast<double>(trie.max_depth()));
  writer.Gauge("state_dirty_nodes", "Branches in memory that the next flush writes.",
               static_cast<double>(trie.dirty_nodes()));
  writer.Gauge("state_lookup_latency_p99_ms", "99th percentile of reads of accounts and slots, of the last minute.",
               performance.lookup_latency_ms().p99());
  writer.Gauge("state_update_latency_p99_ms", "99th percentile of applying a block, of the last minute.",
               performance.update_latency_ms().p99());
  writer.Gauge("state_throughput_ops_per_sec", "Calls and streamed blocks answered a second, of the last minute.",
               performance.throughput_ops_per_sec());
  writer.Gauge("state_cache_hit_rate",
               "Share of account lookups that memory answered, of the last minute; 1 without any.",
               metrics.cache().account_cache_hit_rate());
  writer.Gauge("state_memory_usage_percent",
               "Resident memory of what this process may use: limits.max_memory_bytes, or what the machine has.",
               metrics.health().memory_usage_percent());
  writer.Gauge("state_disk_usage_percent", "Used space of the file system with the data folder.",
               metrics.health().disk_usage_percent());
  writer.Gauge("state_disk_free_bytes", "Free space of the file system with the data folder.",
               static_cast<double>(metrics.health().disk_free_bytes()));
}

}  // namespace mptd
