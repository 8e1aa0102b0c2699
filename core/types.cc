#include "core/types.h"

#include "absl/status/status.h"
#include "absl/strings/str_format.h"

namespace mptd {

U256 U256::FromUint64(uint64_t value) {
  U256 out;
  for (int i = 31; value != 0; --i, value >>= 8) out.be[static_cast<size_t>(i)] = static_cast<uint8_t>(value);
  return out;
}

absl::StatusOr<U256> U256::FromMinimal(BytesView big_endian) {
  if (big_endian.size() > 32) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a quantity has at most 32 bytes, this one has %d", big_endian.size()));
  }
  if (!big_endian.empty() && big_endian.front() == '\0') {
    return absl::InvalidArgumentError("a quantity has no leading zero bytes; send zero as no bytes at all");
  }
  return FromPadded(big_endian);
}

U256 U256::FromPadded(BytesView big_endian) {
  U256 out;
  if (!big_endian.empty()) std::memcpy(out.be.data() + 32 - big_endian.size(), big_endian.data(), big_endian.size());
  return out;
}

BytesView U256::minimal() const {
  size_t skip = 0;
  while (skip < 32 && be[skip] == 0) ++skip;
  return {reinterpret_cast<const char*>(be.data()) + skip, 32 - skip};
}

}  // namespace mptd
