#include "core/engine/node_cache.h"

namespace mptd {
namespace {

void FreeNode(void* node, size_t bytes) { BranchNode::FreeSized(static_cast<BranchNode*>(node), bytes); }
void FreeLeaf(void* leaf, size_t) { delete static_cast<LeafNode*>(leaf); }

void FreeTrie(BranchNode* root, bool account_trie) {
  ForEachInMemory(
      root, account_trie, [](BranchNode* node) { BranchNode::Free(node); }, [](LeafNode* leaf) { delete leaf; });
}

}  // namespace

void NodeCache::Account(TrieChanges& changes) {
  changes.published = true;
  auto bytes = static_cast<int64_t>(changes.linked_bytes + changes.fresh_leaves.size() * sizeof(LeafNode));
  // What was loaded and never linked has not been counted.
  for (const BranchNode* node : changes.loaded_before) bytes += static_cast<int64_t>(node->bytes());
  for (const NodeChange& change : changes.nodes) {
    bytes += change.after_bytes;
    if (change.before == nullptr) continue;
    bytes -= change.before_bytes;
    epochs_.Retire(change.before, FreeNode, change.before_bytes);
  }
  for (LeafNode* leaf : changes.replaced_leaves) {
    bytes -= static_cast<int64_t>(sizeof(LeafNode));
    epochs_.Retire(leaf, FreeLeaf, sizeof(LeafNode));
  }
  Count(bytes);
}

void NodeCache::RetireLeaf(LeafNode* leaf) {
  BranchNode* storage = leaf->storage_root.load(std::memory_order_relaxed);
  if (storage != nullptr && storage != kNoBranch) RetireSubtree(storage);
  Uncount(sizeof(LeafNode));
  epochs_.Retire(leaf, FreeLeaf, sizeof(LeafNode));
}

// From the top, so that nobody links anything to what has been passed by.
void NodeCache::RetireSubtree(BranchNode* node) {
  for (int i = 0; i < 16; ++i) {
    void* child = node->has_pointer(i) ? node->Close(i) : nullptr;
    if (child == nullptr) continue;
    if (node->is_branch(i)) {
      RetireSubtree(static_cast<BranchNode*>(child));
    } else {
      RetireLeaf(static_cast<LeafNode*>(child));
    }
  }
  Uncount(node->bytes());
  epochs_.Retire(node, FreeNode, node->bytes());
}

void NodeCache::EvictBelow(BranchNode* node, uint64_t flushed) {
  for (int i = 0; i < 16; ++i) {
    if (!node->has_pointer(i)) continue;
    if (node->is_branch(i)) {
      BranchNode* child = node->child_branch(i);
      if (child == nullptr) continue;
      const bool clean = child->sequence <= flushed;
      if (clean && child->used.exchange(0, std::memory_order_relaxed) == 0) {
        node->pointer(i).store(nullptr, std::memory_order_release);
        RetireSubtree(child);
      } else {
        EvictBelow(child, flushed);
      }
      continue;
    }
    LeafNode* leaf = node->child_leaf(i);
    if (leaf == nullptr) continue;
    BranchNode* storage = leaf->storage_root.load(std::memory_order_relaxed);
    const bool has_storage = storage != nullptr && storage != kNoBranch;
    // A handle's own facts are in the tables once the branch that holds it is.
    if (node->sequence <= flushed && (!has_storage || storage->used.exchange(0, std::memory_order_relaxed) == 0)) {
      node->pointer(i).store(nullptr, std::memory_order_release);
      RetireLeaf(leaf);
    } else if (has_storage) {
      EvictBelow(storage, flushed);
    }
  }
}

void NodeCache::EvictTo(int64_t max_bytes, const TrieRoot& root, uint64_t flushed) {
  if (root.kind != TrieRoot::Kind::kBranch || root.node == nullptr) return;
  for (int step = 0; step < 512 && bytes_.load(std::memory_order_relaxed) > max_bytes; ++step, ++cursor_) {
    BranchNode* node = root.node;
    const int first = static_cast<int>(cursor_ >> 4 & 15);
    const int second = static_cast<int>(cursor_ & 15);
    if (!node->has_pointer(first) || !node->is_branch(first)) {
      if (second == 0) EvictBelow(node, flushed);
      continue;
    }
    node = node->child_branch(first);
    if (node == nullptr) continue;
    if (!node->has_pointer(second) || !node->is_branch(second)) {
      if (second == 0) EvictBelow(node, flushed);
      continue;
    }
    node = node->child_branch(second);
    if (node != nullptr) EvictBelow(node, flushed);
  }
}

void NodeCache::FreeAll(const TrieRoot& root) {
  if (root.kind == TrieRoot::Kind::kLeaf && root.leaf != nullptr) {
    BranchNode* storage = root.leaf->storage_root.load(std::memory_order_relaxed);
    if (storage != nullptr && storage != kNoBranch) FreeTrie(storage, false);
    delete root.leaf;
  }
  if (root.kind != TrieRoot::Kind::kBranch || root.node == nullptr) return;
  FreeTrie(root.node, true);
}

}  // namespace mptd
