// What the daemon counts and measures, in Prometheus' text format.
//
// Recording (LatencyHistogram, CallMetrics) never locks and may be done from any thread. MetricsRegistry and
// MetricsWriter: see each.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "prometheus/metric_family.h"

namespace mptd {

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

// Counts of durations in buckets whose bounds double; nothing is forgotten.
class LatencyHistogram {
 public:
  // The upper bound of bucket i is 2^i microseconds; the last one has none.
  static constexpr size_t kBuckets = 26;  // up to 33 seconds
  static double UpperBoundSeconds(size_t bucket);

  struct Snapshot {
    std::array<uint64_t, kBuckets> counts{};
    double sum_seconds = 0;
    double max_seconds = 0;  // ever

    uint64_t total() const;
    // What happened since `earlier`, a snapshot of the same histogram; but for the maximum.
    Snapshot Since(const Snapshot& earlier) const;
    void Add(const Snapshot& other);
    // Interpolated within its bucket, and no more than max_seconds; 0 without any counts. `q` is in [0, 1].
    double QuantileSeconds(double q) const;
  };

  void Record(absl::Duration duration);
  Snapshot Read() const;

 private:
  std::array<std::atomic<uint64_t>, kBuckets> counts_{};
  std::atomic<int64_t> sum_nanoseconds_{0};
  std::atomic<int64_t> max_nanoseconds_{0};
};

// Collects what one scrape answers. Used by one thread. Families come out in the order of their first sample.
class MetricsWriter {
 public:
  void Gauge(std::string_view name, std::string_view help, double value, const MetricLabels& labels = {});
  void Counter(std::string_view name, std::string_view help, double value, const MetricLabels& labels = {});
  void Histogram(std::string_view name, std::string_view help, const LatencyHistogram::Snapshot& snapshot,
                 const MetricLabels& labels = {});

  const std::vector<prometheus::MetricFamily>& families() const { return families_; }

 private:
  prometheus::ClientMetric& Add(std::string_view name, std::string_view help, prometheus::MetricType type,
                                const MetricLabels& labels);

  std::vector<prometheus::MetricFamily> families_;
  std::map<std::string, size_t, std::less<>> by_name_;
};

// The sources that a scrape asks. Safe from any thread; scrapes run one at a time.
class MetricsRegistry {
 public:
  using Source = std::function<void(MetricsWriter&)>;

  // `source` is called by Render, from any thread, for as long as the registry lives.
  void AddSource(Source source);
  std::string Render() const;

 private:
  mutable std::mutex mutex_;
  std::vector<Source> sources_;
};

// Calls by method and status code, and how long they took.
class CallMetrics {
 public:
  static constexpr size_t kCodes = 17;  // of google.rpc.Code

  // `methods` and `code_names` (kCodes of them) label the samples; a call is recorded by its index among the methods.
  CallMetrics(std::vector<std::string> methods, std::vector<std::string> code_names);

  void Record(size_t method, size_t code, absl::Duration duration) {
    RecordLatency(method, duration);
    RecordCode(method, code);
  }
  // For streams, whose durations say nothing about the daemon: their ends, and what they do one by one.
  void RecordCode(size_t method, size_t code);
  void RecordLatency(size_t method, absl::Duration duration) { by_method_[method].latency.Record(duration); }
  LatencyHistogram::Snapshot Latency(size_t method) const { return by_method_[method].latency.Read(); }
  uint64_t Count(size_t method, size_t code) const {
    return by_method_[method].by_code[code].load(std::memory_order_relaxed);
  }
  void Write(MetricsWriter& writer) const;

 private:
  // One cache line group a method, so that busy methods do not slow each other down.
  struct alignas(64) Method {
    LatencyHistogram latency;
    std::array<std::atomic<uint64_t>, kCodes> by_code{};
  };

  const std::vector<std::string> methods_;
  const std::vector<std::string> code_names_;
  std::vector<Method> by_method_;
};

// process_resident_memory_bytes, process_cpu_seconds_total, process_open_fds and their like, from /proc.
void WriteProcessMetrics(MetricsWriter& writer);
// Memory that this process may use: the machine's, or the least limit of its control group and those above when that is
// smaller. 0 when unknown.
uint64_t MemoryLimitBytes();
// The part of that which control groups say; 0 for none. `groups` is what /proc/self/cgroup has, `root` the folder of
// cgroup2.
uint64_t GroupMemoryLimitBytes(std::string_view groups, const std::string& root);
uint64_t ResidentMemoryBytes();

}  // namespace mptd
