#include "server/connection_guard.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "server/listen_address.h"

namespace mptd {
namespace {

constexpr std::chrono::seconds kInterval{1};

std::optional<uint64_t> InodeOf(int descriptor) {
  struct stat info = {};
  if (fstat(descriptor, &info) != 0 || !S_ISSOCK(info.st_mode)) return std::nullopt;
  return info.st_ino;
}

// The sockaddr kinds as the kernel fills them in.
union SocketName {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
  sockaddr_un local;
};

// Shuts the connection down, if it is still the one that was meant: a descriptor may have become another's meanwhile,
// but not behind one's back while one holds a copy.
bool ShutDown(int descriptor, uint64_t inode) {
  const int copy = dup(descriptor);
  if (copy < 0) return false;
  const bool same = InodeOf(copy) == inode;
  if (same) shutdown(copy, SHUT_RDWR);
  close(copy);
  return same;
}

}  // namespace

ConnectionGuard::ConnectionGuard(const std::vector<std::string>& addresses, size_t max,
                                 std::function<void(size_t)> on_closed)
    : max_(max), on_closed_(std::move(on_closed)) {
  for (const std::string& address : addresses) {
    uint32_t port = 0;
    if (address.starts_with(kUnixScheme)) {
      paths_.push_back(address.substr(kUnixScheme.size()));
    } else if (absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port)) {
      ports_.push_back(static_cast<uint16_t>(port));
    }
  }
  thread_ = std::thread([this] { Run(); });
  pthread_setname_np(thread_.native_handle(), "mptd-guard");
}

ConnectionGuard::~ConnectionGuard() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

std::vector<ConnectionGuard::Connection> ConnectionGuard::Find() const {
  std::vector<Connection> out;
  std::error_code failed;
  std::filesystem::directory_iterator entry("/proc/self/fd", failed);
  for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
    int descriptor = 0;
    if (!absl::SimpleAtoi(entry->path().filename().string(), &descriptor)) continue;
    const std::optional<uint64_t> inode = InodeOf(descriptor);
    if (!inode.has_value()) continue;
    SocketName name = {};
    socklen_t size = sizeof(name);
    if (getsockname(descriptor, &name.any, &size) != 0) continue;
    int listening = 0;
    socklen_t length = sizeof(listening);
    if (getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) != 0 || listening != 0) continue;
    bool ours = false;
    if (name.any.sa_family == AF_UNIX) {
      ours = std::find(paths_.begin(), paths_.end(), name.local.sun_path) != paths_.end();
    } else if (name.any.sa_family == AF_INET || name.any.sa_family == AF_INET6) {
      const uint16_t port = ntohs(name.any.sa_family == AF_INET ? name.v4.sin_port : name.v6.sin6_port);
      ours = std::find(ports_.begin(), ports_.end(), port) != ports_.end();
    }
    if (ours) out.push_back({.descriptor = descriptor, .inode = *inode});
  }
  return out;
}

void ConnectionGuard::Check() {
  ++round_;
  std::vector<Connection> found = Find();
  std::map<uint64_t, uint64_t> seen;
  for (const Connection& connection : found) {
    const auto before = first_seen_.find(connection.inode);
    seen.emplace(connection.inode, before == first_seen_.end() ? round_ : before->second);
  }
  first_seen_ = std::move(seen);
  connections_.store(found.size(), std::memory_order_relaxed);
  if (found.size() <= max_) return;
  // Of those that one round has found, the one with the higher descriptor is nearly always the newer. (Inodes of
  // sockets are counted up by each processor for itself.)
  std::sort(found.begin(), found.end(), [this](const Connection& a, const Connection& b) {
    return std::pair(first_seen_.at(a.inode), a.descriptor) < std::pair(first_seen_.at(b.inode), b.descriptor);
  });
  size_t closed = 0;
  for (size_t i = max_; i < found.size(); ++i) closed += ShutDown(found[i].descriptor, found[i].inode) ? 1 : 0;
  if (closed > 0) on_closed_(closed);
}

void ConnectionGuard::Run() {
  while (true) {
    Check();
    const MutexLock lock(mutex_);
    if (!stopping_) changed_.wait_for(mutex_, kInterval);
    if (stopping_) return;
  }
}

}  // namespace mptd
