#include "core/engine/large_storage.h"

#include <memory>

#include "core/rlp.h"

namespace mptd {
namespace {

// Fewer slots are as quickly done by one thread beside the other accounts.
constexpr size_t kShareFrom = 256;

// The children of the root that the operations are below, cut into runs with about as many operations each.
std::vector<std::vector<TrieUpdate::ChildGroup>> CutIntoParts(std::span<LeafOp> ops, size_t parts) {
  std::vector<std::vector<TrieUpdate::ChildGroup>> result(1);
  size_t in_part = 0;
  for (size_t i = 0; i < ops.size();) {
    const int nibble = ops[i].key->bytes[0] >> 4;
    size_t j = i + 1;
    while (j < ops.size() && ops[j].key->bytes[0] >> 4 == nibble) ++j;
    if (in_part > ops.size() / parts) {
      result.emplace_back();
      in_part = 0;
    }
    TrieUpdate::ChildGroup& group = result.back().emplace_back();
    group.nibble = nibble;
    group.ops = ops.subspan(i, j - i);
    in_part += j - i;
    i = j;
  }
  return result;
}

// The root of the account's storage trie, when it is in memory; else null.
absl::StatusOr<BranchNode*> FindRoot(const ViewImpl& view, const FlatAccount& account, const TrieRoot& root,
                                     uint64_t sequence, TrieUpdate::Purpose purpose) {
  LeafOp op;
  op.key = &account.key;
  op.exists = true;
  TrieJob job;
  job.root = root;
  job.ops = {&op, 1};
  TrieUpdate path(view, sequence, purpose);
  if (absl::Status s = path.Prepare({&job, 1}); !s.ok()) return s;
  BranchNode* storage = op.leaf == nullptr ? nullptr : op.leaf->storage_root.load(std::memory_order_acquire);
  return storage == kNoBranch ? nullptr : storage;
}

struct StoragePart {
  std::unique_ptr<TrieUpdate> update;
  std::vector<TrieUpdate::ChildGroup> groups;
  absl::Status status;
};

absl::Status RunPart(StoragePart& part, const Hash& account, BranchNode* root) {
  if (absl::Status s = part.update->PrepareChildren(&account, root, part.groups); !s.ok()) return s;
  if (absl::Status s = part.update->ApplyChildren(&account, root, part.groups); !s.ok()) return s;
  if (absl::Status s = part.update->HashAll(); !s.ok()) return s;
  part.update->TakeChildren(part.groups);
  return absl::OkStatus();
}

absl::Status UpdateOne(const ViewImpl& view, FlatAccount& account, BranchNode* root, uint64_t sequence,
                       TrieUpdate::Purpose purpose, WorkerPool& pool, TrieChanges& changes) {
  StorageOps storage(account);
  std::vector<StoragePart> parts;
  for (auto& groups : CutIntoParts(storage.ops, 2 * static_cast<size_t>(pool.threads()))) {
    parts.push_back({std::make_unique<TrieUpdate>(view, sequence, purpose), std::move(groups), absl::OkStatus()});
  }
  pool.Run(static_cast<int>(parts.size()), [&](int i) {
    StoragePart& part = parts[static_cast<size_t>(i)];
    part.status = RunPart(part, account.key, root);
  });
  std::vector<TrieUpdate::ChildGroup> groups;
  for (const StoragePart& part : parts) {
    if (!part.status.ok()) return part.status;
    groups.insert(groups.end(), part.groups.begin(), part.groups.end());
  }
  TrieUpdate top(view, sequence, purpose);
  TrieJob job;
  job.account = &account.key;
  job.root = {TrieRoot::Kind::kBranch, root};
  job.ops = storage.ops;
  // When the root does not stay a branch, one thread does it all.
  if (!top.Combine(job, groups)) return absl::OkStatus();
  if (absl::Status s = top.HashAll(); !s.ok()) return s;
  for (size_t i = parts.size(); i-- > 0;) parts[i].update->Commit(changes);
  top.Commit(changes);
  account.storage = {job.ref.hash(), job.new_root.node};
  return absl::OkStatus();
}

}  // namespace

StorageOps::StorageOps(const FlatAccount& account) : values(account.slots.size()), ops(account.slots.size()) {
  for (size_t i = 0; i < account.slots.size(); ++i) {
    const FlatSlot& slot = account.slots[i];
    if (!slot.after.IsZero()) rlp::AppendString(values[i], slot.after.minimal());
    ops[i].key = &slot.key;
    ops[i].value = values[i];
    ops[i].exists = !slot.before.IsZero();
  }
}

absl::Status UpdateLargeStorage(const ViewImpl& view, Transition& transition, const TrieRoot& root, uint64_t sequence,
                                TrieUpdate::Purpose purpose, WorkerPool& pool) {
  for (FlatAccount& account : transition.accounts) {
    if (account.slots.size() < kShareFrom || !account.before || account.before->storage_root == kEmptyRoot) continue;
    absl::StatusOr<BranchNode*> storage = FindRoot(view, account, root, sequence, purpose);
    if (!storage.ok()) return storage.status();
    if (*storage == nullptr || (*storage)->extension_size != 0) continue;
    absl::Status s = UpdateOne(view, account, *storage, sequence, purpose, pool, transition.trie);
    if (!s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace mptd
