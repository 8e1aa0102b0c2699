#include "core/trie/trie_builder.h"

#include <algorithm>

#include "core/keccak.h"

namespace mptd {

void TrieBuilder::SetChild(Frame& frame, int nibble, BytesView encoded) {
  BranchShape& shape = frame.branch.shape;
  const auto bit = static_cast<uint16_t>(1u << nibble);
  shape.children = static_cast<uint16_t>(shape.children | bit);
  auto& ref = frame.branch.refs[static_cast<size_t>(nibble)];
  if (encoded.size() < 32) {
    shape.embedded = static_cast<uint16_t>(shape.embedded | bit);
    std::memcpy(ref.data(), encoded.data(), encoded.size());
  } else {
    ref = Keccak256(encoded).bytes;
  }
}

void TrieBuilder::AttachLeaf() {
  Frame& frame = stack_.back();
  const int nibble = NibbleAt(key_.view(), frame.depth);
  Bytes encoded;
  AppendLeafRlp(encoded, key_, frame.depth + 1, value_);
  SetChild(frame, nibble, encoded);
  if (has_storage_) frame.branch.shape.storage = static_cast<uint16_t>(frame.branch.shape.storage | 1u << nibble);
}

// The RLP of the top branch as seen from an edge at `edge_depth`, and its record.
Bytes TrieBuilder::EncodeTop(size_t edge_depth) {
  Frame& frame = stack_.back();
  for (size_t i = edge_depth; i < frame.depth; ++i) {
    frame.branch.extension.push_back(static_cast<char>(NibbleAt(key_.view(), i)));
  }
  on_branch_(NibblePath::PrefixOf(key_, edge_depth), frame.branch);
  Bytes encoded;
  AppendBranchRlp(encoded, frame.branch);
  if (frame.branch.extension.empty()) return encoded;
  Bytes extended;
  if (encoded.size() < 32) {
    AppendExtensionRlp(extended, frame.branch.extension, encoded, true);
  } else {
    AppendExtensionRlp(extended, frame.branch.extension, Keccak256(encoded).view(), false);
  }
  return extended;
}

// The top branch becomes a child of the one below, which is at `parent_depth_plus_one` - 1.
void TrieBuilder::CloseTop(size_t parent_depth_plus_one) {
  const Bytes encoded = EncodeTop(parent_depth_plus_one);
  stack_.pop_back();
  if (stack_.empty() || stack_.back().depth + 1 < parent_depth_plus_one) {
    stack_.push_back({parent_depth_plus_one - 1, {}});
  }
  Frame& parent = stack_.back();
  const int nibble = NibbleAt(key_.view(), parent.depth);
  SetChild(parent, nibble, encoded);
  parent.branch.shape.branches = static_cast<uint16_t>(parent.branch.shape.branches | 1u << nibble);
}

void TrieBuilder::Add(const Hash& key, BytesView value, bool has_storage) {
  if (has_leaf_) {
    const size_t shared = CommonNibbles(key_, key);
    if (stack_.empty() || stack_.back().depth < shared) stack_.push_back({shared, {}});
    AttachLeaf();
    while (stack_.back().depth > shared) {
      const size_t below = stack_.size() > 1 ? stack_[stack_.size() - 2].depth + 1 : 0;
      CloseTop(std::max(below, shared + 1));
    }
  }
  has_leaf_ = true;
  key_ = key;
  value_.assign(value);
  has_storage_ = has_storage;
}

Hash TrieBuilder::Finish() {
  Hash root = kEmptyRoot;
  if (has_leaf_ && stack_.empty()) {
    Bytes encoded;
    AppendLeafRlp(encoded, key_, 0, value_);
    root = Keccak256(encoded);
  } else if (has_leaf_) {
    AttachLeaf();
    while (stack_.size() > 1) CloseTop(stack_[stack_.size() - 2].depth + 1);
    root = Keccak256(EncodeTop(0));
  }
  stack_.clear();
  has_leaf_ = false;
  return root;
}

}  // namespace mptd
