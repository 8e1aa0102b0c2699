// A file in memory with a name that stays while its contents are replaced in one step: for a library that watches files
// by name, without writing a key to a disk. Used by one thread at a time; reading the name is anybody's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mptd {

class MemoryFile {
 public:
  static absl::StatusOr<MemoryFile> Create();
  ~MemoryFile();
  MemoryFile(MemoryFile&& other) noexcept;
  MemoryFile& operator=(MemoryFile&&) = delete;

  // Who opens the name finds the old contents or the new ones, never a part. The time of modification changes each
  // time, by at least a second, so that who reads it twice can tell.
  absl::Status Replace(std::string_view contents);

  // For this process only; valid as long as the object, wherever that is moved.
  std::string path() const;

 private:
  explicit MemoryFile(int fd) : fd_(fd) {}

  int fd_;
  int64_t generation_ = 0;
};

}  // namespace mptd
