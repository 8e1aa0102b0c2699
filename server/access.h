// Who calls, and whether it may: the gate that every call passes once, before anything is done for it (CallTrace
// for the calls of our services, AccessInterceptor for all others).
//
// A caller shows who it is by one of these, the first that is there deciding alone, so that a bad token is never
// covered up by a good certificate:
//
//   authorization: Bearer <token>   signed with the shared secret or by the issuer whose public key is known
//   a client certificate            that TLS has verified: its common name and its alternative names
//   a unix socket                   the user and group of the process, as the kernel knows them
//
// Roles come from the rules of security.roles. As soon as there is a rule, a secret or a public key, whoever has no
// role is refused; without any of them everybody may do everything.
//
// Safe from any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "metrics/log.h"
#include "metrics/metrics.h"
#include "security/audit_log.h"
#include "security/rate_limiter.h"
#include "security/replay_guard.h"
#include "security/roles.h"
#include "security/token.h"
#include "server/method_table.h"
#include "server/mutex.h"
#include "server/peer_credentials.h"

namespace mptd {

// As in the section "security" of the settings.
struct AccessOptions {
  std::string jwt_secret_file;
  std::string jwt_public_key_file;
  std::string jwt_algorithm = "RS256";
  std::string jwt_audience;
  std::vector<std::string> roles;
  security::RateLimits rates;

  bool operator==(const AccessOptions&) const = default;
};

struct Caller {
  // "cert:CN=prover", "jwt:sub=indexer", "secret", "unix:uid=1000", else the address that it calls from.
  std::string name;
  security::Permissions permissions;
};

// What a call has come to at the gate.
struct Admission {
  std::string caller;  // empty when nobody keeps a record of callers
  absl::Status status;
};

class AccessControl {
 public:
  // `audit` may be null; it and `log` must outlive this. FAILED_PRECONDITION: a file that cannot be used, or settings
  // that do not fit together.
  static absl::StatusOr<std::unique_ptr<AccessControl>> Open(const AccessOptions& options, security::AuditLog* audit,
                                                             Logger& log);

  // Other files and rules; those that are the same are read anew. With an error nothing has changed. Connections of
  // unix sockets that are open keep what they had when a rule for their user or group was not there before.
  absl::Status Configure(const AccessOptions& options);

  // UNAUTHENTICATED, PERMISSION_DENIED, RESOURCE_EXHAUSTED with a delay, or UNAVAILABLE for changes that could not be
  // audited. What is refused is counted and audited here.
  Admission Admit(Method method, const grpc::ServerContextBase& context, std::string_view request_id);
  // Of a call that is not of our services; `name` is for the record.
  Admission Admit(std::string_view name, const grpc::ServerContextBase& context);
  // One more block of a stream that was admitted: RESOURCE_EXHAUSTED or UNAVAILABLE.
  absl::Status AdmitBlock(Method method, const std::string& caller, std::string_view request_id);

  // A line for a change that was made; without an audit log nothing.
  void Audit(security::AuditEntry entry);
  security::AuditLog* audit() { return audit_; }

  // Whether there is somebody who may not do everything.
  bool authenticates() const;
  // Whether a rule speaks of unix sockets, and who is known by one.
  bool knows_unix_peers() const;
  bool Knows(const UnixPeer& peer) const;
  PeerCredentials& unix_peers() { return unix_peers_; }

  void Write(MetricsWriter& writer) const;

 private:
  enum class Refusal : uint8_t { kAuthentication, kPermission, kRate, kAudit };
  static constexpr size_t kRefusals = 4;

  // Constant once it is made; a call keeps the one that it began with.
  struct Policy {
    AccessOptions options;
    std::unique_ptr<security::TokenVerifier> secret;
    std::unique_ptr<security::TokenVerifier> issuer;
    std::vector<security::RoleRule> rules;

    bool authenticates() const { return secret != nullptr || issuer != nullptr || !rules.empty(); }
  };

  AccessControl(security::AuditLog* audit, Logger& log) : audit_(audit), log_(log) {}

  static absl::StatusOr<std::shared_ptr<const Policy>> MakePolicy(const AccessOptions& options);
  std::shared_ptr<const Policy> policy() const;

  // What a call is, for a decision and for the record of it.
  struct Call {
    std::string_view name;
    security::Permission needs;
    bool changes;
    std::string_view request_id;
  };
  Admission Decide(const Call& call, const grpc::ServerContextBase& context);
  absl::Status CheckLimits(const Call& call, const std::string& caller);
  absl::Status Refuse(Refusal why, const Call& call, const std::string& caller, absl::Status status);

  // UNAUTHENTICATED when what is shown is no good, or nothing is.
  absl::StatusOr<Caller> Authenticate(const Policy& policy, const grpc::ServerContextBase& context);
  absl::StatusOr<Caller> FromToken(const Policy& policy, std::string_view header);
  static std::optional<Caller> FromCertificate(const Policy& policy, const grpc::ServerContextBase& context);
  std::optional<Caller> FromUnixSocket(const Policy& policy, const grpc::ServerContextBase& context) const;

  security::AuditLog* const audit_;
  Logger& log_;
  security::RateLimiter limiter_;
  security::ReplayGuard replays_;
  PeerCredentials unix_peers_;
  std::array<std::atomic<uint64_t>, kRefusals> refused_{};
  // So that a daemon without any of this pays a load a call.
  std::atomic<bool> idle_{true};
  mutable Mutex mutex_;
  std::shared_ptr<const Policy> policy_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mptd
