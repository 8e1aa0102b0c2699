#include "config/exposure.h"

#include <arpa/inet.h>

#include "absl/strings/str_format.h"

namespace mptd::config {
namespace {

constexpr char kNeedsTls[] =
    "\"%s\" can be reached by others, and there is no TLS: set security.tls_cert_file and security.tls_key_file, "
    "listen "
    "on 127.0.0.1 or a unix socket, or say security.allow_plaintext: true";
constexpr char kNeedsLoopback[] =
    "\"%s\" can be reached by others, and metrics and health have no TLS: listen on 127.0.0.1, or say "
    "security.allow_plaintext_http: true";

}  // namespace

bool OnlyThisMachine(std::string_view address) {
  if (address.empty() || address == "off" || address.starts_with("unix:")) return true;
  const std::string host(address.substr(0, address.rfind(':')));
  if (host == "localhost" || host == "[::1]") return true;
  // The whole host has to be an address: 127.example.com is somebody else's.
  in_addr numeric{};
  return inet_pton(AF_INET, host.c_str(), &numeric) == 1 && ntohl(numeric.s_addr) >> 24 == 127;
}

std::vector<std::pair<std::string_view, std::string>> CheckExposure(const Settings& settings) {
  const Settings::Security& security = settings.security;
  std::vector<std::pair<std::string_view, std::string>> out;
  const bool tls = !security.tls_cert_file.empty() && !security.tls_key_file.empty();
  if (!security.tls_cert_file.empty() && security.tls_key_file.empty()) {
    out.emplace_back("security.tls_cert_file", "is set without security.tls_key_file; set both, or none for no TLS");
  }
  if (!security.tls_key_file.empty() && security.tls_cert_file.empty()) {
    out.emplace_back("security.tls_key_file", "is set without security.tls_cert_file; set both, or none for no TLS");
  }
  if (!security.tls_client_ca_file.empty() && security.tls_cert_file.empty()) {
    out.emplace_back("security.tls_client_ca_file",
                     "asks callers for certificates, which takes TLS; set security.tls_cert_file and "
                     "security.tls_key_file too");
  }
  if (!security.tls_crl_file.empty() && security.tls_client_ca_file.empty()) {
    out.emplace_back("security.tls_crl_file",
                     "revokes certificates of callers, but none are asked for; set security.tls_client_ca_file too");
  }
  if (!tls && !security.allow_plaintext) {
    for (const std::string& address : settings.server.listen) {
      if (!OnlyThisMachine(address)) out.emplace_back("server.listen", absl::StrFormat(kNeedsTls, address));
    }
    if (!OnlyThisMachine(settings.server.admin_listen)) {
      out.emplace_back("server.admin_listen", absl::StrFormat(kNeedsTls, settings.server.admin_listen));
    }
  }
  if (!security.allow_plaintext_http && !OnlyThisMachine(settings.server.http_listen)) {
    out.emplace_back("server.http_listen", absl::StrFormat(kNeedsLoopback, settings.server.http_listen));
  }
  return out;
}

}  // namespace mptd::config
