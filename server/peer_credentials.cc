#include "server/peer_credentials.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace mptd {

bool PeerCredentials::Bind(int fd, const std::optional<UnixPeer>& peer) {
  const MutexLock lock(mutex_);
  const auto index = static_cast<size_t>(fd);
  if (index >= numbers_.size()) numbers_.resize(index + 1);
  Number& number = numbers_[index];
  if (number.used && number.peer != peer) return false;
  number = {.used = true, .peer = peer};
  return true;
}

absl::StatusOr<int> PeerCredentials::Adopt(int fd, const std::function<bool(const UnixPeer&)>& known) {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  int error = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0 ? 0 : errno;
  std::optional<UnixPeer> peer = UnixPeer{.uid = credentials.uid, .gid = credentials.gid};
  if (error == 0 && !known(*peer)) peer.reset();
  // Numbers that do not fit are held until one is found that does, or the kernel would give them again.
  std::vector<int> held;
  while (error == 0 && !Bind(fd, peer)) {
    held.push_back(fd);
    fd = fcntl(fd, F_DUPFD_CLOEXEC, fd + 1);
    if (fd < 0) error = errno;
  }
  for (const int other : held) close(other);
  if (error == 0) return fd;
  if (fd >= 0) close(fd);
  return absl::FailedPreconditionError(
      absl::StrCat("cannot take a connection of a unix socket: ", std::generic_category().message(error)));
}

std::optional<UnixPeer> PeerCredentials::Find(std::string_view peer) const {
  constexpr std::string_view kPrefix = "fd:";
  size_t index = 0;
  if (!peer.starts_with(kPrefix) || !absl::SimpleAtoi(std::string(peer.substr(kPrefix.size())), &index)) {
    return std::nullopt;
  }
  const MutexLock lock(mutex_);
  return index < numbers_.size() ? numbers_[index].peer : std::nullopt;
}

}  // namespace mptd
