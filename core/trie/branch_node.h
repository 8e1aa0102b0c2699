// The nodes of a trie in memory: branches, each with the extension above it, and handles on leaves.
//
// A node that has been published is never changed, but for its pointers to children: the writer may set one to null to
// take a clean subtree out of memory, and whoever finds null and reads the child's row may link what it has read.
// Before the writer replaces or retires a node it closes the places that are null: what was linked there afterwards
// would have no owner. Whoever replaces a node retires it through the trie's EpochDomain; see TrieUpdate.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>

#include "core/trie/nibble_path.h"
#include "core/types.h"

namespace mptd {

inline int ChildRank(uint16_t mask, int nibble) {
  return std::popcount(static_cast<uint16_t>(mask & ((1u << nibble) - 1)));
}

// What a branch is, besides its children's references: the same fields in memory, in records and in undo entries.
struct BranchShape {
  uint16_t children = 0;  // which of the 16 there are
  uint16_t branches = 0;  // which of them are branches (perhaps below an extension); the others are leaves
  uint16_t embedded = 0;  // whose reference is the node itself, shorter than 32 bytes, instead of its hash
  uint16_t storage = 0;   // leaves of the account trie whose account has storage
};

struct BranchNode;

// A leaf of which more is known than its reference: its key, and for an account the root of its storage trie.
struct LeafNode {
  LeafNode(const Hash& hashed_key, BranchNode* storage) : key(hashed_key), storage_root(storage) {}

  const Hash key;
  // Null: the storage trie has no branch, as there is no slot or one. Rows of branches that are gone stay in the tables
  // until the next flush, so a handle always knows.
  BranchNode* const storage_root;
};
// In a pointer to a child: null, and it stays so.
inline void* const kClosed = reinterpret_cast<void*>(uintptr_t{8});

// Variable size: the pointers, the references and the extension's nibbles follow the header.
struct BranchNode {
  uint64_t sequence;  // the transition that made this copy; 0 when it was read from the tables
  BranchShape shape;
  uint16_t pointers;  // children that have a pointer: all branches, accounts with storage, other leaves with a LeafNode
  uint8_t extension_size;
  std::atomic<uint8_t> used;  // for the eviction's clock

  // All references and the pointers are zero at first.
  static BranchNode* Make(uint64_t sequence, BytesView extension, BranchShape shape, uint16_t pointers);
  // The same children behind another sequence, with those of the node's pointers that are in `pointers`. With
  // `closing`, the node's own places are closed as they are copied.
  static BranchNode* CopyOf(const BranchNode& node, uint64_t sequence, uint16_t pointers, bool closing);
  // As a node that was read from its row: the places of children are open.
  static BranchNode* Unlinked(BytesView extension, BranchShape shape) {
    return Make(0, extension, shape, shape.branches | shape.storage);
  }
  // Its own copy for somebody who looks for the children elsewhere.
  static BranchNode* WithoutPointers(const BranchNode& node);
  static void Free(BranchNode* node) { FreeSized(node, node->bytes()); }
  // `bytes` as the node says of itself; it need not be looked at then.
  static void FreeSized(BranchNode* node, size_t bytes);

  int child_count() const { return std::popcount(shape.children); }
  int pointer_count() const { return std::popcount(pointers); }
  size_t bytes() const {
    return sizeof(BranchNode) + 8 * static_cast<size_t>(pointer_count()) + 32 * static_cast<size_t>(child_count()) +
           extension_size;
  }
  bool has(int nibble) const { return (shape.children >> nibble & 1) != 0; }
  bool is_branch(int nibble) const { return (shape.branches >> nibble & 1) != 0; }
  bool is_embedded(int nibble) const { return (shape.embedded >> nibble & 1) != 0; }
  bool has_storage(int nibble) const { return (shape.storage >> nibble & 1) != 0; }
  bool has_pointer(int nibble) const { return (pointers >> nibble & 1) != 0; }

  // 32 bytes; an embedded reference is as long as its own RLP header says.
  uint8_t* ref(int nibble) { return refs() + 32 * ChildRank(shape.children, nibble); }
  const uint8_t* ref(int nibble) const { return const_cast<BranchNode*>(this)->ref(nibble); }
  std::atomic<void*>& pointer(int nibble) const {
    return const_cast<BranchNode*>(this)->slots()[ChildRank(pointers, nibble)];
  }
  // What the pointer leads to; null also for a closed place.
  void* child(int nibble) const { return Open(pointer(nibble).load(std::memory_order_acquire)); }
  // Links a child that has been read where there was none. Returns what is there now, which may be another's that came
  // first; null when the place is closed.
  BranchNode* Link(int nibble, BranchNode* child) const { return static_cast<BranchNode*>(LinkChild(nibble, child)); }
  LeafNode* Link(int nibble, LeafNode* leaf) const { return static_cast<LeafNode*>(LinkChild(nibble, leaf)); }
  // Closes the place if it is null. Returns what is there.
  void* Close(int nibble) const { return CloseSlot(pointer(nibble)); }
  // Takes back every Close; the writer's, when nothing has come of a change.
  void Reopen() const;
  // The references of all children, one behind the other.
  const uint8_t* all_refs() const { return const_cast<BranchNode*>(this)->refs(); }
  BytesView extension() const {
    return {reinterpret_cast<const char*>(const_cast<BranchNode*>(this)->refs() + 32 * child_count()), extension_size};
  }
  BranchNode* child_branch(int nibble) const { return static_cast<BranchNode*>(child(nibble)); }
  LeafNode* child_leaf(int nibble) const { return static_cast<LeafNode*>(child(nibble)); }
  void MarkUsed() const {
    auto& mark = const_cast<BranchNode*>(this)->used;
    if (mark.load(std::memory_order_relaxed) == 0) mark.store(1, std::memory_order_relaxed);
  }

 private:
  static void* Open(void* pointer) { return pointer == kClosed ? nullptr : pointer; }
  static void* CloseSlot(std::atomic<void*>& slot) {
    void* present = nullptr;
    slot.compare_exchange_strong(present, kClosed, std::memory_order_acq_rel);
    return Open(present);
  }
  void* LinkChild(int nibble, void* child) const;
  std::atomic<void*>* slots() { return reinterpret_cast<std::atomic<void*>*>(this + 1); }
  uint8_t* refs() { return reinterpret_cast<uint8_t*>(slots() + pointer_count()); }
};
static_assert(sizeof(BranchNode) % 8 == 0);

struct FreeBranch {
  void operator()(BranchNode* node) const { BranchNode::Free(node); }
};
// A node that is in no trie.
using OwnedBranch = std::unique_ptr<BranchNode, FreeBranch>;

// The length of a reference: 32 for a hash, what its RLP header says for an embedded node.
inline size_t RefSize(bool embedded, const uint8_t* ref) {
  return embedded ? static_cast<size_t>(ref[0] - 0xc0) + 1 : 32;
}

inline BytesView RefView(bool embedded, const uint8_t* ref) {
  return {reinterpret_cast<const char*>(ref), RefSize(embedded, ref)};
}

// The whole subtree that is in memory below and with `node`, storage tries too: `on_branch` and `on_leaf` are called
// for every branch and leaf handle, children first.
template <typename OnBranch, typename OnLeaf>
void ForEachInMemory(BranchNode* node, const OnBranch& on_branch, const OnLeaf& on_leaf) {
  for (int i = 0; i < 16; ++i) {
    if (!node->has_pointer(i)) continue;
    if (node->is_branch(i)) {
      if (BranchNode* child = node->child_branch(i)) ForEachInMemory(child, on_branch, on_leaf);
    } else if (LeafNode* leaf = node->child_leaf(i)) {
      if (leaf->storage_root != nullptr) ForEachInMemory(leaf->storage_root, on_branch, on_leaf);
      on_leaf(leaf);
    }
  }
  on_branch(node);
}

// Frees a subtree that nobody else sees.
inline void FreeSubtree(BranchNode* node) {
  ForEachInMemory(
      node, [](BranchNode* branch) { BranchNode::Free(branch); }, [](LeafNode* leaf) { delete leaf; });
}

}  // namespace mptd
