// Certificates and revocation lists made in the test's process, with any dates. Used by one thread.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tls/x509.h"

namespace mptd::tls {

// A certificate with its key.
struct Made {
  Certificate certificate;
  PrivateKey key;

  std::string Pem() const;
  std::string KeyPem(const char* passphrase = nullptr) const;
};

struct Wish {
  std::string name = "mptd";
  const Made* issuer = nullptr;  // null: signed by itself
  bool authority = false;
  absl::Time not_before = absl::FromUnixSeconds(1'000'000'000);
  absl::Time not_after = absl::FromUnixSeconds(2'000'000'000);
  int rsa_bits = 0;  // 0: an elliptic curve
};
Made Make(const Wish& wish);

// Signed by `issuer`, of the certificates that it revokes.
std::string MakeRevocationList(const Made& issuer, const std::vector<const Made*>& revoked, absl::Time next_update);

}  // namespace mptd::tls
