#include "core/trie/trie_update.h"

#include <algorithm>

#include "core/trie/branch_record.h"
#include "core/trie/leaf_ops.h"
#include "core/trie/prefetch.h"

namespace mptd {
namespace {

// The last operations of `ops`, which share the nibble at `depth`.
std::span<LeafOp> TakeLastGroup(std::span<LeafOp>& ops, size_t depth) {
  const uint8_t nibble = NibbleAt(ops.back().key->view(), depth);
  size_t n = ops.size() - 1;
  while (n > 0 && NibbleAt(ops[n - 1].key->view(), depth) == nibble) --n;
  const std::span<LeafOp> group = ops.subspan(n);
  ops = ops.first(n);
  return group;
}

// Asks for all of the branches below `node` that the operations will copy; their beginnings have been read before.
[[gnu::always_inline]] inline void PrefetchChildren(const BranchNode& node, std::span<LeafOp> ops, size_t depth) {
  int last = -1;
  for (const LeafOp& op : ops) {
    const int nibble = NibbleAt(op.key->view(), depth);
    if (nibble == last) continue;
    last = nibble;
    if (!node.has(nibble) || !node.is_branch(nibble)) continue;
    const BranchNode* child = node.child_branch(nibble);
    if (child != nullptr) PrefetchBody(child);
  }
}

}  // namespace

TrieUpdate::TrieUpdate(const TrieSource& source, uint64_t sequence, Purpose purpose)
    : source_(source),
      sequence_(sequence),
      purpose_(purpose),
      flushed_(purpose == Purpose::kPublish ? source.FlushedSequence() : 0),
      branch_jobs_(65) {}

TrieUpdate::~TrieUpdate() {
  if (purpose_ == Purpose::kPublish) {
    for (const NodeChange& change : changes_) {
      if (change.before != nullptr) change.before->Reopen();
    }
  }
  for (BranchNode* node : fresh_) {
    if (node != nullptr) BranchNode::Free(node);
  }
  for (LeafNode* leaf : fresh_leaves_) delete leaf;
  // Children that were linked below a node of our own are nobody else's.
  for (const BranchNode* node : private_nodes_) FreeSubtree(const_cast<BranchNode*>(node));
}

TrieChanges::~TrieChanges() {
  if (published) return;
  if (closed) {
    ForEachNode([](const NodeChange& change) {
      if (change.before != nullptr) change.before->Reopen();
    });
  }
  for (BranchNode* node : fresh) BranchNode::Free(node);
  for (LeafNode* leaf : fresh_leaves) delete leaf;
  // Children that were linked below a root that was never linked itself are nobody else's.
  for (BranchNode* node : loaded_before) FreeSubtree(node);
}

// The recursion
// -----------------------------------------------------------------------------------------------------------

uint32_t TrieUpdate::AddLeaf(const LeafOp& op) {
  LeafNode* node = op.leaf;
  if (!op.exists || op.storage_changed) {
    // The handle keeps what the tables do not tell before the next flush: a new key, a new root of storage.
    node = new LeafNode{*op.key, op.storage_root};
    fresh_leaves_.push_back(node);
    if (op.leaf != nullptr) replaced_leaves_.push_back(op.leaf);
  } else if (node != nullptr && node->storage_root == nullptr && !op.has_storage && op.parent != nullptr &&
             op.parent->sequence <= flushed_) {
    replaced_leaves_.push_back(node);
    node = nullptr;
  }
  leaves_.push_back({op.key, op.value, node, op.has_storage});
  return static_cast<uint32_t>(leaves_.size() - 1);
}

absl::StatusOr<uint32_t> TrieUpdate::FetchLeaf(const NibblePath& path, const Hash* key, LeafNode* node) {
  absl::StatusOr<LeafRow> row = source_.LeafBelow(account_, path, key);
  if (!row.ok()) return row.status();
  fetched_.push_back(*std::move(row));
  const LeafRow& leaf = fetched_.back();
  leaves_.push_back({&leaf.key, leaf.value, node, leaf.has_storage});
  return static_cast<uint32_t>(leaves_.size() - 1);
}

void* TrieUpdate::PointerTo(Made made) const {
  return made.is_leaf() ? static_cast<void*>(leaves_[made.index()].node) : fresh_[made.index()];
}

TrieUpdate::Child TrieUpdate::ChildOf(Made made) {
  Child child;
  if (made.kind() == Made::Kind::kNothing) return child;
  child.kind = Child::Kind::kMade;
  child.made = made;
  return child;
}

TrieUpdate::Child TrieUpdate::CleanChild(const BranchNode* node, int nibble) const {
  Child child;
  child.kind = Child::Kind::kClean;
  child.is_branch = node->is_branch(nibble);
  child.embedded = node->is_embedded(nibble);
  child.storage = node->has_storage(nibble);
  child.ref = node->ref(nibble);
  if (node->has_pointer(nibble)) {
    child.pointer = purpose_ == Purpose::kPublish ? node->Close(nibble) : node->child(nibble);
  }
  return child;
}

uint32_t TrieUpdate::RecordChange(const Hash& along, size_t depth, BranchNode* before, BranchNode* after,
                                  uint16_t changed) {
  // Written in its place, see Made.
  NodeChange& change = changes_.emplace_back();
  change.account = account_;
  change.path.SetPrefix(along, depth);
  change.before = before;
  change.after = after;
  change.changed = changed;
  if (before != nullptr) {
    change.before_bytes = static_cast<uint16_t>(before->bytes());
    change.before_sequence = before->sequence;
    change.before_extended = before->extension_size != 0;
  }
  if (after != nullptr) {
    change.after_bytes = static_cast<uint16_t>(after->bytes());
    change.after_extended = after->extension_size != 0;
  }
  return static_cast<uint32_t>(changes_.size() - 1);
}

// Field by field, see Made.
void TrieUpdate::AddTarget(Made made, size_t depth, RefOut* out, uint32_t parent, int nibble) {
  const auto fill = [=](Target& target) {
    target.out = out;
    target.parent = parent;
    target.nibble = nibble;
  };
  if (made.is_leaf()) {
    LeafHashJob& job = leaf_jobs_.emplace_back();
    job.leaf = made.index();
    job.depth = static_cast<uint8_t>(depth);
    fill(job.target);
  } else if (made.is_branch()) {
    BranchHashJob& job = branch_jobs_[depth].emplace_back();
    job.fresh = made.index();
    fill(job.target);
  }
}

TrieUpdate::Made TrieUpdate::MakeBranch(BytesView extension, const Kids& kids, size_t depth, const Hash& along,
                                        BranchNode* row_before) {
  BranchShape shape;
  unsigned pointers = 0;
  unsigned children = 0, branches = 0, embedded = 0, storage = 0;
  for (unsigned i = 0; i < 16; ++i) {
    const Child& kid = kids[i];
    const unsigned bit = 1u << i;
    switch (kid.kind) {
      case Child::Kind::kEmpty:
        continue;
      case Child::Kind::kClean:
        if (kid.is_branch) branches |= bit;
        if (kid.embedded) embedded |= bit;
        if (kid.storage) storage |= bit;
        if (kid.is_branch || kid.storage || kid.pointer != nullptr) pointers |= bit;
        break;
      case Child::Kind::kMade:
        if (kid.made.is_branch()) {
          branches |= bit;
          pointers |= bit;
        } else {
          const PendingLeaf& leaf = leaves_[kid.made.index()];
          if (leaf.storage) storage |= bit;
          if (leaf.storage || leaf.node != nullptr) pointers |= bit;
        }
        break;
    }
    children |= bit;
  }
  shape.children = static_cast<uint16_t>(children);
  shape.branches = static_cast<uint16_t>(branches);
  shape.embedded = static_cast<uint16_t>(embedded);
  shape.storage = static_cast<uint16_t>(storage);
  BranchNode* node = BranchNode::Make(sequence_, extension, shape, static_cast<uint16_t>(pointers));
  const auto index = static_cast<uint32_t>(fresh_.size());
  fresh_.push_back(node);
  const size_t child_depth = depth + extension.size() + 1;
  for (int i = 0; i < 16; ++i) {
    const Child& kid = kids[static_cast<size_t>(i)];
    void* pointer = kid.pointer;
    if (kid.kind == Child::Kind::kEmpty) continue;
    if (kid.kind == Child::Kind::kClean) {
      std::memcpy(node->ref(i), kid.ref, RefSize(kid.embedded, kid.ref));
    } else {
      AddTarget(kid.made, child_depth, nullptr, index, i);
      pointer = PointerTo(kid.made);
    }
    if (node->has_pointer(i)) node->pointer(i).store(pointer, std::memory_order_relaxed);
  }
  return Made::Branch(index, RecordChange(along, depth, row_before, node));
}

BytesView TrieUpdate::MakeUndo(const BranchNode& before, uint16_t changed) {
  constexpr size_t kBlock = 64u << 10;
  if (undo_bytes_.empty() || undo_bytes_.back().capacity() - undo_bytes_.back().size() < kMaxUndoBytes) {
    undo_bytes_.emplace_back().reserve(kBlock);
  }
  Bytes& block = undo_bytes_.back();
  const size_t begin = block.size();
  AppendReplaced(block, before, changed);
  return BytesView(block).substr(begin);
}

bool TrieUpdate::FitsInto(const BranchNode& node, std::span<const ChangedKid> changed) const {
  return std::all_of(changed.begin(), changed.end(), [&](const ChangedKid& kid) {
    const auto nibble = static_cast<int>(kid.nibble);
    if (!node.has(nibble)) return false;
    if (kid.made.is_branch()) return node.is_branch(nibble);
    if (!kid.made.is_leaf() || node.is_branch(nibble)) return false;
    const PendingLeaf& leaf = leaves_[kid.made.index()];
    return node.has_pointer(nibble) || (leaf.node == nullptr && !leaf.storage);
  });
}

uint16_t TrieUpdate::NeededPointers(const BranchNode& node, std::span<const ChangedKid> changed) {
  if (node.sequence > flushed_) return node.pointers;
  unsigned needed = node.shape.branches | node.shape.storage;
  unsigned mask = 0;
  for (const auto& [nibble, made] : changed) {
    const unsigned bit = 1u << nibble;
    mask |= bit;
    if (made.is_branch()) continue;
    const PendingLeaf& leaf = leaves_[made.index()];
    if (leaf.node != nullptr || leaf.storage) {
      needed |= bit;
    } else {
      needed &= ~bit;
    }
  }
  for (unsigned rest = node.pointers & ~needed & ~mask; rest != 0; rest &= rest - 1) {
    if (LeafNode* leaf = node.child_leaf(std::countr_zero(rest))) replaced_leaves_.push_back(leaf);
  }
  return static_cast<uint16_t>(needed & node.pointers);
}

// What MakeBranch would make, where nearly everything stays as it is.
TrieUpdate::Made TrieUpdate::CopyBranch(const BranchNode& node, std::span<const ChangedKid> changed, size_t depth,
                                        const Hash& along, BranchNode* row_before) {
  BranchNode* copy = BranchNode::CopyOf(node, sequence_, NeededPointers(node, changed), purpose_ == Purpose::kPublish);
  const auto index = static_cast<uint32_t>(fresh_.size());
  fresh_.push_back(copy);
  const size_t child_depth = depth + node.extension_size + 1;
  unsigned mask = 0;
  for (const auto& [at, made] : changed) {
    const auto nibble = static_cast<int>(at);
    const unsigned bit = 1u << nibble;
    mask |= bit;
    copy->shape.embedded = static_cast<uint16_t>(copy->shape.embedded & ~bit);
    std::memset(copy->ref(nibble), 0, 32);
    if (made.is_leaf()) {
      copy->shape.storage =
          static_cast<uint16_t>(leaves_[made.index()].storage ? copy->shape.storage | bit : copy->shape.storage & ~bit);
    }
    if (copy->has_pointer(nibble)) copy->pointer(nibble).store(PointerTo(made), std::memory_order_relaxed);
    AddTarget(made, child_depth, nullptr, index, nibble);
  }
  const uint32_t change = RecordChange(along, depth, row_before, copy, static_cast<uint16_t>(mask));
  changes_.back().undo = MakeUndo(node, static_cast<uint16_t>(mask));
  return Made::Branch(index, change);
}

// A new branch, not hashed yet, moves up: the same with a longer extension.
TrieUpdate::Made TrieUpdate::Lengthen(Made made, BytesView extension, size_t depth, const Hash& along,
                                      BranchNode* row_before) {
  BranchNode* old = fresh_[made.index()];
  Bytes longer(extension);
  longer.append(old->extension());
  BranchNode* node = BranchNode::Make(sequence_, longer, old->shape, old->pointers);
  for (int i = 0; i < 16; ++i) {
    if (old->has(i)) std::memcpy(node->ref(i), old->ref(i), 32);
    if (old->has_pointer(i)) {
      node->pointer(i).store(old->pointer(i).load(std::memory_order_relaxed), std::memory_order_relaxed);
    }
  }
  BranchNode::Free(old);
  fresh_[made.index()] = node;
  NodeChange& gone = changes_[made.change()];
  gone.after = nullptr;
  gone.after_bytes = 0;
  gone.after_extended = false;
  gone.changed = 0xffff;
  gone.undo = {};
  return Made::Branch(made.index(), RecordChange(along, depth, row_before, node));
}

// Leaves, sorted by key, that share `depth` nibbles, into a position where there was nothing.
TrieUpdate::Made TrieUpdate::Build(std::vector<uint32_t>& leaves, size_t begin, size_t end, size_t depth) {
  if (begin == end) return Made();
  if (end - begin == 1) return Made::Leaf(leaves[begin]);
  const Hash& first = *leaves_[leaves[begin]].key;
  const size_t shared = CommonNibbles(first, *leaves_[leaves[end - 1]].key);
  Bytes extension;
  for (size_t i = depth; i < shared; ++i) extension.push_back(static_cast<char>(NibbleAt(first.view(), i)));
  Kids kids;
  for (size_t i = begin; i < end;) {
    const uint8_t nibble = NibbleAt(leaves_[leaves[i]].key->view(), shared);
    size_t j = i + 1;
    while (j < end && NibbleAt(leaves_[leaves[j]].key->view(), shared) == nibble) ++j;
    kids[nibble] = ChildOf(Build(leaves, i, j, shared + 1));
    i = j;
  }
  return MakeBranch(extension, kids, depth, first, nullptr);
}

absl::StatusOr<TrieUpdate::Made> TrieUpdate::UpdateChild(const BranchNode* node, int nibble, size_t depth, Ops ops) {
  if (node->has(nibble) && node->is_branch(nibble)) {
    absl::StatusOr<BranchNode*> child = Resolve(account_, node, nibble, *ops.front().key, depth);
    if (!child.ok()) return child.status();
    return UpdateBranch(*child, 0, depth, *ops.front().key, ops, *child);
  }
  if (ops.size() == 1 && ops.front().exists && !ops.front().value.empty()) {
    return Made::Leaf(AddLeaf(ops.front()));
  }
  std::vector<uint32_t> leaves;
  leaves.reserve(ops.size() + 1);
  bool has_other_leaf = node->has(nibble);
  for (const LeafOp& op : ops) {
    if (op.exists) has_other_leaf = false;  // the leaf that is there is this key's
    if (!op.value.empty()) {
      leaves.push_back(AddLeaf(op));
    } else if (op.leaf != nullptr) {
      replaced_leaves_.push_back(op.leaf);
    }
  }
  if (has_other_leaf) {
    LeafNode* handle = node->has_pointer(nibble) ? node->child_leaf(nibble) : nullptr;
    const NibblePath path = NibblePath::PrefixOf(*ops.front().key, depth);
    absl::StatusOr<uint32_t> other = FetchLeaf(path, handle == nullptr ? nullptr : &handle->key, handle);
    if (!other.ok()) return other.status();
    const auto after = std::upper_bound(leaves.begin(), leaves.end(), *other,
                                        [&](uint32_t a, uint32_t b) { return *leaves_[a].key < *leaves_[b].key; });
    leaves.insert(after, *other);
  }
  return Build(leaves, 0, leaves.size(), depth);
}

absl::StatusOr<TrieUpdate::Made> TrieUpdate::SplitExtension(const BranchNode* node, size_t skip, size_t shared,
                                                            size_t depth, const Hash& along, Ops ops,
                                                            BranchNode* row_before) {
  const BytesView extension = node->extension().substr(skip);
  const auto old_nibble = static_cast<uint8_t>(extension[shared]);
  NibblePath moved = NibblePath::PrefixOf(along, depth);
  moved.Append(extension.substr(0, shared + 1));
  Kids kids;
  Ops rest = ops;
  Ops below_old;
  while (!rest.empty()) {
    const uint8_t nibble = NibbleAt(rest.front().key->view(), depth + shared);
    const Ops group = TakeGroup(rest, depth + shared);
    if (nibble == old_nibble) {
      below_old = group;
      continue;
    }
    std::vector<uint32_t> leaves;
    for (const LeafOp& op : group) leaves.push_back(AddLeaf(op));
    kids[nibble] = ChildOf(Build(leaves, 0, leaves.size(), depth + shared + 1));
  }
  absl::StatusOr<Made> old =
      UpdateBranch(node, skip + shared + 1, depth + shared + 1, moved.packed, below_old, nullptr);
  if (!old.ok()) return old.status();
  kids[old_nibble] = ChildOf(*old);
  return Finish(nullptr, extension.substr(0, shared), kids, depth, along, row_before);
}

absl::StatusOr<TrieUpdate::Made> TrieUpdate::UpdateBranch(const BranchNode* node, size_t skip, size_t depth,
                                                          const Hash& along, Ops ops, BranchNode* row_before) {
  const BytesView extension = node->extension().substr(skip);
  if (!ops.empty()) {
    const size_t shared =
        std::min(MatchExtension(extension, *ops.front().key, depth), MatchExtension(extension, *ops.back().key, depth));
    if (shared < extension.size()) return SplitExtension(node, skip, shared, depth, along, ops, row_before);
  }
  const size_t at = depth + extension.size();
  PrefetchChildren(*node, ops, at);
  // From the last to the first, and below each before itself: the changes are then in the order of rows, backwards.
  const size_t begin = changed_.size();
  while (!ops.empty()) {
    const uint8_t nibble = NibbleAt(ops.back().key->view(), at);
    const Ops group = TakeLastGroup(ops, at);
    absl::StatusOr<Made> child = UpdateChild(node, nibble, at + 1, group);
    if (!child.ok()) return child.status();
    ChangedKid& kid = changed_.emplace_back();
    kid.nibble = nibble;
    kid.made = *child;
  }
  absl::StatusOr<Made> updated = FinishBranch(node, skip, depth, along, row_before, begin);
  changed_.resize(begin);
  return updated;
}

// The children that were changed are those in changed_ from `begin` on.
absl::StatusOr<TrieUpdate::Made> TrieUpdate::FinishBranch(const BranchNode* node, size_t skip, size_t depth,
                                                          const Hash& along, BranchNode* row_before, size_t begin) {
  const std::span<const ChangedKid> kids_changed = std::span(changed_).subspan(begin);
  if (skip == 0 && row_before == node && FitsInto(*node, kids_changed)) {
    return CopyBranch(*node, kids_changed, depth, along, row_before);
  }
  Kids kids;
  for (int i = 0; i < 16; ++i) {
    if (node->has(i)) kids[static_cast<size_t>(i)] = CleanChild(node, i);
  }
  for (const ChangedKid& kid : kids_changed) kids[kid.nibble] = ChildOf(kid.made);
  return Finish(node, node->extension().substr(skip), kids, depth, along, row_before);
}

absl::StatusOr<TrieUpdate::Made> TrieUpdate::Finish(const BranchNode* node, BytesView extension, Kids& kids,
                                                    size_t depth, const Hash& along, BranchNode* row_before) {
  int count = 0;
  int last = 0;
  for (int i = 0; i < 16; ++i) {
    if (kids[static_cast<size_t>(i)].kind == Child::Kind::kEmpty) continue;
    ++count;
    last = i;
  }
  if (count >= 2) return MakeBranch(extension, kids, depth, along, row_before);
  if (count == 1) return Collapse(node, extension, kids, last, depth, along, row_before);
  if (row_before != nullptr) RecordChange(along, depth, row_before, nullptr);
  return Made();
}

// A branch with one child left gives way to that child.
absl::StatusOr<TrieUpdate::Made> TrieUpdate::Collapse(const BranchNode* node, BytesView extension, Kids& kids,
                                                      int nibble, size_t depth, const Hash& along,
                                                      BranchNode* row_before) {
  const Child& kid = kids[static_cast<size_t>(nibble)];
  Bytes longer(extension);
  longer.push_back(static_cast<char>(nibble));
  NibblePath path = NibblePath::PrefixOf(along, depth);
  path.Append(longer);
  if (kid.made.is_branch()) return Lengthen(kid.made, longer, depth, along, row_before);
  if (kid.kind == Child::Kind::kClean && kid.is_branch) {
    absl::StatusOr<BranchNode*> below = Resolve(account_, node, nibble, path.packed, path.size);
    if (!below.ok()) return below.status();
    RecordChange(path.packed, path.size, *below, nullptr);
    longer.append((*below)->extension());
    Kids grandkids;
    for (int i = 0; i < 16; ++i) {
      if ((*below)->has(i)) grandkids[static_cast<size_t>(i)] = CleanChild(*below, i);
    }
    return MakeBranch(longer, grandkids, depth, along, row_before);
  }
  if (row_before != nullptr) RecordChange(along, depth, row_before, nullptr);
  if (kid.kind == Child::Kind::kMade) return kid.made;
  auto* handle = static_cast<LeafNode*>(kid.pointer);
  absl::StatusOr<uint32_t> leaf = FetchLeaf(path, handle == nullptr ? nullptr : &handle->key, handle);
  if (!leaf.ok()) return leaf.status();
  return Made::Leaf(*leaf);
}

// Nobody holds the handle of a storage trie's only leaf; `first_fresh` is where this trie's new handles begin.
void TrieUpdate::DropHandle(PendingLeaf& leaf, size_t first_fresh) {
  if (leaf.node == nullptr) return;
  const auto begin = fresh_leaves_.begin() + static_cast<ptrdiff_t>(first_fresh);
  const auto fresh = std::find(begin, fresh_leaves_.end(), leaf.node);
  if (fresh == fresh_leaves_.end()) {
    replaced_leaves_.push_back(leaf.node);
  } else {
    delete leaf.node;
    fresh_leaves_.erase(fresh);
  }
  leaf.node = nullptr;
}

absl::Status TrieUpdate::Apply(TrieJob& job) {
  account_ = job.account;
  const size_t first_fresh = fresh_leaves_.size();
  Made root;
  if (job.root.kind == TrieRoot::Kind::kBranch) {
    absl::StatusOr<Made> updated = UpdateBranch(job.root.node, 0, 0, *job.ops.front().key, job.ops, job.root.node);
    if (!updated.ok()) return updated.status();
    root = *updated;
  } else {
    std::vector<uint32_t> leaves;
    bool other = job.root.kind == TrieRoot::Kind::kLeaf;
    for (const LeafOp& op : job.ops) {
      if (op.exists) other = false;
      if (!op.value.empty()) {
        leaves.push_back(AddLeaf(op));
      } else if (op.leaf != nullptr) {
        replaced_leaves_.push_back(op.leaf);
      }
    }
    if (other) {
      LeafNode* handle = job.root.leaf;
      absl::StatusOr<uint32_t> leaf = FetchLeaf(NibblePath{}, handle == nullptr ? nullptr : &handle->key, handle);
      if (!leaf.ok()) return leaf.status();
      const auto after = std::upper_bound(leaves.begin(), leaves.end(), *leaf,
                                          [&](uint32_t a, uint32_t b) { return *leaves_[a].key < *leaves_[b].key; });
      leaves.insert(after, *leaf);
    }
    root = Build(leaves, 0, leaves.size(), 0);
  }
  job.ref.always_hash = true;
  AddTarget(root, 0, &job.ref);
  switch (root.kind()) {
    case Made::Kind::kBranch:
      job.new_root = {TrieRoot::Kind::kBranch, fresh_[root.index()]};
      break;
    case Made::Kind::kLeaf:
      if (account_ != nullptr) DropHandle(leaves_[root.index()], first_fresh);
      job.new_root = {TrieRoot::Kind::kLeaf, nullptr, leaves_[root.index()].node};
      break;
    case Made::Kind::kNothing:
      job.new_root = {};
      job.ref.ref = kEmptyRoot.bytes;
  }
  return absl::OkStatus();
}

// One trie in parts
// --------------------------------------------------------------------------------------------------------

absl::Status TrieUpdate::ApplyChildren(const Hash* account, BranchNode* root, std::span<ChildGroup> groups) {
  account_ = account;
  detached_.resize(groups.size());
  for (size_t i = groups.size(); i-- > 0;) {
    absl::StatusOr<Made> child = UpdateChild(root, groups[i].nibble, 1, groups[i].ops);
    if (!child.ok()) return child.status();
    AddTarget(*child, 1, &groups[i].ref);
    detached_[i] = *child;
  }
  return absl::OkStatus();
}

void TrieUpdate::TakeChildren(std::span<ChildGroup> groups) {
  for (size_t i = 0; i < groups.size(); ++i) {
    const Made made = detached_[i];
    ChildGroup& group = groups[i];
    group.present = made.kind() != Made::Kind::kNothing;
    group.is_branch = made.is_branch();
    if (group.present) group.pointer = PointerTo(made);
    if (made.is_leaf()) group.storage = leaves_[made.index()].storage;
  }
}

bool TrieUpdate::Combine(TrieJob& job, std::span<const ChildGroup> groups) {
  BranchNode* root = job.root.node;
  Kids kids;
  for (int i = 0; i < 16; ++i) {
    if (root->has(i)) kids[static_cast<size_t>(i)] = CleanChild(root, i);
  }
  for (const ChildGroup& group : groups) {
    Child& kid = kids[static_cast<size_t>(group.nibble)];
    kid = Child{};
    if (!group.present) continue;
    kid.kind = Child::Kind::kClean;
    kid.is_branch = group.is_branch;
    kid.embedded = group.ref.embedded;
    kid.storage = group.storage;
    kid.ref = group.ref.ref.data();
    kid.pointer = group.pointer;
  }
  if (std::count_if(kids.begin(), kids.end(), [](const Child& k) { return k.kind != Child::Kind::kEmpty; }) < 2) {
    return false;
  }
  account_ = job.account;
  const Made made = MakeBranch({}, kids, 0, *job.ops.front().key, root);
  job.ref.always_hash = true;
  AddTarget(made, 0, &job.ref);
  job.new_root = {TrieRoot::Kind::kBranch, fresh_[made.index()]};
  return true;
}

void TrieUpdate::Commit(TrieChanges& out) {
  if (!private_nodes_.empty()) {
    for (const NodeChange& change : changes_) {
      if (private_nodes_.erase(change.before) != 0) out.loaded_before.push_back(change.before);
    }
  }
  std::erase_if(changes_, [](const NodeChange& c) { return c.before == nullptr && c.after == nullptr; });
  out.parts.push_back(std::move(changes_));
  out.replaced_leaves.insert(out.replaced_leaves.end(), replaced_leaves_.begin(), replaced_leaves_.end());
  out.undo_bytes.insert(out.undo_bytes.end(), std::make_move_iterator(undo_bytes_.begin()),
                        std::make_move_iterator(undo_bytes_.end()));
  out.nodes_hashed += nodes_hashed_;
  out.permutations += permutations_;
  out.linked_bytes += linked_bytes_;
  out.closed = out.closed || purpose_ == Purpose::kPublish;
  out.fresh.insert(out.fresh.end(), fresh_.begin(), fresh_.end());
  out.fresh_leaves.insert(out.fresh_leaves.end(), fresh_leaves_.begin(), fresh_leaves_.end());
  fresh_.clear();
  fresh_leaves_.clear();
  changes_.clear();
}

}  // namespace mptd
