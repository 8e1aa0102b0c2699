// Whether addresses can be listened on, found out without taking a socket away from anybody.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_format.h"
#include "checkup/machine.h"
#include "server/listen_address.h"
#include "storage/posix_error.h"

namespace mptd::checkup {
namespace {

// Whether a process answers on the socket at `path`; a file that nobody listens on is replaced by a daemon.
bool SomebodyListens(const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof(name.sun_path)) return false;
  std::memcpy(name.sun_path, path.c_str(), path.size());
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return false;
  const bool answered = ::connect(socket, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0;
  const bool refused = !answered && errno == ECONNREFUSED;
  ::close(socket);
  return !refused;
}

absl::Status CanListenOnUnix(const std::string& path) {
  const auto cannot = [&](std::string_view why) {
    return absl::FailedPreconditionError(absl::StrFormat("cannot listen on %s%s: %s", kUnixScheme, path, why));
  };
  struct stat found {};
  if (::lstat(path.c_str(), &found) == 0) {
    if (!S_ISSOCK(found.st_mode)) return cannot("there is something else that is not a socket");
    if (SomebodyListens(path)) return cannot("the address is in use by another process");
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if (::access(folder.c_str(), W_OK | X_OK) == 0) return absl::OkStatus();
  return cannot(std::string(storage::PosixError("making a socket in", folder, errno).message()));
}

}  // namespace

absl::Status CanListen(const std::string& address) {
  if (address.starts_with(kUnixScheme)) return CanListenOnUnix(address.substr(kUnixScheme.size()));
  return ResolveListenAddress(address).status();
}

}  // namespace mptd::checkup
