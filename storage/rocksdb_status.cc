#include "storage/rocksdb_status.h"

#include <string>

#include "absl/strings/str_format.h"

namespace mptd::storage {
namespace {

bool IsLockFailure(const rocksdb::Status& status, const std::string& text) {
  return status.IsIOError() && text.find("LOCK") != std::string::npos && text.find("lock") != std::string::npos;
}

}  // namespace

absl::Status FromRocksDb(const rocksdb::Status& status, std::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = status.ToString();
  const std::string message = absl::StrFormat("%s: %s", what, text);
  // Order matters: RocksDB reports a missing table file as corruption that quotes an IO error, and that is what it is.
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(message);
  if (status.IsCorruption()) return absl::DataLossError(message);
  if (IsLockFailure(status, text)) {
    return absl::FailedPreconditionError(absl::StrFormat("%s: another process has it open (%s)", what, text));
  }
  if (status.IsNotFound()) return absl::NotFoundError(message);
  if (status.IsInvalidArgument() || status.IsNotSupported()) return absl::FailedPreconditionError(message);
  return absl::UnavailableError(message);
}

}  // namespace mptd::storage
