#include "core/trie/trie_builder.h"

#include <algorithm>

#include "core/rlp.h"

namespace mptd {
namespace {

// So many nodes wait at most before they are hashed: enough to fill the lanes on nearly every level, few enough to stay
// in the processor's second cache.
constexpr size_t kMaxWaiting = 1024;

size_t ChildRlpSize(const BranchValue& branch, int nibble) {
  const bool embedded = (branch.shape.embedded >> nibble & 1) != 0;
  return embedded ? branch.ref(nibble).size() : 1 + Hash::kSize;
}

// Of the branch without its extension; known before its children are hashed.
size_t BranchRlpSize(const BranchValue& branch) {
  size_t payload = 17 - static_cast<size_t>(std::popcount(branch.shape.children));
  for (unsigned m = branch.shape.children; m != 0; m &= m - 1) payload += ChildRlpSize(branch, std::countr_zero(m));
  return rlp::HeaderSize(payload) + payload;
}

void AddChild(BranchShape& shape, uint16_t BranchShape::*mask, int nibble) {
  shape.*mask = static_cast<uint16_t>(shape.*mask | 1u << nibble);
}

}  // namespace

TrieBuilder::TrieBuilder(OnBranch on_branch, OnRoot on_root)
    : on_branch_(std::move(on_branch)), on_root_(std::move(on_root)) {}

TrieBuilder::Node* TrieBuilder::NewNode(size_t depth) {
  if (free_.empty()) {
    nodes_.push_back(std::make_unique<Node>());
    free_.push_back(nodes_.back().get());
  }
  Node* node = free_.back();
  free_.pop_back();
  node->depth = depth;
  node->level = 1;
  node->branch.shape = {};
  node->branch.extension.clear();
  return node;
}

void TrieBuilder::HashLater(size_t begin, uint8_t* output) {
  ready_.push_back({begin, encoded_.size() - begin, output});
}

void TrieBuilder::AttachLeaf() {
  Node& node = *stack_.back();
  const int nibble = NibbleAt(key_.view(), node.depth);
  AddChild(node.branch.shape, &BranchShape::children, nibble);
  if (has_storage_) AddChild(node.branch.shape, &BranchShape::storage, nibble);
  uint8_t* ref = node.branch.refs[static_cast<size_t>(nibble)].data();
  const size_t begin = encoded_.size();
  AppendLeafRlp(encoded_, key_, node.depth + 1, value_);
  const size_t size = encoded_.size() - begin;
  if (size >= Hash::kSize) return HashLater(begin, ref);
  AddChild(node.branch.shape, &BranchShape::embedded, nibble);
  encoded_.copy(reinterpret_cast<char*>(ref), size, begin);
  encoded_.resize(begin);
}

// The top branch is complete, as seen from an edge at `edge_depth`. True when it is so short that its encoding, with
// the extension, stands at the end of `encoded_`; the children of such a branch are all embedded.
bool TrieBuilder::TakeOff(size_t edge_depth) {
  Node& node = *stack_.back();
  stack_.pop_back();
  node.path = NibblePath::PrefixOf(key_, edge_depth);
  for (size_t i = edge_depth; i < node.depth; ++i) {
    node.branch.extension.push_back(static_cast<char>(NibbleAt(key_.view(), i)));
  }
  events_.push_back({&node, nullptr});
  if (BranchRlpSize(node.branch) >= Hash::kSize) return false;
  if (node.branch.extension.empty()) {
    AppendBranchRlp(encoded_, node.branch);
    return true;
  }
  Bytes inner;
  AppendBranchRlp(inner, node.branch);
  AppendExtensionRlp(encoded_, node.branch.extension, inner, true);
  return true;
}

// The top branch becomes a child of the one at `parent_depth`, which is made when it is not there.
void TrieBuilder::Close(size_t parent_depth) {
  Node& node = *stack_.back();
  const size_t begin = encoded_.size();
  const bool is_short = TakeOff(parent_depth + 1);
  if (stack_.empty() || stack_.back()->depth < parent_depth) stack_.push_back(NewNode(parent_depth));
  Node& parent = *stack_.back();
  const int nibble = NibbleAt(key_.view(), parent.depth);
  AddChild(parent.branch.shape, &BranchShape::children, nibble);
  AddChild(parent.branch.shape, &BranchShape::branches, nibble);
  uint8_t* ref = parent.branch.refs[static_cast<size_t>(nibble)].data();
  if (!is_short) {
    node.ref = ref;
    parent.level = std::max(parent.level, node.level + 1);
    if (levels_.size() <= node.level) levels_.resize(node.level + 1);
    levels_[node.level].push_back(&node);
    return;
  }
  const size_t size = encoded_.size() - begin;
  if (size >= Hash::kSize) return HashLater(begin, ref);
  AddChild(parent.branch.shape, &BranchShape::embedded, nibble);
  encoded_.copy(reinterpret_cast<char*>(ref), size, begin);
  encoded_.resize(begin);
}

void TrieBuilder::CloseRoot(Hash* root) {
  Node& node = *stack_.back();
  const size_t begin = encoded_.size();
  // A root is hashed however short it is.
  if (TakeOff(0)) return HashLater(begin, root->bytes.data());
  node.ref = root->bytes.data();
  if (levels_.size() <= node.level) levels_.resize(node.level + 1);
  levels_[node.level].push_back(&node);
}

void TrieBuilder::Add(const Hash& key, BytesView value, bool has_storage) {
  if (events_.size() + ready_.size() >= kMaxWaiting) Flush();
  if (has_leaf_) {
    const size_t shared = CommonNibbles(key_, key);
    if (stack_.empty() || stack_.back()->depth < shared) stack_.push_back(NewNode(shared));
    AttachLeaf();
    while (stack_.back()->depth > shared) {
      const bool has_parent = stack_.size() > 1 && stack_[stack_.size() - 2]->depth > shared;
      Close(has_parent ? stack_[stack_.size() - 2]->depth : shared);
    }
  }
  has_leaf_ = true;
  key_ = key;
  value_.assign(value);
  has_storage_ = has_storage;
}

void TrieBuilder::End() {
  Hash* root = &roots_.emplace_back(kEmptyRoot);
  if (has_leaf_ && stack_.empty()) {
    const size_t begin = encoded_.size();
    AppendLeafRlp(encoded_, key_, 0, value_);
    HashLater(begin, root->bytes.data());
  } else if (has_leaf_) {
    AttachLeaf();
    while (stack_.size() > 1) Close(stack_[stack_.size() - 2]->depth);
    CloseRoot(root);
  }
  events_.push_back({nullptr, root});
  has_leaf_ = false;
}

void TrieBuilder::HashReady() {
  jobs_.clear();
  for (const Ready& ready : ready_)
    jobs_.push_back({BytesView(encoded_).substr(ready.begin, ready.size), ready.output});
  Keccak256Batch(jobs_);
  ready_.clear();
  encoded_.clear();
}

void TrieBuilder::HashLevel(const std::vector<Node*>& nodes) {
  for (Node* node : nodes) {
    const size_t begin = encoded_.size();
    AppendBranchRlp(encoded_, node->branch);
    HashLater(begin, node->ref);
  }
  HashReady();
  for (Node* node : nodes) {
    if (node->branch.extension.empty()) continue;
    const size_t begin = encoded_.size();
    AppendExtensionRlp(encoded_, node->branch.extension, RefView(false, node->ref), false);
    HashLater(begin, node->ref);
  }
  if (!ready_.empty()) HashReady();
}

void TrieBuilder::Report() {
  for (const Event& event : events_) {
    if (event.branch != nullptr) {
      on_branch_(event.branch->path, event.branch->branch);
      free_.push_back(event.branch);
      continue;
    }
    last_root_ = *event.root;
    if (on_root_) on_root_(last_root_);
  }
  events_.clear();
  roots_.clear();
}

void TrieBuilder::Flush() {
  HashReady();
  for (std::vector<Node*>& level : levels_) {
    if (level.empty()) continue;
    HashLevel(level);
    level.clear();
  }
  for (Node* open : stack_) open->level = 1;
  Report();
}

Hash TrieBuilder::Finish() {
  End();
  Flush();
  return last_root_;
}

}  // namespace mptd
