#include "core/hex.h"

#include <algorithm>
#include <array>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"

namespace mptd {
namespace {

constexpr char kDigits[] = "0123456789abcdef";
// That fit 64 bits, in decimal.
constexpr size_t kHeadDigits = 19;

// By character: the digit's value, or -1.
constexpr std::array<int8_t, 256> kValues = [] {
  std::array<int8_t, 256> values{};
  values.fill(-1);
  for (int i = 0; i < 16; ++i) {
    const char digit = kDigits[i];
    values[static_cast<uint8_t>(digit)] = static_cast<int8_t>(i);
    if (i >= 10) values[static_cast<uint8_t>(digit - 'a' + 'A')] = static_cast<int8_t>(i);
  }
  return values;
}();

int HexDigit(char c) { return kValues[static_cast<uint8_t>(c)]; }

bool HasPrefix(std::string_view text) { return text.starts_with("0x"); }

absl::Status WrongCharacter(std::string_view text, size_t position, std::string_view expected) {
  return absl::InvalidArgumentError(absl::StrFormat("character %d, '%s', is not a %s digit", position + 1,
                                                    absl::CHexEscape(std::string(text.substr(position, 1))), expected));
}

template <typename Fixed>
absl::StatusOr<Fixed> FixedFromHex(std::string_view text) {
  const absl::StatusOr<Bytes> bytes = FromHex(text);
  if (!bytes.ok()) return bytes.status();
  if (bytes->size() != Fixed::kSize) {
    return absl::InvalidArgumentError(absl::StrFormat("%d bytes where %d are expected", bytes->size(), Fixed::kSize));
  }
  return Fixed::FromView(*bytes);
}

// value = value * 10 + digit; false when that takes more than 256 bits.
bool PushDecimal(U256& value, uint32_t digit) {
  uint32_t carry = digit;
  for (size_t i = value.be.size(); i-- > 0;) {
    const uint32_t next = value.be[i] * 10U + carry;
    value.be[i] = static_cast<uint8_t>(next);
    carry = next >> 8;
  }
  return carry == 0;
}

absl::StatusOr<U256> ParseHexQuantity(std::string_view text) {
  for (size_t i = 2; i < text.size(); ++i) {
    if (HexDigit(text[i]) < 0) return WrongCharacter(text, i, "hexadecimal");
  }
  std::string_view digits = text.substr(2);
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
  if (digits.size() > 64) return absl::InvalidArgumentError("the number does not fit 256 bits");
  U256 out;
  for (size_t i = 0; i < digits.size(); ++i) {
    const size_t place = 64 - digits.size() + i;  // counted in nibbles from the most significant one
    const int digit = HexDigit(digits[i]);
    out.be[place / 2] = static_cast<uint8_t>(out.be[place / 2] | (place % 2 == 0 ? digit << 4 : digit));
  }
  return out;
}

}  // namespace

std::string ToHex(BytesView bytes) {
  std::string out(2 + 2 * bytes.size(), '0');
  out[1] = 'x';
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<uint8_t>(bytes[i]);
    out[2 + 2 * i] = kDigits[byte >> 4];
    out[3 + 2 * i] = kDigits[byte & 0x0f];
  }
  return out;
}

std::string ToHexQuantity(const U256& value) {
  if (value.IsZero()) return "0x0";
  std::string out = ToHex(value.minimal());
  if (out[2] == '0') out.erase(2, 1);
  return out;
}

absl::StatusOr<Bytes> FromHex(std::string_view text) {
  const size_t start = HasPrefix(text) ? 2 : 0;
  for (size_t i = start; i < text.size(); ++i) {
    if (HexDigit(text[i]) < 0) return WrongCharacter(text, i, "hexadecimal");
  }
  if ((text.size() - start) % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrFormat("an odd number of digits (%d)", text.size() - start));
  }
  Bytes out((text.size() - start) / 2, '\0');
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<char>(HexDigit(text[start + 2 * i]) << 4 | HexDigit(text[start + 2 * i + 1]));
  }
  return out;
}

absl::StatusOr<Hash> HashFromHex(std::string_view text) { return FixedFromHex<Hash>(text); }

absl::StatusOr<Address> AddressFromHex(std::string_view text) { return FixedFromHex<Address>(text); }

absl::StatusOr<U256> ParseQuantity(std::string_view text) {
  if (text.empty() || text == "0x") return absl::InvalidArgumentError("a number without digits");
  if (HasPrefix(text)) return ParseHexQuantity(text);
  U256 out;
  uint64_t head = 0;  // of the first digits, as many as surely fit
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] < '0' || text[i] > '9') return WrongCharacter(text, i, "decimal");
    if (i < kHeadDigits) {
      head = head * 10 + static_cast<uint64_t>(text[i] - '0');
      if (i + 1 == std::min(text.size(), kHeadDigits)) out = U256::FromUint64(head);
      continue;
    }
    if (!PushDecimal(out, static_cast<uint32_t>(text[i] - '0'))) {
      return absl::InvalidArgumentError("the number does not fit 256 bits");
    }
  }
  return out;
}

absl::StatusOr<uint64_t> ParseUint64(std::string_view text) {
  const absl::StatusOr<U256> wide = ParseQuantity(text);
  if (!wide.ok()) return wide.status();
  const BytesView bytes = wide->minimal();
  if (bytes.size() > 8) return absl::InvalidArgumentError("the number does not fit 64 bits");
  uint64_t out = 0;
  for (const char c : bytes) out = out << 8 | static_cast<uint8_t>(c);
  return out;
}

}  // namespace mptd
