#include "storage/data_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/storage/test_support.h"

namespace mptd::storage {
namespace {

using testing::HasSubstr;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST(DataDir, MakesWhatIsNeeded) {
  const TempDir dir;
  const auto lock = LockDataDir(dir / "data/");
  ASSERT_TRUE(lock.ok()) << lock.status();
  EXPECT_EQ(lock->dir(), dir / "data");
  EXPECT_TRUE(std::filesystem::is_directory(dir / "data/db"));
  EXPECT_TRUE(std::filesystem::is_directory(dir / "data/log"));
  EXPECT_EQ(ReadFile(dir / "data/FORMAT"), "mptd data format 1\n");
  EXPECT_EQ(ReadFile(dir / "data/LOCK"), std::to_string(::getpid()) + "\n");
}

TEST(DataDir, OneOwnerAtATime) {
  const TempDir dir;
  {
    auto lock = LockDataDir(dir.path());
    ASSERT_TRUE(lock.ok());
    const absl::Status second = LockDataDir(dir.path()).status();
    EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(Message(second), HasSubstr(dir.path()));
    EXPECT_THAT(Message(second), HasSubstr("pid " + std::to_string(::getpid())));
    const DataDirLock moved = *std::move(lock);
    EXPECT_FALSE(LockDataDir(dir.path()).ok());
  }
  EXPECT_TRUE(LockDataDir(dir.path()).ok());
}

TEST(DataDir, ALookerKeepsDaemonsOutAndLeavesNothing) {
  const TempDir dir;
  EXPECT_EQ(ShareDataDir(dir / "absent").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ShareDataDir(dir.path()).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(CheckDataDir(dir.path()).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  {
    const auto owner = LockDataDir(dir.path());
    ASSERT_TRUE(owner.ok());
    const absl::Status refused = ShareDataDir(dir.path()).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(Message(refused), HasSubstr("pid " + std::to_string(::getpid())));
  }
  const auto first = ShareDataDir(dir.path());
  EXPECT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(ShareDataDir(dir.path()).ok());
  EXPECT_EQ(LockDataDir(dir.path()).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(CheckDataDir(dir.path()).ok());
}

TEST(DataDir, AKilledOwnerLeavesNoLock) {
  const TempDir dir;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto lock = LockDataDir(dir.path());
    const char answer = lock.ok() ? 'y' : 'n';
    if (::write(ready[1], &answer, 1) == 1) ::pause();
    ::_exit(1);
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  EXPECT_THAT(Message(LockDataDir(dir.path()).status()), HasSubstr("pid " + std::to_string(child)));
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(LockDataDir(dir.path()).ok());
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(DataDir, TheFormatIsChecked) {
  const TempDir dir;
  ASSERT_TRUE(LockDataDir(dir.path()).ok());
  EXPECT_TRUE(CheckFormat(dir.path()).ok());

  WriteFile(dir / "FORMAT", "mptd data format 3\n");
  absl::Status status = LockDataDir(dir.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(status), HasSubstr("written by a newer mptd (format 3, this program reads up to 2); upgrade"));

  for (const char* text :
       {"", "\n", "mptd data format \n", "mptd data format 1", "mptd data format 0\n", "mptd data format -1\n",
        "mptd data format 1x\n", "mptd data format 99999999999\n", "something else\n", "mptd data format 1\nmore\n"}) {
    WriteFile(dir / "FORMAT", text);
    status = LockDataDir(dir.path()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << text;
    EXPECT_THAT(Message(status), HasSubstr(dir / "FORMAT"));
  }

  std::filesystem::remove(dir / "FORMAT");
  EXPECT_EQ(LockDataDir(dir.path()).status().code(), absl::StatusCode::kDataLoss) << "db and log are there";
  EXPECT_EQ(CheckFormat(dir.path()).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(WriteFormat(dir.path(), /*encrypted=*/false).ok());
  EXPECT_TRUE(LockDataDir(dir.path()).ok());
}

TEST(DataDir, SaysWhyItCannotBeUsed) {
  const TempDir dir;
  absl::Status status = LockDataDir(dir / "no/such").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Message(status), HasSubstr(dir / "no/such"));

  WriteFile(dir / "file", "x");
  EXPECT_EQ(LockDataDir(dir / "file").status().code(), absl::StatusCode::kUnavailable);
}

// In a process of its own, because permissions do not bind root.
TEST(DataDir, AFolderThatMayNotBeWrittenIsSaid) {
  const TempDir dir;
  using std::filesystem::perms;
  std::filesystem::permissions(dir.path(), perms::all);
  std::filesystem::create_directory(dir / "closed");
  std::filesystem::permissions(dir / "closed",
                               perms::owner_read | perms::owner_exec | perms::others_read | perms::others_exec);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::seteuid(65534) != 0) ::_exit(2);
    const absl::Status status = LockDataDir(dir / "closed").status();
    const bool right = status.code() == absl::StatusCode::kPermissionDenied &&
                       Message(status).find(dir / "closed") != std::string::npos &&
                       Message(status).find("Permission denied") != std::string::npos;
    ::_exit(right ? 0 : 1);
  }
  int result = 0;
  ASSERT_EQ(::waitpid(child, &result, 0), child);
  EXPECT_EQ(result, 0);
}

TEST(DataDir, FreeSpace) {
  const TempDir dir;
  const auto bytes = FreeDiskBytes(dir.path());
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_GT(*bytes, 0u);
  EXPECT_EQ(FreeDiskBytes(dir / "absent").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace mptd::storage
