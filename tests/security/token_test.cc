// Tokens that are to be refused, made by hand with OpenSSL so that nothing of the verifier under test helps.
#include "security/token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mptd::security {
namespace {

using ::testing::HasSubstr;

constexpr char kSecretHex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

std::string Base64(std::string_view bytes) {
  std::string out = absl::WebSafeBase64Escape(absl::string_view(bytes.data(), bytes.size()));
  while (out.ends_with('=')) out.pop_back();
  return out;
}

std::string Hmac(const std::string& key, const std::string& text) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), out, &size);
  return {reinterpret_cast<const char*>(out), size};
}

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

// An RSA signature, or r and s of an EC one as JWS has them.
std::string Sign(EVP_PKEY* key, const std::string& text) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  size_t size = 0;
  EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key);
  EVP_DigestSign(context.get(), nullptr, &size, bytes, text.size());
  std::string der(size, '\0');
  EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(der.data()), &size, bytes, text.size());
  der.resize(size);
  if (EVP_PKEY_base_id(key) == EVP_PKEY_RSA) return der;
  const auto* p = reinterpret_cast<const unsigned char*>(der.data());
  const std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> pair(
      d2i_ECDSA_SIG(nullptr, &p, static_cast<long>(der.size())), &ECDSA_SIG_free);
  std::string out(64, '\0');
  BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), reinterpret_cast<unsigned char*>(out.data()), 32);
  BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), reinterpret_cast<unsigned char*>(out.data()) + 32, 32);
  return out;
}

std::string PublicPem(EVP_PKEY* key) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), &BIO_free);
  PEM_write_bio_PUBKEY(bio.get(), key);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

class TokenTest : public ::testing::Test {
 protected:
  TokenTest() {
    std::string name = (std::filesystem::temp_directory_path() / "mptd-token-XXXXXX").string();
    dir_ = mkdtemp(name.data());
    secret_file_ = WriteFile("secret", kSecretHex);
  }
  ~TokenTest() override { std::filesystem::remove_all(dir_); }

  std::string WriteFile(const std::string& name, const std::string& text, mode_t mode = 0600) const {
    const std::string path = dir_ + "/" + name;
    std::ofstream(path) << text;
    chmod(path.c_str(), mode);
    return path;
  }
  std::unique_ptr<TokenVerifier> Shared() const { return *TokenVerifier::FromSecretFile(secret_file_); }
  std::unique_ptr<TokenVerifier> Issuer(EVP_PKEY* key, const std::string& algorithm) const {
    auto made = TokenVerifier::FromPublicKeyFile(WriteFile("public.pem", PublicPem(key)), algorithm, "mptd");
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  }

  std::string SharedToken(const std::string& claims,
                          const std::string& header = R"({"alg":"HS256","typ":"JWT"})") const {
    const std::string text = Base64(header) + "." + Base64(claims);
    return text + "." + Base64(Hmac(absl::HexStringToBytes(kSecretHex), text));
  }
  static std::string SignedToken(EVP_PKEY* key, const std::string& claims, const std::string& algorithm) {
    const std::string text = Base64(absl::StrFormat(R"({"alg":"%s","typ":"JWT"})", algorithm)) + "." + Base64(claims);
    return text + "." + Base64(Sign(key, text));
  }
  std::string At(int64_t seconds) const { return absl::StrCat(absl::ToUnixSeconds(now_) + seconds); }
  std::string IssuedAt(int64_t seconds) const { return absl::StrFormat(R"({"iat":%s})", At(seconds)); }
  std::string Good(const std::string& more = "") const {
    return absl::StrFormat(R"({"sub":"indexer","aud":"mptd","exp":%s%s})", At(300), more);
  }
  // Why it is refused; "" when it is taken.
  std::string Refusal(const TokenVerifier& verifier, const std::string& token) const {
    const auto result = verifier.Verify(token, now_);
    if (result.ok()) return "";
    EXPECT_EQ(result.status().code(), absl::StatusCode::kUnauthenticated);
    return std::string(result.status().message());
  }

  const absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  std::string dir_;
  std::string secret_file_;
  const Key rsa_{EVP_RSA_gen(2048), &EVP_PKEY_free};
  const Key ec_{EVP_EC_gen("P-256"), &EVP_PKEY_free};
};

TEST_F(TokenTest, ATokenOfAnExecutionClient) {
  EXPECT_EQ(Refusal(*Shared(), SharedToken(IssuedAt(0))), "");
  EXPECT_EQ(Refusal(*Shared(), SharedToken(IssuedAt(0), R"({"alg":"HS256"})")), "") << "typ may be left out";
  EXPECT_EQ(Refusal(*Shared(), SharedToken(absl::StrFormat(R"({"iat":%s,"id":"node1","clv":"geth"})", At(-59)))), "");
  // One with this secret and this iat, made by Python's hmac.
  EXPECT_EQ(Refusal(*Shared(),
                    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE3MDAwMDAwMDB9."
                    "uAxdaUtr1_HpYPtNDLNlQ_sHMiP5eBV-ra8EjL3ScS8"),
            "");
  const auto made = MakeSharedToken(secret_file_, now_);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(Refusal(*Shared(), *made), "");
}

TEST_F(TokenTest, TheTimeOfIssueIsAMinuteFromNowAtMost) {
  EXPECT_EQ(Refusal(*Shared(), SharedToken(IssuedAt(60))), "");
  EXPECT_EQ(Refusal(*Shared(), SharedToken(IssuedAt(-60))), "");
  EXPECT_THAT(Refusal(*Shared(), SharedToken(IssuedAt(61))), HasSubstr("compare the clocks"));
  EXPECT_THAT(Refusal(*Shared(), SharedToken(IssuedAt(-61))), HasSubstr("compare the clocks"));
  EXPECT_THAT(Refusal(*Shared(), SharedToken("{}")), HasSubstr("has no \"iat\""));
  for (const char* odd : {"\"1700000000\"", "null", "true", "[]", "-1", "1e300", "{}"}) {
    EXPECT_NE(Refusal(*Shared(), SharedToken(absl::StrFormat(R"({"iat":%s})", odd))), "") << odd;
  }
}

TEST_F(TokenTest, AnotherKeyOrNoSignature) {
  const std::string text = Base64(R"({"alg":"HS256","typ":"JWT"})") + "." + Base64(IssuedAt(0));
  EXPECT_THAT(Refusal(*Shared(), text + "." + Base64(Hmac(std::string(32, 'x'), text))), HasSubstr("not signed with"));
  EXPECT_NE(Refusal(*Shared(), text + "."), "");
  EXPECT_NE(Refusal(*Shared(), text), "");
  EXPECT_NE(Refusal(*Shared(), text + "." + Base64(std::string(32, '\0'))), "");
  const Key other(EVP_RSA_gen(2048), &EVP_PKEY_free);
  EXPECT_THAT(Refusal(*Issuer(rsa_.get(), "RS256"), SignedToken(other.get(), Good(), "RS256")),
              HasSubstr("not signed with"));
}

TEST_F(TokenTest, TheTokenDoesNotChooseTheAlgorithm) {
  for (const char* none : {"none", "None", "NONE", "nOnE", ""}) {
    const std::string text = Base64(absl::StrFormat(R"({"alg":"%s","typ":"JWT"})", none)) + "." + Base64(IssuedAt(0));
    EXPECT_NE(Refusal(*Shared(), text + "."), "") << none;
    EXPECT_NE(Refusal(*Shared(), text + "." + Base64(Hmac(absl::HexStringToBytes(kSecretHex), text))), "") << none;
  }
  EXPECT_NE(Refusal(*Shared(), SharedToken(IssuedAt(0), R"({"typ":"JWT"})")), "");
  EXPECT_NE(Refusal(*Shared(), SharedToken(IssuedAt(0), R"({"alg":["HS256"],"typ":"JWT"})")), "");
  EXPECT_NE(Refusal(*Shared(), SharedToken(IssuedAt(0), R"({"alg":"HS512","typ":"JWT"})")), "");
  // Everybody has the public key: taken as a secret, it would sign whatever one likes.
  const std::string text = Base64(R"({"alg":"HS256","typ":"JWT"})") + "." + Base64(Good());
  const std::string forged = text + "." + Base64(Hmac(PublicPem(rsa_.get()), text));
  EXPECT_THAT(Refusal(*Issuer(rsa_.get(), "RS256"), forged), HasSubstr("in another way than RS256"));
  const std::string forged_ec = text + "." + Base64(Hmac(PublicPem(ec_.get()), text));
  EXPECT_THAT(Refusal(*Issuer(ec_.get(), "ES256"), forged_ec), HasSubstr("in another way than ES256"));
  EXPECT_NE(Refusal(*Issuer(rsa_.get(), "RS256"), SignedToken(ec_.get(), Good(), "ES256")), "");
  EXPECT_NE(Refusal(*Issuer(rsa_.get(), "RS512"), SignedToken(rsa_.get(), Good(), "RS256")), "");
  EXPECT_TRUE(Issuer(rsa_.get(), "RS256")->NamesAlgorithm(SignedToken(rsa_.get(), Good(), "RS256")));
  EXPECT_FALSE(Issuer(rsa_.get(), "RS256")->NamesAlgorithm(forged));
  EXPECT_FALSE(Shared()->NamesAlgorithm("x"));
}

TEST_F(TokenTest, TokensOfAnIssuer) {
  EXPECT_EQ(Refusal(*Issuer(rsa_.get(), "RS256"), SignedToken(rsa_.get(), Good(), "RS256")), "");
  const auto ec = Issuer(ec_.get(), "ES256");
  const auto token = ec->Verify(
      SignedToken(ec_.get(), Good(R"(,"jti":"7","groups":["a","b"],"level":3,"nested":{"x":"y"})"), "ES256"), now_);
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_EQ(token->id, "7");
  EXPECT_TRUE(token->Has("groups", "a") && token->Has("groups", "b") && token->Has("level", "3"));
  EXPECT_FALSE(token->Has("groups", "c"));
  EXPECT_FALSE(token->Find("nested").has_value());
  EXPECT_EQ(token->Find("sub"), "indexer");
  EXPECT_EQ(token->expires, now_ + absl::Seconds(310));
}

TEST_F(TokenTest, ExpiryBeginningAndAudience) {
  const auto ec = Issuer(ec_.get(), "ES256");
  const auto refusal = [&](const std::string& claims) { return Refusal(*ec, SignedToken(ec_.get(), claims, "ES256")); };
  EXPECT_EQ(refusal(absl::StrFormat(R"({"aud":"mptd","exp":%s})", At(-9))), "");
  EXPECT_THAT(refusal(absl::StrFormat(R"({"aud":"mptd","exp":%s})", At(-10))), HasSubstr("has expired"));
  EXPECT_THAT(refusal(R"({"aud":"mptd"})"), HasSubstr("has no \"exp\""));
  EXPECT_THAT(refusal(R"({"aud":"mptd","exp":"tomorrow"})"), HasSubstr("malformed"));
  EXPECT_EQ(refusal(Good(absl::StrFormat(R"(,"nbf":%s)", At(10)))), "");
  EXPECT_THAT(refusal(Good(absl::StrFormat(R"(,"nbf":%s)", At(11)))), HasSubstr("not valid yet"));
  EXPECT_EQ(refusal(absl::StrFormat(R"({"aud":["other","mptd"],"exp":%s})", At(9))), "");
  for (const char* other : {R"("other")", R"(["other"])", R"("")", "[]", "7", R"({"mptd":"mptd"})", R"("mptd2")"}) {
    EXPECT_THAT(refusal(absl::StrFormat(R"({"aud":%s,"exp":%s})", other, At(9))), HasSubstr("for somebody else"));
  }
  EXPECT_THAT(refusal(absl::StrFormat(R"({"exp":%s})", At(9))), HasSubstr("for somebody else"));
  EXPECT_THAT(Refusal(*Shared(), SharedToken(absl::StrFormat(R"({"iat":%s,"exp":%s})", At(0), At(-20)))),
              HasSubstr("has expired"));
}

TEST_F(TokenTest, MalformedAndHugeOnes) {
  const std::string good = SharedToken(IssuedAt(0));
  for (const std::string& bad :
       {std::string(), std::string("."), std::string(".."), std::string("..."), std::string("a.b.c"), good + ".x",
        "." + good, good + "=", std::string(8192, 'A'), std::string(8192, '.'), good + std::string("\0x", 2),
        Base64("null") + "." + Base64("null") + ".AAAA", Base64("[]") + "." + Base64("[]") + ".AAAA",
        Base64(R"({"alg":"HS256")") + "." + Base64("{}") + ".AAAA", SharedToken("not json"), SharedToken("[1]"),
        SharedToken(std::string(4000, '[')), SharedToken("\xff\xfe")}) {
    EXPECT_NE(Refusal(*Shared(), bad), "") << bad.substr(0, 100);
  }
  EXPECT_THAT(Refusal(*Shared(), std::string(8193, 'A')), HasSubstr("longer than 8192"));
  EXPECT_THAT(Refusal(*Shared(), std::string(size_t{4} << 20, '.')), HasSubstr("longer than 8192"));
}

// Whatever one character becomes, the token is refused, unless the character stands for the same bits: in the last one
// of a part, base64 leaves some unused.
TEST_F(TokenTest, NoCharacterCanBeChanged) {
  const std::string good = SignedToken(ec_.get(), Good(), "ES256");
  const auto ec = Issuer(ec_.get(), "ES256");
  const auto bits = [](const std::string& token) {
    std::string out;
    for (size_t begin = 0; begin <= token.size();) {
      const size_t end = std::min(token.find('.', begin), token.size());
      std::string part;
      absl::WebSafeBase64Unescape(token.substr(begin, end - begin), &part);
      out += part + ".";
      begin = end + 1;
    }
    return out;
  };
  std::mt19937 random(7);
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."[random() % 65];
    if (bits(bad) == bits(good)) continue;
    EXPECT_NE(Refusal(*ec, bad), "") << i;
  }
}

TEST_F(TokenTest, FilesThatHoldNoKey) {
  const auto why = [](const auto& made) { return std::string(made.status().message()); };
  const std::string hex = kSecretHex;
  EXPECT_TRUE(TokenVerifier::FromSecretFile(WriteFile("a", "0x" + hex + "\n", 0640)).ok()) << "as geth writes it";
  EXPECT_THAT(why(TokenVerifier::FromSecretFile(WriteFile("b", hex, 0644))), HasSubstr("may be read by everybody"));
  for (const std::string& bad : {std::string(), hex.substr(1), hex + "0", "g" + hex.substr(1), hex + " " + hex}) {
    const std::string message = why(TokenVerifier::FromSecretFile(WriteFile("c", bad)));
    EXPECT_THAT(message, HasSubstr("64 hexadecimal digits"));
    EXPECT_THAT(message, ::testing::Not(HasSubstr("0102030405"))) << "a secret is never in a message";
  }
  EXPECT_THAT(why(TokenVerifier::FromSecretFile(dir_ + "/absent")), HasSubstr("absent: No such file"));
  EXPECT_THAT(why(TokenVerifier::FromPublicKeyFile(WriteFile("d", "x"), "RS256", "mptd")), HasSubstr("no public key"));
  const std::string ec = WriteFile("e", PublicPem(ec_.get()));
  EXPECT_THAT(why(TokenVerifier::FromPublicKeyFile(ec, "RS256", "mptd")), HasSubstr("takes an RSA key"));
  const Key weak(EVP_RSA_gen(1024), &EVP_PKEY_free);
  EXPECT_THAT(why(TokenVerifier::FromPublicKeyFile(WriteFile("f", PublicPem(weak.get())), "RS256", "mptd")),
              HasSubstr("less than 2048"));
}

}  // namespace
}  // namespace mptd::security
