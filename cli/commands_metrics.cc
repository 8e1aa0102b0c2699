// mptctl metrics: the daemon's figures, worked out.
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/commands.h"
#include "cli/render.h"
#include "cli/table.h"
#include "cli/values.h"

namespace mptd::cli {
namespace {

using Admin = v1::AdminService::StubInterface;

Json LatencyJson(const v1::LatencySummary& latency) {
  return {{"p50", latency.p50()}, {"p95", latency.p95()}, {"p99", latency.p99()},    {"p999", latency.p999()},
          {"max", latency.max()}, {"avg", latency.avg()}, {"count", latency.count()}};
}

Json TrieJson(const v1::TrieMetrics& trie) {
  return {{"state_root", HexOrNull(trie.state_root())},
          {"total_accounts", trie.total_accounts()},
          {"total_slots", trie.total_slots()},
          {"total_nodes", trie.total_nodes()},
          {"counts_estimated", trie.counts_estimated()},
          {"avg_depth", trie.avg_depth()},
          {"max_depth", trie.max_depth()},
          {"trie_size_bytes", trie.trie_size_bytes()},
          {"dirty_nodes", trie.dirty_nodes()}};
}

Json PerformanceJson(const v1::PerformanceMetrics& performance) {
  return {{"lookup_latency_ms", LatencyJson(performance.lookup_latency_ms())},
          {"update_latency_ms", LatencyJson(performance.update_latency_ms())},
          {"root_compute_latency_ms", LatencyJson(performance.root_compute_latency_ms())},
          {"proof_gen_latency_ms", LatencyJson(performance.proof_gen_latency_ms())},
          {"throughput_ops_per_sec", performance.throughput_ops_per_sec()},
          {"batch_process_time_ms", LatencyJson(performance.batch_process_time_ms())}};
}

Json CacheJson(const v1::CacheMetrics& cache) {
  return {{"account_cache_hit_rate", cache.account_cache_hit_rate()},
          {"node_cache_hit_rate", cache.node_cache_hit_rate()},
          {"cache_size", cache.cache_size()},
          {"cache_memory_bytes", cache.cache_memory_bytes()},
          {"cache_evictions", cache.cache_evictions()}};
}

Json PersistenceJson(const v1::PersistenceMetrics& persistence) {
  return {{"pending_queue_depth", persistence.pending_queue_depth()},
          {"persistence_latency_ms", LatencyJson(persistence.persistence_latency_ms())},
          {"persistence_throughput", persistence.persistence_throughput()},
          {"persistence_failures", persistence.persistence_failures()},
          {"total_persisted_nodes", persistence.total_persisted_nodes()},
          {"disk_usage_bytes", persistence.disk_usage_bytes()}};
}

Json HealthJson(const v1::HealthMetrics& health) {
  return {{"health_level", health.health_level()},
          {"memory_usage_percent", health.memory_usage_percent()},
          {"disk_usage_percent", health.disk_usage_percent()},
          {"disk_free_bytes", health.disk_free_bytes()},
          {"uptime_secs", health.uptime_secs()},
          {"last_state_update", health.last_state_update()},
          {"state_corruption_detected", health.state_corruption_detected()}};
}

std::string PercentText(double percent) { return absl::StrFormat("%.1f %%", percent); }

Fields FigureFields(const v1::GetMetricsResponse& metrics) {
  const v1::TrieMetrics& trie = metrics.trie();
  const v1::CacheMetrics& cache = metrics.cache();
  const v1::PersistenceMetrics& persistence = metrics.persistence();
  const v1::HealthMetrics& health = metrics.health();
  return {
      {"health", absl::StrCat(health.health_level(), health.state_corruption_detected() ? ", damaged data found" : "",
                              ", up ", UptimeText(health.uptime_secs()))},
      {"state", absl::StrCat(trie.counts_estimated() ? "about " : "", CountText(trie.total_accounts()), " accounts, ",
                             CountText(trie.total_slots()), " slots, ", CountText(trie.total_nodes()), " nodes, ",
                             SizeText(trie.trie_size_bytes()), " on disk")},
      {"depth", absl::StrFormat("%.1f nibbles, at most %d in a sample", trie.avg_depth(), trie.max_depth())},
      {"throughput", absl::StrFormat("%.1f calls and blocks a second", metrics.performance().throughput_ops_per_sec())},
      {"caches", absl::StrFormat("accounts %s hits, nodes %s hits, %s rows, %s, %s evictions",
                                 PercentText(100 * cache.account_cache_hit_rate()),
                                 PercentText(100 * cache.node_cache_hit_rate()), CountText(cache.cache_size()),
                                 SizeText(cache.cache_memory_bytes()), CountText(cache.cache_evictions()))},
      {"queue", absl::StrFormat("%s blocks, %s dirty nodes", CountText(persistence.pending_queue_depth()),
                                CountText(trie.dirty_nodes()))},
      {"persisted",
       absl::StrFormat("%s rows, %.1f a second, %s failures", CountText(persistence.total_persisted_nodes()),
                       persistence.persistence_throughput(), CountText(persistence.persistence_failures()))},
      {"memory", PercentText(health.memory_usage_percent())},
      {"disk",
       absl::StrCat(SizeText(persistence.disk_usage_bytes()), ", file system ",
                    PercentText(health.disk_usage_percent()), " used, ", SizeText(health.disk_free_bytes()), " free")},
  };
}

std::string LatencyTable(const v1::GetMetricsResponse& metrics) {
  using Align = Table::Align;
  Table table({{"LATENCY, MS"},
               {"P50", Align::kRight},
               {"P95", Align::kRight},
               {"P99", Align::kRight},
               {"P99.9", Align::kRight},
               {"AVERAGE", Align::kRight},
               {"COUNT", Align::kRight},
               {"MAX EVER", Align::kRight}});
  const auto add = [&](const char* name, const v1::LatencySummary& latency) {
    const auto text = [](double ms) { return absl::StrFormat("%.3f", ms); };
    table.Add({name, text(latency.p50()), text(latency.p95()), text(latency.p99()), text(latency.p999()),
               text(latency.avg()), CountText(latency.count()), text(latency.max())});
  };
  const v1::PerformanceMetrics& performance = metrics.performance();
  add("lookup", performance.lookup_latency_ms());
  add("update", performance.update_latency_ms());
  add("root", performance.root_compute_latency_ms());
  add("proof", performance.proof_gen_latency_ms());
  add("block", performance.batch_process_time_ms());
  add("flush", metrics.persistence().persistence_latency_ms());
  return table.Render();
}

}  // namespace

ExitCode RunMetrics(Session& session) {
  v1::GetMetricsResponse response;
  const grpc::Status status = session.client().Call(&Admin::GetMetrics, v1::GetMetricsRequest(), &response);
  if (!status.ok()) return session.Refused(status);
  if (session.json()) {
    session.PrintJson({{"trie", TrieJson(response.trie())},
                       {"performance", PerformanceJson(response.performance())},
                       {"cache", CacheJson(response.cache())},
                       {"persistence", PersistenceJson(response.persistence())},
                       {"health", HealthJson(response.health())}});
  } else {
    session.terminal().Print(FieldLines(FigureFields(response)) + "\n" + LatencyTable(response));
  }
  return ExitCode::kOk;
}

}  // namespace mptd::cli
