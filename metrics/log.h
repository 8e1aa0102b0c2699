// Structured logging: one line an event, as text or as a JSON object.
//
//   log.Info(LogModule::kStorage, "flushed", {{"block", 123}, {"rows", rows}, {"duration_ms", elapsed}});
//   2026-01-02T03:04:05.678Z info storage flushed block=123 rows=456 duration_ms=7.1
//
// main() owns the Logger and hands it on by reference; there is no global one. A Logger may be used from any thread.
// The file may be renamed, followed by Reopen, or copied and truncated, by others; or it is rotated by its size here.
// Logging never blocks on the disk or on a full pipe: lines wait in a bounded queue for a thread of the logger's own,
// and when the queue is full the oldest line is dropped and counted.
#pragma once

#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace mptd {

enum class LogLevel : uint8_t { kTrace, kDebug, kInfo, kWarn, kError, kCritical, kOff };
enum class LogModule : uint8_t { kServer, kEngine, kStorage, kRpc, kConfig };
inline constexpr size_t kLogModules = 5;

// "trace" ... "off"; nullopt for anything else.
std::optional<LogLevel> ParseLogLevel(std::string_view name);
std::string_view Name(LogLevel level);
// "server", "engine", "storage", "rpc", "config"; nullopt for anything else.
std::optional<LogModule> ParseLogModule(std::string_view name);
std::string_view Name(LogModule module);

// The name of an event or of a field: a literal in lower_snake_case, checked when it is compiled.
class LogName {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor)
  consteval LogName(const char* name) : name_(name) {
    if (name_.empty()) throw "a name is needed";
    for (const char c : name_) {
      if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) throw "names are in lower_snake_case";
    }
  }
  constexpr std::string_view view() const { return name_; }

 private:
  std::string_view name_;
};

// A name and a value. Refers to the text that it was made from, so it lives no longer than the call it is an argument
// of. A duration is written in milliseconds: name such a field something_ms. In JSON fields are in an object of their
// own, "context"; "message" is the event in words, with the field reason, details or message behind it.
class LogField {
 public:
  using Value = std::variant<bool, int64_t, uint64_t, double, absl::Duration, std::string_view>;

  template <typename T>
  LogField(LogName name, const T& value) : name_(name.view()), value_(Wrap(value)) {}

  std::string_view name() const { return name_; }
  const Value& value() const { return value_; }

 private:
  template <typename T>
  static Value Wrap(const T& value) {
    if constexpr (std::same_as<T, bool> || std::same_as<T, absl::Duration>) {
      return value;
    } else if constexpr (std::signed_integral<T>) {
      return static_cast<int64_t>(value);
    } else if constexpr (std::unsigned_integral<T>) {
      return static_cast<uint64_t>(value);
    } else if constexpr (std::floating_point<T>) {
      return static_cast<double>(value);
    } else if constexpr (std::convertible_to<const T&, std::string_view>) {
      return std::string_view(value);
    } else {
      static_assert(std::same_as<T, absl::string_view>, "a field is a number, a truth value, a duration or text");
      return std::string_view(value.data(), value.size());
    }
  }

  std::string_view name_;
  Value value_;
};
using LogFields = std::initializer_list<LogField>;

// While it lives, every line that its thread logs ends in `fields`, which must outlive it. An inner one takes the place
// of an outer one.
class LogScope {
 public:
  explicit LogScope(std::span<const LogField> fields) : outer_(fields_) { fields_ = fields; }
  ~LogScope() { fields_ = outer_; }
  LogScope(const LogScope&) = delete;
  LogScope& operator=(const LogScope&) = delete;

  static std::span<const LogField> fields() { return fields_; }

 private:
  static inline thread_local std::span<const LogField> fields_;
  const std::span<const LogField> outer_;
};

enum class LogFormat : uint8_t { kText, kJson };

// The settings of the section "logging", as written there.
struct LogOptions {
  std::string level = "info";
  std::vector<std::string> module_levels;  // "rpc=debug"; wins over `level` for that module
  std::string format = "text";             // or "json"
  std::string file;                        // appended to; empty: standard error
  uint64_t max_file_bytes = 0;             // renamed to file.1 before it grows longer; 0: never
  uint64_t keep_files = 5;                 // renamed files; at least 1

  size_t queue_lines = 8192;
  // When set, takes the lines (without newline) instead of file or standard error, on the logger's thread. For tests.
  std::function<void(std::string_view line)> capture;
};

class Logger {
 public:
  // Opens the file, when there is one, and starts the thread. INVALID_ARGUMENT: an unknown level, module or format.
  // Otherwise the errno of opening the file, with its path.
  static absl::StatusOr<std::unique_ptr<Logger>> Open(LogOptions options);
  // A logger that is off, for code that has nothing to say.
  static std::unique_ptr<Logger> Silent();
  // Writes what is queued, then stops. No other thread may be logging any more.
  ~Logger();
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  // Whether Log() would write; ask before working out fields that are expensive.
  bool Enabled(LogLevel level, LogModule module) const {
    return level >= levels_[static_cast<size_t>(module)].load(std::memory_order_relaxed) && level != LogLevel::kOff;
  }
  void Log(LogLevel level, LogModule module, LogName event, LogFields fields = {}) {
    if (Enabled(level, module)) Write(level, module, event, fields);
  }
  void Debug(LogModule module, LogName event, LogFields fields = {}) { Log(LogLevel::kDebug, module, event, fields); }
  void Info(LogModule module, LogName event, LogFields fields = {}) { Log(LogLevel::kInfo, module, event, fields); }
  void Warn(LogModule module, LogName event, LogFields fields = {}) { Log(LogLevel::kWarn, module, event, fields); }
  void Error(LogModule module, LogName event, LogFields fields = {}) { Log(LogLevel::kError, module, event, fields); }
  void Critical(LogModule module, LogName event, LogFields fields = {}) {
    Log(LogLevel::kCritical, module, event, fields);
  }

  LogLevel level(LogModule module) const {
    return levels_[static_cast<size_t>(module)].load(std::memory_order_relaxed);
  }
  // Takes effect for lines logged from now on. The former sets all modules.
  void SetLevel(LogLevel level);
  void SetLevel(LogModule module, LogLevel level);

  // Returns when every line logged before has been written or dropped, or after five seconds when nobody takes them.
  // Call it before exiting in an unusual way.
  void Flush();
  // Opens the file anew by its name, after log rotation has moved it away; does nothing without a file. When that
  // fails, goes on with the old one and returns the errno.
  absl::Status Reopen();
  // Lines lost so far, because the queue was full or because writing failed. The log says it as well (log_lines_lost).
  uint64_t lost() const;

 private:
  struct Output;  // the queue, its thread and where the lines go

  Logger(LogFormat format, std::unique_ptr<Output> output);
  void Write(LogLevel level, LogModule module, LogName event, LogFields fields);

  // Constant after construction.
  const LogFormat format_;
  const std::unique_ptr<Output> output_;  // synchronises itself; null when silent
  // Written by SetLevel, read without order.
  std::array<std::atomic<LogLevel>, kLogModules> levels_;
};

// One line without its newline, as Logger writes it; `more` comes behind `fields`.
std::string FormatLogLine(LogFormat format, absl::Time time, LogLevel level, LogModule module, LogName event,
                          LogFields fields, std::span<const LogField> more = {});

}  // namespace mptd
