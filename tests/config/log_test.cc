#include "metrics/log.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <limits>
#include <mutex>
#include <thread>

#include "gmock/gmock.h"
#include "nlohmann/json.hpp"

namespace mptd {
namespace {

using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::SizeIs;

const absl::Time kTime = absl::FromUnixMillis(1767323045678);  // 2026-01-02T03:04:05.678Z

std::string Text(LogFields fields) {
  return FormatLogLine(LogFormat::kText, kTime, LogLevel::kInfo, LogModule::kStorage, "flushed", fields);
}

std::string Json(LogFields fields) {
  return FormatLogLine(LogFormat::kJson, kTime, LogLevel::kWarn, LogModule::kRpc, "slow_call", fields);
}

TEST(LogFormatTest, TextIsOneLineOfFields) {
  EXPECT_EQ(Text({{"block", 123}, {"rows", uint64_t{456}}, {"duration_ms", absl::Microseconds(7100)}}),
            "2026-01-02T03:04:05.678Z info storage flushed block=123 rows=456 duration_ms=7.1");
  EXPECT_EQ(Text({}), "2026-01-02T03:04:05.678Z info storage flushed");
}

TEST(LogFormatTest, TextQuotesWhatWouldBeMisread) {
  EXPECT_THAT(Text({{"v", "plain/text:1"}}), HasSubstr(" v=plain/text:1"));
  EXPECT_THAT(Text({{"v", ""}}), HasSubstr(" v=\"\""));
  EXPECT_THAT(Text({{"v", "two words"}}), HasSubstr(" v=\"two words\""));
  EXPECT_THAT(Text({{"v", "a=b"}}), HasSubstr(" v=\"a=b\""));
  EXPECT_THAT(Text({{"v", "say \"hi\"\\"}}), HasSubstr(R"( v="say \"hi\"\\")"));
  EXPECT_THAT(Text({{"v", "one\ntwo\r\tthree"}}), HasSubstr(R"( v="one\ntwo\r\tthree")"));
  EXPECT_THAT(Text({{"v", "\x1b[31mred"}}), HasSubstr(R"( v="\u001b[31mred")"));
  EXPECT_THAT(Text({{"v", "gr\xc3\xbc\xc3\x9f"}}), HasSubstr(" v=\"gr\xc3\xbc\xc3\x9f\""));
  EXPECT_THAT(Text({{"v", "\xff"}}), HasSubstr(" v=\"\xef\xbf\xbd\""));
}

TEST(LogFormatTest, EveryTypeOfValue) {
  const std::string owned = "owned";
  const absl::string_view view = "view";
  EXPECT_THAT(Text({{"a", true}, {"b", false}}), HasSubstr(" a=true b=false"));
  EXPECT_THAT(Text({{"a", -1}, {"b", int8_t{-5}}, {"c", std::numeric_limits<int64_t>::min()}}),
              HasSubstr(" a=-1 b=-5 c=-9223372036854775808"));
  EXPECT_THAT(Text({{"a", std::numeric_limits<uint64_t>::max()}, {"b", uint8_t{7}}, {"c", size_t{9}}}),
              HasSubstr(" a=18446744073709551615 b=7 c=9"));
  EXPECT_THAT(Text({{"a", 0.5}, {"b", 1.0f}, {"c", 1e300}}), HasSubstr(" a=0.5 b=1 c=1e+300"));
  EXPECT_THAT(Text({{"a", owned}, {"b", view}, {"c", std::string_view("x")}}), HasSubstr(" a=owned b=view c=x"));
  EXPECT_THAT(Text({{"a_ms", absl::Seconds(2)}, {"b_ms", absl::ZeroDuration()}, {"c_ms", absl::Nanoseconds(1234567)}}),
              HasSubstr(" a_ms=2000 b_ms=0 c_ms=1.235"));
  EXPECT_THAT(Text({{"a_ms", absl::InfiniteDuration()}}), HasSubstr(" a_ms=inf"));
}

TEST(LogFormatTest, JsonIsOneObjectALine) {
  EXPECT_EQ(Json({{"method", "GetProof"}, {"duration_ms", absl::Milliseconds(1500)}, {"ok", true}, {"size", 3}}),
            R"({"timestamp":"2026-01-02T03:04:05.678Z","level":"warn","module":"rpc","event_type":"slow_call",)"
            R"("message":"slow call","context":{"method":"GetProof","duration_ms":1500,"ok":true,"size":3}})");
  EXPECT_TRUE(Json({}).ends_with(R"("context":{}})"));
}

TEST(LogFormatTest, TheMessageSaysWhy) {
  const auto message = [](LogFields fields) { return nlohmann::json::parse(Json(fields))["message"]; };
  EXPECT_EQ(message({{"block", 3}, {"reason", "no \"room\"\n"}}), "slow call: no \"room\"\n");
  EXPECT_EQ(message({{"message", ""}, {"details", "a bit"}}), "slow call: a bit");
  EXPECT_EQ(message({{"reason", 5}}), "slow call");
  EXPECT_EQ(message({{"reason", "\xff"}}), "slow call: \xef\xbf\xbd");
}

TEST(LogFormatTest, JsonStaysJsonWhateverTheValue) {
  const std::string line = Json({{"a", "one\ntwo \"three\" \\ \x01"},
                                 {"b", "\xff\xfe"},
                                 {"c", std::numeric_limits<double>::quiet_NaN()},
                                 {"d", absl::InfiniteDuration()},
                                 {"e", std::numeric_limits<uint64_t>::max()}});
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto json = nlohmann::json::parse(line)["context"];
  EXPECT_EQ(json["a"], "one\ntwo \"three\" \\ \x01");
  EXPECT_EQ(json["b"], "\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_TRUE(json["c"].is_null());
  EXPECT_TRUE(json["d"].is_null());
  EXPECT_EQ(json["e"], std::numeric_limits<uint64_t>::max());
}

TEST(LogFormatTest, LongTextsAreCut) {
  const std::string line = Text({{"v", std::string(1 << 20, 'x')}});
  EXPECT_LT(line.size(), 5000u);
  EXPECT_TRUE(line.ends_with("xxx...\""));
}

TEST(LogNamesTest, RoundTrip) {
  for (const LogLevel level : {LogLevel::kTrace, LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarn, LogLevel::kError,
                               LogLevel::kCritical, LogLevel::kOff}) {
    EXPECT_EQ(ParseLogLevel(Name(level)), level);
  }
  for (const LogModule module :
       {LogModule::kServer, LogModule::kEngine, LogModule::kStorage, LogModule::kRpc, LogModule::kConfig}) {
    EXPECT_EQ(ParseLogModule(Name(module)), module);
  }
  EXPECT_EQ(ParseLogLevel("INFO"), std::nullopt);
  EXPECT_EQ(ParseLogModule(""), std::nullopt);
}

// A logger whose lines can be looked at.
class Captured {
 public:
  explicit Captured(LogOptions options = {}) {
    options.capture = [this](std::string_view line) {
      std::lock_guard lock(mutex_);
      lines_.emplace_back(line);
    };
    absl::StatusOr<std::unique_ptr<Logger>> logger = Logger::Open(std::move(options));
    EXPECT_TRUE(logger.ok()) << logger.status();
    logger_ = *std::move(logger);
  }

  Logger& log() { return *logger_; }
  void Close() { logger_.reset(); }
  std::vector<std::string> Lines() {
    if (logger_ != nullptr) logger_->Flush();
    std::lock_guard lock(mutex_);
    return lines_;
  }
  // What they say, without the time.
  std::vector<std::string> Messages() {
    std::vector<std::string> lines = Lines();
    for (std::string& line : lines) line.erase(0, line.find(' ') + 1);
    return lines;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;  // guarded by mutex_
  std::unique_ptr<Logger> logger_;
};

TEST(LoggerTest, WritesWhatIsLogged) {
  Captured captured;
  captured.log().Info(LogModule::kStorage, "flushed", {{"block", 123}});
  captured.log().Critical(LogModule::kEngine, "corruption");
  EXPECT_THAT(captured.Lines(),
              ElementsAre(ContainsRegex("^20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-9:]{8}\\.[0-9]{3}Z info "
                                        "storage flushed block=123$"),
                          HasSubstr(" critical engine corruption")));
}

TEST(LoggerTest, WritesJson) {
  LogOptions options;
  options.format = "json";
  Captured captured(options);
  captured.log().Warn(LogModule::kRpc, "slow_call", {{"method", "Get"}});
  ASSERT_THAT(captured.Lines(), SizeIs(1));
  const auto json = nlohmann::json::parse(captured.Lines().front());
  EXPECT_EQ(json["level"], "warn");
  EXPECT_EQ(json["module"], "rpc");
  EXPECT_EQ(json["event_type"], "slow_call");
  EXPECT_EQ(json["context"]["method"], "Get");
}

TEST(LoggerTest, LevelsDecide) {
  LogOptions options;
  options.level = "warn";
  options.module_levels = {"rpc=debug", "engine=off"};
  Captured captured(options);
  Logger& log = captured.log();
  EXPECT_EQ(log.level(LogModule::kServer), LogLevel::kWarn);
  EXPECT_EQ(log.level(LogModule::kRpc), LogLevel::kDebug);
  log.Info(LogModule::kServer, "no");
  log.Warn(LogModule::kServer, "yes");
  log.Log(LogLevel::kTrace, LogModule::kRpc, "no");
  log.Debug(LogModule::kRpc, "yes");
  log.Critical(LogModule::kEngine, "no");
  log.Log(LogLevel::kOff, LogModule::kServer, "no");
  EXPECT_FALSE(log.Enabled(LogLevel::kCritical, LogModule::kEngine));
  EXPECT_TRUE(log.Enabled(LogLevel::kDebug, LogModule::kRpc));
  EXPECT_FALSE(log.Enabled(LogLevel::kOff, LogModule::kEngine));
  EXPECT_THAT(captured.Messages(), ElementsAre("warn server yes", "debug rpc yes"));
}

TEST(LoggerTest, LevelsChangeAtRunTime) {
  Captured captured;
  Logger& log = captured.log();
  log.Debug(LogModule::kEngine, "no");
  log.SetLevel(LogModule::kEngine, LogLevel::kDebug);
  log.Debug(LogModule::kEngine, "yes");
  log.Debug(LogModule::kStorage, "no");
  log.SetLevel(LogLevel::kError);
  log.Warn(LogModule::kEngine, "no");
  log.Error(LogModule::kEngine, "yes");
  EXPECT_THAT(captured.Messages(), ElementsAre("debug engine yes", "error engine yes"));
}

TEST(LoggerTest, AScopeAddsItsFieldsToLinesOfItsThread) {
  Captured captured;
  Logger& log = captured.log();
  {
    const std::string id = "r1";
    const std::array outer = {LogField("request_id", id)};
    const LogScope scope(outer);
    log.Info(LogModule::kRpc, "one", {{"a", 1}});
    {
      const std::array inner = {LogField("request_id", "r2"), LogField("b", 2)};
      const LogScope nested(inner);
      log.Info(LogModule::kRpc, "two");
    }
    std::thread([&log] { log.Info(LogModule::kRpc, "three"); }).join();
    log.Info(LogModule::kRpc, "four");
  }
  log.Info(LogModule::kRpc, "five");
  EXPECT_THAT(captured.Messages(), ElementsAre("info rpc one a=1 request_id=r1", "info rpc two request_id=r2 b=2",
                                               "info rpc three", "info rpc four request_id=r1", "info rpc five"));
}

TEST(LoggerTest, AFileIsRotatedByItsSize) {
  std::string dir = testing::TempDir() + "mptd-XXXXXX";
  ASSERT_NE(mkdtemp(dir.data()), nullptr);
  LogOptions options;
  options.file = dir + "/log";
  options.max_file_bytes = 100;
  options.keep_files = 2;
  const auto content = [&](const std::string& suffix) {
    std::ifstream in(options.file + suffix);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  {
    const auto log = Logger::Open(options);
    ASSERT_TRUE(log.ok()) << log.status();
    // Two lines of some 45 bytes fit into a file, three do not.
    for (const int i : {1, 2, 3, 4, 5, 6, 7}) (*log)->Info(LogModule::kRpc, "line", {{"i", i}});
  }
  EXPECT_THAT(content(""), HasSubstr(" i=7\n"));
  EXPECT_THAT(content(".1"), testing::AllOf(HasSubstr(" i=5\n"), HasSubstr(" i=6\n")));
  EXPECT_THAT(content(".2"), testing::AllOf(HasSubstr(" i=3\n"), HasSubstr(" i=4\n")));
  EXPECT_EQ(content(".3"), "");
  std::filesystem::remove_all(dir);
}

// As logrotate's copytruncate does it.
TEST(LoggerTest, AFileMayBeTruncatedByOthers) {
  std::string dir = testing::TempDir() + "mptd-XXXXXX";
  ASSERT_NE(mkdtemp(dir.data()), nullptr);
  LogOptions options;
  options.file = dir + "/log";
  options.max_file_bytes = 100;
  const auto log = Logger::Open(options);
  ASSERT_TRUE(log.ok()) << log.status();
  (*log)->Info(LogModule::kRpc, "line", {{"i", 1}});
  (*log)->Info(LogModule::kRpc, "line", {{"i", 2}});
  (*log)->Flush();
  std::filesystem::resize_file(options.file, 0);
  (*log)->Info(LogModule::kRpc, "line", {{"i", 3}});
  (*log)->Flush();
  EXPECT_FALSE(std::filesystem::exists(options.file + ".1"));
  EXPECT_LT(std::filesystem::file_size(options.file), 60u);
  std::filesystem::remove_all(dir);
}

// As a disk that is full has it: a line is written in part, and the next ones not at all.
TEST(LoggerTest, HalfALineDoesNotStay) {
  std::string dir = testing::TempDir() + "mptd-XXXXXX";
  ASSERT_NE(mkdtemp(dir.data()), nullptr);
  LogOptions options;
  options.file = dir + "/log";
  options.format = "json";
  const auto log = Logger::Open(options);
  ASSERT_TRUE(log.ok()) << log.status();
  (*log)->Info(LogModule::kRpc, "before");
  (*log)->Flush();
  rlimit usual{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &usual), 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  rlimit full = usual;
  full.rlim_cur = std::filesystem::file_size(options.file) + 20;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &full), 0);
  (*log)->Info(LogModule::kRpc, "lost");
  (*log)->Info(LogModule::kRpc, "lost_as_well");
  (*log)->Flush();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &usual), 0);
  signal(SIGXFSZ, handler);
  EXPECT_GE((*log)->lost(), 2u);
  (*log)->Info(LogModule::kRpc, "after");
  (*log)->Flush();

  std::ifstream in(options.file);
  std::vector<std::string> events;
  for (std::string line; std::getline(in, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    ASSERT_TRUE(json.is_object()) << line;
    if (json["event_type"] != "log_lines_lost") events.push_back(json["event_type"]);
  }
  EXPECT_THAT(events, ElementsAre("before", "after"));
  std::filesystem::remove_all(dir);
}

TEST(LoggerTest, BadOptionsAreRefused) {
  LogOptions level;
  level.level = "loud";
  EXPECT_EQ(Logger::Open(level).status(), absl::InvalidArgumentError("\"loud\" is not a log level"));
  LogOptions format;
  format.format = "xml";
  EXPECT_EQ(Logger::Open(format).status(), absl::InvalidArgumentError("\"xml\" is not a log format"));
  for (const char* text : {"rpc", "rpc=", "=info", "", "rpc=loud", "core=info"}) {
    LogOptions module;
    module.module_levels = {text};
    EXPECT_EQ(Logger::Open(module).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  LogOptions file;
  file.file = "/nowhere/mptd.log";
  EXPECT_EQ(Logger::Open(file).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Logger::Open(file).status().message()), HasSubstr("/nowhere/mptd.log"));
}

TEST(LoggerTest, SilentSaysNothing) {
  const std::unique_ptr<Logger> log = Logger::Silent();
  EXPECT_FALSE(log->Enabled(LogLevel::kCritical, LogModule::kServer));
  log->Critical(LogModule::kServer, "no");
  log->SetLevel(LogLevel::kTrace);
  log->Critical(LogModule::kServer, "no");
  log->Flush();
  EXPECT_TRUE(log->Reopen().ok());
  EXPECT_EQ(log->lost(), 0u);
}

TEST(LoggerTest, ClosingWritesWhatIsQueued) {
  Captured captured;
  constexpr int kLines = 5000;
  for (int i = 0; i < kLines; ++i) captured.log().Info(LogModule::kServer, "line", {{"i", i}});
  captured.Close();
  const std::vector<std::string> lines = captured.Messages();
  ASSERT_THAT(lines, SizeIs(kLines));
  for (int i = 0; i < kLines; ++i) EXPECT_EQ(lines[static_cast<size_t>(i)], "info server line i=" + std::to_string(i));
}

TEST(LoggerTest, ManyThreadsLogAndChangeLevels) {
  LogOptions options;
  constexpr int kThreads = 4;
  constexpr int kLines = 1000;
  options.queue_lines = kThreads * kLines + kThreads;
  Captured captured(options);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&captured, t] {
      for (int i = 0; i < kLines; ++i) {
        captured.log().Error(LogModule::kEngine, "line", {{"thread", t}, {"i", i}});
        captured.log().SetLevel(i % 2 == 0 ? LogLevel::kInfo : LogLevel::kWarn);
      }
      captured.log().Flush();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(captured.Lines(), SizeIs(kThreads * kLines));
  EXPECT_EQ(captured.log().lost(), 0u);
}

// Nobody waits for a log that is stuck: the oldest lines give way, and the log says how many.
TEST(LoggerTest, AFullQueueDropsTheOldestLines) {
  std::promise<void> entered;
  std::promise<void> leave;
  const std::shared_future<void> left(leave.get_future());
  std::atomic<bool> first = true;
  std::mutex mutex;
  std::vector<std::string> lines;
  LogOptions options;
  options.queue_lines = 10;
  options.capture = [&](std::string_view line) {
    if (first.exchange(false)) entered.set_value();
    left.wait();
    std::lock_guard lock(mutex);
    lines.emplace_back(line.substr(line.find(' ') + 1));
  };
  absl::StatusOr<std::unique_ptr<Logger>> log = Logger::Open(options);
  ASSERT_TRUE(log.ok()) << log.status();
  (*log)->Info(LogModule::kServer, "line", {{"i", -1}});
  entered.get_future().wait();
  for (int i = 0; i < 100; ++i) (*log)->Info(LogModule::kServer, "line", {{"i", i}});
  EXPECT_EQ((*log)->lost(), 90u);
  leave.set_value();
  log->reset();
  ASSERT_THAT(lines, SizeIs(12));
  EXPECT_EQ(lines[0], "info server line i=-1");
  EXPECT_EQ(lines[1], "warn server log_lines_lost lost_so_far=90");
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(lines[static_cast<size_t>(i) + 2], "info server line i=" + std::to_string(90 + i));
}

std::vector<std::string> LinesOf(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line.substr(line.find(' ') + 1));
  return lines;
}

TEST(LoggerTest, FilesAreAppendedToAndReopened) {
  const std::string path = testing::TempDir() + "mptd-log-" + std::to_string(getpid());
  const std::string moved = path + ".1";
  LogOptions options;
  options.file = path;
  for (int run = 0; run < 2; ++run) {
    absl::StatusOr<std::unique_ptr<Logger>> log = Logger::Open(options);
    ASSERT_TRUE(log.ok()) << log.status();
    (*log)->Info(LogModule::kServer, "started", {{"run", run}});
  }
  EXPECT_THAT(LinesOf(path), ElementsAre("info server started run=0", "info server started run=1"));

  absl::StatusOr<std::unique_ptr<Logger>> log = Logger::Open(options);
  ASSERT_TRUE(log.ok()) << log.status();
  ASSERT_EQ(std::rename(path.c_str(), moved.c_str()), 0);
  (*log)->Info(LogModule::kServer, "before");
  (*log)->Flush();
  EXPECT_TRUE((*log)->Reopen().ok());
  (*log)->Info(LogModule::kServer, "after");
  (*log)->Flush();
  EXPECT_THAT(LinesOf(moved), ElementsAre(MatchesRegex(".*run=0"), MatchesRegex(".*run=1"), "info server before"));
  EXPECT_THAT(LinesOf(path), ElementsAre("info server after"));
  std::remove(path.c_str());
  std::remove(moved.c_str());
}

TEST(LoggerTest, LinesThatCannotBeWrittenAreCounted) {
  LogOptions options;
  options.file = "/dev/full";
  absl::StatusOr<std::unique_ptr<Logger>> log = Logger::Open(options);
  ASSERT_TRUE(log.ok()) << log.status();
  (*log)->Info(LogModule::kServer, "line");
  (*log)->Flush();
  EXPECT_GE((*log)->lost(), 1u);
}

TEST(LoggerTest, StandardErrorIsTheDefault) {
  testing::internal::CaptureStderr();
  {
    absl::StatusOr<std::unique_ptr<Logger>> log = Logger::Open({});
    ASSERT_TRUE(log.ok()) << log.status();
    (*log)->Info(LogModule::kConfig, "loaded", {{"file", "a b"}});
  }
  EXPECT_THAT(testing::internal::GetCapturedStderr(), MatchesRegex("20.*Z info config loaded file=\"a b\"\n"));
}

// A reader that went away must not take the daemon with it.
TEST(LoggerTest, AClosedPipeIsSurvived) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const int saved = dup(STDERR_FILENO);
  ASSERT_EQ(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
  close(ends[0]);
  close(ends[1]);
  uint64_t lost = 0;
  {
    absl::StatusOr<std::unique_ptr<Logger>> log = Logger::Open({});
    ASSERT_TRUE(log.ok());
    (*log)->Info(LogModule::kServer, "line");
    (*log)->Flush();
    lost = (*log)->lost();
  }
  ASSERT_EQ(dup2(saved, STDERR_FILENO), STDERR_FILENO);
  close(saved);
  EXPECT_GE(lost, 1u);
}

}  // namespace
}  // namespace mptd
