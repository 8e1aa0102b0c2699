// Quantities for people: decimal digits.
#pragma once

#include <string>
#include <string_view>

namespace mptd {

// Of a big-endian number of at most 32 bytes, which may begin with zeros: "0", "31". More than 32 bytes are not looked
// at.
std::string ToDecimal(std::string_view big_endian);

}  // namespace mptd
