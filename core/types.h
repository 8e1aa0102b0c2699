// The value types of Ethereum state: addresses, hashes, 256-bit quantities and accounts.
// Plain values, owned by whoever holds them; safe to read from any thread.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace mptd {

// Raw bytes. Everything that crosses a folder's border is one of these two.
using Bytes = std::string;
using BytesView = std::string_view;

// Whether N bytes are the same, in words: keys are compared more often than anything else is done with them.
template <size_t N>
inline bool EqualBytes(const std::array<uint8_t, N>& a, const std::array<uint8_t, N>& b) {
  uint64_t difference = 0;
  for (size_t i = 0; i < N; i += 8) {
    uint64_t x = 0;
    uint64_t y = 0;
    std::memcpy(&x, a.data() + i, std::min<size_t>(8, N - i));
    std::memcpy(&y, b.data() + i, std::min<size_t>(8, N - i));
    difference |= x ^ y;
  }
  return difference == 0;
}

// N raw bytes, ordered as unsigned big-endian numbers are.
template <size_t N>
struct FixedBytes {
  std::array<uint8_t, N> bytes{};

  static constexpr size_t kSize = N;

  // Takes exactly N bytes; callers check the length of input first.
  static FixedBytes FromView(BytesView view) {
    FixedBytes out;
    std::memcpy(out.bytes.data(), view.data(), N);
    return out;
  }
  BytesView view() const { return {reinterpret_cast<const char*>(bytes.data()), N}; }
  bool IsZero() const { return *this == FixedBytes{}; }
  uint8_t operator[](size_t i) const { return bytes[i]; }

  friend bool operator==(const FixedBytes& a, const FixedBytes& b) { return EqualBytes(a.bytes, b.bytes); }
  friend std::strong_ordering operator<=>(const FixedBytes& a, const FixedBytes& b) {
    if constexpr (N >= 8) {
      // Hashes differ early.
      uint64_t x;
      uint64_t y;
      std::memcpy(&x, a.bytes.data(), 8);
      std::memcpy(&y, b.bytes.data(), 8);
      if (x != y) return __builtin_bswap64(x) <=> __builtin_bswap64(y);
    }
    return std::memcmp(a.bytes.data(), b.bytes.data(), N) <=> 0;
  }
  template <typename H>
  friend H AbslHashValue(H h, const FixedBytes& v) {
    return H::combine(std::move(h), v.bytes);
  }
};

using Address = FixedBytes<20>;
using Hash = FixedBytes<32>;

// An unsigned 256-bit quantity, kept big-endian as every Ethereum encoding wants it.
struct U256 {
  std::array<uint8_t, 32> be{};

  static U256 FromUint64(uint64_t value);
  // At most 32 bytes, no leading zero byte (empty is zero): INVALID_ARGUMENT otherwise.
  static absl::StatusOr<U256> FromMinimal(BytesView big_endian);
  // At most 32 bytes, leading zeros allowed. Callers check the length.
  static U256 FromPadded(BytesView big_endian);
  // Without leading zeros; zero is empty. Points into this object.
  BytesView minimal() const;
  bool IsZero() const { return *this == U256{}; }

  friend bool operator==(const U256& a, const U256& b) { return EqualBytes(a.be, b.be); }
};

// keccak256(rlp("")): the root of a trie without keys (Yellow Paper, appendix D).
inline constexpr Hash kEmptyRoot{{0x56, 0xe8, 0x1f, 0x17, 0x1b, 0xcc, 0x55, 0xa6, 0xff, 0x83, 0x45,
                                  0xe6, 0x92, 0xc0, 0xf8, 0x6e, 0x5b, 0x48, 0xe0, 0x1b, 0x99, 0x6c,
                                  0xad, 0xc0, 0x01, 0x62, 0x2f, 0xb5, 0xe3, 0x63, 0xb4, 0x21}};
// keccak256(""): the code hash of an account without code.
inline constexpr Hash kEmptyCodeHash{{0xc5, 0xd2, 0x46, 0x01, 0x86, 0xf7, 0x23, 0x3c, 0x92, 0x7e, 0x7d,
                                      0xb2, 0xdc, 0xc7, 0x03, 0xc0, 0xe5, 0x00, 0xb6, 0x53, 0xca, 0x82,
                                      0x27, 0x3b, 0x7b, 0xfa, 0xd8, 0x04, 0x5d, 0x85, 0xa4, 0x70}};

// An account as the state trie commits to it (Yellow Paper, section 4.1).
struct Account {
  uint64_t nonce = 0;
  U256 balance;
  Hash storage_root = kEmptyRoot;
  Hash code_hash = kEmptyCodeHash;

  // Nonce 0, balance 0 and no code, whatever the storage (EIP-161).
  bool IsEmpty() const { return nonce == 0 && balance.IsZero() && code_hash == kEmptyCodeHash; }

  friend bool operator==(const Account&, const Account&) = default;
};

}  // namespace mptd
