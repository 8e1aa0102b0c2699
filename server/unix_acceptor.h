// A unix socket that we listen on ourselves, because gRPC does not say who has connected (see peer_credentials.h).
// Owns the socket and the thread that accepts; Start and the destructor are called by one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"

namespace mptd {

class UnixAcceptor {
 public:
  // Called on the acceptor's thread with a connection, non-blocking, that is the callee's from then on.
  using OnConnection = std::function<void(int fd)>;

  // Owner and group may connect. FAILED_PRECONDITION: why `path` cannot be listened on.
  static absl::StatusOr<std::unique_ptr<UnixAcceptor>> Start(const std::string& path, OnConnection on_connection);
  // Takes no more connections, and removes the socket.
  ~UnixAcceptor();
  UnixAcceptor(const UnixAcceptor&) = delete;
  UnixAcceptor& operator=(const UnixAcceptor&) = delete;

 private:
  UnixAcceptor(std::string path, int listener, int stop, OnConnection on_connection);
  void Run() const;

  const std::string path_;
  const int listener_;
  const int stop_;  // an eventfd
  const OnConnection on_connection_;
  std::thread thread_;
};

}  // namespace mptd
