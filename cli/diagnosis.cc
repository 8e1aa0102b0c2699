#include "cli/diagnosis.h"

#include <algorithm>
#include <array>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/values.h"

namespace mptd::cli {
namespace {

using checkup::Finding;
using checkup::Outcome;

constexpr double kHighMemoryPercent = 85;
constexpr double kHighestMemoryPercent = 95;
constexpr double kHighQueue = 0.75;  // half is where writing begins
constexpr double kFullQueue = 0.95;
constexpr double kLowDisk = 0.10;
constexpr double kLowestDisk = 0.03;

std::optional<double> Metric(const DaemonReadings& readings, std::string_view name) {
  if (!readings.metrics.ok()) return std::nullopt;
  const auto found = readings.metrics->find(name);
  return found == readings.metrics->end() ? std::nullopt : std::optional<double>(found->second);
}

std::string Config(const DaemonReadings& readings, std::string_view key) {
  const auto found = readings.config.find(key);
  return found == readings.config.end() ? "" : found->second;
}

// A number of the configuration, or a size as it writes them: "128MiB". 0 when it is neither.
uint64_t ConfigNumber(const DaemonReadings& readings, std::string_view key) {
  const std::string text = Config(readings, key);
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  uint64_t number = 0;
  if (!absl::SimpleAtoi(text.substr(0, digits), &number)) return 0;
  constexpr std::array<std::string_view, 5> kUnits = {"", "KiB", "MiB", "GiB", "TiB"};
  const auto unit = std::find(kUnits.begin(), kUnits.end(), std::string_view(text).substr(digits));
  return unit == kUnits.end() ? 0 : number << (10 * (unit - kUnits.begin()));
}

Finding Skipped(std::string name, std::string why) {
  return {.name = std::move(name), .outcome = Outcome::kSkipped, .measured = std::move(why)};
}

// What `judge(value, finding)` makes of a metric; skipped without it.
template <typename Judge>
Finding FromMetric(const DaemonReadings& readings, std::string name, std::string_view metric, const Judge& judge) {
  const std::optional<double> value = Metric(readings, metric);
  if (!value.has_value()) return Skipped(std::move(name), absl::StrFormat("the metric %s was not read", metric));
  Finding out{.name = std::move(name)};
  judge(*value, out);
  return out;
}

// "1.2.3" in order; what is no number counts as 0.
std::array<uint64_t, 3> VersionNumbers(const std::string& version) {
  std::array<uint64_t, 3> out{};
  const std::vector<std::string> parts = absl::StrSplit(version, absl::MaxSplits('.', 2));
  for (size_t i = 0; i < parts.size() && i < out.size(); ++i) {
    const size_t digits = std::min(parts[i].find_first_not_of("0123456789"), parts[i].size());
    if (!absl::SimpleAtoi(parts[i].substr(0, digits), &out[i])) out[i] = 0;
  }
  return out;
}

Finding JudgeServing(const DaemonReadings& readings) {
  Finding out{.name = "serving", .expected = "every service SERVING"};
  std::vector<std::string> all;
  for (const auto& [service, state] : readings.serving) {
    all.push_back(absl::StrFormat("%s %s", service.empty() ? "daemon" : service, state));
    if (state != "SERVING") out.outcome = Outcome::kFailed;
  }
  out.measured = absl::StrJoin(all, ", ");
  if (out.outcome == Outcome::kFailed) out.advice = "see read_only below; without that, the daemon is shutting down";
  return out;
}

Finding JudgeReadOnly(const DaemonReadings& readings) {
  Finding out{.name = "read_only", .measured = "blocks are accepted", .expected = "blocks are accepted"};
  if (!readings.status.read_only()) return out;
  out.outcome = Outcome::kFailed;
  out.measured = absl::StrCat("read-only: ", OneLine(readings.status.read_only_reason()));
  out.advice =
      "look for what failed in the log and in dmesg, correct it (disk full, disk failing), then restart mptd; after "
      "damaged data start from a checkpoint";
  return out;
}

Finding JudgeHealthLevel(const DaemonReadings& readings) {
  return FromMetric(readings, "health_level", "state_health_level", [](double level, Finding& out) {
    out.measured = absl::StrFormat("level %.0f of 3", level);
    out.expected = "level 3";
    if (level >= 3) return;
    out.outcome = level >= 2 ? Outcome::kWarning : Outcome::kFailed;
    out.advice = "read what else is listed here, and the daemon's log from the first error on";
  });
}

Finding JudgeCorruption(const DaemonReadings& readings) {
  return FromMetric(readings, "corruption", "state_corruption_detected", [](double found, Finding& out) {
    out.measured = out.expected = "none met";
    if (found == 0) return;
    out.outcome = Outcome::kFailed;
    out.measured = "data on disk did not check out";
    out.advice = "do not restart: copy the data folder and the log, then start another daemon from a checkpoint";
  });
}

Finding JudgeQueue(const DaemonReadings& readings) {
  const uint64_t limit = ConfigNumber(readings, "persistence.queue_bytes");
  const uint64_t used = readings.status.queue_bytes();
  Finding out{.name = "queue",
              .measured = absl::StrFormat("%d blocks, %s of %s", readings.status.queue_blocks(), SizeText(used),
                                          limit == 0 ? "an unknown limit" : SizeText(limit)),
              .expected = absl::StrFormat("less than %.0f %%", 100 * kHighQueue)};
  if (const auto waited = Metric(readings, "state_back_pressure_total"); waited.has_value()) {
    absl::StrAppendFormat(&out.measured, "; blocks waited for room %.0f times since the start", *waited);
  }
  const double share = limit == 0 ? 0 : static_cast<double>(used) / static_cast<double>(limit);
  if (share < kHighQueue) return out;
  out.outcome = share < kFullQueue ? Outcome::kWarning : Outcome::kFailed;
  out.advice =
      "writing to the tables does not keep pace: look at the disk (iostat -x 1), at flushes below, and raise "
      "persistence.queue_bytes when it is only for a burst";
  return out;
}

Finding JudgeDurability(const DaemonReadings& readings) {
  const v1::GetStatusResponse& status = readings.status;
  if (!status.has_blocks()) return Skipped("durability", "no blocks yet");
  const uint64_t head = status.head().number();
  const uint64_t lag = head - std::min(head, status.durable_number());
  // A block may be between its log and its reply at any moment; the other modes sync at a flush at the latest.
  const uint64_t most = status.persistence_mode() == "sync"
                            ? 1
                            : std::max<uint64_t>(1, 2 * ConfigNumber(readings, "persistence.flush_blocks"));
  Finding out{.name = "durability",
              .measured = absl::StrFormat("head %d, durable up to %d: %d behind in mode %s", head,
                                          status.durable_number(), lag, status.persistence_mode()),
              .expected = absl::StrFormat("at most %d blocks behind", most)};
  if (lag <= most) return out;
  out.outcome = Outcome::kWarning;
  out.advice =
      "a crash would take these blocks back: look at the disk's time to sync (mptd check in its folder), or set "
      "persistence.mode to sync";
  return out;
}

Finding JudgeFlushes(const DaemonReadings& readings) {
  return FromMetric(readings, "flushes", "state_persistence_failures_total", [&](double failures, Finding& out) {
    out.measured = absl::StrFormat("%.0f failed since the start", failures);
    out.expected = "none failed";
    if (failures == 0) return;
    const uint64_t waiting = readings.status.queue_blocks();
    const bool behind = waiting > ConfigNumber(readings, "persistence.flush_blocks");
    out.outcome = behind ? Outcome::kFailed : Outcome::kWarning;
    out.advice = absl::StrFormat(
        "look for persistence_failed in the log, which names the reason (disk full, permissions, disk failing)%s",
        behind ? absl::StrFormat("; %d blocks wait now", waiting) : "");
  });
}

// The daemon has this check where the master key of its data is in a file.
Finding JudgeEncryptionKey(const DaemonReadings& readings) {
  for (const v1::HealthCheck& check : readings.status.health_checks()) {
    if (check.name() != "encryption_key") continue;
    Finding out{.name = "encryption_key", .measured = "opens the data", .expected = "a key file that opens the data"};
    if (check.level() >= 3) return out;
    out.outcome = Outcome::kWarning;
    out.measured = OneLine(check.reason());
    out.advice =
        "before the next start: put the old key back where security.encryption_key_file says, or, when it was replaced "
        "on purpose, run mptctl rotate-key";
    return out;
  }
  return Skipped("encryption_key", "no security.encryption_key_file");
}

Finding DiskFinding(double free, std::string measured) {
  Finding out{.name = "disk",
              .measured = std::move(measured),
              .expected = absl::StrFormat("at least %.0f %% free", 100 * kLowDisk)};
  if (free >= kLowDisk) return out;
  out.outcome = free < kLowestDisk ? Outcome::kFailed : Outcome::kWarning;
  out.advice = "free space or enlarge the disk; mptctl prune --keep N drops old history at once";
  return out;
}

Finding JudgeDisk(const DaemonReadings& readings) {
  if (const auto used = Metric(readings, "state_disk_usage_percent"); used.has_value()) {
    return DiskFinding(1 - *used / 100, absl::StrFormat("%.0f %% used", *used));
  }
  if (!readings.disk.has_value() || readings.disk->total_bytes == 0) {
    return Skipped("disk",
                   "the data folder is not on this machine or not named by an absolute path; look there with df");
  }
  const double free = static_cast<double>(readings.disk->free_bytes) / static_cast<double>(readings.disk->total_bytes);
  return DiskFinding(
      free, absl::StrFormat("%s (%.0f %%) of %s free, data takes %s", SizeText(readings.disk->free_bytes), 100 * free,
                            SizeText(readings.disk->total_bytes), SizeText(readings.status.disk_bytes())));
}

Finding JudgeMemory(const DaemonReadings& readings) {
  return FromMetric(readings, "memory", "state_memory_usage_percent", [](double used, Finding& out) {
    out.measured = absl::StrFormat("%.0f %% of what it may use", used);
    out.expected = absl::StrFormat("less than %.0f %%", kHighMemoryPercent);
    if (used < kHighMemoryPercent) return;
    out.outcome = used < kHighestMemoryPercent ? Outcome::kWarning : Outcome::kFailed;
    out.advice = "lower cache.* and restart, or give it more memory, before the kernel ends it";
  });
}

Finding JudgeWindow(const DaemonReadings& readings) {
  const v1::GetStatusResponse& status = readings.status;
  if (!status.has_blocks()) return Skipped("window", "no blocks yet");
  const uint64_t head = status.head().number();
  const uint64_t oldest = status.oldest_served_number();
  const uint64_t behind = head - std::min(head, oldest);
  const bool archive = Config(readings, "pruning.enable_pruning") == "false";
  const uint64_t keep = ConfigNumber(readings, "pruning.keep_recent_states");
  Finding out{.name = "window",
              .measured = absl::StrFormat("blocks %d to %d are served, %d behind the head", oldest, head, behind),
              .expected = archive ? "every block (archive)"
                                  : absl::StrFormat("%d blocks behind the head, or as many as there are", keep)};
  // Without a genesis nobody knows where the chain began.
  const bool from_genesis = status.genesis_root().size() == 32;
  const bool complete = oldest == 0 || (archive ? !from_genesis : behind + 1 >= keep || !from_genesis);
  if (complete) return out;
  out.outcome = Outcome::kWarning;
  out.advice =
      "history was pruned, by hand or while less was configured; it grows back with new blocks, and only a checkpoint "
      "that has them brings old ones back";
  return out;
}

Finding JudgeVersion(const DaemonReadings& readings) {
  const std::string& daemon = readings.status.version();
  Finding out{.name = "version",
              .measured = absl::StrFormat("mptd %s, data format %d; mptctl %s", daemon,
                                          readings.status.format_version(), readings.client_version),
              .expected = "a daemon as new as mptctl"};
  if (VersionNumbers(daemon) >= VersionNumbers(readings.client_version)) return out;
  out.outcome = Outcome::kWarning;
  out.advice = "restart mptd if the new version is installed on its machine, else install it there";
  return out;
}

Finding JudgeMetrics(const DaemonReadings& readings) {
  Finding out{.name = "metrics", .expected = "/metrics answers"};
  if (readings.metrics.ok()) {
    out.measured = absl::StrFormat("%d read", readings.metrics->size());
    return out;
  }
  out.measured = std::string(readings.metrics.status().message());
  // Where they are is not known, or they are not offered: that is no failure.
  out.outcome = absl::IsFailedPrecondition(readings.metrics.status()) ? Outcome::kSkipped : Outcome::kWarning;
  out.advice = "give --metrics-url http://host:port/metrics, or run this on the daemon's machine";
  return out;
}

}  // namespace

Metrics ParseMetrics(std::string_view text) {
  Metrics out;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    const size_t blank = line.find(' ');
    if (line.empty() || line.front() == '#' || blank == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, blank);
    if (name.find('{') != std::string_view::npos) continue;
    const std::string value(line.substr(blank + 1, line.find(' ', blank + 1) - blank - 1));
    double number = 0;
    if (absl::SimpleAtod(value, &number)) out[std::string(name)] = number;
  }
  return out;
}

std::vector<Finding> Diagnose(const DaemonReadings& readings) {
  const Finding reached{.name = "daemon",
                        .measured = absl::StrFormat("%s answers, up for %s", readings.server,
                                                    UptimeText(readings.status.uptime_seconds())),
                        .expected = "answers"};
  return {reached,
          JudgeServing(readings),
          JudgeReadOnly(readings),
          JudgeMetrics(readings),
          JudgeHealthLevel(readings),
          JudgeCorruption(readings),
          JudgeQueue(readings),
          JudgeDurability(readings),
          JudgeFlushes(readings),
          JudgeEncryptionKey(readings),
          JudgeDisk(readings),
          JudgeMemory(readings),
          JudgeWindow(readings),
          JudgeVersion(readings)};
}

Finding Unreachable(const std::string& server, const std::string& why) {
  return {
      .name = "daemon",
      .outcome = Outcome::kFailed,
      .measured = why,
      .expected = "answers",
      .advice = absl::StrFormat("see whether mptd runs and listens on %s (pgrep -a mptd, ss -ltnp), and its log for "
                                "why it ended; mptd check says what would stop it from starting",
                                server)};
}

}  // namespace mptd::cli
