// Keeps the tries in memory within a limit: takes out clean subtrees that were not used lately, a part of the trie at a
// time. Belongs to the writer. Internal to core/engine.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/trie/trie_update.h"
#include "storage/version_index.h"

namespace mptd {

class NodeCache {
 public:
  static constexpr unsigned kParts = 256;

  // Readers count what they link in `bytes`.
  NodeCache(storage::EpochDomain& epochs, std::atomic<int64_t>& bytes) : epochs_(epochs), bytes_(bytes) {}

  // Retires everything that a published transition replaced, and counts what it made and loaded.
  void Account(TrieChanges& changes);

  // Takes clean nodes (sequence <= `flushed`) out below the root until at most `max_bytes` are in use, looking at no
  // more than `max_parts` of the 256 parts of the trie.
  void EvictTo(int64_t max_bytes, const TrieRoot& root, uint64_t flushed, int max_parts);
  // By EvictTo, ever. Safe from any thread.
  uint64_t evicted() const { return evicted_.load(std::memory_order_relaxed); }
  // Takes clean nodes out of the next `parts` of the kParts parts of the trie that were not used since it last came by.
  void DropUnused(const TrieRoot& root, uint64_t flushed, unsigned parts);
  // Frees the whole trie; for the end.
  static void FreeAll(const TrieRoot& root);

 private:
  void Count(int64_t bytes) { bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  void Uncount(size_t bytes) { Count(-static_cast<int64_t>(bytes)); }
  void RetireSubtree(BranchNode* node);
  void RetireLeaf(LeafNode* leaf);
  void RetireHandle(LeafNode* leaf);
  void EvictBelow(BranchNode* node, uint64_t flushed);
  void EvictPart(BranchNode* root, unsigned part, uint64_t flushed);

  storage::EpochDomain& epochs_;
  std::atomic<int64_t>& bytes_;
  std::atomic<uint64_t> evicted_{0};
  unsigned cursor_ = 0;  // the next part
  unsigned aging_ = 0;   // the next part for DropUnused
  int parts_left_ = 0;   // that are still worth a look
  uint64_t flushed_ = UINT64_MAX;
  int64_t most_bytes_ = 0;
};

}  // namespace mptd
