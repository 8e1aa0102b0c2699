// One step of the state, worked out beside it: what a set of changes makes of the flat rows and of the tries, on top of
// a view. Nothing of it is visible until the writer publishes it; whoever only wants the root throws it away. Internal
// to core/engine. A Transition belongs to one thread.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/engine/block.h"
#include "core/engine/change_limits.h"
#include "core/engine/view_impl.h"
#include "core/engine/worker_pool.h"
#include "core/trie/trie_update.h"

namespace mptd {

struct FlatSlot {
  Hash key;  // hashed
  U256 before;
  U256 after;
  const storage::VersionIndex::Entry* entry = nullptr;  // where its row was found in memory
};

// A storage trie that has been worked out.
struct NewStorage {
  Hash root;
  BranchNode* node = nullptr;
};

// One account that a transition changes. Absent accounts are nullopt.
struct FlatAccount {
  Hash key;  // hashed address
  std::optional<Account> before;
  std::optional<Account> after;                         // its storage root is worked out from the slots
  std::vector<FlatSlot> slots;                          // sorted by key; only those that change
  std::optional<NewStorage> storage;                    // where that was done before all else
  const storage::VersionIndex::Entry* entry = nullptr;  // where its row was found in memory
};

struct Transition {
  std::vector<FlatAccount> accounts;                 // sorted by key; only those that change
  std::vector<std::pair<Hash, Bytes>> new_code;      // by hash, sorted, that the tables do not have
  std::vector<std::pair<Hash, Bytes>> removed_code;  // of a rollback: rows that go
  TrieRoot root;
  Hash state_root;
  TrieChanges trie;
  uint64_t slots_changed = 0;
};

struct TransitionRules {
  bool keep_empty_accounts = false;
  ChangeLimits limits = {};
};

// What `changes` do to the flat rows; to be published only by the writer, on its newest view. `pool` may be null.
// INVALID_ARGUMENT with the field's path for a duplicate, a removal that sets something, or more than the rules allow.
absl::StatusOr<std::unique_ptr<Transition>> FlattenChanges(const ViewImpl& view, std::span<const AccountChange> changes,
                                                           const TransitionRules& rules, TrieUpdate::Purpose purpose,
                                                           WorkerPool* pool);

// Works out the tries and the root from the flat rows. `pool` may be null. What is made to be published belongs to
// the writer, on its newest view.
absl::Status UpdateTries(const ViewImpl& view, Transition& transition, uint64_t sequence, WorkerPool* pool,
                         TrieUpdate::Purpose purpose);

}  // namespace mptd
