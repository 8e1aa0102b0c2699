#include "backup/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/backup/checkpoint_folder.h"

namespace mptd::backup {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

absl::Time Day(int day) { return absl::FromCivil(absl::CivilDay(2026, 1, day), absl::UTCTimeZone()); }

class CatalogTest : public FolderTest {
 protected:
  std::string Scheduled(uint64_t number, int day) const {
    std::string name = CheckpointName(number, Day(day));
    MakeCheckpoint(name, number, Day(day));
    return name;
  }
};

TEST(NameTest, SaysBlockAndTime) {
  EXPECT_EQ(CheckpointName(17, absl::FromUnixSeconds(1767323045)), "checkpoint-000000000017-20260102T030405Z");
  EXPECT_EQ(NumberInName("checkpoint-000000000017-20260102T030405Z"), 17u);
  const std::string longest = CheckpointName(UINT64_MAX, Day(1));
  EXPECT_EQ(NumberInName(longest), UINT64_MAX);
}

TEST(NameTest, NothingElseIsOne) {
  for (const char* name :
       {"", "checkpoint", "checkpoint-17-20260102T030405Z", "checkpoint-000000000017",
        "checkpoint-000000000017-20260102T030405Z.partial", "checkpoint-000000000017-20260102T030405",
        "checkpoint-000000000017-20261302T030405Z", "xcheckpoint-000000000017-20260102T030405Z",
        "checkpoint-99999999999999999999999-20260102T030405Z"}) {
    EXPECT_EQ(NumberInName(name), std::nullopt) << name;
  }
}

TEST_F(CatalogTest, ListsWhatIsThere) {
  const std::string second = Scheduled(20, 2);
  const std::string first = Scheduled(10, 1);
  MakeCheckpoint("by-hand", 15, Day(3));
  MakeData("data-folder");
  MakeData("cut-off.partial");
  const std::string broken = Scheduled(30, 4);
  std::filesystem::remove(dir_ + "/" + broken + "/db/CURRENT");
  Write(dir_ + "/a-file", "x");
  const std::vector<Listed> listed = ListCheckpoints(dir_).value();
  std::vector<std::string> names;
  std::vector<CheckpointState> states;
  for (const Listed& one : listed) {
    names.push_back(one.name);
    states.push_back(one.state);
  }
  using State = CheckpointState;
  EXPECT_THAT(names, ElementsAre(first, "by-hand", second, broken, "cut-off.partial"));
  EXPECT_THAT(states,
              ElementsAre(State::kComplete, State::kComplete, State::kComplete, State::kDamaged, State::kPartial));
  EXPECT_THAT(listed[3].problem, HasSubstr("db/CURRENT is missing"));
  EXPECT_EQ(Newest(listed)->name, "by-hand");
}

TEST_F(CatalogTest, TheOldestGo) {
  const std::string first = Scheduled(10, 1);
  const std::string second = Scheduled(20, 2);
  const std::string third = Scheduled(30, 3);
  EXPECT_THAT(RemoveOldest(dir_, 3).value(), IsEmpty());
  EXPECT_THAT(RemoveOldest(dir_, 2).value(), ElementsAre(first));
  EXPECT_FALSE(Exists(first));
  EXPECT_TRUE(Exists(second));
  EXPECT_TRUE(Exists(third));
  EXPECT_THAT(RemoveRemains(dir_).value(), IsEmpty());
}

TEST_F(CatalogTest, AgeIsTimeNotBlock) {
  const std::string before_rollback = Scheduled(100, 1);
  const std::string after_rollback = Scheduled(90, 2);
  EXPECT_THAT(RemoveOldest(dir_, 1).value(), ElementsAre(before_rollback));
  EXPECT_TRUE(Exists(after_rollback));
}

TEST_F(CatalogTest, OnlyScheduledWholeCheckpointsGo) {
  MakeCheckpoint("by-hand", 1, Day(1));
  const std::string used = Scheduled(2, 2);  // a daemon has been started on it
  Write(dir_ + "/" + used + "/LOCK", "1\n");
  const std::string damaged = Scheduled(3, 3);
  Write(dir_ + "/" + damaged + "/FORMAT", "");
  const std::string misnamed = CheckpointName(4, Day(4));
  MakeCheckpoint(misnamed, 5, Day(4));
  const std::string unfinished = CheckpointName(6, Day(6));
  MakeData(unfinished);  // no manifest
  const std::string target = Scheduled(7, 7);
  std::filesystem::rename(dir_ + "/" + target, dir_ + "/elsewhere");
  std::filesystem::create_directory_symlink(dir_ + "/elsewhere", dir_ + "/" + target);
  const std::string old = Scheduled(8, 8);
  const std::string last = Scheduled(9, 9);
  EXPECT_THAT(RemoveOldest(dir_, 1).value(), ElementsAre(old));
  for (const std::string& name : {std::string("by-hand"), used, damaged, misnamed, unfinished, target, last}) {
    EXPECT_TRUE(Exists(name)) << name;
  }
}

TEST_F(CatalogTest, RemainsGoAndNothingElse) {
  const std::string remains = CheckpointName(5, Day(5)) + ".partial";
  MakeData(remains);
  const std::string used = CheckpointName(6, Day(6)) + ".partial";
  MakeData(used);
  Write(dir_ + "/" + used + "/notes.txt", "mine");
  MakeData("mine.partial");
  const std::string whole = Scheduled(7, 7);
  EXPECT_THAT(RemoveRemains(dir_).value(), ElementsAre(remains));
  EXPECT_FALSE(Exists(remains));
  EXPECT_TRUE(Exists(used));
  EXPECT_TRUE(Exists("mine.partial"));
  EXPECT_TRUE(Exists(whole));
}

// As a daemon does with its own checkpoints while `mptctl checkpoint list` looks at them.
TEST_F(CatalogTest, NamesMayComeAndGoMeanwhile) {
  std::vector<std::string> moving;
  for (int i = 0; i < 50; ++i) {
    moving.push_back(dir_ + "/moving-" + std::to_string(i));
    std::filesystem::create_directory(moving.back());
  }
  std::atomic<bool> over{false};
  std::thread mover([&] {
    while (!over) {
      for (const std::string& path : moving) std::filesystem::rename(path, path + "-x");
      for (const std::string& path : moving) std::filesystem::rename(path + "-x", path);
    }
  });
  for (int i = 0; i < 200; ++i) {
    const absl::StatusOr<std::vector<Listed>> listed = ListCheckpoints(dir_);
    EXPECT_TRUE(listed.ok()) << listed.status();
    if (!listed.ok()) break;
  }
  over = true;
  mover.join();
}

TEST_F(CatalogTest, AFolderThatIsNotThereIsAnError) {
  EXPECT_EQ(ListCheckpoints(dir_ + "/none").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace mptd::backup
