#include "core/trie/link_loaded.h"

namespace mptd {

BranchNode* LinkLoaded(const TrieSource& source, const BranchNode& parent, int nibble, OwnedBranch& loaded) {
  BranchNode* linked = parent.Link(nibble, loaded.get());
  if (linked == nullptr) return nullptr;
  if (linked == loaded.get()) {
    source.CountLinked(linked->bytes());
    (void)loaded.release();
  } else {
    loaded.reset();
  }
  return linked;
}

LeafNode* LinkStorageRoot(const TrieSource& source, const BranchNode& parent, int nibble, const Hash& account,
                          OwnedBranch& loaded) {
  auto leaf = std::make_unique<LeafNode>(account, loaded.get());
  LeafNode* linked = parent.Link(nibble, leaf.get());
  if (linked == nullptr) return nullptr;
  if (linked == leaf.get()) {
    source.CountLinked(sizeof(LeafNode) + (loaded == nullptr ? 0 : loaded->bytes()));
    (void)leaf.release();
    (void)loaded.release();
  } else {
    loaded.reset();
  }
  return linked;
}

}  // namespace mptd
