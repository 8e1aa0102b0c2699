// The nodes on the paths of a transition's operations, loaded level by level.
#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/hex.h"
#include "core/trie/leaf_ops.h"
#include "core/trie/link_loaded.h"
#include "core/trie/prefetch.h"
#include "core/trie/trie_update.h"

namespace mptd {
namespace {

absl::Status MissingBranch(const Hash* account, const NibblePath& path) {
  Bytes nibbles;
  for (size_t i = 0; i < path.size; ++i) nibbles.push_back("0123456789abcdef"[path.at(i)]);
  return absl::DataLossError(absl::StrFormat(
      "the trie %s has no row for the branch at path '%s' that its parent refers to; run `mptctl check`",
      account == nullptr ? std::string("of accounts") : "of the storage of account " + ToHex(*account), nibbles));
}

}  // namespace

BranchNode* TrieUpdate::Adopt(const BranchNode* parent, int nibble, OwnedBranch loaded) {
  const bool below_private = private_nodes_.contains(parent) || below_private_.contains(parent);
  if (below_private && purpose_ == Purpose::kPublish) {
    // Counted with what it is below, if that is published; nobody else links anything here.
    BranchNode* linked = parent->Link(nibble, loaded.get());
    if (linked == loaded.get()) {
      below_private_.insert(linked);
      linked_bytes_ += linked->bytes();
      return loaded.release();
    }
  } else if (!below_private && (purpose_ == Purpose::kPublish || source_.KeepsLoaded())) {
    if (BranchNode* linked = LinkLoaded(source_, *parent, nibble, loaded)) return linked;
  }
  private_children_[{parent, nibble}] = loaded.get();
  return Keep(std::move(loaded));
}

// The root of a storage trie is linked below its account's leaf.
absl::Status TrieUpdate::AdoptRoot(TrieJob& job, OwnedBranch loaded) {
  if (loaded == nullptr && job.root_hash != nullptr) {
    const auto there = std::find_if(job.ops.begin(), job.ops.end(), [](const LeafOp& op) { return op.exists; });
    const Hash* key = there == job.ops.end() ? nullptr : there->key;
    if (absl::Status s = CheckSingleLeaf(source_, *job.account, key, *job.root_hash); !s.ok()) return s;
  }
  // The writer has closed the place: it makes a new handle for what it changes.
  const BranchNode* parent = job.owner == nullptr ? nullptr : job.owner->parent;
  if (parent != nullptr && purpose_ == Purpose::kTry && !private_nodes_.contains(parent) && source_.KeepsLoaded()) {
    if (const LeafNode* leaf = LinkStorageRoot(source_, *parent, job.owner->nibble, *job.account, loaded)) {
      job.root = StorageRootOf(*leaf);
      return absl::OkStatus();
    }
  }
  job.root.kind = loaded == nullptr ? TrieRoot::Kind::kLeaf : TrieRoot::Kind::kBranch;
  job.root.node = loaded == nullptr ? nullptr : Keep(std::move(loaded));
  return absl::OkStatus();
}

BranchNode* TrieUpdate::Keep(OwnedBranch node) {
  private_nodes_.insert(node.get());
  return node.release();
}

absl::StatusOr<BranchNode*> TrieUpdate::Resolve(const Hash* account, const BranchNode* parent, int nibble,
                                                const Hash& along, size_t depth) {
  if (BranchNode* child = parent->child_branch(nibble)) return child;
  if (!private_children_.empty()) {
    const auto it = private_children_.find({parent, nibble});
    if (it != private_children_.end()) return it->second;
  }
  TrieSource::BranchRequest request{account, NibblePath::PrefixOf(along, depth), nullptr};
  if (absl::Status s = source_.LoadBranches({&request, 1}); !s.ok()) return s;
  if (request.node == nullptr) return MissingBranch(account, request.path);
  return Adopt(parent, nibble, std::move(request.node));
}

absl::Status TrieUpdate::LoadRoots(std::span<TrieJob> jobs, std::vector<Frontier>& frontier) {
  std::vector<TrieSource::BranchRequest> requests;
  std::vector<TrieJob*> waiting;
  for (TrieJob& job : jobs) {
    if (job.root.kind == TrieRoot::Kind::kLeaf && job.root.leaf != nullptr) {
      for (LeafOp& op : job.ops) {
        if (*op.key == job.root.leaf->key) op.leaf = job.root.leaf;
      }
    }
    if (job.root.kind == TrieRoot::Kind::kEmpty || job.root.kind == TrieRoot::Kind::kLeaf) continue;
    if (job.root.node == nullptr) {
      requests.push_back({job.account, NibblePath{}, nullptr});
      waiting.push_back(&job);
    }
  }
  if (!requests.empty()) {
    if (absl::Status s = source_.LoadBranches(requests); !s.ok()) return s;
    for (size_t i = 0; i < requests.size(); ++i) {
      if (requests[i].node == nullptr && waiting[i]->root.kind == TrieRoot::Kind::kBranch) {
        return MissingBranch(waiting[i]->account, NibblePath{});
      }
      if (absl::Status s = AdoptRoot(*waiting[i], std::move(requests[i].node)); !s.ok()) return s;
    }
  }
  for (TrieJob& job : jobs) {
    if (job.root.kind == TrieRoot::Kind::kBranch) frontier.push_back({job.account, job.root.node, 0, job.ops});
  }
  return absl::OkStatus();
}

void TrieUpdate::Descend(const Frontier& at, std::vector<Frontier>& next, std::vector<Frontier>& missing,
                         std::vector<std::pair<BranchNode*, int>>& slots) {
  const BytesView extension = at.node->extension();
  at.node->MarkUsed();
  Ops ops = at.ops;
  const size_t depth = at.depth + extension.size();
  while (!ops.empty()) {
    if (MatchExtension(extension, *ops.front().key, at.depth) < extension.size()) {
      ops = ops.subspan(1);
      continue;
    }
    const Ops rest = ops;
    Ops group = TakeGroup(ops, depth);
    // A group may begin inside the extension's match and still contain only keys that match it: they share the nibble.
    const int nibble = NibbleAt(rest.front().key->view(), depth);
    while (!group.empty() && MatchExtension(extension, *group.back().key, at.depth) < extension.size()) {
      group = group.first(group.size() - 1);
    }
    if (!at.node->has(nibble)) continue;
    if (at.node->is_branch(nibble)) {
      if (BranchNode* child = at.node->child_branch(nibble)) {
        PrefetchHead(child);
        next.push_back({at.account, child, depth + 1, group});
      } else {
        missing.push_back({at.account, nullptr, depth + 1, group});
        slots.emplace_back(at.node, nibble);
      }
    } else if (at.node->has_pointer(nibble)) {
      // From here on the writer knows whether there is a handle, as it has to be replaced with the leaf.
      auto* leaf =
          static_cast<LeafNode*>(purpose_ == Purpose::kPublish ? at.node->Close(nibble) : at.node->child(nibble));
      for (LeafOp& op : group) {
        op.parent = at.node;
        op.nibble = nibble;
        if (leaf != nullptr && *op.key == leaf->key) op.leaf = leaf;
      }
    }
  }
}

absl::Status TrieUpdate::PrepareLevels(std::vector<Frontier> frontier) {
  std::vector<Frontier> next;
  std::vector<Frontier> missing;
  std::vector<std::pair<BranchNode*, int>> slots;
  std::vector<TrieSource::BranchRequest> requests;
  uint64_t in_memory = 0;
  uint64_t loaded = 0;
  while (!frontier.empty()) {
    next.clear();
    missing.clear();
    slots.clear();
    for (const Frontier& at : frontier) Descend(at, next, missing, slots);
    in_memory += next.size();
    loaded += missing.size();
    if (!missing.empty()) {
      requests.clear();
      for (const Frontier& m : missing) {
        requests.push_back({m.account, NibblePath::PrefixOf(*m.ops.front().key, m.depth), nullptr});
      }
      if (absl::Status s = source_.LoadBranches(requests); !s.ok()) return s;
      for (size_t i = 0; i < missing.size(); ++i) {
        if (requests[i].node == nullptr) return MissingBranch(missing[i].account, requests[i].path);
        missing[i].node = Adopt(slots[i].first, slots[i].second, std::move(requests[i].node));
        next.push_back(missing[i]);
      }
    }
    frontier.swap(next);
  }
  source_.CountLookups(in_memory, loaded);
  const size_t branches = in_memory + loaded;
  changes_.reserve(changes_.size() + branches);
  fresh_.reserve(fresh_.size() + branches);
  return absl::OkStatus();
}

absl::Status TrieUpdate::Prepare(std::span<TrieJob> jobs) {
  std::vector<Frontier> frontier;
  if (absl::Status s = LoadRoots(jobs, frontier); !s.ok()) return s;
  return PrepareLevels(std::move(frontier));
}

absl::Status TrieUpdate::PrepareChildren(const Hash* account, BranchNode* root, std::span<ChildGroup> groups) {
  std::vector<Frontier> frontier;
  for (ChildGroup& group : groups) frontier.push_back({account, root, 0, group.ops});
  return PrepareLevels(std::move(frontier));
}

}  // namespace mptd
