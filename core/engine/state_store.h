// The pieces that the engine's threads and its views share: the tables, what has not reached them yet, the recent
// history in memory, and which blocks are served. Internal to core/engine.
//
// A transition is one step of the state: a block, or a rollback. Transitions are numbered by the lsn of their record in
// the change log; this sequence only grows.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/engine/applied_blocks.h"
#include "core/engine/block.h"
#include "core/engine/cache_counters.h"
#include "core/engine/change_codec.h"
#include "core/engine/damage_reports.h"
#include "core/engine/node_history.h"
#include "core/engine/old_tries.h"
#include "core/engine/row_offers.h"
#include "core/engine/undo_record.h"
#include "core/trie/trie_update.h"
#include "storage/kv_store.h"
#include "storage/version_index.h"

namespace mptd {

inline uint8_t TableId(storage::Table table) { return static_cast<uint8_t>(table); }

// The rows that one transition changed, each list sorted by key. The entries stay in the index as long as the list
// does.
struct TransitionRows {
  uint64_t sequence = 0;
  std::vector<storage::VersionIndex::Entry*> accounts;
  std::vector<storage::VersionIndex::Entry*> slots;
  std::vector<storage::VersionIndex::Entry*> code;

  const std::vector<storage::VersionIndex::Entry*>& of(storage::Table table) const {
    return table == storage::Table::kAccounts ? accounts : table == storage::Table::kSlots ? slots : code;
  }
};
// All transitions whose versions are in memory, canonical or not, oldest first.
using TransitionList = std::vector<std::shared_ptr<const TransitionRows>>;

// The canonical blocks that are served from memory, oldest first. Of the first, what it replaced is not in memory.
using BlockWindow = std::vector<std::shared_ptr<const BlockRecord>>;

// The account trie after a transition, kept in memory. Holding it keeps its nodes.
struct TrieSnapshot {
  TrieSnapshot(storage::EpochDomain& epochs, uint64_t seq, TrieRoot trie_root)
      : pin(epochs), sequence(seq), root(trie_root) {}

  storage::EpochPin pin;
  const uint64_t sequence;
  const TrieRoot root;
};

struct StateStore {
  // Frees the newest trie; the others' nodes have been retired.
  ~StateStore();
  StateStore(std::unique_ptr<storage::KeyValueStore> key_value_store, size_t expected_rows, int64_t max_node_bytes,
             std::shared_ptr<std::atomic<uint64_t>> floor)
      : kv(std::move(key_value_store)),
        rows(row_epochs, expected_rows),
        nodes(node_epochs),
        node_bytes_limit(max_node_bytes),
        old_tries(max_node_bytes / 8),
        index_floor(std::move(floor)) {}

  const std::unique_ptr<storage::KeyValueStore> kv;

  // Accounts, slots and code. The writer owns the index and its epochs.
  storage::EpochDomain row_epochs;
  storage::VersionIndex rows;
  RowOffers offers;
  // Undo entries of branches. The history thread owns them.
  storage::EpochDomain node_epochs;
  NodeHistory nodes;
  // Nodes of the tries in memory. The writer's; but readers, too, link what they have loaded into the newest trie.
  storage::EpochDomain trie_epochs;
  std::atomic<int64_t> node_bytes{0};  // of the newest trie
  std::atomic<int64_t> node_bytes_limit;
  // Readers leave what is over the limit, and what a long-lived view keeps, to the writer's next round.
  bool HasRoomForNodes() const {
    return node_bytes.load(std::memory_order_relaxed) + static_cast<int64_t>(trie_epochs.retired_bytes()) <
           node_bytes_limit.load(std::memory_order_relaxed);
  }

  OldTries old_tries;
  CacheCounters lookups;
  DamageReports damage;

  std::atomic<uint64_t> flushed_sequence{0};
  // Rows of `history_index` that speak only of what was before this block may go; the tables know it as the oldest.
  // Shared with the table's compactions.
  const std::shared_ptr<std::atomic<uint64_t>> index_floor;

  // What is served. The writer changes it; views are made from it.
  mutable absl::Mutex mutex;
  std::shared_ptr<const BlockWindow> window ABSL_GUARDED_BY(mutex);
  std::shared_ptr<const TransitionList> transitions ABSL_GUARDED_BY(mutex);
  AppliedBlocks applied ABSL_GUARDED_BY(mutex);
  // Tries of the newest transitions, oldest first; never empty. Every transition up to the first one's has its
  // branches' undo entries in `nodes`.
  std::deque<std::shared_ptr<const TrieSnapshot>> tries ABSL_GUARDED_BY(mutex);
  // Sequences of the views that are alive: what they may ask for is not trimmed.
  std::multiset<uint64_t> live_views ABSL_GUARDED_BY(mutex);
  // How often the chain went back.
  uint64_t rollbacks ABSL_GUARDED_BY(mutex) = 0;
  // The oldest served block. Those before the window's first are served from the history tables.
  uint64_t oldest_served ABSL_GUARDED_BY(mutex) = 0;
};

}  // namespace mptd
