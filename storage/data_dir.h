// The data folder: who has it, what format it is in, where things are in it, and how much room is left.
//
//   DIR/LOCK    locked with flock while a process uses the folder; its process id is inside
//   DIR/FORMAT  one line, "mptd data format <version>"
//   DIR/KEYS    the wrapped data keys of a folder that is encrypted (key_file.h)
//   DIR/db      RocksDB         DIR/log  the change log
//
// The functions are thread-safe. A DataDirLock belongs to one owner.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mptd::storage {

inline constexpr char kFormatFileName[] = "FORMAT";

// The version of everything in the folder together. Raised by a change that an older program cannot read.
// 1: the first. 2: as 1, encrypted. A folder that is not encrypted stays at 1, for older programs.
inline constexpr uint32_t kFormatVersion = 2;
constexpr uint32_t FormatVersion(bool encrypted) { return encrypted ? 2 : 1; }

// Holds the folder until destroyed.
class DataDirLock {
 public:
  DataDirLock(DataDirLock&& other) noexcept
      : dir_(std::move(other.dir_)), descriptor_(std::exchange(other.descriptor_, -1)) {}
  ~DataDirLock();

  const std::string& dir() const { return dir_; }
  std::string db_dir() const { return dir_ + "/db"; }
  std::string log_dir() const { return dir_ + "/log"; }

 private:
  friend absl::StatusOr<DataDirLock> LockDataDir(const std::string& dir);
  friend absl::StatusOr<DataDirLock> ShareDataDir(const std::string& dir);
  DataDirLock(std::string dir, int descriptor) : dir_(std::move(dir)), descriptor_(descriptor) {}

  std::string dir_;
  int descriptor_;
};

// Makes the folder when absent (its parent must exist), locks it, writes or checks FORMAT, and makes the folders
// inside. FAILED_PRECONDITION when another process has it, naming that process, or when a newer program wrote it;
// DATA_LOSS when FORMAT is damaged or gone from a folder in use; PERMISSION_DENIED when it cannot be read or written;
// RESOURCE_EXHAUSTED when the disk is full; NOT_FOUND when its parent is not there; UNAVAILABLE when the disk fails.
absl::StatusOr<DataDirLock> LockDataDir(const std::string& dir);

// Keeps daemons out of a folder while it is looked at; makes and writes nothing. Others may do so at the same time.
// NOT_FOUND when there is no such folder, or no LOCK in it because no daemon has used it yet; FAILED_PRECONDITION when
// another process has it, naming that process; PERMISSION_DENIED when LOCK cannot be read.
absl::StatusOr<DataDirLock> ShareDataDir(const std::string& dir);

// Writes FORMAT into a folder, replacing one that is there: durably, and whole or not at all. For checkpoints, which
// become data folders of their own.
absl::Status WriteFormat(const std::string& dir, bool encrypted);
// Whether FORMAT in that folder can be read and says that the data is encrypted.
bool IsEncryptedFormat(const std::string& dir);
// OK when FORMAT in that folder is one that this program reads, NOT_FOUND when there is none, else as LockDataDir.
absl::Status CheckFormat(const std::string& dir);
// OK when there is data in that folder that this program reads, NOT_FOUND when there is none yet, else as LockDataDir.
absl::Status CheckDataDir(const std::string& dir);

// What an ordinary user may still write to the file system that `dir` is on.
absl::StatusOr<uint64_t> FreeDiskBytes(const std::string& dir);

}  // namespace mptd::storage
