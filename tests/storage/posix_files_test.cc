// What the operating system's files answer when they cannot do what is asked, for the change log and the data folder.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cerrno>
#include <csignal>

#include "storage/data_dir.h"
#include "storage/log_file.h"
#include "storage/posix_error.h"
#include "tests/storage/test_support.h"

namespace mptd::storage {
namespace {

using testing::HasSubstr;
using Code = absl::StatusCode;
using Mode = LogFileSystem::Mode;

// While it lives, files of this process grow to `bytes` at most: a write that goes over is cut short, the next fails.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit now{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &now);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  void (*handler_)(int);
  rlimit before_{};
};

TEST(PosixErrors, HaveTheCodeThatSaysWhatToDo) {
  const std::pair<int, Code> expected[] = {{ENOSPC, Code::kResourceExhausted}, {EDQUOT, Code::kResourceExhausted},
                                           {ENOENT, Code::kNotFound},          {EACCES, Code::kPermissionDenied},
                                           {EPERM, Code::kPermissionDenied},   {EROFS, Code::kPermissionDenied},
                                           {EIO, Code::kUnavailable},          {EISDIR, Code::kUnavailable}};
  for (const auto& [error, code] : expected) {
    const absl::Status status = PosixError("writing", "/some/file", error);
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("writing /some/file: "));
  }
}

TEST(PosixFolders, ThatCannotBeMadeOrSynced) {
  const TempDir dir;
  EXPECT_EQ(SyncDirectory(dir / "absent").code(), Code::kNotFound);
  EXPECT_EQ(MakeDirectory(dir / "absent/folder").code(), Code::kNotFound);
  EXPECT_TRUE(MakeDirectory(dir / "folder").ok());
  EXPECT_TRUE(MakeDirectory(dir / "folder").ok());
  WriteFile(dir / "file", "x");
  EXPECT_EQ(MakeDirectory(dir / "file").code(), Code::kUnavailable);
  EXPECT_EQ(MakeDirectory(dir / "file/folder").code(), Code::kUnavailable);
}

TEST(PosixLogFiles, SayWhatIsNotThere) {
  const TempDir dir;
  LogFileSystem& files = *PosixLogFileSystem();
  EXPECT_EQ(files.Open(dir / "absent", Mode::kRead).status().code(), Code::kNotFound);
  EXPECT_EQ(files.Rename(dir / "absent", dir / "other").code(), Code::kNotFound);
  EXPECT_EQ(files.Remove(dir / "absent").code(), Code::kNotFound);
  EXPECT_EQ(files.List(dir / "absent").status().code(), Code::kNotFound);
  EXPECT_EQ(files.SyncDir(dir / "absent").code(), Code::kNotFound);
  EXPECT_EQ(files.FreeBytes(dir / "absent"), UINT64_MAX);
}

TEST(PosixLogFiles, ReadWhatThereIs) {
  const TempDir dir;
  WriteFile(dir / "file", "0123456789");
  const auto file = PosixLogFileSystem()->Open(dir / "file", Mode::kRead);
  ASSERT_TRUE(file.ok()) << file.status();
  std::string bytes;
  EXPECT_TRUE((*file)->Read(7, 100, &bytes).ok());
  EXPECT_EQ(bytes, "789");
  EXPECT_TRUE((*file)->Read(10, 1, &bytes).ok());
  EXPECT_EQ(bytes, "");
  EXPECT_EQ(*(*file)->Size(), 10u);
  const auto folder = PosixLogFileSystem()->Open(dir.path(), Mode::kRead);
  ASSERT_TRUE(folder.ok()) << folder.status();
  const absl::Status status = (*folder)->Read(0, 1, &bytes);
  EXPECT_EQ(status.code(), Code::kUnavailable) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("reading " + dir.path()));
}

TEST(PosixLogFiles, SayWhyTheyCannotBeWritten) {
  const std::string_view part = "bytes";
  const auto full = PosixLogFileSystem()->Open("/dev/full", Mode::kWrite);
  ASSERT_TRUE(full.ok()) << full.status();
  EXPECT_EQ((*full)->Write(0, {&part, 1}).code(), Code::kResourceExhausted);
  EXPECT_EQ((*full)->Sync().code(), Code::kUnavailable) << "a device has nothing to sync";
  const TempDir dir;
  WriteFile(dir / "file", "x");
  const auto read_only = PosixLogFileSystem()->Open(dir / "file", Mode::kRead);
  ASSERT_TRUE(read_only.ok());
  EXPECT_EQ((*read_only)->Write(0, {&part, 1}).code(), Code::kUnavailable);
}

// The operating system may write less than it was given; the rest follows, whichever part it is in.
TEST(PosixLogFiles, GoOnAfterAShortWrite) {
  const TempDir dir;
  const std::string first(6000, 'a');
  const std::string second(6000, 'b');
  const std::string_view parts[] = {first, "", second};
  for (const uint64_t limit : {3000u, 6000u, 9000u}) {
    const auto file = PosixLogFileSystem()->Open(dir / "file", Mode::kCreate);
    ASSERT_TRUE(file.ok()) << file.status();
    {
      const FileSizeLimit at_most(limit);
      EXPECT_EQ((*file)->Write(0, parts).code(), Code::kUnavailable);
    }
    EXPECT_EQ(*(*file)->Size(), limit);
    EXPECT_TRUE((*file)->Write(0, parts).ok());
    EXPECT_EQ(ReadFile(dir / "file"), first + second);
  }
}

TEST(DataDirFailures, WhenItsFilesCannotBeWritten) {
  const TempDir dir;
  {
    const FileSizeLimit nothing(0);
    const absl::Status status = LockDataDir(dir / "data").status();
    EXPECT_EQ(status.code(), Code::kUnavailable);
    EXPECT_THAT(std::string(status.message()), HasSubstr(dir / "data/LOCK"));
    EXPECT_EQ(WriteFormat(dir / "data", /*encrypted=*/false).code(), Code::kUnavailable);
  }
  EXPECT_EQ(WriteFormat(dir / "absent", /*encrypted=*/false).code(), Code::kNotFound);
  EXPECT_TRUE(LockDataDir(dir / "data").ok());
}

TEST(DataDirFailures, WhenSomethingElseIsInTheWay) {
  const TempDir dir;
  for (const char* name : {"db", "log"}) {
    ASSERT_TRUE(LockDataDir(dir / "data").ok());
    std::filesystem::remove(dir / "data/" + name);
    WriteFile(dir / "data/" + name, "a file");
    const absl::Status status = LockDataDir(dir / "data").status();
    EXPECT_EQ(status.code(), Code::kUnavailable);
    EXPECT_THAT(std::string(status.message()), HasSubstr(dir / "data/" + name));
    std::filesystem::remove_all(dir / "data");
  }
  std::filesystem::create_directories(dir / "data/FORMAT");
  EXPECT_EQ(CheckFormat(dir / "data").code(), Code::kUnavailable);
  EXPECT_EQ(WriteFormat(dir / "data", /*encrypted=*/false).code(), Code::kUnavailable);
  std::filesystem::remove_all(dir / "data");
  std::filesystem::create_directories(dir / "data/log");
  EXPECT_EQ(LockDataDir(dir / "data").status().code(), Code::kDataLoss) << "a log without a file FORMAT";
  EXPECT_EQ(CheckFormat("/").code(), Code::kNotFound);
}

TEST(DataDirFailures, AnOwnerThatLeftNoNumber) {
  const TempDir dir;
  const auto lock = LockDataDir(dir.path());
  ASSERT_TRUE(lock.ok());
  for (const char* text : {"", "\n"}) {
    WriteFile(dir / "LOCK", text);
    const absl::Status status = LockDataDir(dir.path()).status();
    EXPECT_EQ(status.code(), Code::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr("pid unknown"));
  }
}

}  // namespace
}  // namespace mptd::storage
