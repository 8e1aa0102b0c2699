// TLS of the daemon's gRPC addresses: the credentials that it listens with, and the files behind them, which are read
// anew when they change or somebody asks, while connections and calls go on. What is in the files counts for handshakes
// from about a second later; when it is bad, what was good before stays in force, and log, health and metrics say so.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/security/server_credentials.h"
#include "metrics/log.h"
#include "metrics/metrics.h"
#include "security/audit_log.h"
#include "server/health_monitor.h"
#include "server/memory_file.h"
#include "server/mutex.h"
#include "server/tls_watch.h"
#include "tls/tls_files.h"

namespace mptd {

struct ServerTlsOptions {
  tls::TlsFiles files;
  bool require_client_certificates = true;  // with files.client_ca; false: only asks for them
  bool tls13_only = true;                   // false: 1.2 as well

  bool enabled() const { return !files.certificate.empty(); }
};

// Decides about the certificates of callers, for gRPC, which keeps it as long as it wants.
class PeerGate;

// Safe from any thread.
class ServerTls {
 public:
  // Reads the files and begins to watch them. `audit` may be null; it and `log` must outlive this. The error is one
  // sentence, of the file that is bad. `tls13_only` is of the whole process, and cannot be taken back.
  static absl::StatusOr<std::unique_ptr<ServerTls>> Open(ServerTlsOptions options, security::AuditLog* audit,
                                                         Logger& log);
  ~ServerTls();
  ServerTls(const ServerTls&) = delete;
  ServerTls& operator=(const ServerTls&) = delete;

  // For as many addresses and servers as one likes; they must be gone before this is.
  const std::shared_ptr<grpc::ServerCredentials>& credentials() const { return credentials_; }

  // What is refused besides calls, and the certificates of connections that stand.
  TlsWatch& watch() { return watch_; }

  // Reads the files now. The error is that of Open, and then nothing has changed.
  absl::Status Reload();

  // Degraded while the files are worse than what is in force, or that is about to expire; failing when it has.
  HealthFinding Check(absl::Time now) const;
  void Write(MetricsWriter& writer) const;

 private:
  // What stat says of each file; a change of it is a reason to read them.
  using Stamp = std::vector<int64_t>;

  ServerTls(ServerTlsOptions options, MemoryFile identity, MemoryFile client_ca, security::AuditLog* audit,
            Logger& log);
  void MakeCredentials();
  Stamp ReadStamp() const;
  absl::Status ReloadLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Publish(const tls::TlsMaterial& material) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Watch();

  const ServerTlsOptions options_;
  Logger& log_;
  TlsWatch watch_;
  const std::shared_ptr<PeerGate> gate_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;  // constant after Open

  mutable Mutex mutex_;
  std::condition_variable_any stop_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  MemoryFile identity_ ABSL_GUARDED_BY(mutex_);  // key and certificate together: gRPC reads both of one version
  MemoryFile client_ca_ ABSL_GUARDED_BY(mutex_);
  tls::TlsMaterial in_force_ ABSL_GUARDED_BY(mutex_);
  std::string problem_ ABSL_GUARDED_BY(mutex_);  // of the files as they are; empty when they are in force
  Stamp seen_ ABSL_GUARDED_BY(mutex_);           // of the files when they were read
  uint64_t reloads_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t failures_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread watcher_;
};

}  // namespace mptd
