// What loading and changing a trie both do with sorted operations. Pure functions; internal to core/trie.
#pragma once

#include <span>

#include "core/nibbles.h"
#include "core/trie/trie_update.h"

namespace mptd {

// The operations whose key has `nibble` at `depth`, from the front of `ops`.
inline std::span<LeafOp> TakeGroup(std::span<LeafOp>& ops, size_t depth) {
  const uint8_t nibble = NibbleAt(ops.front().key->view(), depth);
  size_t n = 1;
  while (n < ops.size() && NibbleAt(ops[n].key->view(), depth) == nibble) ++n;
  const std::span<LeafOp> group = ops.first(n);
  ops = ops.subspan(n);
  return group;
}

// How many nibbles of `extension` the key has at `depth`.
inline size_t MatchExtension(BytesView extension, const Hash& key, size_t depth) {
  size_t n = 0;
  while (n < extension.size() && NibbleAt(key.view(), depth + n) == static_cast<uint8_t>(extension[n])) ++n;
  return n;
}

}  // namespace mptd
