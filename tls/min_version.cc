#include "tls/min_version.h"

#include <openssl/conf.h>
#include <openssl/ssl.h>

#include <memory>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "tls/x509.h"

namespace mptd::tls {
namespace {

// "Protocol" switches versions off for good, where gRPC sets "MinProtocol" again. The ciphers are Debian's default.
constexpr std::string_view kConfiguration =
    "openssl_conf = mptd\n"
    "[mptd]\nssl_conf = contexts\n"
    "[contexts]\nsystem_default = all\n"
    "[all]\nProtocol = -ALL, TLSv1.3\nCipherString = DEFAULT:@SECLEVEL=2\n";

}  // namespace

absl::Status RequireTls13() {
  // First what the system has configured; it would come later by itself, and take this away again.
  OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG, nullptr);
  const std::unique_ptr<BIO, Freer<BIO_free_all>> text(
      BIO_new_mem_buf(kConfiguration.data(), static_cast<int>(kConfiguration.size())));
  const std::unique_ptr<CONF, Freer<NCONF_free>> configuration(NCONF_new(nullptr));
  long line = 0;
  if (text == nullptr || configuration == nullptr || NCONF_load_bio(configuration.get(), text.get(), &line) != 1 ||
      CONF_modules_load(configuration.get(), nullptr, 0) != 1) {
    return absl::InternalError(absl::StrCat("OpenSSL does not take its configuration: ", TakeOpensslError()));
  }
  return absl::OkStatus();
}

}  // namespace mptd::tls
