// Values as people type and read them: addresses, slots, hashes, quantities in wei and ether, sizes and times.
// Pure functions; safe from any thread. Errors are INVALID_ARGUMENT and say what was expected.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "checkup/finding.h"

namespace mptd::cli {

// Text to the raw bytes that the interface wants.
absl::StatusOr<std::string> AddressBytes(std::string_view text);  // 20 bytes of hex
absl::StatusOr<std::string> HashBytes(std::string_view text);     // 32 bytes of hex
// A slot's key: 0x-hex of at most 32 bytes, 64 hex digits, or a decimal number; always 32 bytes long in the answer.
absl::StatusOr<std::string> SlotBytes(std::string_view text);
// 0x-hex or decimal; big-endian without leading zeros in the answer. "0x" and "" are zero.
absl::StatusOr<std::string> QuantityBytes(std::string_view text);
// "30s", "500ms", "2m", or a number of seconds; above zero.
absl::StatusOr<absl::Duration> DurationFromText(std::string_view text);

// Big-endian quantities of at most 32 bytes, leading zeros allowed, to text.
std::string QuantityHex(std::string_view big_endian);  // "0x0", "0x1f"
std::string EtherText(std::string_view wei);           // "1.5": 10^18 wei are one ether, no trailing zeros
std::string BalanceText(std::string_view wei);         // "1500000000000000000 wei (1.5 ether)"

std::string CountText(uint64_t count);       // "1,234,567"
using checkup::SizeText;                     // "512 B", "1.5 MiB"
std::string UptimeText(uint64_t seconds);    // "3d 4h", "5m 2s"
std::string OneLine(std::string_view text);  // line breaks become spaces

}  // namespace mptd::cli
