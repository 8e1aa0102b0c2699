// Which certificates of peers are trusted. They are checked as of now, so they are made as of now.
#include "tls/peer_verifier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "tests/tls/certificates.h"

namespace mptd::tls {
namespace {

using ::testing::HasSubstr;

class PeerVerifierTest : public ::testing::Test {
 protected:
  Made New(const std::string& name, const Made* issuer, bool authority = false) const {
    return Make({.name = name,
                 .issuer = issuer,
                 .authority = authority,
                 .not_before = now_ - absl::Hours(1),
                 .not_after = now_ + absl::Hours(24)});
  }
  std::string List(const Made& issuer, const std::vector<const Made*>& revoked = {}) const {
    return MakeRevocationList(issuer, revoked, now_ + absl::Hours(1));
  }
  static absl::Status Check(const std::string& authorities, const std::string& lists, const Made& leaf,
                            const std::string& chain = "") {
    const auto verifier = PeerVerifier::Create(authorities, lists);
    EXPECT_TRUE(verifier.ok()) << verifier.status();
    return verifier.ok() ? verifier->Check(leaf.Pem(), chain) : verifier.status();
  }
  static void ExpectRefused(const absl::Status& status, const std::string& why) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(why));
  }

  const absl::Time now_ = absl::Now();
  const Made root_ = New("root", nullptr, true);
  const Made leaf_ = New("leaf", &root_);
};

TEST_F(PeerVerifierTest, IssuedByATrustedOne) {
  EXPECT_TRUE(Check(root_.Pem(), "", leaf_).ok());
  const Made stranger = New("root", nullptr, true);
  ExpectRefused(Check(root_.Pem(), "", New("leaf", &stranger)), "CN=leaf: ");
  ExpectRefused(Check(root_.Pem(), "", New("alone", nullptr)), "self-signed");
  ExpectRefused(Check(root_.Pem(), "", New("child", &leaf_), leaf_.Pem()), "CN=child: ");
}

TEST_F(PeerVerifierTest, OfToday) {
  const Made late = Make({.name = "late", .issuer = &root_, .not_after = now_ - absl::Hours(1)});
  ExpectRefused(Check(root_.Pem(), "", late), "CN=late: certificate has expired");
  const Made early = Make({.name = "early", .issuer = &root_, .not_before = now_ + absl::Hours(1)});
  ExpectRefused(Check(root_.Pem(), "", early), "CN=early: certificate is not yet valid");
}

// gRPC is told not to verify, so what TLS would have refused for its weakness is refused here.
TEST_F(PeerVerifierTest, NotTooWeak) {
  const auto with_bits = [this](int bits) {
    return Make({.name = "rsa",
                 .issuer = &root_,
                 .not_before = now_ - absl::Hours(1),
                 .not_after = now_ + absl::Hours(24),
                 .rsa_bits = bits});
  };
  EXPECT_TRUE(Check(root_.Pem(), "", with_bits(2048)).ok());
  ExpectRefused(Check(root_.Pem(), "", with_bits(1024)), "CN=rsa: ");
}

TEST_F(PeerVerifierTest, IsDescribedForPeople) {
  EXPECT_THAT(DescribeCertificate(leaf_.Pem()),
              ::testing::MatchesRegex("CN=leaf, serial [0-9A-F]+, issued by CN=root"));
  EXPECT_EQ(DescribeCertificate(""), "");
  EXPECT_EQ(DescribeCertificate("nonsense"), "");
}

TEST_F(PeerVerifierTest, OnNoList) {
  const Made revoked = New("revoked", &root_);
  const std::string list = List(root_, {&revoked});
  EXPECT_TRUE(Check(root_.Pem(), list, leaf_).ok());
  ExpectRefused(Check(root_.Pem(), list, revoked), "CN=revoked: certificate revoked");
  EXPECT_TRUE(Check(root_.Pem(), "", revoked).ok());
}

TEST_F(PeerVerifierTest, WhoCannotBeLookedUpIsRefused) {
  const Made other = New("other", nullptr, true);
  ExpectRefused(Check(root_.Pem() + other.Pem(), List(other), leaf_), "unable to get certificate CRL");
  ExpectRefused(Check(root_.Pem(), MakeRevocationList(root_, {}, now_ - absl::Minutes(1)), leaf_), "CRL has expired");
  const Made impostor = New("root", nullptr, true);
  ExpectRefused(Check(root_.Pem(), List(impostor), leaf_), "CRL");
}

TEST_F(PeerVerifierTest, ThoseBetweenCountToo) {
  const Made between = New("between", &root_, true);
  const Made below = New("below", &between);
  EXPECT_TRUE(Check(root_.Pem(), "", below, between.Pem()).ok());
  ExpectRefused(Check(root_.Pem(), "", below), "unable to get");
  EXPECT_TRUE(Check(root_.Pem(), List(root_) + List(between), below, between.Pem()).ok());
  ExpectRefused(Check(root_.Pem(), List(root_, {&between}) + List(between), below, between.Pem()), "revoked");
  ExpectRefused(Check(root_.Pem(), List(root_), below, between.Pem()), "unable to get certificate CRL");
}

TEST_F(PeerVerifierTest, WhatIsNoCertificate) {
  const auto verifier = PeerVerifier::Create(root_.Pem(), "");
  ASSERT_TRUE(verifier.ok());
  ExpectRefused(verifier->Check("nonsense", ""), "cannot be read");
  ExpectRefused(verifier->Check("", ""), "cannot be read");
  EXPECT_FALSE(PeerVerifier::Create("nonsense", "").ok());
  EXPECT_FALSE(PeerVerifier::Create(root_.Pem(), "nonsense").ok());
}

}  // namespace
}  // namespace mptd::tls
