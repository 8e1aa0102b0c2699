// Who makes a call, and what that caller may do.
//
// A caller shows who it is by one of these, the first that is there deciding alone, so that a bad token is never
// covered up by a good certificate:
//
//   authorization: Bearer <token>   signed with the shared secret or by the issuer whose public key is known
//   a client certificate            that TLS has verified: its common name and its alternative names
//   a unix socket                   the user and group of the process, as the kernel knows them
//
// Roles come from the rules of security.roles. As soon as there is a rule, a secret or a public key, whoever shows
// nothing is refused; without any of them everybody may do everything.
//
// Safe from any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/server_context.h"
#include "security/rate_limiter.h"
#include "security/replay_guard.h"
#include "security/roles.h"
#include "security/token.h"
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
  security::RateLimits rates;  // not the authenticator's

  bool operator==(const AccessOptions&) const = default;
};

struct Caller {
  // "cert:CN=prover", "jwt:sub=indexer", "secret", "unix:uid=1000", else the address that it calls from.
  std::string name;
  security::Permissions permissions;
};

// The address that a call comes from, without the port, which is another one for each connection.
std::string CallerAddress(const grpc::ServerContextBase& context);

class Authenticator {
 public:
  // Files and rules; those that are the same are read anew. FAILED_PRECONDITION: a file that cannot be used, or
  // settings that do not fit together; nothing has changed then. To be called once before anything else is. Connections
  // of unix sockets that are open keep what they had when a rule for their user or group was not there before.
  absl::Status Configure(const AccessOptions& options);

  // UNAUTHENTICATED when what is shown is no good, or nothing is. A caller may have no role at all.
  absl::StatusOr<Caller> Authenticate(const grpc::ServerContextBase& context);

  // Whether there is somebody who may not do everything.
  bool enabled() const;
  // Whether a rule speaks of unix sockets, and who is known by one.
  bool knows_unix_peers() const;
  bool Knows(const UnixPeer& peer) const;
  PeerCredentials& unix_peers() { return unix_peers_; }

 private:
  // Constant once it is made; a call keeps the one that it began with.
  struct Policy {
    std::unique_ptr<security::TokenVerifier> secret;
    std::unique_ptr<security::TokenVerifier> issuer;
    std::vector<security::RoleRule> rules;

    bool enabled() const { return secret != nullptr || issuer != nullptr || !rules.empty(); }
  };

  static absl::StatusOr<std::shared_ptr<const Policy>> MakePolicy(const AccessOptions& options);
  std::shared_ptr<const Policy> policy() const;

  absl::StatusOr<Caller> FromToken(const Policy& policy, std::string_view header);
  static std::optional<Caller> FromCertificate(const Policy& policy, const grpc::ServerContextBase& context);
  std::optional<Caller> FromUnixSocket(const Policy& policy, const grpc::ServerContextBase& context) const;

  security::ReplayGuard replays_;
  PeerCredentials unix_peers_;
  mutable Mutex mutex_;
  std::shared_ptr<const Policy> policy_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mptd
