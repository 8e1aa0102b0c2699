// Whether a peer's certificate is to be trusted: issued by one of some CAs, valid now, for a client's use, and on no
// revocation list. All that counts is decided here: gRPC is told not to verify by itself. Safe from any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct x509_store_st;

namespace mptd::tls {

class PeerVerifier {
 public:
  // PEM texts as ReadTlsFiles returns them; without lists nothing counts as revoked. With lists, there must be one of
  // each CA up to the trusted one, which is not out of date: who cannot be looked up is refused.
  static absl::StatusOr<PeerVerifier> Create(std::string_view authorities, std::string_view revocation_lists);

  // `leaf` is the peer's certificate, `chain` what it sent besides, in PEM. UNAUTHENTICATED names it and says why not.
  absl::Status Check(std::string_view leaf, std::string_view chain) const;

 private:
  explicit PeerVerifier(std::shared_ptr<x509_store_st> store) : store_(std::move(store)) {}

  std::shared_ptr<x509_store_st> store_;
};

// "CN=prover, serial 1A2B, issued by CN=callers", for people; nothing of what cannot be read.
std::string DescribeCertificate(std::string_view pem);

}  // namespace mptd::tls
