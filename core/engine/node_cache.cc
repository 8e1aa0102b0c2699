#include "core/engine/node_cache.h"

namespace mptd {
namespace {

void FreeNode(void* node, size_t bytes) { BranchNode::FreeSized(static_cast<BranchNode*>(node), bytes); }
void FreeLeaf(void* leaf, size_t) { delete static_cast<LeafNode*>(leaf); }

}  // namespace

void NodeCache::Account(TrieChanges& changes) {
  changes.published = true;
  auto bytes = static_cast<int64_t>(changes.linked_bytes + changes.fresh_leaves.size() * sizeof(LeafNode));
  // What was loaded and never linked has not been counted.
  for (const BranchNode* node : changes.loaded_before) bytes += static_cast<int64_t>(node->bytes());
  changes.ForEachNode([&](const NodeChange& change) {
    bytes += change.after_bytes;
    if (change.before == nullptr) return;
    bytes -= change.before_bytes;
    epochs_.Retire(change.before, FreeNode, change.before_bytes);
  });
  for (LeafNode* leaf : changes.replaced_leaves) {
    bytes -= static_cast<int64_t>(sizeof(LeafNode));
    epochs_.Retire(leaf, FreeLeaf, sizeof(LeafNode));
  }
  Count(bytes);
}

void NodeCache::RetireLeaf(LeafNode* leaf) {
  if (leaf->storage_root != nullptr) RetireSubtree(leaf->storage_root);
  RetireHandle(leaf);
}

void NodeCache::RetireHandle(LeafNode* leaf) {
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
  evicted_.fetch_add(1, std::memory_order_relaxed);
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
    // A handle's own facts are in the tables once the branch that holds it is.
    const bool clean = node->sequence <= flushed;
    // Most handles are of leaves without storage, and are not looked at.
    BranchNode* storage = node->has_storage(i) ? leaf->storage_root : nullptr;
    if (clean && (storage == nullptr || storage->used.exchange(0, std::memory_order_relaxed) == 0)) {
      node->pointer(i).store(nullptr, std::memory_order_release);
      if (storage != nullptr) RetireSubtree(storage);
      RetireHandle(leaf);
    } else if (storage != nullptr) {
      EvictBelow(storage, flushed);
    }
  }
}

void NodeCache::EvictPart(BranchNode* root, unsigned part, uint64_t flushed) {
  BranchNode* node = root;
  const int first = static_cast<int>(part >> 4 & 15);
  const int second = static_cast<int>(part & 15);
  if (!node->has_pointer(first) || !node->is_branch(first)) {
    if (second == 0) EvictBelow(node, flushed);
    return;
  }
  node = node->child_branch(first);
  if (node == nullptr) return;
  if (!node->has_pointer(second) || !node->is_branch(second)) {
    if (second == 0) EvictBelow(node, flushed);
    return;
  }
  node = node->child_branch(second);
  if (node != nullptr) EvictBelow(node, flushed);
}

void NodeCache::EvictTo(int64_t max_bytes, const TrieRoot& root, uint64_t flushed, int max_parts) {
  if (root.kind != TrieRoot::Kind::kBranch || root.node == nullptr) return;
  const int64_t bytes = bytes_.load(std::memory_order_relaxed);
  if (bytes <= max_bytes) return;
  // What could not go in two rounds, the first of which takes the marks of use, cannot go before something changes.
  if (flushed != flushed_ || bytes > most_bytes_) {
    flushed_ = flushed;
    most_bytes_ = bytes + max_bytes / 64;
    parts_left_ = 2 * kParts;
  }
  for (; max_parts > 0 && parts_left_ > 0; --max_parts, --parts_left_, ++cursor_) {
    if (bytes_.load(std::memory_order_relaxed) <= max_bytes) return;
    EvictPart(root.node, cursor_ % kParts, flushed);
  }
}

void NodeCache::DropUnused(const TrieRoot& root, uint64_t flushed, unsigned parts) {
  if (root.kind != TrieRoot::Kind::kBranch || root.node == nullptr) return;
  for (; parts > 0; --parts, ++aging_) EvictPart(root.node, aging_ % kParts, flushed);
}

void NodeCache::FreeAll(const TrieRoot& root) {
  if (root.kind == TrieRoot::Kind::kLeaf && root.leaf != nullptr) {
    if (root.leaf->storage_root != nullptr) FreeSubtree(root.leaf->storage_root);
    delete root.leaf;
  }
  if (root.kind != TrieRoot::Kind::kBranch || root.node == nullptr) return;
  FreeSubtree(root.node);
}

}  // namespace mptd
