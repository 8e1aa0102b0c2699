// The audit log: every kind of tampering is found, and nothing that a crash or a full disk does is taken for it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "security/audit_log.h"
#include "security/audit_verify.h"

namespace mptd::security {
namespace {

using ::testing::HasSubstr;

class AuditTest : public ::testing::Test {
 protected:
  AuditTest() {
    std::string name = (std::filesystem::temp_directory_path() / "mptd-audit-XXXXXX").string();
    dir_ = mkdtemp(name.data());
    file_ = dir_ + "/audit.log";
  }
  ~AuditTest() override { std::filesystem::remove_all(dir_); }

  std::unique_ptr<AuditLog> Open() const {
    auto opened = AuditLog::Open({.file = file_, .write = {}});
    EXPECT_TRUE(opened.ok()) << opened.status();
    return *std::move(opened);
  }
  static AuditEntry Block(uint64_t number) {
    return {.time = absl::FromUnixSeconds(1'700'000'000),
            .event = "block_applied",
            .caller = "cert:CN=consensus",
            .method = "ApplyStateChanges",
            .block = number,
            .root = "0x01",
            .code = "OK",
            .request_id = absl::StrCat("r", number)};
  }
  void Add(AuditLog& log, uint64_t first, uint64_t last) const {
    for (uint64_t n = first; n <= last; ++n) log.Add(Block(n));
  }
  // A process that writes long lines until it is killed, in the middle of one or not, which is not before it has said
  // of `at_least` that they are written. How many it has said that of.
  uint64_t LinesUntilKilled(uint64_t at_least) const {
    int pipe_fds[2];
    EXPECT_EQ(pipe(pipe_fds), 0);
    const pid_t child = fork();
    EXPECT_GE(child, 0);
    if (child == 0) {
      auto log = AuditLog::Open({.file = file_, .write = {}});
      if (!log.ok()) _exit(1);
      AuditEntry entry = Block(1);
      entry.reason = std::string(1000, 'x');
      for (uint64_t n = 1;; ++n) {
        (*log)->Add(entry);
        if (write(pipe_fds[1], &n, sizeof(n)) != sizeof(n)) _exit(2);
      }
    }
    close(pipe_fds[1]);
    uint64_t told = 0;
    while (told < at_least) {
      if (read(pipe_fds[0], &told, sizeof(told)) != sizeof(told)) break;
    }
    kill(child, SIGKILL);
    while (read(pipe_fds[0], &told, sizeof(told)) == sizeof(told)) {
    }
    close(pipe_fds[0]);
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status)) << status;
    EXPECT_GE(told, at_least);
    return told;
  }
  static std::string Read(const std::string& file) {
    std::ostringstream out;
    out << std::ifstream(file, std::ios::binary).rdbuf();
    return out.str();
  }
  static void Write(const std::string& file, std::string_view text) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << text;
  }
  static std::vector<std::string> Lines(const std::string& text) {
    std::vector<std::string> lines = absl::StrSplit(text, '\n');
    lines.pop_back();
    return lines;
  }
  static std::string Joined(const std::vector<std::string>& lines) {
    std::string out;
    for (const std::string& line : lines) out += line + "\n";
    return out;
  }
  absl::StatusOr<AuditReport> Verify(const std::string& expect = "") const {
    const std::string files[] = {file_};
    return VerifyAudit(files, expect);
  }
  // Why a file with this text is refused; "" when it is not.
  std::string Broken(const std::string& text, const std::string& expect = "") const {
    const std::string path = dir_ + "/tampered";
    Write(path, text);
    const std::string files[] = {path};
    const auto report = VerifyAudit(files, expect);
    if (report.ok()) return "";
    EXPECT_EQ(report.status().code(), absl::StatusCode::kDataLoss);
    return std::string(report.status().message());
  }

  std::string dir_;
  std::string file_;
};

TEST_F(AuditTest, LinesAreChainedAndGoOnAfterARestart) {
  AuditHead head;
  {
    const auto log = Open();
    Add(*log, 1, 3);
    head = log->status().head;
  }
  EXPECT_EQ(head.seq, 3u);
  {
    const auto log = Open();
    EXPECT_EQ(log->status().head, head);
    Add(*log, 4, 5);
    head = log->status().head;
  }
  const auto report = Verify(head.hash);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->lines, 5u);
  EXPECT_EQ(report->first_seq, 1u);
  EXPECT_EQ(report->head, head);
  struct stat info {};
  ASSERT_EQ(stat(file_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

// The format is read years later, by other programs, too: this line was sealed by Python's hashlib.
TEST_F(AuditTest, TheFormatDoesNotChange) {
  AuditHead head;
  AuditEntry entry = Block(7);
  entry.reason = "quote \" line\nbreak \xff";
  const std::string line = SealLine(entry, head);
  EXPECT_EQ(line, R"({"seq":1,"time":"2023-11-14T22:13:20.000Z","event":"block_applied","caller":"cert:CN=consensus",)"
                  R"("method":"ApplyStateChanges","block":7,"root":"0x01","code":"OK",)"
                  R"("reason":"quote \" line\nbreak \ufffd","request_id":"r7",)"
                  R"("prev":"0000000000000000000000000000000000000000000000000000000000000000",)"
                  R"("hash":"04a8ab7c569e6c82d488389a50c4333480b9b9584bbd30becf7120344fbb8bc8"})");
  EXPECT_TRUE(OpenLine(line).has_value());
}

TEST_F(AuditTest, EveryFlippedBitIsFoundWhereItIs) {
  {
    const auto log = Open();
    Add(*log, 1, 3);
  }
  const std::string good = Read(file_);
  const size_t second = good.find('\n') + 1;
  const size_t third = good.find('\n', second) + 1;
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
    const std::string why = Broken(bad);
    EXPECT_NE(why, "") << "byte " << i;
    // A newline that is gone makes one line of two.
    const int line = i < second ? 1 : i < third ? 2 : 3;
    EXPECT_THAT(why, HasSubstr(absl::StrCat("tampered:", line))) << "byte " << i;
  }
}

TEST_F(AuditTest, DeletedSwappedInsertedAndTruncatedLines) {
  {
    const auto log = Open();
    Add(*log, 1, 5);
  }
  const std::string good = Read(file_);
  const std::string head = OpenLine(Lines(good)[4])->hash;
  EXPECT_EQ(Broken(good, head), "");

  auto lines = Lines(good);
  lines.erase(lines.begin() + 2);
  EXPECT_THAT(Broken(Joined(lines)), HasSubstr("tampered:3: is line 4 and does not follow line 2"));
  lines = Lines(good);
  std::swap(lines[1], lines[2]);
  EXPECT_THAT(Broken(Joined(lines)), HasSubstr("tampered:2: is line 3"));
  lines = Lines(good);
  lines.insert(lines.begin() + 1, lines[0]);
  EXPECT_THAT(Broken(Joined(lines)), HasSubstr("tampered:2: begins another chain"));
  lines = Lines(good);
  lines.insert(lines.begin() + 2, R"({"seq":3,"event":"made up"})");
  EXPECT_THAT(Broken(Joined(lines)), HasSubstr("tampered:3: the line is not as it was written"));
  lines = Lines(good);
  lines.insert(lines.begin() + 2, "");
  EXPECT_THAT(Broken(Joined(lines)), HasSubstr("tampered:3"));
  // A line that was sealed anew: what follows no longer does.
  AuditHead before{.seq = 1, .hash = OpenLine(Lines(good)[0])->hash};
  lines = Lines(good);
  lines[1] = SealLine(Block(99), before);
  EXPECT_THAT(Broken(Joined(lines)), HasSubstr("tampered:3: is line 3 and does not follow line 2"));
  // Missing from the front: the rest is a part of a chain, and says so.
  lines = Lines(good);
  lines.erase(lines.begin());
  Write(file_, Joined(lines));
  EXPECT_EQ(Verify()->first_seq, 2u);
  EXPECT_NE(Broken(""), "");
}

TEST_F(AuditTest, ATailThatIsCutOffIsFoundByTheHashThatWasExpected) {
  {
    const auto log = Open();
    Add(*log, 1, 5);
  }
  const std::string good = Read(file_);
  auto lines = Lines(good);
  const std::string head = OpenLine(lines[4])->hash;
  lines.resize(3);
  EXPECT_EQ(Broken(Joined(lines)), "") << "which nothing else could tell from a log that has only three lines";
  EXPECT_THAT(Broken(Joined(lines), head), HasSubstr("the newest lines were removed; the last one left is line 3"));
  Write(file_, good);
  EXPECT_EQ(Verify(OpenLine(lines[2])->hash)->after_expected, 2u);
  // Everywhere within a line.
  const size_t fourth = Joined(lines).size();
  for (size_t size = fourth + 1; size < good.size(); ++size) {
    if (good[size - 1] == '\n') continue;
    EXPECT_NE(Broken(good.substr(0, size)), "") << size;
  }
}

TEST_F(AuditTest, ATornLineIsToldOfWhereverItWasTorn) {
  {
    const auto log = Open();
    Add(*log, 1, 2);
  }
  const std::string good = Read(file_);
  const size_t second = good.find('\n') + 1;
  for (size_t size = 1; size <= good.size(); ++size) {
    // Around the ends of lines everywhere, else here and there: each try syncs a file.
    if (size % 23 != 0 && size + 2 < good.size() && (size + 2 < second || size > second + 2)) continue;
    Write(file_, good.substr(0, size));
    Open()->Add(Block(3));
    const auto report = Verify();
    ASSERT_TRUE(report.ok()) << size << ": " << report.status();
    // The newline alone may be missing: then nothing was torn.
    const bool whole = size == second - 1 || size == second || size >= good.size() - 1;
    EXPECT_EQ(report->torn, whole ? 0u : 1u) << size;
    const std::string text = Read(file_);
    EXPECT_EQ(Broken(text), "");
    if (whole) continue;
    // What was torn is kept as it was found.
    std::string bad = text;
    const size_t at = size - 1;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    EXPECT_NE(Broken(bad), "") << size;
  }
}

TEST_F(AuditTest, TornTwiceInARow) {
  {
    const auto log = Open();
    Add(*log, 1, 1);
  }
  const std::string good = Read(file_);
  Write(file_, good + "{\"seq\":2,\"ti\n{\"seq\":2,\"time\":\"2");
  Open()->Add(Block(2));
  EXPECT_EQ(Verify()->torn, 1u);
}

TEST_F(AuditTest, AnotherFileIsNotGoneOnWith) {
  Write(file_, "something\nelse\n");
  const auto opened = AuditLog::Open({.file = file_, .write = {}});
  ASSERT_FALSE(opened.ok());
  EXPECT_THAT(std::string(opened.status().message()), HasSubstr("not of an audit log"));
  EXPECT_EQ(Read(file_), "something\nelse\n");
}

TEST_F(AuditTest, TwoWritersAreOneTooMany) {
  const auto log = Open();
  const auto other = AuditLog::Open({.file = file_, .write = {}});
  ASSERT_FALSE(other.ok());
  EXPECT_THAT(std::string(other.status().message()), HasSubstr("another process"));
  const std::string link = dir_ + "/link";
  ASSERT_EQ(symlink(file_.c_str(), link.c_str()), 0);
  EXPECT_FALSE(AuditLog::Open({.file = link, .write = {}}).ok()) << "a link could lead anywhere";
}

TEST_F(AuditTest, TheChainGoesOnInTheNextFile) {
  const std::string old = dir_ + "/audit.log.1";
  const auto log = Open();
  Add(*log, 1, 3);
  EXPECT_TRUE(log->Reopen().ok());
  EXPECT_EQ(log->status().head.seq, 3u) << "the file is still there";
  std::filesystem::rename(file_, old);
  ASSERT_TRUE(log->Reopen().ok());
  Add(*log, 4, 4);
  const std::string both[] = {old, file_};
  const auto report = VerifyAudit(both, log->status().head.hash);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->lines, 5u);
  const auto first = OpenLine(Lines(Read(file_))[0]);
  EXPECT_EQ(first->event, "continued");
  EXPECT_EQ(first->prev, OpenLine(Lines(Read(old))[2])->hash);
  const std::string swapped[] = {file_, old};
  EXPECT_FALSE(VerifyAudit(swapped, "").ok());
  // A file between the two is missing.
  std::filesystem::rename(file_, dir_ + "/audit.log.2");
  ASSERT_TRUE(log->Reopen().ok());
  const std::string gap[] = {old, file_};
  EXPECT_THAT(std::string(VerifyAudit(gap, "").status().message()), HasSubstr("does not follow line 3"));
}

// A disk that is full for a while, in the middle of a line too.
TEST_F(AuditTest, LinesThatCannotBeWrittenWaitAndChangesWithThem) {
  std::atomic<int64_t> room{1 << 20};
  const auto write_some = [&room](int fd, const void* data, size_t size) -> ssize_t {
    const auto n = std::min<int64_t>(room, static_cast<int64_t>(size));
    if (n == 0) {
      errno = ENOSPC;
      return -1;
    }
    room -= n;
    return write(fd, data, static_cast<size_t>(n));
  };
  for (const int64_t left : {0, 1, 100, 250}) {
    std::filesystem::remove(file_);
    room = 1 << 20;
    auto log = *AuditLog::Open({.file = file_, .required = true, .max_waiting = 3, .write = write_some});
    Add(*log, 1, 2);
    EXPECT_TRUE(log->CheckWritable().ok());
    room = left;
    Add(*log, 3, 3);
    const absl::Status full = log->CheckWritable();
    EXPECT_EQ(full.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(full.message()), HasSubstr("No space left"));
    Add(*log, 4, 8);
    EXPECT_EQ(log->status().waiting, 3u);
    EXPECT_EQ(log->status().lost, 3u);
    EXPECT_FALSE(Verify().ok() && left != 0) << "the file ends in a part of a line";
    room = 1 << 20;
    EXPECT_TRUE(log->CheckWritable().ok());
    EXPECT_EQ(log->status().waiting, 0u);
    const auto report = Verify(log->status().head.hash);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->torn, left == 0 ? 0u : 1u);
    EXPECT_THAT(Read(file_), HasSubstr("3 lines could not be written or kept"));
    EXPECT_THAT(Read(file_), HasSubstr("\"block\":5"));
  }
}

TEST_F(AuditTest, WithoutBeingRequiredChangesGoOn) {
  const auto fail = [](int, const void*, size_t) -> ssize_t {
    errno = EIO;
    return -1;
  };
  const auto log = *AuditLog::Open({.file = file_, .required = false, .write = fail});
  log->Add(Block(1));
  EXPECT_TRUE(log->CheckWritable().ok());
  EXPECT_EQ(log->status().waiting, 1u);
}

TEST_F(AuditTest, ManyThreadsWriteOneChain) {
  const auto log = Open();
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&log, t] {
      for (uint64_t n = 0; n < 200; ++n) log->Add(Block(t * 1000 + n));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Verify(log->status().head.hash)->lines, 800u);
}

// Whoever is refused a thousand times a second does not fill the disk, and yet it is known how often it was.
TEST_F(AuditTest, RefusalsThatAreTooManyAreCounted) {
  auto log = *AuditLog::Open({.file = file_, .max_refusals = 3, .refusals_per_second = 2, .write = {}});
  const absl::Time start = absl::FromUnixSeconds(1'700'000'000);
  const auto refuse = [&](absl::Time when) {
    if (log->HasRoomForRefusal(when)) log->Add({.time = when, .event = "refused"});
  };
  for (int i = 0; i < 100; ++i) refuse(start);
  EXPECT_EQ(log->status().left_out, 97u);
  log->Add(Block(1));  // what is no refusal is always written
  for (int i = 0; i < 100; ++i) refuse(start + absl::Seconds(1));
  EXPECT_EQ(log->status().left_out, 97u + 98u);
  refuse(start - absl::Hours(1));  // the clock is set back
  EXPECT_EQ(log->status().left_out, 97u + 98u + 1u);
  log.reset();
  ASSERT_TRUE(Verify().ok());
  uint64_t told = 0;
  uint64_t written = 0;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(Read(file_), '\n'))) {
    if (line.find("\"event\":\"refused\"") != std::string::npos) ++written;
    const size_t reason = line.find("\"reason\":\"");
    if (line.find("\"event\":\"refusals_left_out\"") == std::string::npos) continue;
    told += std::stoull(line.substr(reason + std::string_view("\"reason\":\"").size()));
  }
  EXPECT_EQ(written, 5u);
  EXPECT_EQ(told, 196u) << Read(file_);
}

// Lines are there as soon as Add has returned, however the process ends; and whatever it leaves, the chain goes on.
TEST_F(AuditTest, AProcessThatIsKilledAgainAndAgainLosesNoLine) {
  uint64_t told = 0;
  for (uint64_t kills = 0; kills < 20; ++kills) told += LinesUntilKilled(/*at_least=*/20 + 7 * kills);
  Open()->Add(Block(0));
  const auto report = Verify();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_GE(report->lines, told + 1);
}

}  // namespace
}  // namespace mptd::security
