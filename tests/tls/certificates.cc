#include "tests/tls/certificates.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <functional>

namespace mptd::tls {
namespace {

std::string Written(const std::function<void(BIO*)>& write) {
  const std::unique_ptr<BIO, Freer<BIO_free_all>> bio(BIO_new(BIO_s_mem()));
  write(bio.get());
  const char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

void Extend(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION_free>> extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  X509_add_ext(certificate, extension.get(), -1);
}

void SetTime(ASN1_TIME* to, absl::Time time) { ASN1_TIME_set(to, absl::ToTimeT(time)); }

}  // namespace

std::string Made::Pem() const {
  return Written([this](BIO* bio) { PEM_write_bio_X509(bio, certificate.get()); });
}

std::string Made::KeyPem(const char* passphrase) const {
  return Written([&](BIO* bio) {
    PEM_write_bio_PKCS8PrivateKey(bio, key.get(), passphrase == nullptr ? nullptr : EVP_aes_128_cbc(), nullptr, 0,
                                  nullptr, const_cast<char*>(passphrase));  // it is only read
  });
}

Made Make(const Wish& wish) {
  static long serial = 0;
  Made out{
      .certificate = Certificate(X509_new()),
      .key = PrivateKey(wish.rsa_bits == 0 ? EVP_EC_gen("P-256") : EVP_RSA_gen(static_cast<unsigned>(wish.rsa_bits)))};
  X509* const made = out.certificate.get();
  X509* const issuer = wish.issuer == nullptr ? made : wish.issuer->certificate.get();
  X509_set_version(made, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made), ++serial);
  SetTime(X509_getm_notBefore(made), wish.not_before);
  SetTime(X509_getm_notAfter(made), wish.not_after);
  X509_set_pubkey(made, out.key.get());
  const auto* const name = reinterpret_cast<const unsigned char*>(wish.name.c_str());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC, name, -1, -1, 0);
  X509_set_issuer_name(made, X509_get_subject_name(issuer));
  Extend(made, issuer, NID_basic_constraints, wish.authority ? "critical,CA:TRUE" : "CA:FALSE");
  if (wish.authority) Extend(made, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
  X509_sign(made, wish.issuer == nullptr ? out.key.get() : wish.issuer->key.get(), EVP_sha256());
  return out;
}

std::string MakeRevocationList(const Made& issuer, const std::vector<const Made*>& revoked, absl::Time next_update) {
  const RevocationList list(X509_CRL_new());
  X509_CRL_set_version(list.get(), X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(issuer.certificate.get()));
  const std::unique_ptr<ASN1_TIME, Freer<ASN1_TIME_free>> time(ASN1_TIME_new());
  SetTime(time.get(), absl::FromUnixSeconds(1'000'000'000));
  X509_CRL_set1_lastUpdate(list.get(), time.get());
  for (const Made* one : revoked) {
    X509_REVOKED* const entry = X509_REVOKED_new();  // the list takes it
    X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(one->certificate.get()));
    X509_REVOKED_set_revocationDate(entry, time.get());
    X509_CRL_add0_revoked(list.get(), entry);
  }
  SetTime(time.get(), next_update);
  X509_CRL_set1_nextUpdate(list.get(), time.get());
  X509_CRL_sign(list.get(), issuer.key.get(), EVP_sha256());
  return Written([&](BIO* bio) { PEM_write_bio_X509_CRL(bio, list.get()); });
}

}  // namespace mptd::tls
