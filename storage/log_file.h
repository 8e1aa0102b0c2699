// The few file operations that the change log is made of, so that tests can make any of them fail or lose power.
//
// Thread-safe: different files may be used by different threads at the same time, and one file may be synced while it
// is written. Errors are RESOURCE_EXHAUSTED for a full disk or quota, NOT_FOUND for a file that is not there, else
// UNAVAILABLE; the message names the file.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mptd::storage {

// An open file; closed when destroyed.
class LogFile {
 public:
  virtual ~LogFile() = default;
  // Writes `parts` one behind the other at `offset`, growing the file when needed. After an error any part may have
  // been written.
  virtual absl::Status Write(uint64_t offset, std::span<const std::string_view> parts) = 0;
  // Replaces `*bytes` by up to `count` bytes at `offset`: fewer only at the end of the file.
  virtual absl::Status Read(uint64_t offset, uint64_t count, std::string* bytes) const = 0;
  // Makes all writes that returned before this call durable, and the size of the file with them.
  virtual absl::Status Sync() = 0;
  virtual absl::StatusOr<uint64_t> Size() const = 0;
};

class LogFileSystem {
 public:
  virtual ~LogFileSystem() = default;

  enum class Mode : uint8_t { kRead, kWrite, kCreate };  // kWrite needs the file to be there, kCreate makes it empty
  virtual absl::StatusOr<std::unique_ptr<LogFile>> Open(const std::string& path, Mode mode) = 0;
  // A change of names is durable after SyncDir. Rename replaces an existing `to`.
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  virtual absl::Status Remove(const std::string& path) = 0;
  virtual absl::Status SyncDir(const std::string& dir) = 0;
  // The names in `dir`, without "." and "..", in any order.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& dir) = 0;
  // Makes the folder unless it is there; its parent must be. Durable when it returns.
  virtual absl::Status MakeDir(const std::string& dir) = 0;
  // What may still be written to the disk of that folder; all there is where nobody knows.
  virtual uint64_t FreeBytes(const std::string& /*dir*/) { return UINT64_MAX; }
};

// The operating system's files. Lives as long as the program.
LogFileSystem* PosixLogFileSystem();

}  // namespace mptd::storage
