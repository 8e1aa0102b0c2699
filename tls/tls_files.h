// The files of TLS, read and judged before anything listens with them: what a TLS library says of a bad one comes too
// late and names no file. Functions of the files and the time; safe from any thread.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mptd::tls {

// Paths; empty for none. A key never stands without its certificate, a list never without CAs.
struct TlsFiles {
  std::string certificate = {};  // with those between it and its CA, each behind the one that it issued
  std::string key = {};
  std::string client_ca = {};
  std::string revocation_lists = {};

  bool operator==(const TlsFiles&) const = default;
};

// What was in them, as PEM texts that fit together.
struct TlsMaterial {
  std::string certificate = {};
  std::string key = {};  // a secret: for the TLS library alone
  std::string client_ca = {};
  std::string revocation_lists = {};

  std::string subject = {};  // of the certificate
  // Of the certificate, or of one between it and its CA where that is shorter.
  absl::Time not_before = absl::InfinitePast();
  absl::Time not_after = absl::InfiniteFuture();
  // When the first of the lists is out of date.
  absl::Time next_update = absl::InfiniteFuture();
};

// Reads what is named and makes sure that it can be used at `now`: the key is of the certificate and nobody else's to
// read, the certificate is valid, those behind it are its chain, TLS takes them; each CA is one, has its list, and the
// list is signed by it and not out of date. The error is one sentence with the file's name, what is wrong with it and
// what to do; never anything of a key.
absl::StatusOr<TlsMaterial> ReadTlsFiles(const TlsFiles& files, absl::Time now);

// One file of at most a MiB. The error names it.
absl::StatusOr<std::string> ReadPemFile(const std::string& path);

}  // namespace mptd::tls
