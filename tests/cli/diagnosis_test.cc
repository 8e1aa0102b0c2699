// What doctor makes of what a daemon says, with made-up answers.
#include "cli/diagnosis.h"

#include <set>

#include "cli/http_get.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mptd::cli {
namespace {

using checkup::Finding;
using checkup::Outcome;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr uint64_t kMiB = uint64_t{1} << 20;

// Of a daemon with which all is well.
DaemonReadings GoodReadings() {
  DaemonReadings out;
  out.server = "127.0.0.1:7300";
  out.client_version = "1.2.3";
  out.status.set_version("1.2.3");
  out.status.set_has_blocks(true);
  out.status.mutable_head()->set_number(1000);
  out.status.set_durable_number(990);
  out.status.set_flushed_number(900);
  out.status.set_oldest_served_number(872);
  out.status.set_genesis_root(std::string(32, 'g'));
  out.status.set_persistence_mode("batched");
  out.status.set_queue_bytes(10 * kMiB);
  v1::HealthCheck* check = out.status.add_health_checks();
  check->set_name("encryption_key");
  check->set_level(3);
  out.config = {{"persistence.queue_bytes", "128MiB"},
                {"persistence.flush_blocks", "256"},
                {"pruning.enable_pruning", "true"},
                {"pruning.keep_recent_states", "128"}};
  out.serving = {{"", "SERVING"}, {"mptd.v1.StateService", "SERVING"}};
  out.metrics = Metrics{{"state_health_level", 3},
                        {"state_corruption_detected", 0},
                        {"state_persistence_failures_total", 0},
                        {"state_back_pressure_total", 0},
                        {"state_memory_usage_percent", 40}};
  out.disk = DiskShare{.free_bytes = 50, .total_bytes = 100};
  return out;
}

// The finding `name` after `change`.
template <typename Change>
Finding After(const std::string& name, Change change) {
  DaemonReadings readings = GoodReadings();
  change(readings);
  for (const Finding& finding : Diagnose(readings)) {
    if (finding.name == name) return finding;
  }
  ADD_FAILURE() << "no finding " << name;
  return {};
}

template <typename Change>
void Expect(const std::string& name, Outcome outcome, Change change) {
  const Finding finding = After(name, change);
  EXPECT_EQ(checkup::Name(finding.outcome), checkup::Name(outcome)) << name << ": " << finding.measured;
  EXPECT_THAT(finding.measured, Not(IsEmpty())) << name;
  EXPECT_EQ(finding.advice.empty(), outcome <= Outcome::kOk) << name << ": " << finding.advice;
}

TEST(DiagnosisTest, AGoodDaemonHasNothingToDo) {
  std::set<std::string> names;
  for (const Finding& finding : Diagnose(GoodReadings())) {
    EXPECT_EQ(finding.outcome, Outcome::kOk) << finding.name << ": " << finding.measured;
    EXPECT_THAT(finding.advice, IsEmpty()) << finding.name;
    EXPECT_THAT(finding.expected, Not(IsEmpty())) << finding.name;
    EXPECT_TRUE(names.insert(finding.name).second) << finding.name;
  }
  EXPECT_EQ(names.size(), 14u);
}

TEST(DiagnosisTest, ReadOnlySaysWhyOnOneLine) {
  const Finding finding = After("read_only", [](DaemonReadings& r) {
    r.status.set_read_only(true);
    r.status.set_read_only_reason("sync failed:\ninput/output error");
  });
  EXPECT_EQ(finding.outcome, Outcome::kFailed);
  EXPECT_EQ(finding.measured, "read-only: sync failed: input/output error");
  EXPECT_THAT(finding.advice, HasSubstr("restart"));
}

TEST(DiagnosisTest, NotServingFails) {
  Expect("serving", Outcome::kFailed, [](DaemonReadings& r) { r.serving[1].second = "NOT_SERVING"; });
}

TEST(DiagnosisTest, QueueIsComparedWithItsLimit) {
  Expect("queue", Outcome::kOk, [](DaemonReadings& r) { r.status.set_queue_bytes(95 * kMiB); });
  Expect("queue", Outcome::kWarning, [](DaemonReadings& r) { r.status.set_queue_bytes(97 * kMiB); });
  Expect("queue", Outcome::kFailed, [](DaemonReadings& r) { r.status.set_queue_bytes(126 * kMiB); });
  Expect("queue", Outcome::kOk, [](DaemonReadings& r) {
    r.status.set_queue_bytes(126 * kMiB);
    r.config["persistence.queue_bytes"] = "1GiB";
  });
  Expect("queue", Outcome::kFailed, [](DaemonReadings& r) {
    r.status.set_queue_bytes(126 * kMiB);
    r.config["persistence.queue_bytes"] = "1048577";
  });
}

TEST(DiagnosisTest, DurableLagByMode) {
  Expect("durability", Outcome::kOk, [](DaemonReadings& r) { r.status.set_durable_number(1000 - 512); });
  Expect("durability", Outcome::kWarning, [](DaemonReadings& r) { r.status.set_durable_number(1000 - 513); });
  Expect("durability", Outcome::kWarning, [](DaemonReadings& r) {
    r.status.set_persistence_mode("sync");
    r.status.set_durable_number(998);
  });
  Expect("durability", Outcome::kSkipped, [](DaemonReadings& r) { r.status.set_has_blocks(false); });
}

TEST(DiagnosisTest, FailedFlushesAreWorseWhileBlocksWait) {
  const auto fail = [](DaemonReadings& r) { (*r.metrics)["state_persistence_failures_total"] = 2; };
  Expect("flushes", Outcome::kWarning, fail);
  Expect("flushes", Outcome::kFailed, [&](DaemonReadings& r) {
    fail(r);
    r.status.set_queue_blocks(257);
  });
}

TEST(DiagnosisTest, HealthLevelAndCorruption) {
  Expect("health_level", Outcome::kWarning, [](DaemonReadings& r) { (*r.metrics)["state_health_level"] = 2; });
  Expect("health_level", Outcome::kFailed, [](DaemonReadings& r) { (*r.metrics)["state_health_level"] = 1; });
  Expect("corruption", Outcome::kFailed, [](DaemonReadings& r) { (*r.metrics)["state_corruption_detected"] = 1; });
}

TEST(DiagnosisTest, AKeyFileThatDoesNotFitIsToldBeforeTheNextStart) {
  const Finding finding = After("encryption_key", [](DaemonReadings& r) {
    r.status.mutable_health_checks(0)->set_level(2);
    r.status.mutable_health_checks(0)->set_reason("KEYS is wrapped by\nanother key");
  });
  EXPECT_EQ(finding.outcome, Outcome::kWarning);
  EXPECT_EQ(finding.measured, "KEYS is wrapped by another key");
  EXPECT_THAT(finding.advice, HasSubstr("rotate-key"));
  Expect("encryption_key", Outcome::kSkipped, [](DaemonReadings& r) { r.status.clear_health_checks(); });
}

TEST(DiagnosisTest, DiskAndMemoryNearTheirLimits) {
  Expect("disk", Outcome::kWarning, [](DaemonReadings& r) { r.disk->free_bytes = 9; });
  Expect("disk", Outcome::kFailed, [](DaemonReadings& r) { r.disk->free_bytes = 2; });
  Expect("disk", Outcome::kSkipped, [](DaemonReadings& r) { r.disk.reset(); });
  Expect("disk", Outcome::kFailed, [](DaemonReadings& r) {
    r.disk.reset();
    (*r.metrics)["state_disk_usage_percent"] = 98;
  });
  Expect("memory", Outcome::kWarning, [](DaemonReadings& r) { (*r.metrics)["state_memory_usage_percent"] = 85; });
  Expect("memory", Outcome::kFailed, [](DaemonReadings& r) { (*r.metrics)["state_memory_usage_percent"] = 95; });
}

TEST(DiagnosisTest, AWindowShorterThanConfigured) {
  Expect("window", Outcome::kWarning, [](DaemonReadings& r) { r.status.set_oldest_served_number(900); });
  Expect("window", Outcome::kOk, [](DaemonReadings& r) {
    r.status.mutable_head()->set_number(50);
    r.status.set_oldest_served_number(0);
  });
  Expect("window", Outcome::kOk, [](DaemonReadings& r) {
    r.status.set_oldest_served_number(900);
    r.status.clear_genesis_root();
  });
  Expect("window", Outcome::kWarning, [](DaemonReadings& r) { r.config["pruning.enable_pruning"] = "false"; });
}

TEST(DiagnosisTest, AnOlderDaemonIsNoticed) {
  Expect("version", Outcome::kWarning, [](DaemonReadings& r) { r.status.set_version("1.2.2"); });
  Expect("version", Outcome::kWarning, [](DaemonReadings& r) { r.client_version = "1.10.0"; });
  Expect("version", Outcome::kOk, [](DaemonReadings& r) { r.status.set_version("1.10.0"); });
}

TEST(DiagnosisTest, WithoutMetricsItSaysSo) {
  for (const char* name : {"health_level", "corruption", "flushes", "memory"}) {
    Expect(name, Outcome::kSkipped, [](DaemonReadings& r) { r.metrics = absl::UnavailableError("refused"); });
  }
  EXPECT_EQ(After("metrics", [](DaemonReadings& r) { r.metrics = absl::UnavailableError("refused"); }).outcome,
            Outcome::kWarning);
  EXPECT_EQ(After("metrics", [](DaemonReadings& r) { r.metrics = absl::FailedPreconditionError("off"); }).outcome,
            Outcome::kSkipped);
}

TEST(MetricsTextTest, TakesSamplesWithoutLabels) {
  EXPECT_EQ(ParseMetrics("# HELP a b\n# TYPE a gauge\na 1.5\nb{x=\"y z\"} 2\nc 3 1700000000\nd\nbad x\ne 1e3"),
            (Metrics{{"a", 1.5}, {"c", 3}, {"e", 1000}}));
}

TEST(HttpUrlTest, PartsAndMistakes) {
  const auto url = ParseHttpUrl("http://[::1]:7301/metrics");
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_EQ(url->host, "::1");
  EXPECT_EQ(url->port, 7301);
  EXPECT_EQ(url->path, "/metrics");
  EXPECT_EQ(ParseHttpUrl("http://host")->port, 80);
  EXPECT_EQ(ParseHttpUrl("http://host")->path, "/");
  for (const char* bad : {"host:1/metrics", "https://host/", "http://", "http://:1/", "http://h:0/", "http://h:x/",
                          "http://[::1/", "http://h/a b", "http://h:70000/"}) {
    EXPECT_FALSE(ParseHttpUrl(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace mptd::cli
