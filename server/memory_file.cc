#include "server/memory_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mptd {
namespace {

constexpr char kName[] = "mptd-tls";

absl::Status Failed(std::string_view what) {
  return absl::ResourceExhaustedError(
      absl::StrCat("cannot ", std::string(what), " a file in memory: ", std::generic_category().message(errno)));
}

absl::Status Fill(int fd, std::string_view contents, int64_t generation) {
  while (!contents.empty()) {
    const ssize_t written = write(fd, contents.data(), contents.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Failed("write");
    contents.remove_prefix(static_cast<size_t>(written));
  }
  const std::array<timespec, 2> times = {timespec{.tv_sec = generation, .tv_nsec = 0},
                                         timespec{.tv_sec = generation, .tv_nsec = 0}};
  return futimens(fd, times.data()) == 0 ? absl::OkStatus() : Failed("date");
}

}  // namespace

absl::StatusOr<MemoryFile> MemoryFile::Create() {
  const int fd = memfd_create(kName, MFD_CLOEXEC);
  if (fd < 0) return Failed("make");
  return MemoryFile(fd);
}

MemoryFile::~MemoryFile() {
  if (fd_ >= 0) close(fd_);
}

MemoryFile::MemoryFile(MemoryFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), generation_(other.generation_) {}

absl::Status MemoryFile::Replace(std::string_view contents) {
  const int next = memfd_create(kName, MFD_CLOEXEC);
  if (next < 0) return Failed("make");
  // 0 would be "no such file" to gRPC.
  absl::Status status = Fill(next, contents, ++generation_);
  if (status.ok() && dup3(next, fd_, O_CLOEXEC) < 0) status = Failed("replace");
  close(next);
  return status;
}

std::string MemoryFile::path() const { return absl::StrCat("/proc/self/fd/", fd_); }

}  // namespace mptd
