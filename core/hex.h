// Hexadecimal text, as JSON-RPC writes it. Pure functions; safe from any thread.
#pragma once

#include "absl/status/statusor.h"
#include "core/types.h"

namespace mptd {

// Lower case with "0x" in front.
std::string ToHex(BytesView bytes);
template <size_t N>
std::string ToHex(const FixedBytes<N>& v) {
  return ToHex(v.view());
}
// A quantity: "0x" and digits without leading zeros, "0x0" for zero.
std::string ToHexQuantity(const U256& value);

// "0x" is optional, an even number of digits is required. INVALID_ARGUMENT names the first wrong character.
absl::StatusOr<Bytes> FromHex(std::string_view text);
absl::StatusOr<Hash> HashFromHex(std::string_view text);        // exactly 32 bytes
absl::StatusOr<Address> AddressFromHex(std::string_view text);  // exactly 20 bytes
// "0x" hex with any number of digits, or decimal without it; at most 2^256 - 1.
absl::StatusOr<U256> ParseQuantity(std::string_view text);
absl::StatusOr<uint64_t> ParseUint64(std::string_view text);

}  // namespace mptd
