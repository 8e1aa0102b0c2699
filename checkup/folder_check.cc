#include "checkup/folder_check.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "core/engine/stored_state.h"
#include "storage/change_log.h"
#include "storage/data_dir.h"
#include "storage/data_keys.h"
#include "storage/log_file.h"
#include "storage/rocksdb_check.h"

namespace mptd::checkup {
namespace {

std::string Text(const absl::Status& status) { return std::string(status.message()); }

std::string AdviceFor(const FolderReport& report, const std::string& dir) {
  if (report.damage.empty()) return "";
  if (report.only_log) {
    return absl::StrFormat(
        "the tables are whole and at block %d: `mptctl check %s --repair` moves the change log aside, and the blocks "
        "above have to be applied again; or restore a newer checkpoint (mptctl checkpoint restore)",
        report.block.value_or(0), dir);
  }
  return "there is no second copy of this here, so it cannot be repaired in place: restore a checkpoint into a new folder "
         "(mptctl checkpoint restore), and apply the blocks after it again; keep this folder until that serves";
}

absl::Status CheckLog(const std::string& dir, const std::shared_ptr<storage::DataKeys>& keys, FolderReport& report) {
  const absl::StatusOr<storage::ChangeLogSummary> log = storage::CheckChangeLog(dir + "/log", nullptr, keys);
  if (log.ok()) {
    report.log_records = log->records;
  } else if (absl::IsDataLoss(log.status())) {
    report.damage.push_back({dir + "/log", Text(log.status())});
  } else if (!absl::IsNotFound(log.status())) {
    return log.status();
  }
  return absl::OkStatus();
}

absl::StatusOr<FolderReport> CheckLocked(const std::string& dir, const storage::KeySource& key) {
  FolderReport report;
  if (absl::Status format = storage::CheckDataDir(dir); absl::IsDataLoss(format)) {
    report.damage.push_back({dir + "/" + storage::kFormatFileName, Text(format)});
  } else if (!format.ok()) {
    return format;
  }
  const absl::StatusOr<std::shared_ptr<storage::DataKeys>> keys = storage::ReadDataKeys(dir, key);
  if (absl::IsDataLoss(keys.status())) {
    // Nothing else can be read without them.
    report.damage.push_back({absl::StrCat(dir, "/", storage::kKeyFileName), Text(keys.status())});
    report.advice = AdviceFor(report, dir);
    return report;
  }
  if (!keys.ok()) return keys.status();
  absl::StatusOr<storage::TablesReport> tables = storage::CheckTables(dir + "/db", *keys);
  if (!tables.ok() && !absl::IsNotFound(tables.status())) return tables.status();
  if (tables.ok()) {
    report.table_files = tables->files;
    report.table_bytes = tables->bytes;
    for (const storage::DamagedFile& file : tables->damaged) {
      report.damage.push_back({file.path, absl::StrCat(file.table.empty() ? "" : absl::StrCat("of table ", file.table, ": "),
                                                       file.what)});
    }
  }
  if (report.damage.empty()) {
    const absl::StatusOr<std::optional<StoredState>> state = ReadStoredState(dir, *keys);
    if (absl::IsDataLoss(state.status())) {
      report.damage.push_back({dir + "/db", Text(state.status())});
    } else if (!state.ok()) {
      return state.status();
    } else if (state->has_value()) {
      report.block = (*state)->head.number;
    }
  }
  const size_t before = report.damage.size();
  if (absl::Status status = CheckLog(dir, *keys, report); !status.ok()) return status;
  report.only_log = before == 0 && report.damage.size() == 1 && report.block.has_value();
  report.advice = AdviceFor(report, dir);
  return report;
}

}  // namespace

absl::StatusOr<FolderReport> CheckFolder(const std::string& dir, const storage::KeySource& key) {
  const absl::StatusOr<storage::DataDirLock> lock = storage::ShareDataDir(dir);
  // Without LOCK it may be a checkpoint.
  if (!lock.ok() && !absl::IsNotFound(lock.status())) return lock.status();
  return CheckLocked(dir, key);
}

absl::StatusOr<std::string> SetLogAside(const std::string& dir, const storage::KeySource& key) {
  const absl::StatusOr<storage::DataDirLock> lock = storage::LockDataDir(dir);
  if (!lock.ok()) return lock.status();
  const absl::StatusOr<FolderReport> report = CheckLocked(dir, key);
  if (!report.ok()) return report.status();
  if (!report->only_log) {
    return absl::FailedPreconditionError(
        report->damage.empty() ? absl::StrFormat("%s is whole; there is nothing to repair", dir)
                               : absl::StrFormat("%s cannot be repaired: %s %s", dir, report->damage.front().file,
                                                 report->damage.front().what));
  }
  const std::string aside = absl::StrFormat("%s/log.damaged-%d", dir, absl::ToUnixSeconds(absl::Now()));
  storage::LogFileSystem& files = *storage::PosixLogFileSystem();
  if (absl::Status status = files.Rename(lock->log_dir(), aside); !status.ok()) return status;
  if (absl::Status status = files.MakeDir(lock->log_dir()); !status.ok()) return status;
  return aside;
}

}  // namespace mptd::checkup
