// Gives nodes that have been read from their rows to the trie that others see. Any thread; internal to the engine.
#pragma once

#include "core/trie/trie_update.h"

namespace mptd {

// Links `loaded` below `parent`, which is in the source's trie, and counts it. Returns the child that is there now:
// this one, or another's that came first, and `loaded` has been given away or freed. Null when the place is closed:
// `loaded` is still the caller's.
BranchNode* LinkLoaded(const TrieSource& source, const BranchNode& parent, int nibble, OwnedBranch& loaded);

// The same for the root of an account's storage trie (null: it has no branch), by a handle in the place of its leaf.
LeafNode* LinkStorageRoot(const TrieSource& source, const BranchNode& parent, int nibble, const Hash& account,
                          OwnedBranch& loaded);

}  // namespace mptd
