// The gate that every call passes once, before anything is done for it (CallTrace for the calls of our services,
// AccessInterceptor for all others): who calls (authenticator.h), whether the certificate of its connection is still
// good (standing_certificates.h), whether it has the role, whether it makes too many calls, and whether a change could
// be audited. What is refused is counted and audited here.
//
// Safe from any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/server_context.h"
#include "metrics/log.h"
#include "metrics/metrics.h"
#include "security/audit_log.h"
#include "security/rate_limiter.h"
#include "server/authenticator.h"
#include "server/method_table.h"
#include "server/standing_certificates.h"

namespace mptd {

// What a call has come to at the gate.
struct Admission {
  std::string caller;  // empty when nobody keeps a record of callers
  absl::Status status;
};

class AccessControl {
 public:
  // `audit` and `certificates` may be null, without an audit log and without TLS; they and `log` must outlive this.
  // FAILED_PRECONDITION: a file that cannot be used, or settings that do not fit together.
  static absl::StatusOr<std::unique_ptr<AccessControl>> Open(const AccessOptions& options, security::AuditLog* audit,
                                                             StandingCertificates* certificates, Logger& log);

  // As Authenticator::Configure, and the rates.
  absl::Status Configure(const AccessOptions& options);

  // UNAUTHENTICATED, PERMISSION_DENIED, RESOURCE_EXHAUSTED with a delay, or UNAVAILABLE for changes that could not be
  // audited.
  Admission Admit(Method method, const grpc::ServerContextBase& context, std::string_view request_id);
  // Of a call that is not of our services, by its full name: one that is `free` needs no role, but it comes by a
  // connection whose certificate is still good.
  Admission AdmitForeign(std::string_view name, bool free, const grpc::ServerContextBase& context);
  // One more block of a stream that was admitted: RESOURCE_EXHAUSTED or UNAVAILABLE.
  absl::Status AdmitBlock(Method method, const std::string& caller, std::string_view request_id);

  // A line for a change that was made; without an audit log nothing.
  void Audit(security::AuditEntry entry);
  security::AuditLog* audit() { return audit_; }

  // Whether calls of other services than ours have to pass, too.
  bool guards_all() const { return callers_.enabled() || certificates_ != nullptr; }
  Authenticator& callers() { return callers_; }

  void Write(MetricsWriter& writer) const;

 private:
  enum class Refusal : uint8_t { kAuthentication, kPermission, kRate, kAudit };
  static constexpr size_t kRefusals = 4;

  // What a call is, for a decision and for the record of it.
  struct Call {
    std::string_view name;
    security::Permission needs;
    bool changes;
    std::string_view request_id;
    const grpc::ServerContextBase* context = nullptr;  // null: a block of a stream
  };

  AccessControl(security::AuditLog* audit, StandingCertificates* certificates, Logger& log)
      : audit_(audit), certificates_(certificates), log_(log) {}

  Admission Decide(const Call& call);
  absl::Status CheckCertificate(const Call& call);
  absl::Status CheckRate(const Call& call, const std::string& caller);
  absl::Status CheckAudit(const Call& call, const std::string& caller);
  absl::Status Refuse(Refusal why, const Call& call, const std::string& caller, absl::Status status);

  security::AuditLog* const audit_;
  StandingCertificates* const certificates_;
  Logger& log_;
  Authenticator callers_;
  security::RateLimiter limiter_;
  std::array<std::atomic<uint64_t>, kRefusals> refused_{};
  // So that a daemon without any of this pays a load a call.
  std::atomic<bool> idle_{true};
};

}  // namespace mptd
