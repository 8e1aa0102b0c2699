// For benchmarks of the trie's parts: an account trie that is in memory as a whole. Belongs to one thread.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "absl/status/status.h"
#include "bench/rng.h"
#include "bench/workload.h"
#include "core/account.h"
#include "core/engine/node_cache.h"
#include "core/keccak.h"
#include "core/trie/trie_update.h"

namespace mptd::bench {

// Nothing is ever to be loaded.
class NoSource : public TrieSource {
 public:
  absl::Status LoadBranches(std::span<BranchRequest>) const override { return absl::InternalError("nothing to load"); }
  absl::StatusOr<LeafRow> LeafBelow(const Hash*, const NibblePath&, const Hash*) const override {
    return absl::InternalError("nothing to load");
  }
};

// The workload's accounts as keys and leaf values, in the order of the keys.
struct SortedLeaves {
  explicit SortedLeaves(uint64_t accounts) : keys(accounts), values(accounts) {
    for (uint64_t i = 0; i < accounts; ++i) keys[i] = Keccak256(AddressOf(i).view());
    std::sort(keys.begin(), keys.end());
    for (uint64_t i = 0; i < accounts; ++i) values[i] = Value(i);
  }

  static Bytes Value(uint64_t x) {
    Account account;
    account.nonce = 1;
    account.balance = BalanceOf(x);
    Bytes rlp;
    AppendAccountRlp(rlp, account);
    return rlp;
  }

  std::vector<Hash> keys;
  std::vector<Bytes> values;
};

// Operations on `leaves` with these indices, which are sorted and made unique.
inline std::vector<LeafOp> MakeOps(const SortedLeaves& leaves, std::vector<uint64_t> indices, bool exist) {
  std::sort(indices.begin(), indices.end());
  indices.erase(std::unique(indices.begin(), indices.end()), indices.end());
  std::vector<LeafOp> ops(indices.size());
  for (size_t i = 0; i < indices.size(); ++i) {
    ops[i].key = &leaves.keys[indices[i]];
    ops[i].value = leaves.values[indices[i]];
    ops[i].exists = exist;
  }
  return ops;
}

// One transition of the account trie: what a TrieUpdate does from Prepare to Commit.
inline absl::Status RunUpdate(const TrieSource& source, uint64_t sequence, TrieJob& job, TrieChanges& changes) {
  TrieUpdate update(source, sequence, TrieUpdate::Purpose::kTry);
  if (absl::Status s = update.Prepare({&job, 1}); !s.ok()) return s;
  if (absl::Status s = update.Apply(job); !s.ok()) return s;
  if (absl::Status s = update.HashAll(); !s.ok()) return s;
  update.Commit(changes);
  return absl::OkStatus();
}

class TrieInMemory {
 public:
  // All leaves in one transition, the first.
  explicit TrieInMemory(const SortedLeaves& leaves) {
    std::vector<uint64_t> all(leaves.keys.size());
    std::iota(all.begin(), all.end(), uint64_t{0});
    std::vector<LeafOp> ops = MakeOps(leaves, std::move(all), false);
    TrieJob job;
    job.ops = ops;
    TrieChanges changes;
    status_ = RunUpdate(NoSource(), 1, job, changes);
    changes.published = status_.ok();
    if (status_.ok()) root_ = job.new_root;
  }
  ~TrieInMemory() {
    if (status_.ok()) NodeCache::FreeAll(root_);
  }
  TrieInMemory(const TrieInMemory&) = delete;
  TrieInMemory& operator=(const TrieInMemory&) = delete;

  const absl::Status& status() const { return status_; }
  const TrieRoot& root() const { return root_; }

 private:
  absl::Status status_;
  TrieRoot root_;
};

}  // namespace mptd::bench
