// Files of TLS: what is taken, and the sentence about each that is not.
#include "tls/tls_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/tls/certificates.h"

namespace mptd::tls {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kNow = 1'500'000'000;

class TlsFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "mptd-XXXXXX";
    dir_ = mkdtemp(name.data());
    Write("cert", server_.Pem());
    Write("key", server_.KeyPem());
    Write("ca", authority_.Pem());
    Write("crl", MakeRevocationList(authority_, {}, absl::FromUnixSeconds(kNow + 1000)));
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  std::string Path(const std::string& name) const { return dir_ + "/" + name; }
  void Write(const std::string& name, const std::string& text, mode_t mode = 0600) const {
    std::ofstream(Path(name), std::ios::binary) << text;
    chmod(Path(name).c_str(), mode);
  }
  absl::StatusOr<TlsMaterial> Read(int64_t now = kNow) const {
    return ReadTlsFiles(
        {.certificate = Path("cert"), .key = Path("key"), .client_ca = Path("ca"), .revocation_lists = Path("crl")},
        absl::FromUnixSeconds(now));
  }
  std::string Problem(int64_t now = kNow) const {
    const auto read = Read(now);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kFailedPrecondition) << read.status();
    return std::string(read.status().message());
  }

  std::string dir_;  // another for each process: builds are tested beside each other
  const Made authority_ = Make({.name = "authority", .authority = true});
  const Made server_ = Make({.name = "mptd", .issuer = &authority_});
};

TEST_F(TlsFilesTest, WhatFitsTogetherIsTaken) {
  const auto read = Read();
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->subject, "CN=mptd");
  EXPECT_EQ(read->key, server_.KeyPem());
  EXPECT_EQ(read->certificate, server_.Pem());
  EXPECT_EQ(absl::ToUnixSeconds(read->not_before), 1'000'000'000);
  EXPECT_EQ(absl::ToUnixSeconds(read->not_after), 2'000'000'000);
  EXPECT_EQ(absl::ToUnixSeconds(read->next_update), kNow + 1000);
  EXPECT_TRUE(ReadTlsFiles({}, absl::FromUnixSeconds(kNow)).ok());
}

TEST_F(TlsFilesTest, TheDaysOfACertificateAreCounted) {
  EXPECT_THAT(Problem(999'999'999), AllOf(HasSubstr(Path("cert")), HasSubstr("not valid before 2001-09-09 01:46:40")));
  Write("crl", MakeRevocationList(authority_, {}, absl::FromUnixSeconds(2'100'000'000)));
  EXPECT_TRUE(Read(1'000'000'000).ok());
  EXPECT_TRUE(Read(2'000'000'000).ok());
  EXPECT_THAT(Problem(2'000'000'001), AllOf(HasSubstr("expired at 2033-05-18 03:33:20"), HasSubstr("renew")));
}

TEST_F(TlsFilesTest, AKeyIsItsOwnersAndItsGroups) {
  for (const mode_t mode : {0400, 0600, 0440, 0640}) {
    chmod(Path("key").c_str(), mode);
    EXPECT_TRUE(Read().ok()) << mode;
  }
  for (const mode_t mode : {0644, 0604, 0602, 0660, 0666}) {
    chmod(Path("key").c_str(), mode);
    EXPECT_THAT(Problem(), AllOf(HasSubstr(Path("key")), HasSubstr("others can read or change"))) << mode;
  }
}

TEST_F(TlsFilesTest, WhatIsWrongWithAKeyIsSaidWithoutIt) {
  const Made other = Make({});
  Write("key", other.KeyPem());
  EXPECT_THAT(Problem(), AllOf(HasSubstr(Path("key") + " is not the key of"), HasSubstr(Path("cert")),
                               Not(HasSubstr(other.KeyPem().substr(60, 20)))));
  Write("key", server_.KeyPem("word"));
  EXPECT_THAT(Problem(), HasSubstr("has a passphrase"));
  for (const std::string& text : {std::string(), std::string("key"), server_.Pem()}) {
    Write("key", text);
    EXPECT_THAT(Problem(), HasSubstr("has no private key in PEM form"));
  }
  std::filesystem::remove(Path("key"));
  EXPECT_THAT(Problem(), HasSubstr(Path("key") + " cannot be read: No such file"));
}

TEST_F(TlsFilesTest, DamagedAndForeignCertificates) {
  Write("cert", "");
  EXPECT_THAT(Problem(), HasSubstr("has no certificate"));
  std::string damaged = server_.Pem();
  damaged.replace(100, 8, "AAAAAAAA");
  Write("cert", damaged);
  EXPECT_THAT(Problem(), HasSubstr("is damaged"));
  Write("cert", server_.Pem() + damaged);
  EXPECT_THAT(Problem(), HasSubstr("is damaged"));
  Write("cert", std::string((size_t{1} << 20) + 1, 'x'));
  EXPECT_THAT(Problem(), HasSubstr("larger than a MiB"));
  Write("cert", server_.Pem() + Make({.name = "stranger", .authority = true}).Pem());
  EXPECT_THAT(Problem(), HasSubstr("CN=stranger did not issue CN=mptd"));
}

TEST_F(TlsFilesTest, AChainIsAsOldAsItsOldest) {
  const Made between = Make(
      {.name = "between", .issuer = &authority_, .authority = true, .not_after = absl::FromUnixSeconds(1'600'000'000)});
  const Made leaf = Make({.name = "leaf", .issuer = &between});
  Write("cert", leaf.Pem() + between.Pem());
  Write("key", leaf.KeyPem());
  const auto read = Read();
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(absl::ToUnixSeconds(read->not_after), 1'600'000'000);
  EXPECT_THAT(Problem(1'600'000'001), HasSubstr("CN=between"));
}

TEST_F(TlsFilesTest, AKeyThatIsTooShortIsNotFoundOutByCallers) {
  const Made weak = Make({.issuer = &authority_, .rsa_bits = 1024});
  Write("cert", weak.Pem());
  Write("key", weak.KeyPem());
  EXPECT_THAT(Problem(), HasSubstr("is not taken for TLS: ee key too small"));
}

TEST_F(TlsFilesTest, AuthoritiesAreOnes) {
  Write("ca", authority_.Pem() + server_.Pem());
  EXPECT_THAT(Problem(), AllOf(HasSubstr(Path("ca")), HasSubstr("not a CA's (CN=mptd)")));
  const Made old = Make({.name = "old", .authority = true, .not_after = absl::FromUnixSeconds(1'100'000'000)});
  Write("ca", old.Pem());
  EXPECT_THAT(Problem(), AllOf(HasSubstr(Path("ca")), HasSubstr("expired"), HasSubstr("CN=old")));
  // One that is still there does not keep its successor out.
  Write("ca", old.Pem() + authority_.Pem());
  Write("crl", MakeRevocationList(old, {}, absl::FromUnixSeconds(kNow + 1)) +
                   MakeRevocationList(authority_, {}, absl::FromUnixSeconds(kNow + 1)));
  EXPECT_TRUE(Read().ok()) << Read().status();
}

TEST_F(TlsFilesTest, EveryAuthorityHasAListOfToday) {
  EXPECT_THAT(Problem(kNow + 1001), AllOf(HasSubstr(Path("crl")), HasSubstr("out of date"), HasSubstr("CN=authority")));
  const Made other = Make({.name = "other", .authority = true});
  const Made impostor = Make({.name = "authority", .authority = true});
  for (const Made* issuer : {&other, &impostor}) {
    Write("crl", MakeRevocationList(*issuer, {}, absl::FromUnixSeconds(kNow + 1)));
    EXPECT_THAT(Problem(), HasSubstr("has no list that is signed by CN=authority"));
  }
  Write("crl", authority_.Pem());
  EXPECT_THAT(Problem(), HasSubstr("has no revocation list"));
}

}  // namespace
}  // namespace mptd::tls
