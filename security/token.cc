#include "security/token.h"

#include <fcntl.h>
#include <jwt.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"

namespace mptd::security {
namespace {

constexpr size_t kSecretDigits = 64;
constexpr size_t kMaxKeyFile = size_t{64} << 10;
constexpr int kMinRsaBits = 2048;
constexpr char kSharedAlgorithm[] = "HS256";

using Jwt = std::unique_ptr<jwt_t, decltype(&jwt_free)>;
using Json = nlohmann::json;

absl::Status Refuse(std::string_view why) { return absl::UnauthenticatedError(absl::StrFormat("the token %s", why)); }

absl::StatusOr<std::string> ReadKeyFile(const std::string& path, bool secret) {
  const auto cannot = [&path](std::string_view why) {
    return absl::FailedPreconditionError(absl::StrFormat("%s: %s", path, why));
  };
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return cannot(std::generic_category().message(errno));
  struct stat info {};
  std::string text(kMaxKeyFile + 1, '\0');
  const ssize_t size = fstat(fd, &info) == 0 ? read(fd, text.data(), text.size()) : -1;
  const int error = errno;
  close(fd);
  if (size < 0) return cannot(std::generic_category().message(error));
  if (static_cast<size_t>(size) > kMaxKeyFile) return cannot("is too long for a key");
  if (secret && (info.st_mode & S_IROTH) != 0) {
    return cannot("may be read by everybody on this machine; make its mode 0600 or 0640");
  }
  text.resize(static_cast<size_t>(size));
  return text;
}

absl::StatusOr<std::string> ReadSecret(const std::string& path) {
  absl::StatusOr<std::string> text = ReadKeyFile(path, /*secret=*/true);
  if (!text.ok()) return text.status();
  absl::string_view digits = absl::StripAsciiWhitespace(*text);
  if (digits.substr(0, 2) == "0x") digits.remove_prefix(2);
  const bool good = digits.size() == kSecretDigits && std::all_of(digits.begin(), digits.end(), absl::ascii_isxdigit);
  std::string secret = good ? absl::HexStringToBytes(digits) : std::string();
  OPENSSL_cleanse(text->data(), text->size());
  if (!good) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s: is not a secret of 32 bytes in 64 hexadecimal digits, as `openssl rand -hex 32` makes one", path));
  }
  return secret;
}

// Decodes and, with a key, verifies; null when either fails.
Jwt Decode(const std::string& token, const std::string* key) {
  jwt_t* raw = nullptr;
  const auto* bytes = key == nullptr ? nullptr : reinterpret_cast<const unsigned char*>(key->data());
  const int error = jwt_decode(&raw, token.c_str(), bytes, key == nullptr ? 0 : static_cast<int>(key->size()));
  Jwt jwt(error == 0 ? raw : nullptr, &jwt_free);
  return jwt;
}

// Only its header is read, which must not be believed yet.
std::string AlgorithmNamed(const std::string& token) {
  const Jwt unverified = Decode(token, nullptr);
  const char* name = unverified == nullptr ? nullptr : jwt_get_header(unverified.get(), "alg");
  return name == nullptr ? "" : name;
}

Json ClaimsOf(jwt_t* jwt) {
  const std::unique_ptr<char, decltype(&std::free)> text(jwt_get_grants_json(jwt, nullptr), &std::free);
  return text == nullptr ? Json() : Json::parse(text.get(), nullptr, /*allow_exceptions=*/false);
}

// A time in seconds since 1970: nothing when the claim is absent, an error when it is something else.
absl::StatusOr<std::optional<absl::Time>> TimeClaim(const Json& claims, const char* name) {
  const auto found = claims.find(name);
  if (found == claims.end()) return std::nullopt;
  constexpr double kYear5138 = 1e11;
  const double seconds = found->is_number() ? found->get<double>() : -1;
  if (!(seconds >= 0 && seconds <= kYear5138)) {
    return Refuse(absl::StrFormat("is malformed: \"%s\" is not a time in seconds", name));
  }
  return absl::UnixEpoch() + absl::Seconds(seconds);
}

void AddClaim(const std::string& name, const Json& value, Token& token) {
  if (value.is_string()) {
    token.claims.emplace_back(name, value.get<std::string>());
  } else if (value.is_number_integer()) {
    token.claims.emplace_back(name, value.dump());
  }
}

Token ToToken(const Json& claims) {
  Token token;
  for (const auto& [name, value] : claims.items()) {
    if (value.is_array()) {
      for (const Json& element : value) AddClaim(name, element, token);
    } else {
      AddClaim(name, value, token);
    }
  }
  return token;
}

}  // namespace

bool Token::Has(std::string_view name, std::string_view value) const {
  return std::any_of(claims.begin(), claims.end(),
                     [&](const auto& claim) { return claim.first == name && claim.second == value; });
}

std::optional<std::string> Token::Find(std::string_view name) const {
  for (const auto& [key, value] : claims) {
    if (key == name) return value;
  }
  return std::nullopt;
}

absl::StatusOr<std::unique_ptr<TokenVerifier>> TokenVerifier::FromSecretFile(const std::string& path) {
  absl::StatusOr<std::string> secret = ReadSecret(path);
  if (!secret.ok()) return secret.status();
  return std::unique_ptr<TokenVerifier>(new TokenVerifier(*std::move(secret), kSharedAlgorithm, "", /*shared=*/true));
}

absl::StatusOr<std::unique_ptr<TokenVerifier>> TokenVerifier::FromPublicKeyFile(const std::string& path,
                                                                                const std::string& algorithm,
                                                                                const std::string& audience) {
  absl::StatusOr<std::string> pem = ReadKeyFile(path, /*secret=*/false);
  if (!pem.ok()) return pem.status();
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())),
                                                      &BIO_free);
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      bio == nullptr ? nullptr : PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr), &EVP_PKEY_free);
  const auto cannot = [&path](std::string_view why) {
    return absl::FailedPreconditionError(absl::StrFormat("%s: %s", path, why));
  };
  if (key == nullptr) return cannot("holds no public key in PEM form (\"-----BEGIN PUBLIC KEY-----\")");
  const bool rsa = algorithm.starts_with("RS");
  if (EVP_PKEY_base_id(key.get()) != (rsa ? EVP_PKEY_RSA : EVP_PKEY_EC)) {
    return cannot(absl::StrFormat("is no key for %s, which takes %s key", algorithm, rsa ? "an RSA" : "an EC"));
  }
  if (rsa && EVP_PKEY_bits(key.get()) < kMinRsaBits) return cannot("is an RSA key of less than 2048 bits");
  return std::unique_ptr<TokenVerifier>(new TokenVerifier(*std::move(pem), algorithm, audience, /*shared=*/false));
}

TokenVerifier::~TokenVerifier() { OPENSSL_cleanse(key_.data(), key_.size()); }

bool TokenVerifier::NamesAlgorithm(std::string_view token) const {
  return token.size() <= kMaxTokenBytes && AlgorithmNamed(std::string(token)) == algorithm_;
}

absl::Status TokenVerifier::CheckShared(const std::optional<absl::Time>& issued, absl::Time now, Token& token) const {
  if (!issued.has_value()) return Refuse("has no \"iat\", the time when it was issued");
  if (absl::AbsDuration(now - *issued) > kMaxTokenSkew) {
    return Refuse("was issued more than 60 seconds from now; if it is new, compare the clocks of the two machines");
  }
  token.expires = std::min(token.expires, *issued + kMaxTokenSkew + absl::Seconds(1));
  return absl::OkStatus();
}

absl::StatusOr<Token> TokenVerifier::Verify(std::string_view token, absl::Time now) const {
  if (token.size() > kMaxTokenBytes) return Refuse("is longer than 8192 bytes");
  const std::string text(token);
  // libjwt ends at a zero byte, so that two different texts would be the same token.
  if (text.find('\0') != std::string::npos) return Refuse("is malformed");
  if (const std::string named = AlgorithmNamed(text); named != algorithm_) {
    return Refuse(named.empty() ? "is malformed" : absl::StrCat("is signed in another way than ", algorithm_));
  }
  const Jwt jwt = Decode(text, &key_);
  if (jwt == nullptr) return Refuse("is not signed with the key of this daemon's settings");
  // What the library has verified with, whatever the header has said.
  if (jwt_get_alg(jwt.get()) != jwt_str_alg(algorithm_.c_str())) return Refuse("is signed in another way");
  const Json claims = ClaimsOf(jwt.get());
  if (!claims.is_object()) return Refuse("is malformed");

  const auto expires = TimeClaim(claims, "exp");
  if (!expires.ok()) return expires.status();
  const auto begins = TimeClaim(claims, "nbf");
  if (!begins.ok()) return begins.status();
  const auto issued = TimeClaim(claims, "iat");
  if (!issued.ok()) return issued.status();
  if (!shared_ && !expires->has_value()) return Refuse("has no \"exp\", the time when it expires");
  if (expires->has_value() && now >= **expires + kTokenLeeway) return Refuse("has expired");
  if (begins->has_value() && now + kTokenLeeway < **begins) return Refuse("is not valid yet");
  Token out = ToToken(claims);
  out.id = out.Find("jti").value_or("");
  out.expires = expires->has_value() ? **expires + kTokenLeeway : absl::InfiniteFuture();
  if (shared_) {
    if (absl::Status status = CheckShared(*issued, now, out); !status.ok()) return status;
  } else if (!out.Has("aud", audience_)) {
    return Refuse("is for somebody else: its \"aud\" is not security.jwt_audience");
  }
  return out;
}

absl::StatusOr<std::string> MakeSharedToken(const std::string& secret_file, absl::Time now) {
  absl::StatusOr<std::string> secret = ReadSecret(secret_file);
  if (!secret.ok()) return secret.status();
  jwt_t* raw = nullptr;
  const bool made = jwt_new(&raw) == 0;
  const Jwt jwt(made ? raw : nullptr, &jwt_free);
  const auto* key = reinterpret_cast<const unsigned char*>(secret->data());
  const bool set = made && jwt_set_alg(jwt.get(), JWT_ALG_HS256, key, static_cast<int>(secret->size())) == 0 &&
                   jwt_add_grant_int(jwt.get(), "iat", absl::ToUnixSeconds(now)) == 0;
  OPENSSL_cleanse(secret->data(), secret->size());
  const std::unique_ptr<char, decltype(&std::free)> text(set ? jwt_encode_str(jwt.get()) : nullptr, &std::free);
  if (text == nullptr) return absl::InternalError("cannot sign a token");
  return std::string(text.get());
}

}  // namespace mptd::security
