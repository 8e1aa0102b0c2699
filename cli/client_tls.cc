#include "cli/client_tls.h"

#include <utility>

#include "absl/time/clock.h"
#include "tls/tls_files.h"

namespace mptd::cli {

absl::Status CheckTlsFlags(const TlsFlags& flags) {
  if (flags.cert.empty() != flags.key.empty()) {
    return absl::InvalidArgumentError(
        flags.cert.empty() ? "--tls-key is given without --tls-cert; a certificate and its key go together"
                           : "--tls-cert is given without --tls-key; a certificate and its key go together");
  }
  const bool more = !flags.cert.empty() || !flags.server_name.empty();
  if (flags.ca.empty() && more) {
    return absl::InvalidArgumentError(
        "TLS needs --tls-ca, the file of the CA that issued the daemon's certificate "
        "(/etc/ssl/certs/ca-certificates.crt for the well-known ones)");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(const std::string& target,
                                                                          const TlsFlags& flags) {
  if (flags.ca.empty() || target.starts_with("unix:")) return grpc::InsecureChannelCredentials();
  const tls::TlsFiles files{.certificate = flags.cert, .key = flags.key, .client_ca = flags.ca, .revocation_lists = {}};
  absl::StatusOr<tls::TlsMaterial> material = tls::ReadTlsFiles(files, absl::Now());
  if (!material.ok()) return material.status();
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = std::move(material->client_ca);
  options.pem_private_key = std::move(material->key);
  options.pem_cert_chain = std::move(material->certificate);
  return grpc::SslCredentials(options);
}

}  // namespace mptd::cli
