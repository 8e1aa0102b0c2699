// From changed flat rows to changed tries.
#include <algorithm>
#include <deque>

#include "absl/strings/str_cat.h"
#include "core/account.h"
#include "core/engine/large_storage.h"
#include "core/engine/transition.h"
#include "core/engine/trie_parts.h"
#include "core/hex.h"

namespace mptd {
namespace {

// Below this many accounts and slots, handing parts to other threads costs more than it saves.
constexpr size_t kParallelFrom = 64;

// The accounts of one part of the account trie, with everything that their update needs at hand. Belongs to one thread.
class Part {
 public:
  Part(const ViewImpl& view, std::span<FlatAccount> accounts, uint64_t sequence, TrieUpdate::Purpose purpose)
      : accounts_(accounts), ops_(accounts.size()), values_(accounts.size()), update_(view, sequence, purpose) {
    for (size_t i = 0; i < accounts.size(); ++i) {
      ops_[i].key = &accounts[i].key;
      ops_[i].exists = accounts[i].before.has_value();
    }
  }

  std::span<LeafOp> ops() { return ops_; }
  TrieUpdate& update() { return update_; }

  // Storage, and with it the leaves' new values. After the account trie's paths are loaded, which finds the roots of
  // storage tries that are in memory.
  absl::Status FinishAccounts();

 private:
  absl::Status UpdateStorage();
  void EncodeAccounts();
  void AddStorageJob(size_t index);
  void TakeStorage(size_t index, const Hash& root, BranchNode* node);

  const std::span<FlatAccount> accounts_;
  std::vector<LeafOp> ops_;
  std::vector<Bytes> values_;
  TrieUpdate update_;
  std::deque<StorageOps> storage_;
  std::vector<TrieJob> jobs_;
  std::vector<size_t> job_accounts_;
};

absl::Status Part::FinishAccounts() {
  if (absl::Status s = UpdateStorage(); !s.ok()) return s;
  EncodeAccounts();
  return absl::OkStatus();
}

void Part::AddStorageJob(size_t index) {
  FlatAccount& account = accounts_[index];
  StorageOps& storage = storage_.emplace_back(account);
  TrieJob& job = jobs_.emplace_back();
  job.account = &account.key;
  job.ops = storage.ops;
  job.owner = &ops_[index];
  if (account.before && account.before->storage_root != kEmptyRoot) {
    const LeafNode* leaf = ops_[index].leaf;
    job.root = leaf == nullptr ? TrieRoot{TrieRoot::Kind::kUnknown} : StorageRootOf(*leaf);
    job.root_hash = &account.before->storage_root;
  }
  job_accounts_.push_back(index);
}

void Part::TakeStorage(size_t index, const Hash& root, BranchNode* node) {
  if (accounts_[index].after) accounts_[index].after->storage_root = root;
  ops_[index].storage_changed = true;
  ops_[index].storage_root = node;
}

absl::Status Part::UpdateStorage() {
  for (size_t i = 0; i < accounts_.size(); ++i) {
    if (accounts_[i].storage) {
      TakeStorage(i, accounts_[i].storage->root, accounts_[i].storage->node);
    } else if (!accounts_[i].slots.empty()) {
      AddStorageJob(i);
    }
  }
  if (jobs_.empty()) return absl::OkStatus();
  if (absl::Status s = update_.Prepare(jobs_); !s.ok()) return s;
  for (size_t i = jobs_.size(); i-- > 0;) {
    if (absl::Status s = update_.Apply(jobs_[i]); !s.ok()) return s;
  }
  if (absl::Status s = update_.HashAll(); !s.ok()) return s;
  for (size_t i = 0; i < jobs_.size(); ++i) {
    const TrieRoot& root = jobs_[i].new_root;
    TakeStorage(job_accounts_[i], jobs_[i].ref.hash(), root.kind == TrieRoot::Kind::kBranch ? root.node : nullptr);
  }
  return absl::OkStatus();
}

void Part::EncodeAccounts() {
  for (size_t i = 0; i < accounts_.size(); ++i) {
    if (!accounts_[i].after) continue;
    AppendAccountRlp(values_[i], *accounts_[i].after);
    ops_[i].value = values_[i];
    ops_[i].has_storage = accounts_[i].after->storage_root != kEmptyRoot;
  }
}

// False in the result when the root does not stay a branch: then the whole is to be done in one part.
absl::StatusOr<bool> UpdateAccountsInParts(const ViewImpl& view, Transition& transition, uint64_t sequence,
                                           WorkerPool& pool, TrieUpdate::Purpose purpose, const TrieRoot& root) {
  std::deque<Part> accounts;
  std::vector<TriePart> parts;
  const auto key_of = [](const FlatAccount& account) -> const Hash& { return account.key; };
  const auto all = std::span<FlatAccount>(transition.accounts);
  for (std::span<FlatAccount> some : SplitByNibble(all, 2 * static_cast<size_t>(pool.threads()), key_of)) {
    Part& part = accounts.emplace_back(view, some, sequence, purpose);
    TriePart& trie_part = parts.emplace_back();
    trie_part.update = &part.update();
    trie_part.groups = GroupsOf(part.ops());
    trie_part.prepared = [&part] { return part.FinishAccounts(); };
  }
  TrieJob job;
  job.root = root;
  job.ops = accounts.front().ops();
  absl::StatusOr<bool> done = UpdateInParts(view, sequence, purpose, pool, job, parts, transition.trie);
  if (!done.ok() || !*done) return done;
  transition.root = job.new_root;
  transition.state_root = job.ref.hash();
  return true;
}

absl::Status UpdateWhole(const ViewImpl& view, Transition& transition, uint64_t sequence, TrieUpdate::Purpose purpose,
                         TrieRoot root) {
  Part part(view, transition.accounts, sequence, purpose);
  TrieUpdate& update = part.update();
  TrieJob job;
  job.root = root;
  job.ops = part.ops();
  if (absl::Status s = update.Prepare({&job, 1}); !s.ok()) return s;
  if (absl::Status s = part.FinishAccounts(); !s.ok()) return s;
  if (absl::Status s = update.Apply(job); !s.ok()) return s;
  if (absl::Status s = update.HashAll(); !s.ok()) return s;
  update.Commit(transition.trie);
  transition.root = job.new_root;
  transition.state_root = job.ref.hash();
  return absl::OkStatus();
}

}  // namespace

absl::Status UpdateTries(const ViewImpl& view, Transition& transition, uint64_t sequence, WorkerPool* pool,
                         TrieUpdate::Purpose purpose) {
  absl::StatusOr<TrieRoot> account_root = view.AccountRoot();
  if (!account_root.ok()) return account_root.status();
  const TrieRoot root = *account_root;
  if (transition.accounts.empty()) {
    transition.root = root;
    transition.state_root = view.block().state_root;
    return absl::OkStatus();
  }
  if (pool != nullptr && pool->threads() > 1) {
    if (absl::Status s = UpdateLargeStorage(view, transition, root, sequence, purpose, *pool); !s.ok()) return s;
  }
  const bool splittable = pool != nullptr && pool->threads() > 1 && root.kind == TrieRoot::Kind::kBranch &&
                          root.node != nullptr && root.node->extension_size == 0 &&
                          transition.accounts.size() + transition.slots_changed >= kParallelFrom;
  if (splittable) {
    absl::StatusOr<bool> done = UpdateAccountsInParts(view, transition, sequence, *pool, purpose, root);
    if (!done.ok()) return done.status();
    if (*done) return absl::OkStatus();
  }
  return UpdateWhole(view, transition, sequence, purpose, root);
}

absl::StatusOr<Hash> ViewImpl::RootWith(std::span<const AccountChange> changes, bool keep_empty_accounts) const {
  absl::StatusOr<std::unique_ptr<Transition>> transition =
      FlattenChanges(*this, changes, {keep_empty_accounts}, TrieUpdate::Purpose::kTry, nullptr);
  if (!transition.ok()) return transition.status();
  // No sequence is as high: nothing of it could be taken for a node of the chain.
  if (absl::Status s = UpdateTries(*this, **transition, UINT64_MAX, nullptr, TrieUpdate::Purpose::kTry); !s.ok())
    return s;
  return (*transition)->state_root;
}

}  // namespace mptd
