#include "core/trie/branch_node.h"

#include <new>

#include "storage/sized_delete.h"

namespace mptd {

BranchNode* BranchNode::Make(uint64_t sequence, BytesView extension, BranchShape shape, uint16_t pointers) {
  const auto children = static_cast<size_t>(std::popcount(shape.children));
  const auto slots = static_cast<size_t>(std::popcount(pointers));
  void* memory = ::operator new(sizeof(BranchNode) + 8 * slots + 32 * children + extension.size());
  auto* node = new (memory) BranchNode{sequence, shape, pointers, static_cast<uint8_t>(extension.size()), 1};
  for (size_t i = 0; i < slots; ++i) new (node->slots() + i) std::atomic<void*>(nullptr);
  std::memset(node->refs(), 0, 32 * children);
  if (!extension.empty()) std::memcpy(node->refs() + 32 * children, extension.data(), extension.size());
  return node;
}

BranchNode* BranchNode::CopyOf(const BranchNode& from, uint64_t sequence, uint16_t pointers, bool closing) {
  const auto count = static_cast<size_t>(std::popcount(pointers));
  const auto children = static_cast<size_t>(from.child_count());
  void* memory = ::operator new(sizeof(BranchNode) + 8 * count + 32 * children + from.extension_size);
  auto* node = new (memory) BranchNode{sequence, from.shape, pointers, from.extension_size, 1};
  auto* slot = const_cast<BranchNode&>(from).slots();
  auto* to = node->slots();
  for (unsigned rest = from.pointers; rest != 0; rest &= rest - 1, ++slot) {
    void* child = slot->load(std::memory_order_acquire);
    if (closing && child == nullptr) child = CloseSlot(*slot);
    if ((pointers & rest & -rest) != 0) new (to++) std::atomic<void*>(Open(child));
  }
  std::memcpy(node->refs(), from.all_refs(), 32 * children + from.extension_size);
  return node;
}

BranchNode* BranchNode::WithoutPointers(const BranchNode& from) {
  BranchNode* node = Unlinked(from.extension(), from.shape);
  std::memcpy(node->refs(), from.all_refs(), 32 * static_cast<size_t>(from.child_count()));
  return node;
}

void* BranchNode::LinkChild(int nibble, void* child) const {
  void* present = nullptr;
  if (pointer(nibble).compare_exchange_strong(present, child, std::memory_order_acq_rel)) return child;
  return Open(present);
}

void BranchNode::Reopen() const {
  auto* slots = const_cast<BranchNode*>(this)->slots();
  const int count = pointer_count();
  for (int i = 0; i < count; ++i) {
    if (slots[i].load(std::memory_order_relaxed) == kClosed) slots[i].store(nullptr, std::memory_order_release);
  }
}

void BranchNode::FreeSized(BranchNode* node, size_t bytes) { storage::SizedDelete(node, bytes); }

}  // namespace mptd
