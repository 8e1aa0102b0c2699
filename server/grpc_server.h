// The gRPC side of the daemon: addresses, limits, health and reflection around services that others write.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/impl/service_type.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "metrics/log.h"
#include "server/access.h"
#include "server/health_service.h"
#include "server/tls_watch.h"
#include "server/unix_acceptor.h"

namespace mptd {

struct GrpcServerOptions {
  std::vector<std::string> listen;                       // host:port, [v6]:port or unix:/path; port 0 takes a free one
  std::shared_ptr<grpc::ServerCredentials> credentials;  // of all but unix sockets; null: no TLS
  size_t max_message_bytes = size_t{256} << 20;
  size_t max_calls_per_connection = 1024;  // more wait at the client
  size_t max_metadata_bytes = size_t{8} << 10;
  size_t max_connections = 1024;
  absl::Duration max_connection_idle = absl::Hours(1);
  absl::Duration handshake_timeout = absl::Seconds(20);
  size_t max_buffered_bytes = 0;  // of what clients send, for all of them; 0: no limit
  // Asked about calls of services that are not given to Start, and about who connects to unix sockets. Null, or
  // outlives the server.
  AccessControl* access = nullptr;
};

// Methods may be called from any thread; Shutdown once.
class GrpcServer {
 public:
  // Listens and answers from here on. `services` maps the full names to the services, which must outlive the server.
  // FAILED_PRECONDITION, in one sentence, when an address cannot be listened on; nothing listens then.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(
      const GrpcServerOptions& options, const std::vector<std::pair<std::string, grpc::Service*>>& services);
  // As Shutdown without grace.
  ~GrpcServer();

  // What grpc.health.v1 answers for one service; "" and "readyz" stand for all of them. All serve at first, and so
  // does "livez", a name for probes of liveness, until Shutdown.
  void SetServing(const std::string& service, bool serving);
  // Not serving, for good, every name but "livez".
  void StopServing();

  // Takes no more calls, ends watches of health, waits `grace` for other calls that run, cancels the rest and returns
  // when all are over.
  void Shutdown(absl::Duration grace);

  // Where it listens, with the ports that were chosen.
  const std::vector<std::string>& addresses() const { return addresses_; }

 private:
  GrpcServer(std::unique_ptr<HealthService> health, std::unique_ptr<grpc::Server> server,
             std::vector<std::string> names, std::vector<std::string> addresses)
      : health_(std::move(health)),
        server_(std::move(server)),
        names_(std::move(names)),
        addresses_(std::move(addresses)) {}
  absl::Status AcceptAt(const std::string& path, AccessControl& access);

  const std::unique_ptr<HealthService> health_;  // outlives the server, whose calls it has
  std::unique_ptr<grpc::Server> server_;
  std::vector<std::unique_ptr<UnixAcceptor>> acceptors_;  // of unix sockets that gRPC does not listen on itself
  const std::vector<std::string> names_;
  const std::vector<std::string> addresses_;
  std::atomic<bool> stopped_serving_{false};
};

// Sends what gRPC itself has to say, for the whole process, to `log` (null: to nobody). `log` must outlive all use of
// gRPC, or be taken back by another call.
void SendGrpcLogTo(Logger* log);
// Who is told of handshakes that fail (null: nobody), instead of the log. Needs SendGrpcLogTo. `watch` must be taken
// back before it goes.
void SendFailedHandshakesTo(TlsWatch* watch);

}  // namespace mptd
