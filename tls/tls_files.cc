#include "tls/tls_files.h"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"
#include "tls/x509.h"

namespace mptd::tls {
namespace {

constexpr size_t kLargest = size_t{1} << 20;

absl::Status Bad(const std::string& path, std::string_view what) {
  return absl::FailedPreconditionError(absl::StrFormat("%s %s", path, what));
}

absl::Status Bad(const std::string& path, const absl::Status& status) {
  return Bad(path, std::string(status.message()));
}

absl::Status SystemError(const std::string& path, int error) {
  return Bad(path, absl::StrFormat("cannot be read: %s", std::generic_category().message(error)));
}

std::string Date(absl::Time time) { return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone()); }

// Closes itself.
class File {
 public:
  explicit File(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

absl::StatusOr<std::string> ReadAll(const File& file, const std::string& path) {
  std::string out(kLargest + 1, '\0');
  size_t size = 0;
  while (size < out.size()) {
    const ssize_t got = read(file.fd(), out.data() + size, out.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError(path, errno);
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  if (size > kLargest) return Bad(path, "is larger than a MiB, which no such file is");
  out.resize(size);
  return out;
}

// The permissions are those of what is read: the file is not opened twice.
absl::StatusOr<std::string> ReadKeyFile(const std::string& path) {
  const File file(path);
  if (file.fd() < 0) return SystemError(path, errno);
  struct stat info {};
  if (fstat(file.fd(), &info) != 0) return SystemError(path, errno);
  constexpr mode_t kForbidden = S_IROTH | S_IWOTH | S_IWGRP;
  if ((info.st_mode & kForbidden) != 0) {
    return Bad(path, absl::StrFormat("is a private key that others can read or change (mode %04o): chmod 0600, or 0640 "
                                     "for the daemon's group",
                                     info.st_mode & 07777));
  }
  return ReadAll(file, path);
}

absl::Status CheckDates(const std::string& path, const X509* certificate, absl::Time now) {
  const absl::Time not_before = ToTime(X509_get0_notBefore(certificate));
  const absl::Time not_after = ToTime(X509_get0_notAfter(certificate));
  if (std::max(not_before, not_after) == absl::InfiniteFuture()) {
    return Bad(path, absl::StrFormat("is damaged: the dates of %s cannot be read", SubjectOf(certificate)));
  }
  if (now > not_after) {
    return Bad(path, absl::StrFormat("expired at %s (%s); renew it", Date(not_after), SubjectOf(certificate)));
  }
  if (now < not_before) {
    return Bad(path, absl::StrFormat("is not valid before %s (%s); wait, or set this machine's clock", Date(not_before),
                                     SubjectOf(certificate)));
  }
  return absl::OkStatus();
}

using Context = std::unique_ptr<SSL_CTX, Freer<SSL_CTX_free>>;

// What only the TLS library knows: whether it takes them, which for a key that is too short it does not.
absl::Status TryInTls(const TlsFiles& files, const std::vector<Certificate>& chain, EVP_PKEY* key) {
  const Context context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr) return absl::InternalError("no context for TLS: " + TakeOpensslError());
  if (SSL_CTX_use_certificate(context.get(), chain.front().get()) != 1) {
    return Bad(files.certificate, "is not taken for TLS: " + TakeOpensslError());
  }
  for (size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context.get(), chain[i].get()) != 1) {
      return Bad(files.certificate, "is not taken for TLS: " + TakeOpensslError());
    }
  }
  if (SSL_CTX_use_PrivateKey(context.get(), key) != 1) {
    return Bad(files.key, "is not taken for TLS: " + TakeOpensslError());
  }
  return absl::OkStatus();
}

absl::Status CheckChain(const std::string& path, const std::vector<Certificate>& chain, absl::Time now) {
  for (size_t i = 0; i < chain.size(); ++i) {
    if (absl::Status status = CheckDates(path, chain[i].get(), now); !status.ok()) return status;
    if (i > 0 && X509_check_issued(chain[i].get(), chain[i - 1].get()) != X509_V_OK) {
      return Bad(path,
                 absl::StrFormat("is in the wrong order: %s did not issue %s; put the daemon's certificate first, "
                                 "and each behind the one that it issued",
                                 SubjectOf(chain[i].get()), SubjectOf(chain[i - 1].get())));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadIdentity(const TlsFiles& files, absl::Time now, TlsMaterial& out) {
  absl::StatusOr<std::string> certificate = ReadPemFile(files.certificate);
  if (!certificate.ok()) return certificate.status();
  absl::StatusOr<std::string> key = ReadKeyFile(files.key);
  if (!key.ok()) return key.status();
  const auto chain = ParseCertificates(*certificate);
  if (!chain.ok()) return Bad(files.certificate, chain.status());
  const auto parsed_key = ParsePrivateKey(*key);
  if (!parsed_key.ok()) return Bad(files.key, parsed_key.status());
  if (X509_check_private_key(chain->front().get(), parsed_key->get()) != 1) {
    TakeOpensslError();
    return Bad(files.key, absl::StrFormat("is not the key of the first certificate in %s; name the two that were made "
                                          "together",
                                          files.certificate));
  }
  if (absl::Status status = CheckChain(files.certificate, *chain, now); !status.ok()) return status;
  if (absl::Status status = TryInTls(files, *chain, parsed_key->get()); !status.ok()) return status;
  out.certificate = *std::move(certificate);
  out.key = *std::move(key);
  out.subject = SubjectOf(chain->front().get());
  for (const Certificate& one : *chain) {
    out.not_before = std::max(out.not_before, ToTime(X509_get0_notBefore(one.get())));
    out.not_after = std::min(out.not_after, ToTime(X509_get0_notAfter(one.get())));
  }
  return absl::OkStatus();
}

absl::Status CheckAuthorities(const std::string& path, const std::vector<Certificate>& authorities, absl::Time now) {
  absl::Status problem;
  bool valid = false;  // one that has expired may stay until its successor has taken over
  for (const Certificate& one : authorities) {
    if (X509_check_ca(one.get()) == 0) {
      return Bad(path, absl::StrFormat("has a certificate that is not a CA's (%s); name the file of the CA, not of "
                                       "what it issued",
                                       SubjectOf(one.get())));
    }
    const absl::Status dates = CheckDates(path, one.get(), now);
    valid |= dates.ok();
    if (problem.ok()) problem = dates;
  }
  return valid ? absl::OkStatus() : problem;
}

// Everybody whose CA has no list that counts is refused, so each must have one.
absl::Status CheckLists(const TlsFiles& files, const std::vector<Certificate>& authorities,
                        const std::vector<RevocationList>& lists, absl::Time now, TlsMaterial& out) {
  for (const RevocationList& list : lists) {
    const absl::Time next = ToTime(X509_CRL_get0_nextUpdate(list.get()));
    if (now > next) {
      return Bad(files.revocation_lists, absl::StrFormat("is out of date since %s (%s); fetch the CA's newest list",
                                                         Date(next), IssuerOf(list.get())));
    }
    out.next_update = std::min(out.next_update, next);
  }
  for (const Certificate& authority : authorities) {
    EVP_PKEY* const key = X509_get0_pubkey(authority.get());
    const bool signed_one = std::any_of(lists.begin(), lists.end(), [&](const RevocationList& list) {
      return X509_NAME_cmp(X509_CRL_get_issuer(list.get()), X509_get_subject_name(authority.get())) == 0 &&
             X509_CRL_verify(list.get(), key) == 1;
    });
    TakeOpensslError();
    if (!signed_one) {
      return Bad(files.revocation_lists,
                 absl::StrFormat("has no list that is signed by %s of %s, without which all of its certificates would "
                                 "be refused; add it",
                                 SubjectOf(authority.get()), files.client_ca));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadAuthorities(const TlsFiles& files, absl::Time now, TlsMaterial& out) {
  absl::StatusOr<std::string> pem = ReadPemFile(files.client_ca);
  if (!pem.ok()) return pem.status();
  const auto authorities = ParseCertificates(*pem);
  if (!authorities.ok()) return Bad(files.client_ca, authorities.status());
  if (absl::Status status = CheckAuthorities(files.client_ca, *authorities, now); !status.ok()) return status;
  out.client_ca = *std::move(pem);
  if (files.revocation_lists.empty()) return absl::OkStatus();
  absl::StatusOr<std::string> lists_pem = ReadPemFile(files.revocation_lists);
  if (!lists_pem.ok()) return lists_pem.status();
  const auto lists = ParseRevocationLists(*lists_pem);
  if (!lists.ok()) return Bad(files.revocation_lists, lists.status());
  out.revocation_lists = *std::move(lists_pem);
  return CheckLists(files, *authorities, *lists, now, out);
}

}  // namespace

absl::StatusOr<std::string> ReadPemFile(const std::string& path) {
  const File file(path);
  if (file.fd() < 0) return SystemError(path, errno);
  return ReadAll(file, path);
}

absl::StatusOr<TlsMaterial> ReadTlsFiles(const TlsFiles& files, absl::Time now) {
  TlsMaterial out;
  if (!files.certificate.empty()) {
    if (absl::Status status = ReadIdentity(files, now, out); !status.ok()) return status;
  }
  if (!files.client_ca.empty()) {
    if (absl::Status status = ReadAuthorities(files, now, out); !status.ok()) return status;
  }
  return out;
}

}  // namespace mptd::tls
