// An input as a file, for readers that want a path: in memory, made anew for each input. One thread.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "tests/fuzz/fuzzing.h"

namespace mptd::fuzz {

class FileInMemory {
 public:
  explicit FileInMemory(std::string_view content) : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {
    Require(fd_ >= 0 && write(fd_, content.data(), content.size()) == static_cast<ssize_t>(content.size()));
  }
  ~FileInMemory() { close(fd_); }
  FileInMemory(const FileInMemory&) = delete;
  FileInMemory& operator=(const FileInMemory&) = delete;

  // Each opening of it reads from the beginning.
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  const int fd_;
};

}  // namespace mptd::fuzz
