#include "cli/values.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/decimal.h"
#include "core/hex.h"

namespace mptd::cli {
namespace {

bool HasHexPrefix(std::string_view text) { return text.starts_with("0x") || text.starts_with("0X"); }

absl::Status NotA(std::string_view what, std::string_view text, std::string_view why) {
  constexpr size_t kMost = 80;
  std::string shown(text.substr(0, kMost));
  if (text.size() > kMost) shown += "...";
  return absl::InvalidArgumentError(absl::StrFormat("\"%s\" is not %s: %s", shown, what, why));
}

// FromHex wants "0x"; people also type "0X".
std::string LowerPrefix(std::string_view text) {
  std::string out(text);
  if (HasHexPrefix(text)) out[1] = 'x';
  return out;
}

absl::StatusOr<std::string> FixedHex(std::string_view text, size_t size, std::string_view what) {
  absl::StatusOr<Bytes> bytes = FromHex(LowerPrefix(text));
  if (!bytes.ok()) return NotA(what, text, std::string(bytes.status().message()));
  if (bytes->size() != size) {
    return NotA(what, text, absl::StrFormat("it has %d bytes where %d are wanted", bytes->size(), size));
  }
  return *std::move(bytes);
}

}  // namespace

absl::StatusOr<std::string> AddressBytes(std::string_view text) {
  return FixedHex(text, Address::kSize, "an address (20 bytes of hex)");
}

absl::StatusOr<std::string> HashBytes(std::string_view text) {
  return FixedHex(text, Hash::kSize, "a hash (32 bytes of hex)");
}

absl::StatusOr<std::string> SlotBytes(std::string_view text) {
  constexpr std::string_view kWhat = "a slot (0x-hex of at most 32 bytes, or a decimal number)";
  const bool full_key = text.size() == 2 * Hash::kSize && !HasHexPrefix(text);
  if (full_key) return FixedHex(text, Hash::kSize, kWhat);
  if (text.empty() || (HasHexPrefix(text) && text.size() == 2)) return NotA(kWhat, text, "it has no digits");
  if (HasHexPrefix(text) && text.size() > 2 + 2 * Hash::kSize) return NotA(kWhat, text, "it is longer than 32 bytes");
  const absl::StatusOr<U256> value = ParseQuantity(LowerPrefix(text));
  if (!value.ok()) return NotA(kWhat, text, std::string(value.status().message()));
  return std::string(reinterpret_cast<const char*>(value->be.data()), value->be.size());
}

absl::StatusOr<std::string> QuantityBytes(std::string_view text) {
  if (text.empty() || (HasHexPrefix(text) && text.size() == 2)) return std::string();
  const absl::StatusOr<U256> value = ParseQuantity(LowerPrefix(text));
  if (!value.ok()) return NotA("a quantity (0x-hex or decimal)", text, std::string(value.status().message()));
  return std::string(value->minimal());
}

absl::StatusOr<absl::Duration> DurationFromText(std::string_view text) {
  const bool bare = !text.empty() && absl::ascii_isdigit(static_cast<unsigned char>(text.back()));
  absl::Duration out;
  if (!absl::ParseDuration(std::string(text) + (bare ? "s" : ""), &out) || out <= absl::ZeroDuration()) {
    return NotA("a time", text, "write 30s, 500ms, 2m or a number of seconds, above zero");
  }
  return out;
}

std::string QuantityHex(std::string_view big_endian) {
  if (big_endian.size() > 32) return ToHex(big_endian);
  return ToHexQuantity(U256::FromPadded(big_endian));
}

std::string EtherText(std::string_view wei) {
  constexpr size_t kDecimals = 18;
  std::string digits = ToDecimal(wei);
  if (digits.size() <= kDecimals) digits.insert(0, kDecimals + 1 - digits.size(), '0');
  std::string fraction = digits.substr(digits.size() - kDecimals);
  fraction.erase(fraction.find_last_not_of('0') + 1);
  std::string out = digits.substr(0, digits.size() - kDecimals);
  if (!fraction.empty()) out += "." + fraction;
  return out;
}

std::string BalanceText(std::string_view wei) {
  return absl::StrCat(ToDecimal(wei), " wei (", EtherText(wei), " ether)");
}

std::string CountText(uint64_t count) {
  std::string out = absl::StrCat(count);
  for (size_t i = out.size(); i > 3;) out.insert(i -= 3, ",");
  return out;
}

std::string UptimeText(uint64_t seconds) {
  if (seconds < 60) return absl::StrFormat("%ds", seconds);
  if (seconds < 3600) return absl::StrFormat("%dm %ds", seconds / 60, seconds % 60);
  if (seconds < 86400) return absl::StrFormat("%dh %dm", seconds / 3600, seconds / 60 % 60);
  return absl::StrFormat("%dd %dh", seconds / 86400, seconds / 3600 % 24);
}

std::string OneLine(std::string_view text) {
  std::string out(text);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  return out;
}

}  // namespace mptd::cli
