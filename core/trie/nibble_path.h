// A position in a trie: up to 64 leading nibbles of a 32-byte key. A value; safe from any thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/nibbles.h"
#include "core/types.h"

namespace mptd {

// The nibbles behind `size` are zero, so that equal paths are equal bytes.
struct NibblePath {
  Hash packed;
  uint8_t size = 0;

  static NibblePath PrefixOf(const Hash& key, size_t nibbles) {
    NibblePath path;
    path.SetPrefix(key, nibbles);
    return path;
  }

  void SetPrefix(const Hash& key, size_t nibbles) {
    size = static_cast<uint8_t>(nibbles);
    // Eight bytes at a time: every node of a change comes by here, and copies of a few bytes, as many as a variable
    // says, would be calls.
    for (size_t i = 0; i < 4; ++i) {
      const size_t bits = 4 * nibbles - std::min(4 * nibbles, 64 * i);
      const uint64_t mask = bits >= 64 ? ~uint64_t{0} : ~(~uint64_t{0} >> bits);
      uint64_t word;
      std::memcpy(&word, key.bytes.data() + 8 * i, 8);
      word &= __builtin_bswap64(mask);
      std::memcpy(packed.bytes.data() + 8 * i, &word, 8);
    }
  }

  uint8_t at(size_t i) const { return NibbleAt(packed.view(), i); }

  void Push(uint8_t nibble) {
    packed.bytes[size / 2] |= static_cast<uint8_t>(size % 2 == 0 ? nibble << 4 : nibble);
    ++size;
  }
  void Append(BytesView nibbles) {
    for (char n : nibbles) Push(static_cast<uint8_t>(n));
  }

  // True when `key` begins with this path.
  bool IsPrefixOf(const Hash& key) const { return PrefixOf(key, size) == *this; }

  // The smallest key below this path is `packed`; this is the largest.
  Hash LastKey() const {
    Hash last = packed;
    for (size_t i = size; i < 64; ++i) {
      last.bytes[i / 2] |= static_cast<uint8_t>(i % 2 == 0 ? 0xf0 : 0x0f);
    }
    return last;
  }

  // The key of this position's row: one byte a nibble. Rows are then in the order in which a walk from the root meets
  // them, so a flush needs no sorting, and tables store of each key only what differs from the one before.
  void AppendRowKey(Bytes& out) const {
    for (size_t i = 0; i < size; ++i) out.push_back(static_cast<char>(at(i)));
  }

  friend bool operator==(const NibblePath&, const NibblePath&) = default;
};

// How many leading nibbles two keys share.
inline size_t CommonNibbles(const Hash& a, const Hash& b) {
  size_t i = 0;
  while (i < 32 && a.bytes[i] == b.bytes[i]) ++i;
  if (i == 32) return 64;
  return 2 * i + ((a.bytes[i] ^ b.bytes[i]) < 0x10 ? 1 : 0);
}

}  // namespace mptd
