#include "server/access.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "core/errors.h"

namespace mptd {

using security::Permission;
using security::RateLimiter;

absl::StatusOr<std::unique_ptr<AccessControl>> AccessControl::Open(const AccessOptions& options,
                                                                   security::AuditLog* audit,
                                                                   StandingCertificates* certificates, Logger& log) {
  std::unique_ptr<AccessControl> access(new AccessControl(audit, certificates, log));
  if (absl::Status status = access->Configure(options); !status.ok()) return status;
  return access;
}

absl::Status AccessControl::Configure(const AccessOptions& options) {
  if (absl::Status status = callers_.Configure(options); !status.ok()) return status;
  limiter_.SetLimits(options.rates);
  const bool limits = options.rates != security::RateLimits{};
  idle_ = !callers_.enabled() && !limits && audit_ == nullptr && certificates_ == nullptr;
  return absl::OkStatus();
}

absl::Status AccessControl::Refuse(Refusal why, const Call& call, const std::string& caller, absl::Status status) {
  refused_[static_cast<size_t>(why)].fetch_add(1, std::memory_order_relaxed);
  log_.Log(LogLevel::kDebug, LogModule::kRpc, "refused",
           {{"method", call.name}, {"caller", caller}, {"reason", status.message()}});
  const absl::Time now = absl::Now();
  if (audit_ == nullptr || !audit_->HasRoomForRefusal(now)) return status;
  audit_->Add({.time = now,
               .event = "refused",
               .caller = caller,
               .method = std::string(call.name),
               .code = absl::StatusCodeToString(status.code()),
               .reason = std::string(status.message()),
               .peer = call.context == nullptr ? "" : call.context->peer(),
               .certificate = call.context == nullptr ? "" : CertificateOf(*call.context),
               .request_id = std::string(call.request_id)});
  return status;
}

absl::Status AccessControl::CheckCertificate(const Call& call) {
  if (certificates_ == nullptr) return absl::OkStatus();
  const absl::Status status = certificates_->Check(*call.context, absl::Now());
  if (status.ok()) return status;
  return Refuse(Refusal::kAuthentication, call, CallerAddress(*call.context), WithReason(status, "UNAUTHENTICATED"));
}

absl::Status AccessControl::CheckRate(const Call& call, const std::string& caller) {
  const bool write = call.needs == Permission::kWrite;
  const absl::Duration wait =
      limiter_.Take(caller, write ? RateLimiter::Kind::kWrite : RateLimiter::Kind::kRead, absl::Now());
  if (wait <= absl::ZeroDuration()) return absl::OkStatus();
  const char* limit = write ? "max_writes_per_second" : "max_reads_per_second";
  absl::Status status =
      RetryLater(absl::StrCat("the caller makes more calls a second than security.", limit, " lets it"), wait);
  return Refuse(Refusal::kRate, call, caller, WithReason(WithLimit(std::move(status), limit), "RATE_LIMITED"));
}

absl::Status AccessControl::CheckAudit(const Call& call, const std::string& caller) {
  if (!call.changes || audit_ == nullptr) return absl::OkStatus();
  absl::Status writable = audit_->CheckWritable();
  return writable.ok() ? writable : Refuse(Refusal::kAudit, call, caller, WithReason(writable, "AUDIT_UNAVAILABLE"));
}

Admission AccessControl::Decide(const Call& call) {
  if (absl::Status status = CheckCertificate(call); !status.ok()) {
    return {.caller = CallerAddress(*call.context), .status = std::move(status)};
  }
  const absl::StatusOr<Caller> caller = callers_.Authenticate(*call.context);
  Admission out{.caller = caller.ok() ? caller->name : CallerAddress(*call.context), .status = {}};
  // Also of who is refused for another reason: guessing is not for free.
  out.status = CheckRate(call, out.caller);
  if (!out.status.ok()) return out;
  if (!caller.ok()) {
    out.status = Refuse(Refusal::kAuthentication, call, out.caller, caller.status());
  } else if (!caller->permissions.Has(call.needs)) {
    out.status =
        Refuse(Refusal::kPermission, call, out.caller,
               WithReason(absl::PermissionDeniedError(absl::StrFormat("%s has no role for %s, which takes the role %s",
                                                                      out.caller, call.name, RolesWith(call.needs))),
                          "PERMISSION_DENIED"));
  } else {
    out.status = CheckAudit(call, out.caller);
  }
  return out;
}

Admission AccessControl::Admit(Method method, const grpc::ServerContextBase& context, std::string_view request_id) {
  if (idle_.load(std::memory_order_relaxed)) return {};
  const MethodAccess& row = AccessOf(method);
  return Decide({.name = Name(method),
                 .needs = row.needs,
                 .changes = row.audited != Audited::kNo,
                 .request_id = request_id,
                 .context = &context});
}

Admission AccessControl::AdmitForeign(std::string_view name, bool free, const grpc::ServerContextBase& context) {
  const Call call{.name = name, .needs = Permission::kRead, .changes = false, .request_id = {}, .context = &context};
  if (free) return {.caller = {}, .status = CheckCertificate(call)};
  return Decide(call);
}

absl::Status AccessControl::AdmitBlock(Method method, const std::string& caller, std::string_view request_id) {
  if (idle_.load(std::memory_order_relaxed)) return absl::OkStatus();
  const Call block{.name = Name(method), .needs = AccessOf(method).needs, .changes = true, .request_id = request_id};
  if (absl::Status status = CheckRate(block, caller); !status.ok()) return status;
  return CheckAudit(block, caller);
}

void AccessControl::Audit(security::AuditEntry entry) {
  if (audit_ != nullptr) audit_->Add(std::move(entry));
}

void AccessControl::Write(MetricsWriter& writer) const {
  constexpr std::array<const char*, kRefusals> kReasons = {"authentication", "permission", "rate", "audit"};
  for (size_t i = 0; i < kRefusals; ++i) {
    writer.Counter("mptd_refused_calls_total", "Calls that were refused at the gate, by reason.",
                   static_cast<double>(refused_[i].load(std::memory_order_relaxed)), {{"reason", kReasons[i]}});
  }
  if (audit_ == nullptr) return;
  const security::AuditStatus status = audit_->status();
  writer.Counter("mptd_audit_lines_total", "Lines of the audit log since the start.",
                 static_cast<double>(status.lines));
  writer.Counter("mptd_audit_lost_lines_total", "Lines of the audit log that could be neither written nor kept.",
                 static_cast<double>(status.lost));
  writer.Counter("mptd_audit_refusals_left_out_total", "Refusals without a line, for there were too many of them.",
                 static_cast<double>(status.left_out));
  writer.Counter("mptd_audit_failures_total", "Writes and syncs of the audit log that have failed.",
                 static_cast<double>(status.failed_writes + status.failed_syncs));
  writer.Gauge("mptd_audit_waiting_lines", "Lines of the audit log that cannot be written now.",
               static_cast<double>(status.waiting));
}

}  // namespace mptd
