#include "metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "metrics/recent.h"

namespace mptd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(LatencyHistogramTest, BoundsDoubleAndAreInclusive) {
  LatencyHistogram histogram;
  for (const int64_t us : {0, 1, 2, 3, 4, 5, 1024, 1025}) histogram.Record(absl::Microseconds(us));
  histogram.Record(absl::Nanoseconds(1001));
  const auto counts = histogram.Read().counts;
  EXPECT_EQ(counts[0], 2u);  // 0 and 1
  EXPECT_EQ(counts[1], 2u);  // 2 and 1.001
  EXPECT_EQ(counts[2], 2u);  // 3 and 4
  EXPECT_EQ(counts[3], 1u);  // 5
  EXPECT_EQ(counts[10], 1u);
  EXPECT_EQ(counts[11], 1u);
  EXPECT_DOUBLE_EQ(LatencyHistogram::UpperBoundSeconds(10), 1024e-6);
}

TEST(LatencyHistogramTest, ExtremesStayInside) {
  LatencyHistogram histogram;
  histogram.Record(absl::Hours(1000));
  histogram.Record(-absl::Seconds(1));
  const auto snapshot = histogram.Read();
  EXPECT_EQ(snapshot.counts.front(), 1u);
  EXPECT_EQ(snapshot.counts.back(), 1u);
  EXPECT_TRUE(std::isinf(LatencyHistogram::UpperBoundSeconds(LatencyHistogram::kBuckets - 1)));
}

TEST(LatencyHistogramTest, QuantilesInterpolate) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.Read().QuantileSeconds(0.99), 0);
  for (int i = 0; i < 100; ++i) histogram.Record(absl::Microseconds(3));
  EXPECT_NEAR(histogram.Read().QuantileSeconds(0.5), 2.5e-6, 1e-9) << "between the bucket's bound and the longest";
  histogram.Record(absl::Milliseconds(60));
  EXPECT_LT(histogram.Read().QuantileSeconds(0.99), 5e-6);
  EXPECT_GT(histogram.Read().QuantileSeconds(1.0), 30e-3);
}

TEST(LatencyHistogramTest, CountsFromManyThreads) {
  LatencyHistogram histogram;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) histogram.Record(absl::Microseconds(i));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(histogram.Read().total(), 40'000u);
}

TEST(RecentTest, ForgetsWhatIsOld) {
  LatencyHistogram histogram;
  absl::Time now = absl::UnixEpoch();
  Recent<LatencyHistogram::Snapshot> recent(now);
  now += absl::Seconds(10);
  for (int i = 0; i < 100; ++i) histogram.Record(absl::Seconds(1));
  const auto first = recent.Note(now, histogram.Read());
  EXPECT_EQ(first.length, absl::Seconds(10));
  EXPECT_EQ(first.happened.total(), 100u);
  for (int scrape = 0; scrape < 10; ++scrape) {
    now += absl::Seconds(15);
    for (int i = 0; i < 100; ++i) histogram.Record(absl::Microseconds(10));
    const auto window = recent.Note(now, histogram.Read());
    EXPECT_LE(window.length, absl::Seconds(75));
    if (scrape > 4) {
      EXPECT_EQ(window.happened.total(), 400u) << scrape;
    }
  }
  EXPECT_LT(recent.Note(now, histogram.Read()).happened.QuantileSeconds(0.99), 20e-6);
  now += absl::Seconds(70);
  EXPECT_EQ(recent.Note(now, histogram.Read()).happened.total(), 0u);
  EXPECT_EQ(recent.Note(now, histogram.Read()).happened.QuantileSeconds(0.99), 0);
}

TEST(RecentTest, HastyAskersKeepTheWindow) {
  LatencyHistogram histogram;
  absl::Time now = absl::UnixEpoch();
  Recent<LatencyHistogram::Snapshot> recent(now);
  for (int i = 0; i < 1000; ++i) {
    now += absl::Milliseconds(100);
    histogram.Record(absl::Microseconds(1));
    const auto window = recent.Note(now, histogram.Read());
    EXPECT_EQ(window.happened.total(), static_cast<uint64_t>(window.length / absl::Milliseconds(100)));
    EXPECT_LE(window.length, absl::Seconds(61));
  }
}

TEST(LatencyHistogramTest, RemembersTheLongest) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.Read().max_seconds, 0);
  histogram.Record(absl::Milliseconds(7));
  histogram.Record(absl::Milliseconds(5));
  EXPECT_DOUBLE_EQ(histogram.Read().max_seconds, 7e-3);
  LatencyHistogram other;
  other.Record(absl::Milliseconds(9));
  LatencyHistogram::Snapshot sum = histogram.Read();
  sum.Add(other.Read());
  EXPECT_DOUBLE_EQ(sum.max_seconds, 9e-3);
}

TEST(LatencyHistogramTest, NoQuantileIsLongerThanTheLongest) {
  LatencyHistogram histogram;
  for (int i = 0; i < 100; ++i) histogram.Record(absl::Milliseconds(33));
  histogram.Record(absl::Milliseconds(40));
  const LatencyHistogram::Snapshot snapshot = histogram.Read();  // all in the bucket up to 65.5 ms
  EXPECT_LE(snapshot.QuantileSeconds(0.999), 40e-3);
  EXPECT_DOUBLE_EQ(snapshot.QuantileSeconds(1), 40e-3);
  EXPECT_GT(snapshot.QuantileSeconds(0.5), 32e-3);
  histogram.Record(absl::Minutes(2));
  EXPECT_DOUBLE_EQ(histogram.Read().QuantileSeconds(1), 120);
}

TEST(MetricsRegistryTest, RendersPrometheusText) {
  MetricsRegistry registry;
  registry.AddSource([](MetricsWriter& writer) {
    writer.Gauge("state_head_block", "The head.", 12);
    writer.Counter("mptd_things_total", "Things.", 3, {{"kind", "a"}});
    writer.Counter("mptd_things_total", "Things.", 4, {{"kind", "b"}});
  });
  const std::string text = registry.Render();
  EXPECT_THAT(text,
              HasSubstr("# HELP state_head_block The head.\n# TYPE state_head_block gauge\nstate_head_block 12\n"));
  EXPECT_THAT(text, HasSubstr("mptd_things_total{kind=\"a\"} 3\nmptd_things_total{kind=\"b\"} 4\n"));
}

TEST(CallMetricsTest, CountsByMethodAndCode) {
  CallMetrics calls({"Get", "Put"}, std::vector<std::string>(CallMetrics::kCodes, "SOME"));
  calls.Record(0, 0, absl::Microseconds(5));
  calls.Record(0, 3, absl::Microseconds(5));
  calls.RecordCode(1, 0);
  calls.Record(1, 999, absl::ZeroDuration());  // kept within bounds
  EXPECT_EQ(calls.Count(0, 0), 1u);
  EXPECT_EQ(calls.Count(0, 3), 1u);
  EXPECT_EQ(calls.Count(1, 16), 1u);
  EXPECT_EQ(calls.Latency(0).total(), 2u);
  MetricsRegistry registry;
  registry.AddSource([&](MetricsWriter& writer) { calls.Write(writer); });
  const std::string text = registry.Render();
  EXPECT_THAT(text, HasSubstr("mptd_grpc_calls_total{method=\"Get\",code=\"SOME\"} 1"));
  EXPECT_THAT(text, HasSubstr("mptd_grpc_call_seconds_count{method=\"Get\"} 2"));
  EXPECT_THAT(text, HasSubstr("le=\"+Inf\""));
}

// Folders in place of the kernel's.
class GroupMemoryTest : public ::testing::Test {
 protected:
  GroupMemoryTest() { EXPECT_NE(mkdtemp(root_.data()), nullptr); }
  ~GroupMemoryTest() override { std::filesystem::remove_all(root_); }
  void Limit(const std::string& group, const std::string& text) {
    std::filesystem::create_directories(root_ + group);
    std::ofstream(root_ + group + "/memory.max") << text << "\n";
  }
  std::string root_ = ::testing::TempDir() + "mptd-XXXXXX";
};

TEST_F(GroupMemoryTest, TheLeastLimitOnTheWayUpCounts) {
  EXPECT_EQ(GroupMemoryLimitBytes("0::/system.slice/mptd.service\n", root_), 0u) << "no cgroup2";
  Limit("/system.slice/mptd.service", "max");
  EXPECT_EQ(GroupMemoryLimitBytes("0::/system.slice/mptd.service\n", root_), 0u);
  Limit("/system.slice", "3000");
  EXPECT_EQ(GroupMemoryLimitBytes("0::/system.slice/mptd.service\n", root_), 3000u);
  Limit("/system.slice/mptd.service", "2000");
  EXPECT_EQ(GroupMemoryLimitBytes("4:memory:/other\n0::/system.slice/mptd.service\n", root_), 2000u);
  EXPECT_EQ(GroupMemoryLimitBytes("0::/system.slice/ssh.service\n", root_), 3000u);
  EXPECT_EQ(GroupMemoryLimitBytes("0::/\n", root_), 0u);
  Limit("", "1000");  // a container's root is its own group
  EXPECT_EQ(GroupMemoryLimitBytes("0::/\n", root_), 1000u);
  EXPECT_EQ(GroupMemoryLimitBytes("", root_), 1000u);
  EXPECT_EQ(GroupMemoryLimitBytes("0::/system.slice/mptd.service", root_), 1000u);
}

TEST(ProcessMetricsTest, AreThere) {
  MetricsRegistry registry;
  registry.AddSource(WriteProcessMetrics);
  const std::string text = registry.Render();
  for (const char* name : {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds",
                           "process_max_fds", "process_start_time_seconds", "process_virtual_memory_bytes"}) {
    EXPECT_THAT(text, HasSubstr(std::string("\n") + name + " "));
    EXPECT_THAT(text, Not(HasSubstr(std::string("\n") + name + " 0\n")));
  }
  EXPECT_GT(MemoryLimitBytes(), ResidentMemoryBytes());
}

}  // namespace
}  // namespace mptd
