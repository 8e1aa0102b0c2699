#include "server/backup_schedule.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "backup/catalog.h"
#include "backup/files.h"

namespace mptd {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
// A disk that was full for a while must not cost a day's checkpoint.
constexpr absl::Duration kRetry = absl::Minutes(5);

}  // namespace

BackupSchedule::BackupSchedule(BackupOptions options, const StateEngine& engine, CheckpointMaker& maker, Logger& log)
    : options_(std::move(options)), engine_(engine), maker_(maker), log_(log) {}

void BackupSchedule::Start() {
  thread_ = std::thread([this] { Run(); });
  pthread_setname_np(thread_.native_handle(), "mptd-backup");
}

void BackupSchedule::Stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void BackupSchedule::Run() {
  absl::Duration wait = UntilFirst(absl::Now());
  while (true) {
    {
      const MutexLock lock(mutex_);
      const auto due = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(wait);
      while (!stopping_ && std::chrono::steady_clock::now() < due) changed_.wait_until(mutex_, due);
      if (stopping_) return;
    }
    wait = UntilNext(RunOnce());
  }
}

absl::Duration BackupSchedule::UntilFirst(absl::Time now) {
  const absl::StatusOr<std::vector<backup::Listed>> listed = backup::ListCheckpoints(options_.dir);
  const backup::Listed* newest = listed.ok() ? backup::Newest(*listed) : nullptr;
  if (newest == nullptr) return absl::ZeroDuration();
  Remember(*newest->manifest);
  return std::clamp(newest->manifest->created + options_.interval - now, absl::ZeroDuration(), options_.interval);
}

// The first blocks of a chain, too, must not wait a whole interval for their first checkpoint.
absl::Duration BackupSchedule::UntilNext(const absl::Status& turn) const {
  const bool any = last_made_seconds_.load(kRelaxed) != 0;
  return turn.ok() && any ? options_.interval : std::min(options_.interval, kRetry);
}

absl::Status BackupSchedule::RunOnce() {
  absl::Status status = MakeOne();
  // Also when none could be made: what is removed here is never the last good one.
  if (absl::Status removed = RemoveOld(); status.ok()) status = removed;
  if (status.ok() || absl::IsCancelled(status)) return status;
  failed_.fetch_add(1, kRelaxed);
  log_.Error(LogModule::kStorage, "checkpoint_failed", {{"dir", options_.dir}, {"reason", status.message()}});
  return status;
}

absl::Status BackupSchedule::MakeOne() {
  if (absl::Status status = backup::MakeFolder(options_.dir); !status.ok()) return status;
  const absl::StatusOr<std::vector<std::string>> remains = backup::RemoveRemains(options_.dir);
  if (!remains.ok()) return remains.status();
  if (!remains->empty()) {
    log_.Warn(LogModule::kStorage, "checkpoint_remains_removed",
              {{"dir", options_.dir}, {"names", absl::StrJoin(*remains, ",")}});
  }
  const absl::StatusOr<std::vector<backup::Listed>> listed = backup::ListCheckpoints(options_.dir);
  if (!listed.ok()) return listed.status();
  for (const backup::Listed& one : *listed) {
    if (one.state != backup::CheckpointState::kDamaged) continue;
    log_.Warn(LogModule::kStorage, "checkpoint_damaged",
              {{"dir", absl::StrCat(options_.dir, "/", one.name)}, {"what", one.problem}});
  }
  const EngineStatus status = engine_.Status();
  const backup::Listed* newest = backup::Newest(*listed);
  if (newest != nullptr) Remember(*newest->manifest);
  if (!status.has_blocks || (newest != nullptr && newest->manifest->block == status.head)) {
    log_.Debug(LogModule::kStorage, "checkpoint_skipped", {{"head", status.head.number}});
    return absl::OkStatus();
  }
  std::string name;
  const absl::StatusOr<backup::Manifest> made = maker_.MakeIn(options_.dir, name);
  if (!made.ok()) return made.status();
  made_.fetch_add(1, kRelaxed);
  Remember(*made);
  return absl::OkStatus();
}

void BackupSchedule::Remember(const backup::Manifest& newest) {
  last_made_seconds_.store(absl::ToUnixSeconds(newest.created), kRelaxed);
  last_block_.store(newest.block.number, kRelaxed);
}

absl::Status BackupSchedule::RemoveOld() {
  const absl::StatusOr<std::vector<std::string>> removed = backup::RemoveOldest(options_.dir, options_.keep);
  if (!removed.ok()) return removed.status();
  for (const std::string& name : *removed) {
    log_.Info(LogModule::kStorage, "checkpoint_removed", {{"dir", absl::StrCat(options_.dir, "/", name)}});
  }
  return absl::OkStatus();
}

void BackupSchedule::Write(MetricsWriter& writer) const {
  writer.Counter("mptd_backups_total", "Scheduled checkpoints that were made.",
                 static_cast<double>(made_.load(kRelaxed)));
  writer.Counter("mptd_backup_failures_total", "Scheduled checkpoints that could not be made, or old ones not removed.",
                 static_cast<double>(failed_.load(kRelaxed)));
  writer.Gauge("mptd_backup_last_timestamp_seconds", "When the newest checkpoint in backup.dir was made; 0 for none.",
               static_cast<double>(last_made_seconds_.load(kRelaxed)));
  writer.Gauge("mptd_backup_last_block", "Block of the newest checkpoint in backup.dir.",
               static_cast<double>(last_block_.load(kRelaxed)));
}

}  // namespace mptd
