#include "server/tls_watch.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"

namespace mptd {
namespace {

constexpr size_t kMostNamed = 4;  // of the connections that may be meant
constexpr uint64_t kLooksPerSecond = 10;

// "1.2.3.4:5" without the port.
std::string WithoutPort(const std::string& peer) { return peer.substr(0, peer.rfind(':')); }

std::string Names(std::vector<std::string> peers) {
  if (peers.size() == 1) return peers.front();
  const size_t more = peers.size() - std::min(peers.size(), kMostNamed);
  peers.resize(peers.size() - more);
  return peers.empty() ? "" : absl::StrCat("one of ", absl::StrJoin(peers, ", "), more > 0 ? " and others" : "");
}

// "... SSL_ERROR_SSL: error:0A000102:SSL routines::unsupported protocol." -> "unsupported protocol"
std::string OpensslReason(std::string_view message) {
  const size_t colons = message.rfind(':');
  if (colons != std::string_view::npos) message.remove_prefix(colons + 1);
  if (message.ends_with('.')) message.remove_suffix(1);
  return std::string(message);
}

bool IsOneOf(std::string_view text, std::initializer_list<std::string_view> all) {
  return std::find(all.begin(), all.end(), text) != all.end();
}

}  // namespace

TlsWatch::TlsWatch(security::AuditLog* audit, Logger& log) : audit_(audit), log_(log) {
  looks_.SetLimits({.reads_per_second = kLooksPerSecond, .writes_per_second = 0});
}

void TlsWatch::SetAddresses(const std::vector<std::string>& addresses) {
  const MutexLock lock(mutex_);
  connections_.emplace(addresses);
}

std::optional<OwnConnections> TlsWatch::connections() const {
  const MutexLock lock(mutex_);
  return connections_;
}

std::vector<std::string> TlsWatch::ShakingHands() const {
  std::vector<std::string> out;
  const std::optional<OwnConnections> own = connections();
  if (!own.has_value()) return out;
  for (const OwnConnection& connection : own->Find()) {
    if (!certificates_.Knows(connection.peer) && MayShakeHands(connection)) out.push_back(connection.peer);
  }
  return out;
}

void TlsWatch::OnRefusedCertificate(std::string_view leaf, const absl::Status& why) {
  Record(leaf.empty() ? Why::kNoCertificate : Why::kCertificate, std::string(why.message()),
         tls::DescribeCertificate(leaf));
}

void TlsWatch::OnFailedHandshake(std::string_view message) {
  const std::string reason = OpensslReason(message);
  if (reason.find(" alert ") != std::string::npos) {
    Record(Why::kHungUp, absl::StrCat("the caller has ended the handshake: ", reason), "");
  } else if (IsOneOf(reason, {"unsupported protocol", "version too low", "unknown protocol"})) {
    Record(Why::kVersion,
           absl::StrCat("the caller speaks no version of TLS that security.tls_min_version allows: ", reason), "");
  } else if (IsOneOf(reason,
                     {"wrong version number", "http request", "https proxy request", "packet length too long"})) {
    Record(Why::kPlaintext, absl::StrCat("the caller does not speak TLS: ", reason), "");
  } else {
    Record(Why::kOther, absl::StrCat("the handshake failed: ", reason), "");
  }
}

// Each look at the connections takes a while, and handshakes can be made to fail very fast.
bool TlsWatch::IsWorthALook(bool audited, absl::Time now) {
  if (audited) return audit_->HasRoomForRefusal(now);
  return looks_.Take("handshakes", security::RateLimiter::Kind::kRead, now) == absl::ZeroDuration();
}

void TlsWatch::Record(Why why, const std::string& reason, const std::string& certificate) {
  refused_[static_cast<size_t>(why)].fetch_add(1, std::memory_order_relaxed);
  const absl::Time now = absl::Now();
  const bool audited = audit_ != nullptr && why != Why::kHungUp;  // who ends it by himself was not refused
  if (!IsWorthALook(audited, now)) {
    log_.Debug(LogModule::kRpc, "tls_handshake_refused", {{"reason", reason}, {"certificate", certificate}});
    return;
  }
  const std::vector<std::string> peers = ShakingHands();
  const std::string peer = Names(peers);
  log_.Warn(LogModule::kRpc, "tls_handshake_refused",
            {{"reason", reason}, {"peer", peer}, {"certificate", certificate}});
  if (audited) Audit(now, reason, peers.size() == 1 ? WithoutPort(peers.front()) : "", peer, certificate);
}

void TlsWatch::Audit(absl::Time now, const std::string& reason, const std::string& caller, const std::string& peer,
                     const std::string& certificate) {
  audit_->Add({.time = now,
               .event = "refused",
               .caller = caller,
               .code = absl::StatusCodeToString(absl::StatusCode::kUnauthenticated),
               .reason = reason,
               .peer = peer,
               .certificate = certificate});
}

void TlsWatch::Tick(absl::Time now) {
  const std::optional<OwnConnections> own = connections();
  if (!own.has_value()) return;
  const std::vector<OwnConnection> found = own->Find();
  absl::flat_hash_set<std::string> open;
  for (const OwnConnection& connection : found) open.insert(connection.peer);
  for (const StandingCertificates::Expelled& expelled : certificates_.Review(open, now)) {
    const auto connection =
        std::find_if(found.begin(), found.end(), [&](const OwnConnection& one) { return one.peer == expelled.peer; });
    if (connection == found.end() || !ShutDown(*connection)) continue;
    closed_.fetch_add(1, std::memory_order_relaxed);
    const std::string reason = absl::StrCat(expelled.why.message(), "; its connection was closed");
    log_.Warn(LogModule::kRpc, "tls_connection_closed",
              {{"reason", reason}, {"peer", expelled.peer}, {"certificate", expelled.certificate}});
    if (audit_ != nullptr) Audit(now, reason, WithoutPort(expelled.peer), expelled.peer, expelled.certificate);
  }
}

void TlsWatch::Write(MetricsWriter& writer) const {
  constexpr std::array<const char*, kWhys> kReasons = {"certificate", "no_certificate", "version",
                                                       "plaintext",   "other",          "hung_up"};
  for (size_t i = 0; i < kWhys; ++i) {
    writer.Counter("mptd_tls_handshakes_refused_total", "Handshakes that have failed, by reason.",
                   static_cast<double>(refused_[i].load(std::memory_order_relaxed)), {{"reason", kReasons[i]}});
  }
  writer.Counter("mptd_tls_connections_closed_total",
                 "Connections that were closed because their certificate was not good any more.",
                 static_cast<double>(closed_.load(std::memory_order_relaxed)));
}

}  // namespace mptd
