// Scheduled checkpoints, turn by turn, on a fake engine that writes real files.
#include "server/backup_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "backup/catalog.h"
#include "tests/server/fake_engine.h"

namespace mptd {
namespace {

using backup::Listed;
using testing::FakeEngine;
using ::testing::HasSubstr;

class BackupScheduleTest : public ::testing::Test {
 protected:
  BackupScheduleTest() {
    std::string path = (std::filesystem::temp_directory_path() / "mptd-schedule-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) std::abort();
    scratch_ = path;
    options_ = {.dir = scratch_ + "/backups", .interval = absl::Hours(1), .keep = 2};
  }
  ~BackupScheduleTest() override { std::filesystem::remove_all(scratch_); }

  void ApplyNext() {
    BlockChanges block;
    block.number = ++number_;
    ASSERT_TRUE(static_cast<StateEngine&>(engine_).Apply(std::move(block)).ok());
  }
  std::vector<uint64_t> Blocks() const {
    std::vector<uint64_t> out;
    const std::vector<Listed> listed = backup::ListCheckpoints(options_.dir).value();
    for (const Listed& one : listed) out.push_back(one.manifest->block.number);
    return out;
  }

  uint64_t number_ = 0;
  std::string scratch_;
  BackupOptions options_;
  std::unique_ptr<Logger> log_ = Logger::Silent();
  FakeEngine engine_;
  CheckpointMaker maker_{engine_, "9.9", *log_};
};

TEST_F(BackupScheduleTest, OneForEveryNewHead) {
  BackupSchedule schedule(options_, engine_, maker_, *log_);
  ASSERT_TRUE(schedule.RunOnce().ok());
  EXPECT_THAT(Blocks(), ::testing::IsEmpty()) << "no blocks, no checkpoint";
  EXPECT_LT(schedule.UntilNext(absl::OkStatus()), options_.interval) << "the first blocks may come any time";
  ApplyNext();
  ASSERT_TRUE(schedule.RunOnce().ok());
  ASSERT_TRUE(schedule.RunOnce().ok());
  EXPECT_THAT(Blocks(), ::testing::ElementsAre(1)) << "the head has not moved";
  EXPECT_EQ(schedule.UntilNext(absl::OkStatus()), options_.interval);
  EXPECT_LT(schedule.UntilNext(absl::UnavailableError("disk")), options_.interval);
  ApplyNext();
  ASSERT_TRUE(schedule.RunOnce().ok());
  ApplyNext();
  ASSERT_TRUE(schedule.RunOnce().ok());
  EXPECT_EQ(Blocks().size(), 2u) << "the oldest is removed";
  MetricsRegistry metrics;
  metrics.AddSource([&](MetricsWriter& writer) { schedule.Write(writer); });
  EXPECT_THAT(metrics.Render(), HasSubstr("mptd_backups_total 3"));
  EXPECT_THAT(metrics.Render(), HasSubstr("mptd_backup_last_block 3"));
}

TEST_F(BackupScheduleTest, TheIntervalOutlivesARestart) {
  ApplyNext();
  const absl::Time before = absl::Now();
  {
    BackupSchedule schedule(options_, engine_, maker_, *log_);
    EXPECT_EQ(schedule.UntilFirst(before), absl::ZeroDuration());
    ASSERT_TRUE(schedule.RunOnce().ok());
  }
  const absl::Time made = backup::ListCheckpoints(options_.dir).value()[0].manifest->created;
  BackupSchedule schedule(options_, engine_, maker_, *log_);
  EXPECT_EQ(schedule.UntilFirst(made + absl::Minutes(20)), absl::Minutes(40));
  EXPECT_EQ(schedule.UntilFirst(made + absl::Hours(5)), absl::ZeroDuration());
  EXPECT_EQ(schedule.UntilFirst(made - absl::Hours(5)), absl::Hours(1)) << "a clock that was set back";
}

TEST_F(BackupScheduleTest, AFailureIsCountedAndTheOldOnesStay) {
  ApplyNext();
  BackupSchedule schedule(options_, engine_, maker_, *log_);
  ASSERT_TRUE(schedule.RunOnce().ok());
  ApplyNext();
  engine_.set_checkpoint_error(absl::ResourceExhaustedError("the disk is full"));
  EXPECT_FALSE(schedule.RunOnce().ok());
  EXPECT_THAT(Blocks(), ::testing::ElementsAre(1)) << "what the attempt has left is gone, the old one is not";
  MetricsRegistry metrics;
  metrics.AddSource([&](MetricsWriter& writer) { schedule.Write(writer); });
  EXPECT_THAT(metrics.Render(), HasSubstr("mptd_backup_failures_total 1"));
  engine_.set_checkpoint_error(absl::OkStatus());
  ASSERT_TRUE(schedule.RunOnce().ok());
  EXPECT_EQ(Blocks().size(), 2u);
}

TEST_F(BackupScheduleTest, TheThreadMakesOneAndEnds) {
  ApplyNext();
  BackupSchedule schedule(options_, engine_, maker_, *log_);
  schedule.Start();
  const absl::Time end = absl::Now() + absl::Minutes(4);
  const auto made = [&] {
    const auto listed = backup::ListCheckpoints(options_.dir);
    return listed.ok() && backup::Newest(*listed) != nullptr;
  };
  while (!made() && absl::Now() < end) absl::SleepFor(absl::Milliseconds(2));
  EXPECT_TRUE(made());
  schedule.Stop();
}

TEST_F(BackupScheduleTest, NothingIsMadeAfterStop) {
  ApplyNext();
  maker_.Stop();
  EXPECT_EQ(maker_.Make(scratch_ + "/c", /*verify=*/false).status().code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(std::filesystem::exists(scratch_ + "/c"));
  EXPECT_FALSE(std::filesystem::exists(scratch_ + "/c.partial"));
}

TEST_F(BackupScheduleTest, AForeignFolderInTheWayStays) {
  ApplyNext();
  std::filesystem::create_directory(scratch_ + "/c.partial");
  std::ofstream(scratch_ + "/c.partial/notes.txt") << "mine";
  EXPECT_EQ(maker_.Make(scratch_ + "/c", /*verify=*/false).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(std::filesystem::exists(scratch_ + "/c.partial/notes.txt"));
}

}  // namespace
}  // namespace mptd
