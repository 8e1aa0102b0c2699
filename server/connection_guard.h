// Keeps the number of gRPC connections below a limit. gRPC itself has none: it takes every connection that comes, and
// each costs a descriptor and its buffers. Looked at every second: of the sockets of this process those that came in on
// the given addresses are counted, and the newest beyond the limit are shut down, which gRPC sees as the peer's doing.
//
// Owns a thread. connections() may be called from any thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "server/mutex.h"
#include "server/own_connections.h"

namespace mptd {

class ConnectionGuard {
 public:
  // `addresses` are those of the server, with the ports that were chosen: host:port, [v6]:port or unix:/path.
  // `on_closed` is told how many were shut down, on the guard's thread.
  ConnectionGuard(const std::vector<std::string>& addresses, size_t max, std::function<void(size_t)> on_closed);
  ~ConnectionGuard();
  ConnectionGuard(const ConnectionGuard&) = delete;
  ConnectionGuard& operator=(const ConnectionGuard&) = delete;

  // As last counted.
  size_t connections() const { return connections_.load(std::memory_order_relaxed); }

 private:
  void Run();
  void Check();

  const OwnConnections own_;
  const size_t max_;
  const std::function<void(size_t)> on_closed_;
  std::atomic<size_t> connections_{0};
  std::map<uint64_t, uint64_t> first_seen_;  // by inode, the round it was first seen in; the thread's
  uint64_t round_ = 0;

  Mutex mutex_;
  std::condition_variable_any changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace mptd
