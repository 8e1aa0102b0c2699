// Keeps the tries in memory within a limit: takes out clean subtrees that were not used lately, a part of the trie at a
// time. Belongs to the writer. Internal to core/engine.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/trie/trie_update.h"
#include "storage/version_index.h"

namespace mptd {

class NodeCache {
 public:
  explicit NodeCache(storage::EpochDomain& epochs) : epochs_(epochs) {}

  // Retires everything that a published transition replaced, and counts what it made and loaded.
  void Account(TrieChanges& changes);
  void CountLoaded(size_t bytes) { bytes_ += bytes; }

  // Takes clean nodes (sequence <= `flushed`) out below the root until at most `max_bytes` are in use, in bounded work.
  void EvictTo(size_t max_bytes, const TrieRoot& root, uint64_t flushed);
  // Frees the whole trie; for the end.
  static void FreeAll(const TrieRoot& root);

  size_t bytes() const { return bytes_; }

 private:
  void RetireSubtree(BranchNode* node);
  void RetireLeaf(LeafNode* leaf);
  void EvictBelow(BranchNode* node, uint64_t flushed);

  storage::EpochDomain& epochs_;
  size_t bytes_ = 0;
  unsigned cursor_ = 0;  // the next of 256 parts
};

}  // namespace mptd
