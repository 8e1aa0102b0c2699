#include "metrics/metrics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "prometheus/text_serializer.h"

namespace mptd {

double LatencyHistogram::UpperBoundSeconds(size_t bucket) {
  if (bucket + 1 >= kBuckets) return std::numeric_limits<double>::infinity();
  return std::ldexp(1e-6, static_cast<int>(bucket));
}

uint64_t LatencyHistogram::Snapshot::total() const {
  uint64_t sum = 0;
  for (const uint64_t count : counts) sum += count;
  return sum;
}

LatencyHistogram::Snapshot LatencyHistogram::Snapshot::Since(const Snapshot& earlier) const {
  Snapshot out = *this;
  for (size_t i = 0; i < kBuckets; ++i) out.counts[i] -= earlier.counts[i];
  out.sum_seconds -= earlier.sum_seconds;
  return out;
}

void LatencyHistogram::Snapshot::Add(const Snapshot& other) {
  for (size_t i = 0; i < kBuckets; ++i) counts[i] += other.counts[i];
  sum_seconds += other.sum_seconds;
  max_seconds = std::max(max_seconds, other.max_seconds);
}

double LatencyHistogram::Snapshot::QuantileSeconds(double q) const {
  const uint64_t count = total();
  if (count == 0) return 0;
  const double rank = q * static_cast<double>(count);
  double before = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    const double here = static_cast<double>(counts[i]);
    if (here > 0 && before + here >= rank) {
      const double low = i == 0 ? 0 : UpperBoundSeconds(i - 1);
      // Nothing took longer than the longest of all, wherever the bucket ends; the last one has no other end.
      double high = UpperBoundSeconds(i);
      if (max_seconds > low) high = std::min(high, max_seconds);
      if (std::isinf(high)) return low;
      return low + (high - low) * std::clamp((rank - before) / here, 0.0, 1.0);
    }
    before += here;
  }
  return UpperBoundSeconds(kBuckets - 2);
}

void LatencyHistogram::Record(absl::Duration duration) {
  const int64_t nanoseconds = std::max<int64_t>(absl::ToInt64Nanoseconds(duration), 0);
  const uint64_t microseconds = (static_cast<uint64_t>(nanoseconds) + 999) / 1000;
  // The smallest i with microseconds <= 2^i.
  const size_t bucket = microseconds <= 1 ? 0 : static_cast<size_t>(std::bit_width(microseconds - 1));
  counts_[std::min(bucket, kBuckets - 1)].fetch_add(1, std::memory_order_relaxed);
  sum_nanoseconds_.fetch_add(nanoseconds, std::memory_order_relaxed);
  int64_t most = max_nanoseconds_.load(std::memory_order_relaxed);
  while (nanoseconds > most && !max_nanoseconds_.compare_exchange_weak(most, nanoseconds, std::memory_order_relaxed)) {
  }
}

LatencyHistogram::Snapshot LatencyHistogram::Read() const {
  Snapshot out;
  for (size_t i = 0; i < kBuckets; ++i) out.counts[i] = counts_[i].load(std::memory_order_relaxed);
  out.sum_seconds = static_cast<double>(sum_nanoseconds_.load(std::memory_order_relaxed)) * 1e-9;
  out.max_seconds = static_cast<double>(max_nanoseconds_.load(std::memory_order_relaxed)) * 1e-9;
  return out;
}

prometheus::ClientMetric& MetricsWriter::Add(std::string_view name, std::string_view help, prometheus::MetricType type,
                                             const MetricLabels& labels) {
  auto [it, added] = by_name_.try_emplace(std::string(name), families_.size());
  if (added) families_.push_back({.name = std::string(name), .help = std::string(help), .type = type, .metric = {}});
  prometheus::ClientMetric& metric = families_[it->second].metric.emplace_back();
  for (const auto& [key, value] : labels) metric.label.push_back({.name = key, .value = value});
  return metric;
}

void MetricsWriter::Gauge(std::string_view name, std::string_view help, double value, const MetricLabels& labels) {
  Add(name, help, prometheus::MetricType::Gauge, labels).gauge.value = value;
}

void MetricsWriter::Counter(std::string_view name, std::string_view help, double value, const MetricLabels& labels) {
  Add(name, help, prometheus::MetricType::Counter, labels).counter.value = value;
}

void MetricsWriter::Histogram(std::string_view name, std::string_view help, const LatencyHistogram::Snapshot& snapshot,
                              const MetricLabels& labels) {
  auto& out = Add(name, help, prometheus::MetricType::Histogram, labels).histogram;
  uint64_t cumulative = 0;
  for (size_t i = 0; i < LatencyHistogram::kBuckets; ++i) {
    cumulative += snapshot.counts[i];
    out.bucket.push_back({.cumulative_count = cumulative, .upper_bound = LatencyHistogram::UpperBoundSeconds(i)});
  }
  out.sample_count = cumulative;
  out.sample_sum = snapshot.sum_seconds;
}

void MetricsRegistry::AddSource(Source source) {
  const std::lock_guard lock(mutex_);
  sources_.push_back(std::move(source));
}

std::string MetricsRegistry::Render() const {
  const std::lock_guard lock(mutex_);
  MetricsWriter writer;
  for (const Source& source : sources_) source(writer);
  return prometheus::TextSerializer().prometheus::Serializer::Serialize(writer.families());
}

CallMetrics::CallMetrics(std::vector<std::string> methods, std::vector<std::string> code_names)
    : methods_(std::move(methods)), code_names_(std::move(code_names)), by_method_(methods_.size()) {}

void CallMetrics::RecordCode(size_t method, size_t code) {
  by_method_[method].by_code[std::min(code, kCodes - 1)].fetch_add(1, std::memory_order_relaxed);
}

void CallMetrics::Write(MetricsWriter& writer) const {
  for (size_t m = 0; m < methods_.size(); ++m) {
    for (size_t c = 0; c < kCodes; ++c) {
      const uint64_t count = Count(m, c);
      // A code that never occurred is left out, but OK is there from the start, so that rates have a beginning.
      if (count == 0 && c != 0) continue;
      writer.Counter("mptd_grpc_calls_total", "Calls answered, by method and status code.", static_cast<double>(count),
                     {{"method", methods_[m]}, {"code", code_names_[c]}});
    }
  }
  for (size_t m = 0; m < methods_.size(); ++m) {
    const LatencyHistogram::Snapshot latency = Latency(m);
    if (latency.total() == 0) continue;
    writer.Histogram(
        "mptd_grpc_call_seconds",
        "Time from a call's arrival to its answer; of streams, only the blocks of ApplyStateChangesStream are counted.",
        latency, {{"method", methods_[m]}});
  }
}

}  // namespace mptd
