#include "server/listen_address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"

namespace mptd {
namespace {

// A file descriptor that closes itself.
class Socket {
 public:
  Socket(int family, int protocol) : fd_(socket(family, SOCK_STREAM | SOCK_CLOEXEC, protocol)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

absl::Status CannotListen(std::string_view address, std::string_view why) {
  return absl::FailedPreconditionError(absl::StrFormat("cannot listen on %s: %s", address, why));
}

std::string ErrnoText(int error) {
  return error == EADDRINUSE ? "the address is in use by another process" : std::generic_category().message(error);
}

// host and port of "host:port" or "[v6]:port".
std::optional<std::pair<std::string, std::string>> Split(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  std::string host = address.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return std::pair(std::move(host), address.substr(colon + 1));
}

// The errno of binding, 0 when it is possible.
int TryBind(const addrinfo& info) {
  const Socket probe(info.ai_family, info.ai_protocol);
  if (probe.fd() < 0) return errno;
  const int one = 1;
  setsockopt(probe.fd(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (info.ai_family == AF_INET6) setsockopt(probe.fd(), IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
  return bind(probe.fd(), info.ai_addr, info.ai_addrlen) == 0 ? 0 : errno;
}

std::string Numeric(const addrinfo& info, const std::string& port) {
  char host[NI_MAXHOST] = "";
  getnameinfo(info.ai_addr, info.ai_addrlen, host, sizeof(host), nullptr, 0, NI_NUMERICHOST);
  if (info.ai_family == AF_INET6) return absl::StrFormat("[%s]:%s", host, port);
  return absl::StrFormat("%s:%s", host, port);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ResolveListenAddress(const std::string& address) {
  const auto parts = Split(address);
  if (!parts.has_value()) return CannotListen(address, "it is not host:port");
  const auto& [host, port] = *parts;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &found); error != 0) {
    return CannotListen(address, gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  std::vector<std::string> out;
  int last_error = 0;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    const int error = TryBind(*info);
    // A name may stand for addresses that this machine does not have, such as ::1 without IPv6. But one that is taken
    // is one where clients would reach somebody else.
    if (error == EADDRINUSE || error == EACCES) return CannotListen(address, ErrnoText(error));
    if (error == 0) {
      out.push_back(Numeric(*info, port));
    } else {
      last_error = error;
    }
  }
  if (out.empty()) return CannotListen(address, ErrnoText(last_error));
  return out;
}

void PokeListener(const std::string& address) {
  const auto parts = Split(address);
  if (!parts.has_value()) return;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* found = nullptr;
  if (getaddrinfo(parts->first.c_str(), parts->second.c_str(), &hints, &found) != 0) return;
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  const Socket socket(found->ai_family, found->ai_protocol);
  if (socket.fd() >= 0) (void)connect(socket.fd(), found->ai_addr, found->ai_addrlen);
}

absl::Status PrepareUnixSocket(const std::string& path) {
  const std::string address = std::string(kUnixScheme) + path;
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(un.sun_path)) {
    return CannotListen(address, absl::StrFormat("the path must have 1 to %d bytes", sizeof(un.sun_path) - 1));
  }
  std::memcpy(un.sun_path, path.c_str(), path.size());
  const auto* const name = reinterpret_cast<const sockaddr*>(&un);
  struct stat file {};
  if (lstat(path.c_str(), &file) == 0) {
    if (!S_ISSOCK(file.st_mode)) return CannotListen(address, "there is something else that is not a socket");
    const Socket client(AF_UNIX, 0);
    if (connect(client.fd(), name, sizeof(un)) == 0) return CannotListen(address, ErrnoText(EADDRINUSE));
    if (errno != ECONNREFUSED) return CannotListen(address, ErrnoText(errno));
    if (unlink(path.c_str()) != 0) return CannotListen(address, ErrnoText(errno));
  } else if (errno != ENOENT) {
    return CannotListen(address, ErrnoText(errno));
  }
  const Socket probe(AF_UNIX, 0);
  if (bind(probe.fd(), name, sizeof(un)) != 0) return CannotListen(address, ErrnoText(errno));
  unlink(path.c_str());
  return absl::OkStatus();
}

absl::Status RestrictUnixSocket(const std::string& path) {
  if (chmod(path.c_str(), S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrFormat("cannot set the permissions of %s: %s", path, ErrnoText(errno)));
}

}  // namespace mptd
