#include "core/decimal.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mptd {

std::string ToDecimal(std::string_view big_endian) {
  // Long division by 10^9, most significant byte first; limbs hold the decimal digits, least significant first.
  constexpr uint32_t kBase = 1'000'000'000;
  std::array<uint32_t, 9> limbs{};  // 2^256 has 78 digits
  for (const char c : big_endian.substr(0, 32)) {
    uint64_t carry = static_cast<uint8_t>(c);
    for (uint32_t& limb : limbs) {
      carry += uint64_t{limb} << 8;
      limb = static_cast<uint32_t>(carry % kBase);
      carry /= kBase;
    }
  }
  const auto top = std::find_if(limbs.rbegin(), limbs.rend(), [](uint32_t limb) { return limb != 0; });
  if (top == limbs.rend()) return "0";
  std::string out = absl::StrCat(*top);
  for (auto it = top + 1; it != limbs.rend(); ++it) absl::StrAppendFormat(&out, "%09d", *it);
  return out;
}

}  // namespace mptd
