// The storage trie of one account of which a block changes many slots, worked out by several threads: such a block
// would leave all but one of them idle. Internal to core/engine; belongs to the thread that works out the transition.
#pragma once

#include <span>
#include <vector>

#include "core/engine/transition.h"

namespace mptd {

// What a storage trie is changed by. The operations point into the account and into `values`.
struct StorageOps {
  explicit StorageOps(const FlatAccount& account);

  std::vector<Bytes> values;
  std::vector<LeafOp> ops;
};

// Works out the storage of every account whose slots are worth sharing and whose trie has its root in memory, and sets
// its `storage`; the others are left as they are. `root` is the account trie's.
absl::Status UpdateLargeStorage(const ViewImpl& view, Transition& transition, const TrieRoot& root, uint64_t sequence,
                                TrieUpdate::Purpose purpose, WorkerPool& pool);

}  // namespace mptd
