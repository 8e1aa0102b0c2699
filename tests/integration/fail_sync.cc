// Loaded before the daemon by tests of a failed sync: fdatasync of a file whose path contains $FAIL_SYNC_OF fails with
// EIO while the file $FAIL_SYNC_WHILE exists.
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

bool Concerns(int descriptor) {
  const char* part = std::getenv("FAIL_SYNC_OF");
  const char* file = std::getenv("FAIL_SYNC_WHILE");
  if (part == nullptr || file == nullptr || access(file, F_OK) != 0) return false;
  std::array<char, 64> link{};
  std::snprintf(link.data(), link.size(), "/proc/self/fd/%d", descriptor);
  std::array<char, 4096> path{};
  if (readlink(link.data(), path.data(), path.size() - 1) < 0) return false;
  return std::strstr(path.data(), part) != nullptr;
}

}  // namespace

extern "C" int fdatasync(int descriptor) {
  if (Concerns(descriptor)) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(syscall(SYS_fdatasync, descriptor));
}
