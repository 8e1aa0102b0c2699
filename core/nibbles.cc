#include "core/nibbles.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"

namespace mptd {
namespace {

constexpr uint8_t kLeafFlag = 2;
constexpr uint8_t kOddFlag = 1;

}  // namespace

Bytes UnpackNibbles(BytesView key) {
  Bytes out(2 * key.size(), '\0');
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<char>(NibbleAt(key, i));
  return out;
}

size_t CommonPrefix(BytesView a, BytesView b) {
  const size_t size = std::min(a.size(), b.size());
  return static_cast<size_t>(std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(size), b.begin()).first -
                             a.begin());
}

void AppendHexPrefix(Bytes& out, BytesView nibbles, bool leaf) {
  const size_t odd = nibbles.size() % 2;
  const size_t start = out.size();
  out.resize(start + nibbles.size() / 2 + 1);
  char* to = out.data() + start;
  const uint32_t flag = (leaf ? kLeafFlag : 0U) + (odd != 0 ? kOddFlag : 0U);
  *to++ = static_cast<char>(flag << 4 | (odd != 0 ? static_cast<uint8_t>(nibbles[0]) : 0U));
  for (size_t i = odd; i < nibbles.size(); i += 2) {
    *to++ = static_cast<char>(static_cast<uint8_t>(nibbles[i]) << 4 | static_cast<uint8_t>(nibbles[i + 1]));
  }
}

absl::StatusOr<HexPrefix> DecodeHexPrefix(BytesView encoded) {
  if (encoded.empty()) return absl::InvalidArgumentError("hex prefix: empty");
  const uint8_t flag = NibbleAt(encoded, 0);
  if (flag > (kLeafFlag | kOddFlag)) {
    return absl::InvalidArgumentError(absl::StrFormat("hex prefix: unknown flag %d", flag));
  }
  const bool odd = (flag & kOddFlag) != 0;
  if (!odd && NibbleAt(encoded, 1) != 0) {
    return absl::InvalidArgumentError("hex prefix: the padding nibble is not zero");
  }
  HexPrefix out{Bytes(2 * encoded.size() - (odd ? 1 : 2), '\0'), (flag & kLeafFlag) != 0};
  const size_t skip = odd ? 1 : 2;
  for (size_t i = 0; i < out.nibbles.size(); ++i) out.nibbles[i] = static_cast<char>(NibbleAt(encoded, i + skip));
  return out;
}

}  // namespace mptd
