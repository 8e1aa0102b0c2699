// Asking for nodes before they are looked at. A trie is visited in no order: nearly every node is a cache miss, and
// many misses at once take hardly longer than one.
//
// Pure functions, for any thread. They must be inlined: GCC 12 takes a function that only prefetches to be without
// effect and drops calls of it.
#pragma once

#include <cstddef>

#include "core/trie/branch_node.h"

namespace mptd {

inline constexpr size_t kPrefetchedHead = 192;  // the header and the pointers; of a small node, all of it
// As large as a node without a long extension can be.
inline constexpr size_t kLargestNode = sizeof(BranchNode) + 16 * (8 + 32);

[[gnu::always_inline]] inline void PrefetchBytes(const BranchNode* node, size_t begin, size_t end) {
  for (size_t i = begin; i < end; i += 64) __builtin_prefetch(reinterpret_cast<const char*>(node) + i);
}

[[gnu::always_inline]] inline void PrefetchHead(const BranchNode* node) { PrefetchBytes(node, 0, kPrefetchedHead); }

// The rest of a node whose head has come.
[[gnu::always_inline]] inline void PrefetchBody(const BranchNode* node) {
  PrefetchBytes(node, kPrefetchedHead, node->bytes());
}

}  // namespace mptd
