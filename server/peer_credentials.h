// Which process is at the other end of a unix socket, for gRPC 1.51, which does not tell. We accept the connections and
// hand gRPC their file descriptors; a call then knows its connection as "fd:17" (grpc::ServerContext::peer), and that
// number leads to the credentials that the kernel noted when the client connected (SO_PEERCRED).
//
// A connection may be gone, and its number be another connection's, before the last of its calls is looked at. So a
// number that was once used for a process of one user and group is never used for those of another one: the next
// connection that gets it from the kernel is moved to a number that fits. Safe from any thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "server/mutex.h"

namespace mptd {

struct UnixPeer {
  uid_t uid = 0;
  gid_t gid = 0;

  bool operator==(const UnixPeer&) const = default;
};

class PeerCredentials {
 public:
  // A connection that was accepted; owns `fd` until it returns another one, or the same, for gRPC. Peers that `known`
  // says no to share numbers and have no credentials, so that a user with many ids cannot use the numbers up.
  // FAILED_PRECONDITION: closed, for there is no number left, or the kernel knows no peer.
  absl::StatusOr<int> Adopt(int fd, const std::function<bool(const UnixPeer&)>& known);

  // Of a call by its grpc::ServerContext::peer(): nothing when it did not come by a connection that was adopted.
  std::optional<UnixPeer> Find(std::string_view peer) const;

 private:
  struct Number {
    bool used = false;
    std::optional<UnixPeer> peer;
  };

  bool Bind(int fd, const std::optional<UnixPeer>& peer);

  mutable Mutex mutex_;
  std::vector<Number> numbers_ ABSL_GUARDED_BY(mutex_);  // by file descriptor
};

}  // namespace mptd
