// Nibble paths: the half-byte digits along which a key descends a Merkle Patricia Trie, one byte a nibble (0..15).
// Values; safe from any thread.
#pragma once

#include <span>

#include "absl/status/statusor.h"
#include "core/types.h"

namespace mptd {

// Nibble i (0 is the most significant) of a packed key.
inline uint8_t NibbleAt(BytesView key, size_t i) {
  const auto byte = static_cast<uint8_t>(key[i / 2]);
  return i % 2 == 0 ? byte >> 4 : byte & 0x0f;
}

// The 2n nibbles of n packed bytes.
Bytes UnpackNibbles(BytesView key);

// How many leading nibbles two nibble paths share.
size_t CommonPrefix(BytesView a, BytesView b);

// Hex-prefix encoding (Yellow Paper, appendix C) of a nibble path: a flag nibble (2 for a leaf, +1 when the length is
// odd), then the nibbles, two a byte.
void AppendHexPrefix(Bytes& out, BytesView nibbles, bool leaf);

struct HexPrefix {
  Bytes nibbles;
  bool leaf = false;
};
// INVALID_ARGUMENT for an empty input, an unknown flag or a padding nibble that is not zero.
absl::StatusOr<HexPrefix> DecodeHexPrefix(BytesView encoded);

}  // namespace mptd
