#include "server/health_checks.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/keccak.h"

namespace mptd {
namespace {

constexpr absl::Duration kEngineInterval = absl::Seconds(1);
constexpr absl::Duration kSlowStorage = absl::Milliseconds(200);
constexpr absl::Duration kSlowHash = absl::Microseconds(10);
constexpr uint64_t kFullQueuePercent = 90;
constexpr uint64_t kMiB = uint64_t{1} << 20;

HealthFinding Healthy() { return {}; }
HealthFinding Degraded(std::string reason) { return {HealthState::kDegraded, std::move(reason)}; }
HealthFinding Failing(std::string reason) { return {HealthState::kFailing, std::move(reason)}; }

HealthFinding FailedTo(std::string_view what, const std::string& path) {
  return Failing(absl::StrFormat("cannot %s %s: %s", what, path, std::generic_category().message(errno)));
}

HealthFinding WriteAndSync(int fd, const std::string& path) {
  constexpr std::string_view kText = "the daemon writes this file to see whether it can\n";
  if (write(fd, kText.data(), kText.size()) != static_cast<ssize_t>(kText.size())) return FailedTo("write", path);
  return fdatasync(fd) == 0 ? Healthy() : FailedTo("sync", path);
}

HealthFinding CheckHashing() {
  // The fastest of a few, as others may want the processor as well.
  absl::Duration fastest = absl::InfiniteDuration();
  for (int i = 0; i < 8; ++i) {
    const absl::Time begin = absl::Now();
    const Hash hash = Keccak256({});
    fastest = std::min(fastest, absl::Now() - begin);
    if (hash != kEmptyCodeHash) return Failing("Keccak-256 gives wrong hashes: the processor or the memory is damaged");
  }
  if (fastest <= kSlowHash) return Healthy();
  return Degraded(absl::StrFormat("one hash takes %s", absl::FormatDuration(fastest)));
}

HealthFinding CheckFreeSpace(const std::string& data_dir, uint64_t min_free_bytes) {
  struct statvfs info {};
  if (statvfs(data_dir.c_str(), &info) != 0) return FailedTo("look at", data_dir);
  return CheckDiskSpace(uint64_t{info.f_bavail} * info.f_frsize, min_free_bytes);
}

HealthMonitor::Probe EngineProbe(const HealthOptions& options, const StateEngine& engine, const EngineWatch& watch) {
  auto age = std::make_shared<SyncAge>(options.max_sync_age);
  return {.checks = {{"corruption", kHealthFailed},
                     {"writable", kHealthCritical},
                     {"queue", kHealthDegraded},
                     {"last_sync", kHealthDegraded}},
          .interval = std::min(options.interval, kEngineInterval),
          .timeout = options.timeout,
          .run = [&engine, &watch, age, limit = options.queue_limit_bytes] {
            const EngineStatus status = engine.Status();
            const absl::Status ready = EngineWatch::Ready(status);
            const std::string damage = watch.corruption();
            return std::vector<HealthFinding>{
                damage.empty() ? Healthy() : Failing(damage),
                ready.ok() ? Healthy() : Failing(std::string(ready.message())),
                CheckQueue(status.queue_bytes, limit, watch.flush_error()),
                age->Check(absl::Now(), status),
            };
          }};
}

HealthMonitor::Probe ProcessProbe(const HealthOptions& options, const Logger& log) {
  return {
      .checks = {{"memory", kHealthDegraded}, {"hashing", kHealthFailed}, {"log", kHealthDegraded}},
      .interval = options.interval,
      .timeout = options.timeout,
      .run = [&log, percent = options.max_memory_percent, limit = options.memory_limit, told = uint64_t{0}]() mutable {
        const uint64_t lost = log.lost();
        const uint64_t news = lost - std::exchange(told, lost);
        return std::vector<HealthFinding>{
            CheckMemory(ResidentMemoryBytes(), limit(), percent),
            CheckHashing(),
            news == 0 ? Healthy() : Degraded(absl::StrFormat("%d lines were lost since the check before", news)),
        };
      }};
}

// Not of a command that answers the key: what it costs, and who is told that it was asked, is not known here.
HealthMonitor::Probe KeyProbe(const HealthOptions& options, const StateEngine& engine) {
  return {.checks = {{"encryption_key", kHealthDegraded}},
          .interval = options.interval,
          .timeout = options.timeout,
          .run = [&engine] { return std::vector<HealthFinding>{CheckEncryptionKey(engine.CheckKey())}; }};
}

HealthMonitor::Probe DiskProbe(const HealthOptions& options) {
  return {.checks = {{"storage", kHealthCritical}, {"disk_space", kHealthCritical}},
          .interval = options.interval,
          .timeout = options.timeout,
          .run = [dir = options.data_dir, least = options.min_free_disk_bytes] {
            return std::vector<HealthFinding>{CheckStorage(dir), CheckFreeSpace(dir, least)};
          }};
}

}  // namespace

HealthFinding CheckQueue(uint64_t queued_bytes, uint64_t limit_bytes, const std::string& flush_error) {
  if (!flush_error.empty()) {
    return Degraded(absl::StrFormat("the tables cannot be written, which is tried again: %s", flush_error));
  }
  if (limit_bytes == 0 || queued_bytes < limit_bytes / 100 * kFullQueuePercent) return Healthy();
  return Degraded(absl::StrFormat("%d MiB of %d wait to be written to the tables; blocks wait when it is full",
                                  queued_bytes / kMiB, limit_bytes / kMiB));
}

HealthFinding CheckMemory(uint64_t resident_bytes, uint64_t limit_bytes, uint64_t max_percent) {
  if (limit_bytes == 0 || resident_bytes / max_percent < limit_bytes / 100) return Healthy();
  return Degraded(
      absl::StrFormat("%d MiB of %d in use, more than %d %%", resident_bytes / kMiB, limit_bytes / kMiB, max_percent));
}

HealthFinding CheckDiskSpace(uint64_t free_bytes, uint64_t min_free_bytes) {
  if (free_bytes / 4 >= min_free_bytes) return Healthy();
  std::string reason = absl::StrFormat("%d MiB are free; at least %d are needed, and four times that is healthy",
                                       free_bytes / kMiB, min_free_bytes / kMiB);
  return free_bytes < min_free_bytes ? Failing(std::move(reason)) : Degraded(std::move(reason));
}

HealthFinding CheckStorage(const std::string& data_dir) {
  const absl::Time begin = absl::Now();
  const std::string path = data_dir + "/health.tmp";
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return FailedTo("open", path);
  HealthFinding finding = WriteAndSync(fd, path);
  close(fd);
  unlink(path.c_str());
  const absl::Duration took = absl::Now() - begin;
  if (finding.state != HealthState::kHealthy || took <= kSlowStorage) return finding;
  return Degraded(absl::StrFormat("writing and syncing a small file took %d ms", absl::ToInt64Milliseconds(took)));
}

HealthFinding CheckEncryptionKey(const absl::Status& key) {
  if (key.ok()) return Healthy();
  return Degraded(
      absl::StrFormat("mptd could not be started again with the master key as its file is now: %s", key.message()));
}

HealthFinding SyncAge::Check(absl::Time now, const EngineStatus& status) {
  if (!status.has_blocks || status.durable_number >= status.head.number) {
    since_ = absl::InfiniteFuture();
    return Healthy();
  }
  if (status.durable_number != std::exchange(durable_, status.durable_number) || since_ == absl::InfiniteFuture()) {
    since_ = now;
  }
  const absl::Duration age = now - since_;
  if (age <= max_age_) return Healthy();
  return Degraded(absl::StrFormat("no block became durable for %d s; a crash would take back %d",
                                  absl::ToInt64Seconds(age), status.head.number - status.durable_number));
}

void AddHealthChecks(const HealthOptions& options, const StateEngine& engine, const EngineWatch& watch,
                     const Logger& log, HealthMonitor& monitor) {
  monitor.Add(EngineProbe(options, engine, watch));
  if (!options.data_dir.empty()) monitor.Add(DiskProbe(options));
  monitor.Add(ProcessProbe(options, log));
  if (options.key_in_file) monitor.Add(KeyProbe(options, engine));
}

void AddTlsCheck(const HealthOptions& options, const ServerTls& tls, HealthMonitor& monitor) {
  monitor.Add(
      {.checks = {{"tls", kHealthDegraded}}, .interval = options.interval, .timeout = options.timeout, .run = [&tls] {
         return std::vector<HealthFinding>{tls.Check(absl::Now())};
       }});
}

}  // namespace mptd
