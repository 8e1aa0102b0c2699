#include "core/engine/large_storage.h"

#include <deque>

#include "core/engine/trie_parts.h"
#include "core/rlp.h"

namespace mptd {
namespace {

// Fewer slots are as quickly done by one thread beside the other accounts.
constexpr size_t kShareFrom = 256;

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
  return op.leaf == nullptr ? nullptr : op.leaf->storage_root;
}

absl::Status UpdateOne(const ViewImpl& view, FlatAccount& account, BranchNode* root, uint64_t sequence,
                       TrieUpdate::Purpose purpose, WorkerPool& pool, TrieChanges& changes) {
  StorageOps storage(account);
  std::deque<TrieUpdate> updates;
  std::vector<TriePart> parts;
  const auto key_of = [](const LeafOp& op) -> const Hash& { return *op.key; };
  const auto all = std::span<LeafOp>(storage.ops);
  for (std::span<LeafOp> some : SplitByNibble(all, 2 * static_cast<size_t>(pool.threads()), key_of)) {
    TriePart& part = parts.emplace_back();
    part.update = &updates.emplace_back(view, sequence, purpose);
    part.groups = GroupsOf(some);
  }
  TrieJob job;
  job.account = &account.key;
  job.root = {TrieRoot::Kind::kBranch, root};
  job.ops = storage.ops;
  absl::StatusOr<bool> done = UpdateInParts(view, sequence, purpose, pool, job, parts, changes);
  if (!done.ok()) return done.status();
  if (*done) account.storage = {job.ref.hash(), job.new_root.node};
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
