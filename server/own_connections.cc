#include "server/own_connections.h"

#include <arpa/inet.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <set>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "server/listen_address.h"

namespace mptd {
namespace {

// Certificates of a client and those up to its CA are a few thousand bytes.
constexpr uint64_t kMostHandshakeBytes = 32768;
// Long enough for a machine on which our thread waits for its turn: to leave the right one out is worse than to name
// two.
constexpr uint32_t kJustNowMs = 10'000;

// The sockaddr kinds as the kernel fills them in.
union SocketName {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
  sockaddr_un local;
};

std::optional<uint64_t> InodeOf(int descriptor) {
  struct stat info {};
  if (fstat(descriptor, &info) != 0 || !S_ISSOCK(info.st_mode)) return std::nullopt;
  return info.st_ino;
}

std::string TextOf(int family, const void* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  return inet_ntop(family, address, text.data(), text.size()) == nullptr ? "" : text.data();
}

std::string PeerOf(int descriptor) {
  SocketName name = {};
  socklen_t size = sizeof(name);
  if (getpeername(descriptor, &name.any, &size) != 0) return "";
  if (name.any.sa_family == AF_UNIX) return "unix";
  if (name.any.sa_family == AF_INET) {
    return absl::StrFormat("ipv4:%s:%d", TextOf(AF_INET, &name.v4.sin_addr), ntohs(name.v4.sin_port));
  }
  const uint16_t port = ntohs(name.v6.sin6_port);
  if (IN6_IS_ADDR_V4MAPPED(&name.v6.sin6_addr)) {
    return absl::StrFormat("ipv4:%s:%d", TextOf(AF_INET, &name.v6.sin6_addr.s6_addr[12]), port);
  }
  return absl::StrFormat("ipv6:[%s]:%d", TextOf(AF_INET6, &name.v6.sin6_addr), port);
}

}  // namespace

std::string CanonicalPeer(std::string peer) {
  if (peer.starts_with("ipv4:")) return peer;
  if (!peer.starts_with("ipv6:")) return "unix";
  peer = absl::StrReplaceAll(peer, {{"%5B", "["}, {"%5D", "]"}, {"%25", "%"}});
  // The name of the interface, of addresses that are valid on one link only.
  const size_t zone = peer.find('%');
  if (zone != std::string::npos) peer.erase(zone, peer.find(']') - zone);
  return peer;
}

OwnConnections::OwnConnections(const std::vector<std::string>& addresses) {
  for (const std::string& address : addresses) {
    uint32_t port = 0;
    if (address.starts_with(kUnixScheme)) {
      paths_.push_back(address.substr(kUnixScheme.size()));
    } else if (absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port)) {
      ports_.push_back(static_cast<uint16_t>(port));
    }
  }
}

bool OwnConnections::IsOurs(int descriptor) const {
  SocketName name = {};
  socklen_t size = sizeof(name);
  if (getsockname(descriptor, &name.any, &size) != 0) return false;
  int listening = 0;
  socklen_t length = sizeof(listening);
  if (getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) != 0 || listening != 0) return false;
  if (name.any.sa_family == AF_UNIX) {
    return std::find(paths_.begin(), paths_.end(), name.local.sun_path) != paths_.end();
  }
  if (name.any.sa_family != AF_INET && name.any.sa_family != AF_INET6) return false;
  const uint16_t port = ntohs(name.any.sa_family == AF_INET ? name.v4.sin_port : name.v6.sin6_port);
  return std::find(ports_.begin(), ports_.end(), port) != ports_.end();
}

std::vector<OwnConnection> OwnConnections::Find() const {
  std::vector<OwnConnection> out;
  std::set<uint64_t> seen;
  std::error_code failed;
  std::filesystem::directory_iterator entry("/proc/self/fd", failed);
  for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
    int descriptor = 0;
    if (!absl::SimpleAtoi(entry->path().filename().string(), &descriptor)) continue;
    const std::optional<uint64_t> inode = InodeOf(descriptor);
    if (!inode.has_value() || !IsOurs(descriptor) || !seen.insert(*inode).second) continue;
    out.push_back({.descriptor = descriptor, .inode = *inode, .peer = PeerOf(descriptor)});
  }
  return out;
}

// A descriptor cannot become another's behind one's back while one holds a copy of it.
bool ShutDown(const OwnConnection& connection) {
  const int copy = dup(connection.descriptor);
  if (copy < 0) return false;
  const bool same = InodeOf(copy) == connection.inode;
  if (same) shutdown(copy, SHUT_RDWR);
  close(copy);
  return same;
}

bool MayShakeHands(const OwnConnection& connection) {
  tcp_info info = {};
  socklen_t size = sizeof(info);
  if (getsockopt(connection.descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
  return info.tcpi_bytes_received > 0 && info.tcpi_bytes_received <= kMostHandshakeBytes &&
         info.tcpi_last_data_recv <= kJustNowMs;
}

}  // namespace mptd
