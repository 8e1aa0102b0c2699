#include "storage/posix_error.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_format.h"

namespace mptd::storage {

absl::Status PosixError(std::string_view doing, const std::string& path, int error) {
  const std::string message = absl::StrFormat("%s %s: %s", doing, path, std::generic_category().message(error));
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(message);
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    default:
      return absl::UnavailableError(message);
  }
}

absl::Status SyncDirectory(const std::string& dir) {
  const int descriptor = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return PosixError("opening", dir, errno);
  const int result = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  return result == 0 ? absl::OkStatus() : PosixError("syncing", dir, error);
}

absl::Status MakeDirectory(const std::string& dir) {
  if (::mkdir(dir.c_str(), 0750) != 0) {
    const int error = errno;
    std::error_code ignored;
    if (error == EEXIST && std::filesystem::is_directory(dir, ignored)) return absl::OkStatus();
    return PosixError("making the folder", dir, error);
  }
  const std::filesystem::path parent = std::filesystem::path(dir).parent_path();
  return SyncDirectory(parent.empty() ? "." : parent.string());
}

}  // namespace mptd::storage
