#include "server/standing_certificates.h"

#include <utility>

#include "grpc/grpc_security_constants.h"
#include "grpcpp/security/auth_context.h"
#include "server/own_connections.h"

namespace mptd {
namespace {

// Certificates and revocation lists end by themselves, too. A judgement takes about a tenth of a millisecond.
constexpr absl::Duration kJudgeAgain = absl::Seconds(10);
// A connection that has come since the open ones were counted is not among them.
constexpr int kMissedWhenGone = 2;

std::string_view Property(const grpc::AuthContext* context, const char* name) {
  if (context == nullptr) return {};
  const std::vector<grpc::string_ref> values = context->FindPropertyValues(name);
  return values.empty() ? std::string_view() : std::string_view(values.front().data(), values.front().size());
}

}  // namespace

std::string CertificateOf(const grpc::ServerContextBase& context) {
  const auto auth = context.auth_context();
  const std::string_view leaf = Property(auth.get(), GRPC_X509_PEM_CERT_PROPERTY_NAME);
  return leaf.empty() ? "" : tls::DescribeCertificate(leaf);
}

void StandingCertificates::SetVerifier(std::shared_ptr<const tls::PeerVerifier> verifier) {
  const MutexLock lock(mutex_);
  verifier_ = std::move(verifier);
}

bool StandingCertificates::IsStale(const Standing& standing, const std::shared_ptr<const tls::PeerVerifier>& verifier,
                                   absl::Time now) {
  if (standing.leaf.empty() || verifier == nullptr) return false;
  return standing.judged_by != verifier || absl::AbsDuration(now - standing.judged) > kJudgeAgain;
}

absl::Status StandingCertificates::Judge(const std::string& peer, const Standing& standing, absl::Time now) {
  std::shared_ptr<const tls::PeerVerifier> verifier;
  {
    const MutexLock lock(mutex_);
    verifier = verifier_;
  }
  absl::Status verdict = verifier->Check(standing.leaf, standing.chain);
  const MutexLock lock(mutex_);
  const auto found = standing_.find(peer);
  if (found != standing_.end() && found->second.leaf == standing.leaf) {
    found->second.judged_by = std::move(verifier);
    found->second.judged = now;
    found->second.verdict = verdict;
  }
  return verdict;
}

absl::Status StandingCertificates::Check(const grpc::ServerContextBase& context, absl::Time now) {
  const std::string peer = CanonicalPeer(context.peer());
  if (peer == "unix") return absl::OkStatus();
  const auto auth = context.auth_context();
  const std::string_view leaf = Property(auth.get(), GRPC_X509_PEM_CERT_PROPERTY_NAME);
  Standing stale;
  {
    const MutexLock lock(mutex_);
    Standing& standing = standing_[peer];
    // Another connection may have had the port before.
    if (standing.leaf != leaf) {
      standing = {.leaf = std::string(leaf),
                  .chain = std::string(Property(auth.get(), GRPC_X509_PEM_CERT_CHAIN_PROPERTY_NAME)),
                  .judged_by = nullptr,
                  .verdict = {}};
    }
    standing.missed = 0;
    if (!IsStale(standing, verifier_, now)) return standing.verdict;
    stale = standing;
  }
  return Judge(peer, stale, now);
}

bool StandingCertificates::Knows(const std::string& peer) const {
  const MutexLock lock(mutex_);
  return standing_.contains(peer);
}

std::vector<StandingCertificates::Expelled> StandingCertificates::Review(const absl::flat_hash_set<std::string>& open,
                                                                         absl::Time now) {
  std::vector<std::pair<std::string, Standing>> stale;
  {
    const MutexLock lock(mutex_);
    absl::erase_if(standing_, [&open](auto& entry) {
      entry.second.missed = open.contains(entry.first) ? 0 : entry.second.missed + 1;
      return entry.second.missed >= kMissedWhenGone;
    });
    for (const auto& [peer, standing] : standing_) {
      if (IsStale(standing, verifier_, now)) stale.emplace_back(peer, standing);
    }
  }
  for (const auto& [peer, standing] : stale) Judge(peer, standing, now).IgnoreError();  // remembered, and read below
  std::vector<Expelled> out;
  const MutexLock lock(mutex_);
  for (const auto& [peer, standing] : standing_) {
    if (standing.verdict.ok()) continue;
    out.push_back({.peer = peer, .certificate = tls::DescribeCertificate(standing.leaf), .why = standing.verdict});
  }
  for (const Expelled& one : out) standing_.erase(one.peer);
  return out;
}

}  // namespace mptd
