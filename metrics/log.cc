#include "metrics/log.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "nlohmann/json.hpp"
#include "spdlog/async_logger.h"
#include "spdlog/details/thread_pool.h"
#include "spdlog/sinks/sink.h"

namespace mptd {
namespace {

constexpr std::string_view kLevelNames[] = {"trace", "debug", "info", "warn", "error", "critical", "off"};
constexpr std::string_view kModuleNames[] = {"server", "engine", "storage", "rpc", "config"};
static_assert(std::size(kModuleNames) == kLogModules);

// Longer texts are cut, so that nothing a client sends can fill the disk with one line.
constexpr size_t kMaxTextBytes = 4096;

// Text in double quotes as JSON has it; bytes that are not UTF-8 become U+FFFD.
std::string Quoted(std::string_view text) {
  const bool cut = text.size() > kMaxTextBytes;
  std::string shown(text.substr(0, kMaxTextBytes));
  if (cut) shown += "...";
  return nlohmann::json(std::move(shown)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

bool NeedsQuotes(std::string_view text) {
  if (text.empty() || text.size() > kMaxTextBytes) return true;
  for (const char c : text) {
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f)
      return true;  // char is signed: beyond ASCII as well
  }
  return false;
}

// JSON has no infinity, and no "not a number".
std::string Number(double value, LogFormat format) {
  if (format == LogFormat::kJson && !std::isfinite(value)) return "null";
  return absl::StrFormat("%.10g", value);
}

std::string Milliseconds(absl::Duration value, LogFormat format) {
  const double milliseconds = absl::ToDoubleMilliseconds(value);
  if (!std::isfinite(milliseconds)) return Number(milliseconds, format);
  std::string text = absl::StrFormat("%.3f", milliseconds);
  text.resize(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

std::string FormatFieldValue(const LogField::Value& value, LogFormat format) {
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    return format == LogFormat::kJson || NeedsQuotes(*text) ? Quoted(*text) : std::string(*text);
  }
  if (const auto* truth = std::get_if<bool>(&value)) return *truth ? "true" : "false";
  if (const auto* number = std::get_if<int64_t>(&value)) return absl::StrFormat("%d", *number);
  if (const auto* number = std::get_if<uint64_t>(&value)) return absl::StrFormat("%d", *number);
  if (const auto* number = std::get_if<double>(&value)) return Number(*number, format);
  return Milliseconds(std::get<absl::Duration>(value), format);
}

// What happened, for people who see nothing else of a line.
std::string InWords(LogName event, LogFields fields) {
  std::string words(event.view());
  std::replace(words.begin(), words.end(), '_', ' ');
  for (const LogField& field : fields) {
    if (field.name() != "reason" && field.name() != "details" && field.name() != "message") continue;
    const auto* text = std::get_if<std::string_view>(&field.value());
    if (text != nullptr && !text->empty()) words.append(": ").append(*text);
  }
  return words;
}

template <typename E, size_t n>
std::optional<E> Parse(std::string_view name, const std::string_view (&names)[n]) {
  for (size_t i = 0; i < n; ++i) {
    if (names[i] == name) return static_cast<E>(i);
  }
  return std::nullopt;
}

absl::StatusOr<int> OpenForAppending(const std::string& file) {
  constexpr mode_t kMode = 0640;
  const int fd = open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, kMode);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrFormat("cannot open the log file %s", file));
  return fd;
}

// What a file is rotated by.
struct Rotation {
  uint64_t max_bytes;  // 0: never
  uint64_t keep_files;
};

std::string NameOfOld(const std::string& file, uint64_t number) { return absl::StrFormat("%s.%d", file, number); }

// FILE becomes FILE.1, that FILE.2 and so on; the last one is dropped.
absl::Status RenameOld(const std::string& file, uint64_t keep_files) {
  for (uint64_t i = keep_files; i > 1; --i) {
    (void)std::rename(NameOfOld(file, i - 1).c_str(), NameOfOld(file, i).c_str());  // there may be none yet
  }
  if (std::rename(file.c_str(), NameOfOld(file, 1).c_str()) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrFormat("cannot rename the log file %s", file));
}

// How much of it could be written. A descriptor that does not block, as a supervisor may have set up standard error, is
// waited for.
size_t WriteWhatFits(int fd, std::string_view data) {
  constexpr int kWaitMilliseconds = 1000;
  size_t done = 0;
  while (done < data.size()) {
    const ssize_t written = write(fd, data.data() + done, data.size() - done);
    if (written >= 0) {
      done += static_cast<size_t>(written);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) break;
    pollfd ready{.fd = fd, .events = POLLOUT, .revents = 0};
    if (poll(&ready, 1, kWaitMilliseconds) == 0) break;
  }
  return done;
}

// Takes the last `bytes` of a file away again; false when that is not possible.
bool TakeBack(int fd, size_t bytes) {
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || static_cast<size_t>(info.st_size) < bytes) return false;
  return ftruncate(fd, info.st_size - static_cast<off_t>(bytes)) == 0;
}

// The logger's thread must neither take the signals that main() waits for, nor die of a closed pipe.
void BlockSignals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

// Where lines end up. log() is called by the logger's one thread, the rest by any.
//
// Each line is one write() to a descriptor opened for appending: nothing is buffered here that a crash could lose, and
// a file may be truncated or shared by others. spdlog's own sinks go through FILE and would need flushing.
class LineSink final : public spdlog::sinks::sink {
 public:
  // `fd` is owned unless it is standard error.
  LineSink(LogFormat format, std::string file, Rotation rotation, int fd, std::function<void(std::string_view)> capture)
      : format_(format), file_(std::move(file)), rotation_(rotation), capture_(std::move(capture)), fd_(fd) {}
  ~LineSink() override {
    if (!file_.empty()) close(fd_);
  }
  LineSink(const LineSink&) = delete;
  LineSink& operator=(const LineSink&) = delete;

  static constexpr absl::Duration kReportInterval = absl::Seconds(1);
  // Lines of this level are not written: their text is the number of a flush.
  static constexpr spdlog::level::level_enum kFlushMark = spdlog::level::off;

  void log(const spdlog::details::log_msg& message) override {
    const std::string_view text(message.payload.data(), message.payload.size());
    if (message.level != kFlushMark) {
      WriteLine(text);
      if (const absl::Time now = absl::Now(); now >= next_report_) {
        ReportLost();
        next_report_ = now + kReportInterval;
      }
      return;
    }
    const uint64_t number = std::stoull(std::string(text));
    std::lock_guard lock(mutex_);
    flushed_ = std::max(flushed_, number);
    flushed_changed_.notify_all();
  }
  void flush() override {}
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

  bool WaitForFlush(uint64_t number, std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    return flushed_changed_.wait_for(lock, timeout, [this, number] { return flushed_ >= number; });
  }

  absl::Status Reopen() {
    if (file_.empty()) return absl::OkStatus();
    absl::StatusOr<int> fd = OpenForAppending(file_);
    if (!fd.ok()) return fd.status();
    std::lock_guard lock(mutex_);
    close(std::exchange(fd_, *fd));
    return absl::OkStatus();
  }

  // How many lines the queue has dropped; before the first line is logged.
  void CountDropped(std::function<uint64_t()> dropped) { dropped_ = std::move(dropped); }
  // Lines lost so far.
  uint64_t Lost() const { return dropped_() + failed_.load(std::memory_order_relaxed); }
  // Tells in the log itself how many lines are missing from it, when there are more than it says yet. On the logger's
  // thread.
  void ReportLost() {
    const uint64_t lost = Lost();
    if (lost == reported_) return;
    reported_ = lost;
    WriteLine(FormatLogLine(format_, absl::Now(), LogLevel::kWarn, LogModule::kServer, "log_lines_lost",
                            {{"lost_so_far", lost}}));
  }

 private:
  void WriteLine(std::string_view line) {
    if (capture_) return capture_(line);
    buffer_.assign(broken_off_ ? "\n" : "");
    buffer_.append(line);
    buffer_.push_back('\n');
    std::lock_guard lock(mutex_);
    if (rotation_.max_bytes != 0 && !file_.empty()) RotateFor(buffer_.size());
    const size_t written = WriteWhatFits(fd_, buffer_);
    if (written < buffer_.size()) {
      failed_.fetch_add(1, std::memory_order_relaxed);
      // The disk is full, say. Half a line would make the next one unreadable, too, for whoever parses them.
      if (written > 0) broken_off_ = file_.empty() || !TakeBack(fd_, written);
    } else {
      broken_off_ = false;
    }
  }

  // Begins a new file when `bytes` more would make this one too long. What cannot be renamed or opened goes on as it
  // is, and is tried again: the log is worth more than its length. With the lock.
  void RotateFor(size_t bytes) {
    struct stat info {};  // asked, as others may truncate the file
    if (fstat(fd_, &info) != 0 || info.st_size == 0) return;
    if (static_cast<uint64_t>(info.st_size) + bytes <= rotation_.max_bytes) return;
    if (!RenameOld(file_, rotation_.keep_files).ok()) return;
    const absl::StatusOr<int> fd = OpenForAppending(file_);
    if (fd.ok()) close(std::exchange(fd_, *fd));
  }

  // Constant after construction.
  const LogFormat format_;
  const std::string file_;
  const Rotation rotation_;
  const std::function<void(std::string_view)> capture_;
  std::function<uint64_t()> dropped_;
  // Of the logger's thread.
  std::string buffer_;
  bool broken_off_ = false;  // the last thing written is half a line
  uint64_t reported_ = 0;
  absl::Time next_report_ = absl::InfinitePast();
  // Synchronises itself.
  std::atomic<uint64_t> failed_{0};

  // Not absl::Mutex: the distribution's Abseil is built without the hooks that ThreadSanitizer needs to see it.
  std::mutex mutex_;
  std::condition_variable flushed_changed_;
  // Guarded by mutex_.
  int fd_;
  uint64_t flushed_ = 0;
};

struct Levels {
  std::array<LogLevel, kLogModules> of_module;
};

absl::StatusOr<Levels> ParseLevels(const LogOptions& options) {
  const std::optional<LogLevel> level = ParseLogLevel(options.level);
  if (!level) return absl::InvalidArgumentError(absl::StrFormat("\"%s\" is not a log level", options.level));
  Levels levels;
  levels.of_module.fill(*level);
  for (const std::string& text : options.module_levels) {
    const size_t equals = std::min(text.find('='), text.size());
    const std::optional<LogModule> module = ParseLogModule(std::string_view(text).substr(0, equals));
    const std::optional<LogLevel> own = ParseLogLevel(std::string_view(text).substr(std::min(equals + 1, text.size())));
    if (!module || !own) return absl::InvalidArgumentError(absl::StrFormat("\"%s\" is not module=level", text));
    levels.of_module[static_cast<size_t>(*module)] = *own;
  }
  return levels;
}

}  // namespace

std::optional<LogLevel> ParseLogLevel(std::string_view name) { return Parse<LogLevel>(name, kLevelNames); }
std::string_view Name(LogLevel level) { return kLevelNames[static_cast<size_t>(level)]; }
std::optional<LogModule> ParseLogModule(std::string_view name) { return Parse<LogModule>(name, kModuleNames); }
std::string_view Name(LogModule module) { return kModuleNames[static_cast<size_t>(module)]; }

std::string FormatLogLine(LogFormat format, absl::Time time, LogLevel level, LogModule module, LogName event,
                          LogFields fields, std::span<const LogField> more) {
  const std::string timestamp = absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", time, absl::UTCTimeZone());
  if (format == LogFormat::kText) {
    std::string line = absl::StrFormat("%s %s %s %s", timestamp, Name(level), Name(module), event.view());
    const auto append = [&](const LogField& field) {
      absl::StrAppendFormat(&line, " %s=%s", field.name(), FormatFieldValue(field.value(), format));
    };
    std::for_each(fields.begin(), fields.end(), append);
    std::for_each(more.begin(), more.end(), append);
    return line;
  }
  std::string line =
      absl::StrFormat(R"({"timestamp":"%s","level":"%s","module":"%s","event_type":"%s","message":%s,"context":{)",
                      timestamp, Name(level), Name(module), event.view(), Quoted(InWords(event, fields)));
  const char* comma = "";
  const auto append = [&](const LogField& field) {
    absl::StrAppendFormat(&line, R"(%s"%s":%s)", std::exchange(comma, ","), field.name(),
                          FormatFieldValue(field.value(), format));
  };
  std::for_each(fields.begin(), fields.end(), append);
  std::for_each(more.begin(), more.end(), append);
  line += "}}";
  return line;
}

// The queue and its thread are spdlog's, used directly: its registry is global, and its formatters know no fields.
struct Logger::Output {
  static constexpr absl::Duration kFlushTimeout = absl::Seconds(5);

  Output(std::shared_ptr<LineSink> line_sink, size_t queue_lines)
      : sink(std::move(line_sink)),
        pool(std::make_shared<spdlog::details::thread_pool>(queue_lines, 1, BlockSignals,
                                                            [this] { sink->ReportLost(); })),
        logger(
            std::make_shared<spdlog::async_logger>("mptd", sink, pool, spdlog::async_overflow_policy::overrun_oldest)) {
    logger->set_level(spdlog::level::trace);  // levels are decided before
    sink->CountDropped([queue = pool.get()] { return queue->overrun_counter(); });
  }
  ~Output() { pool.reset(); }  // writes what is queued, and joins
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Puts a mark into the queue behind every line logged before. Marks enter in the order of their numbers, so one that
  // comes out proves that those of lower numbers are through as well.
  uint64_t PostMark() {
    std::lock_guard lock(mutex);
    const std::string mark = absl::StrFormat("%d", ++marks);
    logger->log(LineSink::kFlushMark, spdlog::string_view_t(mark.data(), mark.size()));
    return marks;
  }

  const std::shared_ptr<LineSink> sink;
  std::shared_ptr<spdlog::details::thread_pool> pool;  // dropped by the destructor alone
  const std::shared_ptr<spdlog::async_logger> logger;
  std::mutex mutex;
  uint64_t marks = 0;  // guarded by mutex
};

absl::StatusOr<std::unique_ptr<Logger>> Logger::Open(LogOptions options) {
  const absl::StatusOr<Levels> levels = ParseLevels(options);
  if (!levels.ok()) return levels.status();
  if (options.format != "text" && options.format != "json") {
    return absl::InvalidArgumentError(absl::StrFormat("\"%s\" is not a log format", options.format));
  }
  const LogFormat format = options.format == "json" ? LogFormat::kJson : LogFormat::kText;
  int fd = STDERR_FILENO;
  if (options.capture) options.file.clear();
  if (!options.file.empty()) {
    const absl::StatusOr<int> opened = OpenForAppending(options.file);
    if (!opened.ok()) return opened.status();
    fd = *opened;
  }
  const Rotation rotation{options.max_file_bytes, std::max<uint64_t>(options.keep_files, 1)};
  auto sink = std::make_shared<LineSink>(format, std::move(options.file), rotation, fd, std::move(options.capture));
  auto output = std::make_unique<Output>(std::move(sink), std::max<size_t>(options.queue_lines, 1));
  std::unique_ptr<Logger> logger(new Logger(format, std::move(output)));
  for (size_t i = 0; i < kLogModules; ++i) logger->SetLevel(static_cast<LogModule>(i), levels->of_module[i]);
  return logger;
}

std::unique_ptr<Logger> Logger::Silent() {
  std::unique_ptr<Logger> logger(new Logger(LogFormat::kText, nullptr));
  logger->SetLevel(LogLevel::kOff);
  return logger;
}

Logger::Logger(LogFormat format, std::unique_ptr<Output> output) : format_(format), output_(std::move(output)) {}

Logger::~Logger() = default;

void Logger::Write(LogLevel level, LogModule module, LogName event, LogFields fields) {
  if (output_ == nullptr) return;
  const std::string line = FormatLogLine(format_, absl::Now(), level, module, event, fields, LogScope::fields());
  output_->logger->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

void Logger::SetLevel(LogLevel level) {
  for (auto& of_module : levels_) of_module.store(level, std::memory_order_relaxed);
}

void Logger::SetLevel(LogModule module, LogLevel level) {
  levels_[static_cast<size_t>(module)].store(level, std::memory_order_relaxed);
}

void Logger::Flush() {
  if (output_ == nullptr) return;
  const absl::Time deadline = absl::Now() + Output::kFlushTimeout;
  do {
    // As any line, a mark may be pushed out of the queue by newer ones; then another one follows.
    constexpr std::chrono::milliseconds kRetry(100);
    if (output_->sink->WaitForFlush(output_->PostMark(), kRetry)) return;
  } while (absl::Now() < deadline);
}

absl::Status Logger::Reopen() { return output_ == nullptr ? absl::OkStatus() : output_->sink->Reopen(); }

uint64_t Logger::lost() const { return output_ == nullptr ? 0 : output_->sink->Lost(); }

}  // namespace mptd
