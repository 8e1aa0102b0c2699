// Owners of OpenSSL's objects, and what this project asks of certificates. Of tls/ alone; safe from any thread.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mptd::tls {

template <auto free_function>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    free_function(object);
  }
};
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using RevocationList = std::unique_ptr<X509_CRL, Freer<X509_CRL_free>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;

// All of them in a PEM text, in their order; INVALID_ARGUMENT when there is none or one is malformed.
absl::StatusOr<std::vector<Certificate>> ParseCertificates(std::string_view pem);
absl::StatusOr<std::vector<RevocationList>> ParseRevocationLists(std::string_view pem);
// INVALID_ARGUMENT also when it has a passphrase; nobody is asked for one.
absl::StatusOr<PrivateKey> ParsePrivateKey(std::string_view pem);

std::string SubjectOf(const X509* certificate);  // "CN=mptd,O=Example" as RFC 2253 has it
std::string IssuerOf(const X509* certificate);
std::string SerialOf(const X509* certificate);  // hexadecimal, as openssl prints it
std::string IssuerOf(const X509_CRL* list);
absl::Time ToTime(const ASN1_TIME* time);  // infinite when it is not there or cannot be read

// What OpenSSL has to say of the thread's last error; it is forgotten then.
std::string TakeOpensslError();

}  // namespace mptd::tls
