// What TLS refuses besides calls: callers whose handshake fails, and connections whose certificate is not good any
// more. Both are counted, logged and audited; the latter are ended.
//
// gRPC 1.51 tells of a failed handshake in its log alone, and shows certificates to our verifier without saying whose
// they are. So the address in the record is that of the connection that may be shaking hands at that moment; when there
// are several, all of them are named. Connections that end before they have said anything leave no record.
//
// Safe from any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "metrics/log.h"
#include "metrics/metrics.h"
#include "security/audit_log.h"
#include "security/rate_limiter.h"
#include "server/mutex.h"
#include "server/own_connections.h"
#include "server/standing_certificates.h"

namespace mptd {

class TlsWatch {
 public:
  // `audit` may be null; it and `log` must outlive this.
  TlsWatch(security::AuditLog* audit, Logger& log);

  StandingCertificates& certificates() { return certificates_; }
  // Where the daemon listens, as soon as it does.
  void SetAddresses(const std::vector<std::string>& addresses);

  // A certificate that was shown in a handshake, PEM, or none (empty), and why it is refused.
  void OnRefusedCertificate(std::string_view leaf, const absl::Status& why);
  // What gRPC logs of a handshake that failed in TLS itself: text that ends in OpenSSL's reason.
  void OnFailedHandshake(std::string_view message);

  // To be called about every second: ends the connections whose certificate is not good any more.
  void Tick(absl::Time now);

  void Write(MetricsWriter& writer) const;

 private:
  enum class Why : uint8_t { kCertificate, kNoCertificate, kVersion, kPlaintext, kOther, kHungUp };
  static constexpr size_t kWhys = 6;

  std::optional<OwnConnections> connections() const;
  std::vector<std::string> ShakingHands() const;
  void Record(Why why, const std::string& reason, const std::string& certificate);
  bool IsWorthALook(bool audited, absl::Time now);
  void Audit(absl::Time now, const std::string& reason, const std::string& caller, const std::string& peer,
             const std::string& certificate);

  security::AuditLog* const audit_;
  Logger& log_;
  security::RateLimiter looks_;  // at connections, for failed handshakes that are not audited
  StandingCertificates certificates_;
  std::array<std::atomic<uint64_t>, kWhys> refused_{};
  std::atomic<uint64_t> closed_{0};
  mutable Mutex mutex_;
  std::optional<OwnConnections> connections_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mptd
