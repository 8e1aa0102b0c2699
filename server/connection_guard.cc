#include "server/connection_guard.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace mptd {
namespace {

constexpr std::chrono::seconds kInterval{1};

}  // namespace

ConnectionGuard::ConnectionGuard(const std::vector<std::string>& addresses, size_t max,
                                 std::function<void(size_t)> on_closed)
    : own_(addresses), max_(max), on_closed_(std::move(on_closed)) {
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

void ConnectionGuard::Check() {
  ++round_;
  std::vector<OwnConnection> found = own_.Find();
  std::map<uint64_t, uint64_t> seen;
  for (const OwnConnection& connection : found) {
    const auto before = first_seen_.find(connection.inode);
    seen.emplace(connection.inode, before == first_seen_.end() ? round_ : before->second);
  }
  first_seen_ = std::move(seen);
  connections_.store(found.size(), std::memory_order_relaxed);
  if (found.size() <= max_) return;
  // Of those that one round has found, the one with the higher descriptor is nearly always the newer. (Inodes of
  // sockets are counted up by each processor for itself.)
  std::sort(found.begin(), found.end(), [this](const OwnConnection& a, const OwnConnection& b) {
    return std::pair(first_seen_.at(a.inode), a.descriptor) < std::pair(first_seen_.at(b.inode), b.descriptor);
  });
  size_t closed = 0;
  for (size_t i = max_; i < found.size(); ++i) closed += ShutDown(found[i]) ? 1 : 0;
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
