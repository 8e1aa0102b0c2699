#include "tls/x509.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <ctime>
#include <functional>

namespace mptd::tls {
namespace {

using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;

Bio Reader(std::string_view pem) { return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

std::string TextOf(const X509_NAME* name) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253) < 0) return "an unreadable name";
  const char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

// Reads objects until `read` finds no more; the end of a text is an error of its own to OpenSSL.
template <typename Owner>
absl::StatusOr<std::vector<Owner>> ParseAll(std::string_view pem, std::string_view what,
                                            const std::function<Owner(BIO*)>& read) {
  const Bio bio = Reader(pem);
  std::vector<Owner> out;
  ERR_clear_error();
  while (Owner object = read(bio.get())) out.push_back(std::move(object));
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const std::string error = TakeOpensslError();
  if (!at_end) return absl::InvalidArgumentError("is damaged: " + error);
  if (out.empty()) return absl::InvalidArgumentError("has no " + std::string(what) + " in PEM form");
  return out;
}

// Never asks a terminal.
int NoPassphrase(char*, int, int, void*) { return -1; }

}  // namespace

absl::StatusOr<std::vector<Certificate>> ParseCertificates(std::string_view pem) {
  return ParseAll<Certificate>(pem, "certificate", [](BIO* bio) {
    return Certificate(PEM_read_bio_X509(bio, nullptr, &NoPassphrase, nullptr));
  });
}

absl::StatusOr<std::vector<RevocationList>> ParseRevocationLists(std::string_view pem) {
  return ParseAll<RevocationList>(pem, "revocation list", [](BIO* bio) {
    return RevocationList(PEM_read_bio_X509_CRL(bio, nullptr, &NoPassphrase, nullptr));
  });
}

absl::StatusOr<PrivateKey> ParsePrivateKey(std::string_view pem) {
  const Bio bio = Reader(pem);
  ERR_clear_error();
  PrivateKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassphrase, nullptr));
  const std::string error = TakeOpensslError();
  if (key != nullptr) return key;
  // The header of traditional keys has the second form.
  if (pem.find("ENCRYPTED") != std::string_view::npos) {
    return absl::InvalidArgumentError("has a passphrase, for which nobody can be asked; take it off with openssl pkey");
  }
  return absl::InvalidArgumentError("has no private key in PEM form: " + error);
}

std::string SubjectOf(const X509* certificate) { return TextOf(X509_get_subject_name(certificate)); }

std::string IssuerOf(const X509* certificate) { return TextOf(X509_get_issuer_name(certificate)); }

std::string SerialOf(const X509* certificate) {
  const std::unique_ptr<BIGNUM, Freer<BN_free>> number(
      ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  char* const digits = number == nullptr ? nullptr : BN_bn2hex(number.get());
  std::string out = digits == nullptr ? "unreadable" : digits;
  OPENSSL_free(digits);
  return out;
}

std::string IssuerOf(const X509_CRL* list) { return TextOf(X509_CRL_get_issuer(list)); }

absl::Time ToTime(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return absl::InfiniteFuture();
  return absl::FromTM(parts, absl::UTCTimeZone());
}

std::string TakeOpensslError() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* const reason = ERR_reason_error_string(code);
  return reason == nullptr ? "no reason is known" : reason;
}

}  // namespace mptd::tls
