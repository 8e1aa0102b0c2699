// JSON Web Tokens: the two kinds that the daemon takes, and the one that mptctl makes. Verifiers are constant once they
// are made; safe from any thread.
//
// A verifier has one algorithm and one key, from the settings. A token never chooses either: one that names another
// algorithm is refused before the key is touched, so that neither "none" nor a public key taken for a secret works.
// No message says anything of a token's content.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mptd::security {

// How far the clocks of a caller and of the daemon may differ, as the engine API has it for "iat".
inline constexpr absl::Duration kMaxTokenSkew = absl::Seconds(60);
// The same for "exp" and "nbf", which the caller's issuer has set.
inline constexpr absl::Duration kTokenLeeway = absl::Seconds(10);
inline constexpr size_t kMaxTokenBytes = 8192;

struct Token {
  // Text and numbers; of a list, each of its elements.
  std::vector<std::pair<std::string, std::string>> claims;
  std::string id;      // "jti"; empty without one
  absl::Time expires;  // when Verify refuses it at the latest

  bool Has(std::string_view name, std::string_view value) const;
  std::optional<std::string> Find(std::string_view name) const;
};

class TokenVerifier {
 public:
  // Tokens of execution clients: HS256 with the 32 bytes that stand as hexadecimal digits in the file, "iat" at most a
  // minute from now. FAILED_PRECONDITION when the file cannot be read, holds something else, or may be read by
  // everybody.
  static absl::StatusOr<std::unique_ptr<TokenVerifier>> FromSecretFile(const std::string& path);
  // Tokens that somebody else signs: "exp" must be there, "nbf" is kept to, and "aud" must name `audience`. `algorithm`
  // is RS256, RS384, RS512, ES256, ES384 or ES512. FAILED_PRECONDITION when the file holds no PEM public key for it.
  static absl::StatusOr<std::unique_ptr<TokenVerifier>> FromPublicKeyFile(const std::string& path,
                                                                          const std::string& algorithm,
                                                                          const std::string& audience);
  ~TokenVerifier();
  TokenVerifier(const TokenVerifier&) = delete;
  TokenVerifier& operator=(const TokenVerifier&) = delete;

  // Whether the token's header names this verifier's algorithm; a malformed one names none.
  bool NamesAlgorithm(std::string_view token) const;
  // UNAUTHENTICATED: why not.
  absl::StatusOr<Token> Verify(std::string_view token, absl::Time now) const;

 private:
  TokenVerifier(std::string key, std::string algorithm, std::string audience, bool shared)
      : key_(std::move(key)), algorithm_(std::move(algorithm)), audience_(std::move(audience)), shared_(shared) {}
  absl::Status CheckShared(const std::optional<absl::Time>& issued, absl::Time now, Token& token) const;

  std::string key_;  // wiped at the end
  const std::string algorithm_;
  const std::string audience_;
  const bool shared_;  // with a secret
};

// A token as execution clients make it, with the secret in the file, issued `now`.
absl::StatusOr<std::string> MakeSharedToken(const std::string& secret_file, absl::Time now);

}  // namespace mptd::security
