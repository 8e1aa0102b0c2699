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

// To be asked before the handle of a storage trie without a root's row is used: OK when `account` has a single slot, of
// which the leaf, found by its `key` where that is known, hashes to `root`. Else DATA_LOSS: the row is lost.
absl::Status CheckSingleLeaf(const TrieSource& source, const Hash& account, const Hash* key, const Hash& root);
// That DATA_LOSS; for the trie of accounts when `account` is null.
absl::Status MissingRoot(const Hash* account);

}  // namespace mptd
