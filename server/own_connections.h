// The connections that this process has taken at its own addresses, as the kernel knows them: gRPC tells of none before
// its first call. Each look goes through /proc/self/fd, which takes about a millisecond for a thousand. Constant once
// it is made; safe from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mptd {

struct OwnConnection {
  int descriptor = -1;
  uint64_t inode = 0;  // of the socket: no other one has it, whatever its descriptor is
  std::string peer;    // "ipv4:192.0.2.1:4711", "ipv6:[::1]:4711"; "unix" of unix sockets
};

// As OwnConnection has it, of what grpc::ServerContext::peer() says.
std::string CanonicalPeer(std::string peer);

class OwnConnections {
 public:
  // `addresses` are those of servers, with the ports that were chosen: host:port, [v6]:port or unix:/path.
  explicit OwnConnections(const std::vector<std::string>& addresses);

  // Each once, also while it has two descriptors because it is being moved.
  std::vector<OwnConnection> Find() const;

 private:
  bool IsOurs(int descriptor) const;

  std::vector<uint16_t> ports_;
  std::vector<std::string> paths_;  // of unix sockets
};

// Ends a connection, which gRPC sees as the peer's doing. False when it is gone: its descriptor may be another's now.
bool ShutDown(const OwnConnection& connection);

// Whether it may be in the middle of its handshake: little has come in so far, and some of it just now.
bool MayShakeHands(const OwnConnection& connection);

}  // namespace mptd
