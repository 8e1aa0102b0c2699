// Who can reach an address, and what is refused because others can.
#include "config/exposure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/config/loading.h"

namespace mptd::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::vector<std::string> kTls = {"--security.tls_cert_file=c.pem", "--security.tls_key_file=k.pem"};

std::vector<std::string> ProblemsOf(std::vector<std::string> flags, const std::vector<std::string>& more = {}) {
  flags.insert(flags.end(), more.begin(), more.end());
  return Problems({flags, {}, {}});
}

TEST(ExposureTest, WhatOnlyThisMachineReaches) {
  for (const char* address : {"", "off", "unix:/run/m", "127.0.0.1:1", "127.9.9.9:0", "[::1]:1", "localhost:1"}) {
    EXPECT_TRUE(OnlyThisMachine(address)) << address;
  }
  for (const char* address : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "127.example.com:1", "127.0.0.1.example.com:1",
                              "localhost.example.com:1", "mptd:1", "[::127]:1", "[::ffff:10.0.0.1]:1"}) {
    EXPECT_FALSE(OnlyThisMachine(address)) << address;
  }
}

TEST(ExposureTest, WithoutTlsNobodyElseIsAnsweredUnlessItIsSaid) {
  EXPECT_THAT(Problems({{"--listen=unix:/run/m,127.0.0.1:1,[::1]:1,localhost:2"}, {}, {}}), IsEmpty());
  const std::vector<std::string> everywhere = {"--listen=127.0.0.1:1,0.0.0.0:2"};
  EXPECT_THAT(ProblemsOf(everywhere),
              ElementsAre("flag --listen: \"0.0.0.0:2\" can be reached by others, and there is no TLS: set "
                          "security.tls_cert_file and security.tls_key_file, listen on 127.0.0.1 or a unix socket, or "
                          "say security.allow_plaintext: true"));
  EXPECT_THAT(ProblemsOf(everywhere, {"--security.allow_plaintext=true"}), IsEmpty());
  EXPECT_THAT(ProblemsOf(everywhere, kTls), IsEmpty());
  EXPECT_THAT(Problems({{}, {"MPTD_SERVER_ADMIN_LISTEN=[::]:3"}, {}}),
              ElementsAre(HasSubstr("environment variable MPTD_SERVER_ADMIN_LISTEN: \"[::]:3\" can be reached")));
  EXPECT_THAT(ProblemsOf({"--server.admin_listen=[::]:3"}, kTls), IsEmpty());
}

TEST(ExposureTest, HttpHasNoTlsSoItsAddressIsAQuestionOfItsOwn) {
  const std::vector<std::string> everywhere = {"--http-listen=0.0.0.0:7301"};
  for (const std::vector<std::string>& more : {std::vector<std::string>{"--security.allow_plaintext=true"}, kTls}) {
    EXPECT_THAT(ProblemsOf(everywhere, more), ElementsAre(HasSubstr("flag --http-listen: \"0.0.0.0:7301\" can be")));
  }
  EXPECT_THAT(ProblemsOf(everywhere, {"--security.allow_plaintext_http=true"}), IsEmpty());
}

TEST(ExposureTest, FilesOfTlsNeedTheirCounterparts) {
  EXPECT_THAT(Problems({{kTls[0]}, {}, {}}), ElementsAre(HasSubstr("is set without security.tls_key_file")));
  EXPECT_THAT(Problems({{kTls[1]}, {}, {}}), ElementsAre(HasSubstr("is set without security.tls_cert_file")));
  EXPECT_THAT(Problems({{"--security.tls_client_ca_file=ca"}, {}, {}}), ElementsAre(HasSubstr("which takes TLS")));
  EXPECT_THAT(ProblemsOf({"--security.tls_crl_file=crl"}, kTls), ElementsAre(HasSubstr("set security.tls_client_ca")));
  EXPECT_THAT(ProblemsOf({"--security.tls_crl_file=crl", "--security.tls_client_ca_file=ca"}, kTls), IsEmpty());
}

TEST(ExposureTest, TheAdminAddressIsItsOwn) {
  EXPECT_THAT(Problems({{"--listen=127.0.0.1:1", "--server.admin_listen=127.0.0.1:1"}, {}, {}}),
              ElementsAre(HasSubstr("is also in server.listen")));
}

}  // namespace
}  // namespace mptd::config
