#include "tls/peer_verifier.h"

#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <utility>

#include "absl/strings/str_format.h"
#include "tls/x509.h"

namespace mptd::tls {
namespace {

using StoreContext = std::unique_ptr<X509_STORE_CTX, Freer<X509_STORE_CTX_free>>;

// As TLS itself has it: no keys of less than 112 bits of security, and no signatures with SHA-1.
constexpr int kSecurityLevel = 2;

void FreeStack(STACK_OF(X509) * stack) { sk_X509_free(stack); }

absl::Status OutOfMemory() { return absl::ResourceExhaustedError("no memory to check a certificate"); }

}  // namespace

absl::StatusOr<PeerVerifier> PeerVerifier::Create(std::string_view authorities, std::string_view revocation_lists) {
  std::shared_ptr<X509_STORE> store(X509_STORE_new(), &X509_STORE_free);
  if (store == nullptr) return OutOfMemory();
  const auto trusted = ParseCertificates(authorities);
  if (!trusted.ok()) return trusted.status();
  for (const Certificate& one : *trusted) {
    if (X509_STORE_add_cert(store.get(), one.get()) != 1) return absl::InvalidArgumentError(TakeOpensslError());
  }
  // As gRPC has it: an authority in between may be the trusted one.
  unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST;
  if (!revocation_lists.empty()) {
    const auto lists = ParseRevocationLists(revocation_lists);
    if (!lists.ok()) return lists.status();
    for (const RevocationList& one : *lists) {
      if (X509_STORE_add_crl(store.get(), one.get()) != 1) return absl::InvalidArgumentError(TakeOpensslError());
    }
    flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
  }
  if (X509_STORE_set_flags(store.get(), flags) != 1) return OutOfMemory();
  return PeerVerifier(std::move(store));
}

absl::Status PeerVerifier::Check(std::string_view leaf, std::string_view chain) const {
  const auto certificates = ParseCertificates(leaf);
  if (!certificates.ok()) return absl::UnauthenticatedError("the certificate cannot be read");
  const std::unique_ptr<STACK_OF(X509), Freer<FreeStack>> between(sk_X509_new_null());
  const auto more = ParseCertificates(chain);  // nothing, in most cases
  if (more.ok()) {
    for (const Certificate& one : *more) sk_X509_push(between.get(), one.get());
  }
  const StoreContext context(X509_STORE_CTX_new());
  X509* const peer = certificates->front().get();
  if (between == nullptr || context == nullptr ||
      X509_STORE_CTX_init(context.get(), store_.get(), peer, between.get()) != 1 ||
      X509_STORE_CTX_set_purpose(context.get(), X509_PURPOSE_SSL_CLIENT) != 1) {
    return OutOfMemory();
  }
  X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(context.get()), kSecurityLevel);
  if (X509_verify_cert(context.get()) == 1) return absl::OkStatus();
  const int error = X509_STORE_CTX_get_error(context.get());
  TakeOpensslError();
  return absl::UnauthenticatedError(absl::StrFormat("%s: %s", SubjectOf(peer), X509_verify_cert_error_string(error)));
}

std::string DescribeCertificate(std::string_view pem) {
  const auto certificates = ParseCertificates(pem);
  if (!certificates.ok()) return "";
  const X509* const certificate = certificates->front().get();
  return absl::StrFormat("%s, serial %s, issued by %s", SubjectOf(certificate), SerialOf(certificate),
                         IssuerOf(certificate));
}

}  // namespace mptd::tls
