// AES-256-GCM by OpenSSL, which uses the processor's instructions for it.
//
// A context is set up with a key once and then only given a new nonce for each piece, which is many times cheaper. It
// is used by one thread at a time. A nonce must never be used twice with one key for different bytes: see each caller
// for why it is not.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "storage/secret_key.h"

struct evp_cipher_ctx_st;

namespace mptd::storage {

inline constexpr size_t kNonceBytes = 12;
inline constexpr size_t kTagBytes = 16;
using Nonce = std::array<uint8_t, kNonceBytes>;

// The nonce of the `number`-th piece under a key.
Nonce CountingNonce(uint64_t number);

class AesGcm {
 public:
  enum class Use : uint8_t { kSeal, kOpen };
  // RESOURCE_EXHAUSTED when there is no memory.
  static absl::StatusOr<AesGcm> Make(std::span<const uint8_t, kKeyBytes> key, Use use);

  // Writes as many bytes as `plain` has to `out`, and behind them the tag. `out` may be where `plain` is. False when
  // the library fails.
  bool Seal(const Nonce& nonce, std::string_view authenticated, std::string_view plain, char* out);
  // The reverse: `sealed` ends with the tag. False, with `out` of no meaning, when a bit of nonce, `authenticated` or
  // `sealed` is not as it was.
  bool Open(const Nonce& nonce, std::string_view authenticated, std::string_view sealed, char* out);

 private:
  struct Free {
    void operator()(evp_cipher_ctx_st* context) const;
  };
  explicit AesGcm(evp_cipher_ctx_st* context) : context_(context) {}

  std::unique_ptr<evp_cipher_ctx_st, Free> context_;
};

}  // namespace mptd::storage
