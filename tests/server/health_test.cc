// The checks, the monitor that runs them, and the pages made of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>

#include "server/health_checks.h"
#include "server/health_monitor.h"
#include "server/health_pages.h"

namespace mptd {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMiB = uint64_t{1} << 20;

template <typename Condition>
bool Eventually(Condition condition) {
  const absl::Time end = absl::Now() + absl::Minutes(4);
  while (!condition()) {
    if (absl::Now() > end) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

TEST(HealthCheckTest, Queue) {
  EXPECT_EQ(CheckQueue(89 * kMiB, 100 * kMiB, "").state, HealthState::kHealthy);
  EXPECT_EQ(CheckQueue(90 * kMiB, 100 * kMiB, "").state, HealthState::kDegraded);
  EXPECT_EQ(CheckQueue(90 * kMiB, 0, "").state, HealthState::kHealthy);
  EXPECT_THAT(CheckQueue(0, 100 * kMiB, "no space").reason, HasSubstr("no space"));
}

TEST(HealthCheckTest, Memory) {
  EXPECT_EQ(CheckMemory(84 * kMiB, 100 * kMiB, 85).state, HealthState::kHealthy);
  EXPECT_EQ(CheckMemory(86 * kMiB, 100 * kMiB, 85).state, HealthState::kDegraded);
  EXPECT_EQ(CheckMemory(86 * kMiB, 0, 85).state, HealthState::kHealthy) << "an unknown limit";
}

TEST(HealthCheckTest, DiskSpace) {
  EXPECT_EQ(CheckDiskSpace(400, 100).state, HealthState::kHealthy);
  EXPECT_EQ(CheckDiskSpace(399, 100).state, HealthState::kDegraded);
  EXPECT_EQ(CheckDiskSpace(100, 100).state, HealthState::kDegraded);
  EXPECT_EQ(CheckDiskSpace(99, 100).state, HealthState::kFailing);
  EXPECT_EQ(CheckDiskSpace(0, 0).state, HealthState::kHealthy) << "switched off";
}

TEST(HealthCheckTest, Storage) {
  std::string dir = ::testing::TempDir() + "mptd-XXXXXX";
  ASSERT_NE(mkdtemp(dir.data()), nullptr);
  EXPECT_NE(CheckStorage(dir).state, HealthState::kFailing);
  EXPECT_TRUE(std::filesystem::is_empty(dir));
  std::filesystem::remove_all(dir);
  const HealthFinding gone = CheckStorage(dir);
  EXPECT_EQ(gone.state, HealthState::kFailing);
  EXPECT_THAT(gone.reason, HasSubstr(dir + "/health.tmp: No such file or directory"));
}

TEST(HealthCheckTest, AMasterKeyThatNoLongerFitsIsNoFailureYet) {
  EXPECT_EQ(CheckEncryptionKey(absl::OkStatus()).state, HealthState::kHealthy);
  const HealthFinding finding = CheckEncryptionKey(absl::FailedPreconditionError("d/KEYS is wrapped by another"));
  EXPECT_EQ(finding.state, HealthState::kDegraded);
  EXPECT_THAT(finding.reason, HasSubstr("could not be started again"));
  EXPECT_THAT(finding.reason, HasSubstr("d/KEYS is wrapped by another"));
}

TEST(HealthCheckTest, LastSyncIsLateOnlyWhenNothingBecomesDurable) {
  SyncAge age(absl::Seconds(30));
  const absl::Time start = absl::FromUnixSeconds(1000);
  EngineStatus status;
  const auto at = [&](int second, uint64_t head, uint64_t durable) {
    status.has_blocks = true;
    status.head.number = head;
    status.durable_number = durable;
    return age.Check(start + absl::Seconds(second), status);
  };
  EXPECT_EQ(at(0, 5, 5).state, HealthState::kHealthy);
  EXPECT_EQ(at(100, 6, 5).state, HealthState::kHealthy) << "has only just come";
  EXPECT_EQ(at(120, 9, 6).state, HealthState::kHealthy);
  EXPECT_EQ(at(150, 9, 6).state, HealthState::kHealthy);
  const HealthFinding late = at(151, 9, 6);
  EXPECT_EQ(late.state, HealthState::kDegraded);
  EXPECT_THAT(late.reason, HasSubstr("for 31 s; a crash would take back 3"));
  EXPECT_EQ(at(152, 9, 9).state, HealthState::kHealthy);
}

class HealthMonitorTest : public ::testing::Test {
 protected:
  // A probe of one check that finds `state_`.
  HealthMonitor::Probe ProbeOf(const std::string& name, int failing_level) {
    return {.checks = {{name, failing_level}},
            .interval = absl::Milliseconds(1),
            .timeout = absl::Hours(24),
            .run = [this] {
              ++runs_;
              const HealthState state = state_;
              return std::vector<HealthFinding>{{state, state == HealthState::kHealthy ? "" : "because"}};
            }};
  }
  HealthReport Only() const { return monitor_.Read().at(0); }

  std::unique_ptr<Logger> log_ = Logger::Silent();
  std::atomic<HealthState> state_{HealthState::kHealthy};
  std::atomic<int> runs_{0};
  HealthMonitor monitor_{*log_};
};

TEST_F(HealthMonitorTest, LevelsFollowWhatIsFound) {
  monitor_.Add(ProbeOf("thing", kHealthCritical));
  EXPECT_EQ(WorstLevel(monitor_.Read()), kHealthHealthy) << "nothing is known yet";
  monitor_.Start();
  EXPECT_TRUE(Eventually([&] { return runs_ > 1; }));
  EXPECT_EQ(Only().level, kHealthHealthy);
  EXPECT_EQ(Only().failures, 0u);
  state_ = HealthState::kDegraded;
  EXPECT_TRUE(Eventually([&] { return Only().level == kHealthDegraded; }));
  EXPECT_TRUE(Ready(Only()));
  state_ = HealthState::kFailing;
  EXPECT_TRUE(Eventually([&] { return Only().level == kHealthCritical; }));
  EXPECT_FALSE(Ready(Only()));
  EXPECT_EQ(Only().reason, "because");
  EXPECT_GT(Only().failures, 0u);
  state_ = HealthState::kHealthy;
  EXPECT_TRUE(Eventually([&] { return Only().level == kHealthHealthy; }));
  EXPECT_EQ(Only().reason, "");
}

TEST_F(HealthMonitorTest, AProbeThatHangsIsToldAndHoldsUpNoOther) {
  std::atomic<bool> hang{true};
  HealthMonitor::Probe stuck = ProbeOf("stuck", kHealthFailed);
  stuck.timeout = absl::Milliseconds(20);
  stuck.run = [&hang] {
    while (hang) absl::SleepFor(absl::Milliseconds(1));
    return std::vector<HealthFinding>{{}};
  };
  monitor_.Add(std::move(stuck));
  monitor_.Add(ProbeOf("other", kHealthCritical));
  monitor_.Start();
  EXPECT_TRUE(Eventually([&] { return Only().state == HealthState::kUnavailable; }));
  EXPECT_EQ(Only().level, kHealthCritical) << "silence is no damage";
  EXPECT_THAT(Only().reason, HasSubstr("no answer for"));
  const int runs = runs_;
  EXPECT_TRUE(Eventually([&] { return runs_ > runs + 2; }));
  EXPECT_EQ(monitor_.Read().at(1).level, kHealthHealthy);
  hang = false;
  EXPECT_TRUE(Eventually([&] { return Only().state == HealthState::kHealthy; }));
}

TEST_F(HealthMonitorTest, ChangesAreLogged) {
  std::mutex mutex;
  std::string lines;
  LogOptions options;
  options.capture = [&](std::string_view line) {
    const std::lock_guard lock(mutex);
    (lines += line) += '\n';
  };
  const std::unique_ptr<Logger> log = *Logger::Open(options);
  HealthMonitor monitor(*log);
  monitor.Add(ProbeOf("thing", kHealthCritical));
  monitor.Start();
  EXPECT_TRUE(Eventually([&] { return runs_ > 1; }));
  state_ = HealthState::kFailing;
  EXPECT_TRUE(Eventually([&] { return !Ready(monitor.Read().at(0)); }));
  monitor.Stop();
  log->Flush();
  const std::lock_guard lock(mutex);
  EXPECT_THAT(lines, HasSubstr("warn server health_check_performed check=thing state=failing before=healthy "
                               "reason=because"));
  EXPECT_EQ(lines.find("health_check_performed"), lines.rfind("health_check_performed")) << lines;
}

HealthReport ReportOf(const std::string& name, HealthState state, int level, const std::string& reason) {
  HealthReport out;
  out.name = name;
  out.state = state;
  out.level = level;
  out.reason = reason;
  return out;
}

std::vector<HealthReport> Reports() {
  return {ReportOf("fine", HealthState::kHealthy, kHealthHealthy, ""),
          ReportOf("slow", HealthState::kDegraded, kHealthDegraded, "it is slow"),
          ReportOf("broken", HealthState::kFailing, kHealthCritical, "it broke")};
}

TEST(HealthPagesTest, NotReadyNamesWhatIsWrong) {
  const HttpResponse page = ReadyPage("", Reports(), /*stopping=*/false);
  EXPECT_EQ(page.status, 503);
  EXPECT_EQ(page.body,
            "[+]shutdown ok\n[+]fine ok\n[+]slow degraded: it is slow\n[-]broken failing: it broke\n"
            "not ready: it broke\n");
}

TEST(HealthPagesTest, ExcludedChecksDoNotCount) {
  EXPECT_EQ(ReadyPage("exclude=broken", Reports(), false).body, "ok\n");
  EXPECT_EQ(ReadyPage("exclude=fine", Reports(), false).status, 503);
  const HttpResponse page = ReadyPage("exclude=fine&verbose&exclude=broken&exclude=%3Cb%3E", Reports(), false);
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.body,
            "[+]shutdown ok\n[+]fine excluded\n[+]slow degraded: it is slow\n[+]broken excluded\n"
            "warn: there is no check of such a name to exclude\nok\n");
}

TEST(HealthPagesTest, AShutdownCannotBeExcluded) {
  const HttpResponse page = ReadyPage("exclude=broken&exclude=shutdown", Reports(), /*stopping=*/true);
  EXPECT_EQ(page.status, 503);
  EXPECT_THAT(page.body, HasSubstr("[-]shutdown"));
  EXPECT_THAT(page.body, HasSubstr("not ready: shutting down\n"));
}

TEST(HealthPagesTest, LivenessIsShort) {
  EXPECT_EQ(LivePage("").body, "ok\n");
  EXPECT_EQ(LivePage("verbose").body, "[+]ping ok\nok\n");
}

}  // namespace
}  // namespace mptd
