// Making a step visible, and clearing up behind it. Runs on the writer thread.
#include <algorithm>
#include <utility>

#include "core/account.h"
#include "core/engine/engine_impl.h"

namespace mptd {
namespace {

using storage::Table;
using storage::VersionIndex;

// Tries of this many transitions stay in memory at least.
constexpr size_t kTriesKept = 8;
// With more than this many waiting for their undo entries, the writer waits too.
constexpr size_t kTriesAtMost = 64;
constexpr size_t kEventsKept = 4096;
constexpr size_t kPrunedHashesKept = 65536;
// A history of so many blocks is indexed within seconds.
constexpr uint64_t kIndexedOnDemand = 1024;
// What one round of evictions looks at: buckets of rows, so many more for each row that has come since the last round,
// and parts of the trie.
constexpr size_t kEvictionSteps = 8192;
constexpr size_t kStepsARow = 4;
constexpr int kPartsAtOnce = 4;

std::optional<Bytes> SlimRow(const std::optional<Account>& account) {
  if (!account) return std::nullopt;
  return SlimAccount(*account);
}

std::optional<BytesView> SlotRow(const U256& value) {
  if (value.IsZero()) return std::nullopt;
  return value.minimal();
}

// What the step adds to the write-behind queue: its rows, and its nodes less those that it replaced before they were
// written.
Flusher::Queued ToQueue(const Transition& transition, uint64_t flushed, size_t log_bytes) {
  Flusher::Queued queued;
  queued.bytes = static_cast<int64_t>(log_bytes);
  queued.bytes += static_cast<int64_t>(transition.accounts.size()) * 128;
  queued.bytes += static_cast<int64_t>(transition.slots_changed) * 192;
  for (const auto& [hash, code] : transition.new_code) queued.bytes += static_cast<int64_t>(code.size());
  transition.trie.ForEachNode([&](const NodeChange& change) {
    queued.bytes += change.after_bytes;
    if (change.after != nullptr) ++queued.nodes;
    if (change.before_sequence <= flushed) return;
    queued.bytes -= change.before_bytes;
    --queued.nodes;
  });
  return queued;
}

}  // namespace

std::shared_ptr<const TransitionRows> EngineImpl::RecordRows(const Transition& transition, uint64_t sequence) {
  auto rows = std::make_shared<TransitionRows>();
  rows->sequence = sequence;
  rows->accounts.reserve(transition.accounts.size());
  rows->slots.reserve(transition.slots_changed);
  VersionIndex& index = store_->rows;
  Bytes slot_key;
  // Rows lie anywhere in memory: each is asked for some rows before its turn, or the writer waits for every one.
  constexpr size_t kAhead = 8;
  const std::span<const FlatAccount> accounts = transition.accounts;
  for (size_t i = 0; i < accounts.size(); ++i) {
    if (i + 2 * kAhead < accounts.size()) {
      const FlatAccount& later = accounts[i + 2 * kAhead];
      index.PrefetchEntry(TableId(Table::kAccounts), later.key.view(), later.entry);
      const FlatAccount& soon = accounts[i + kAhead];
      index.PrefetchVersions(TableId(Table::kAccounts), soon.key.view(), soon.entry);
    }
    const FlatAccount& account = accounts[i];
    rows->accounts.push_back(index.Put(TableId(Table::kAccounts), account.key.view(), SlimRow(account.before),
                                       SlimRow(account.after), sequence, account.entry));
    for (const FlatSlot& slot : account.slots) {
      slot_key.assign(account.key.view());
      slot_key.append(slot.key.view());
      rows->slots.push_back(
          index.Put(TableId(Table::kSlots), slot_key, SlotRow(slot.before), SlotRow(slot.after), sequence, slot.entry));
    }
  }
  for (const auto& [hash, code] : transition.new_code) {
    rows->code.push_back(index.Put(TableId(Table::kCode), hash.view(), std::nullopt, code, sequence));
  }
  for (const auto& [hash, code] : transition.removed_code) {
    rows->code.push_back(index.Put(TableId(Table::kCode), hash.view(), code, std::nullopt, sequence));
  }
  return rows;
}

PublishedTransition EngineImpl::Commit(Step step) {
  PublishedTransition committed;
  committed.rows = RecordRows(*step.transition, step.sequence);
  committed.record = step.record;
  if (step.rollback) committed.rolled_back_to = step.record->block;
  // Before anything is retired: the history worker looks at the replaced nodes.
  committed.trie_pin = std::make_unique<storage::EpochPin>(store_->trie_epochs);
  committed.trie = std::make_shared<TrieSnapshot>(store_->trie_epochs, step.sequence, step.transition->root);
  flusher_->AddQueued(step.sequence, ToQueue(*step.transition, store_->flushed_sequence, step.change_row.size()));
  nodes_->Account(step.transition->trie);
  committed.transition = std::move(step.transition);
  committed.change_row = std::move(step.change_row);
  // Scans of any view may come upon these keys from now on; what they find is as of their own sequence.
  absl::MutexLock lock(&store_->mutex);
  auto transitions = std::make_shared<TransitionList>(*store_->transitions);
  transitions->push_back(committed.rows);
  store_->transitions = std::move(transitions);
  return committed;
}

// The window after a step, and in `unserved` the blocks that are not served any more.
void EngineImpl::AdvanceWindow(const PublishedTransition& step, BlockWindow& window, BlockWindow& unserved) {
  const uint64_t number = step.record->block.number;
  if (window.empty()) store_->oldest_served = number;
  if (step.rolled_back_to) {
    ++store_->rollbacks;
    while (!window.empty() && window.back()->block.number >= number) window.pop_back();
  }
  window.push_back(step.record);
  store_->applied.Add(step.record->sequence, number, step.rolled_back_to.has_value(), DurableSequence());
  const uint64_t keep = keep_blocks_;
  if (number > keep) store_->oldest_served = std::max(store_->oldest_served, number - keep);
  const auto first = std::find_if(window.begin(), window.end(), [&](const std::shared_ptr<const BlockRecord>& record) {
    store_->mutex.AssertHeld();
    return record->block.number >= store_->oldest_served;
  });
  unserved.insert(unserved.end(), window.begin(), first);
  window.erase(window.begin(), first);
}

void EngineImpl::Announce(const BlockInfo& block, bool rolled_back) {
  events_.push_back({block, rolled_back});
  ++next_event_;
  if (events_.size() > kEventsKept) events_.pop_front();
}

void EngineImpl::Publish(std::vector<PublishedTransition> committed) {
  ViewPtr head;
  BlockWindow unserved;
  uint64_t oldest;
  {
    absl::MutexLock lock(&store_->mutex);
    auto window = std::make_shared<BlockWindow>(*store_->window);
    for (const PublishedTransition& step : committed) {
      AdvanceWindow(step, *window, unserved);
      store_->tries.push_back(step.trie);
    }
    oldest = store_->oldest_served;
    store_->window = std::move(window);
    head = MakeView(*committed.back().record);
  }
  {
    absl::MutexLock lock(&head_mutex_);
    if (!has_blocks_ && head->block().number == 0) {
      absl::MutexLock state_lock(&state_mutex_);
      genesis_root_ = head->block().state_root;
      flusher_->SetGenesisRoot(head->block().state_root);
    }
    has_blocks_ = true;
    head_.swap(head);
    for (const PublishedTransition& step : committed) {
      Announce(step.record->block, step.rolled_back_to.has_value());
    }
  }
  head.reset();
  flusher_->SetOldest(oldest, false);
  uint64_t changes = 0;
  for (PublishedTransition& step : committed) {
    changes += step.transition->accounts.size() + step.transition->slots_changed;
    if (step.rolled_back_to) step.record = nullptr;
    history_->Submit(std::move(step));
  }
  {
    absl::MutexLock lock(&state_mutex_);
    for (const auto& record : unserved) {
      if (record->block.hash) pruned_hashes_.push_back(*record->block.hash);
    }
    while (pruned_hashes_.size() > kPrunedHashesKept) pruned_hashes_.pop_front();
  }
  if (options_.durability == Durability::kBatched && !replaying_) {
    unsynced_changes_ += changes;
    absl::MutexLock lock(&sync_mutex_);
    sync_wanted_ = true;
    if (unsynced_changes_ >= options_.batch_size) {
      sync_now_ = true;
      unsynced_changes_ = 0;
    }
  }
}

// Forgets versions that nobody can ask for: older than the window and every view, and in the tables.
void EngineImpl::TrimHistory() {
  std::vector<std::shared_ptr<const TransitionRows>> trimmed;
  uint64_t through;
  {
    absl::MutexLock lock(&store_->mutex);
    if (store_->window->empty()) return;
    through = store_->window->front()->sequence;
    if (!store_->live_views.empty()) through = std::min(through, *store_->live_views.begin());
    history_->TrimThrough(through);
    through = std::min(through, store_->flushed_sequence.load(std::memory_order_acquire));
    const TransitionList& all = *store_->transitions;
    const auto keep = std::find_if(all.begin(), all.end(), [&](const auto& t) { return t->sequence > through; });
    if (keep != all.begin()) {
      trimmed.assign(all.begin(), keep);
      store_->transitions = std::make_shared<TransitionList>(keep, all.end());
    }
    while (store_->tries.size() > kTriesKept && store_->tries[1]->sequence <= history_->indexed_sequence()) {
      store_->tries.pop_front();
    }
  }
  for (const auto& rows : trimmed) {
    for (const auto* entries : {&rows->accounts, &rows->slots, &rows->code}) store_->rows.TrimMany(*entries, through);
  }
}

uint64_t EngineImpl::ServeNewest(uint64_t keep) {
  const BlockWindow& window = *store_->window;
  if (window.empty()) return store_->oldest_served;
  const uint64_t head = window.back()->block.number;
  store_->oldest_served = std::max(store_->oldest_served, head > keep ? head - keep : 0);
  if (store_->oldest_served > window.front()->block.number) {
    const auto first = static_cast<ptrdiff_t>(store_->oldest_served - window.front()->block.number);
    store_->window = std::make_shared<BlockWindow>(window.begin() + first, window.end());
  }
  return store_->oldest_served;
}

// When the recent history takes too much memory, its older part is left to the tables. They are indexed when somebody
// asks for one of its blocks: after a bulk load nobody does, and the index costs as much as the load. What is kept for
// long is indexed as it goes, or the first question would wait for all of it.
void EngineImpl::LimitHistory() {
  const EngineLimits limits = this->limits();
  if (store_->nodes.bytes() <= limits.history_memory_bytes &&
      store_->rows.bytes() <= limits.row_cache_bytes + limits.history_memory_bytes) {
    return;
  }
  const FlushedState flushed = flusher_->flushed();
  absl::MutexLock lock(&store_->mutex);
  const BlockWindow& window = *store_->window;
  if (window.size() < 3) return;
  const size_t most = std::min(std::max<size_t>(1, window.size() / 8), window.size() - 2);
  size_t front = 0;
  while (front < most && window[front + 1]->sequence <= flushed.sequence) ++front;
  if (front == 0) return;
  if (keep_blocks_ > kIndexedOnDemand) flusher_->RequestIndex(window[front]->block.number);
  store_->window = std::make_shared<BlockWindow>(window.begin() + static_cast<ptrdiff_t>(front), window.end());
}

// A little of everything at every call, so that the writer never stops for long: once around in `cache_ttl`.
void EngineImpl::DropUnused(const EngineLimits& limits, const TrieRoot& newest, uint64_t flushed) {
  const absl::Time now = absl::Now();
  const absl::Duration passed = now - std::exchange(aged_at_, now);
  if (limits.cache_ttl <= absl::ZeroDuration()) return;
  const double share = std::min(absl::FDivDuration(passed, limits.cache_ttl), 1.0);
  parts_to_age_ += share * NodeCache::kParts;
  buckets_to_age_ += share * static_cast<double>(store_->rows.buckets());
  const auto parts = static_cast<unsigned>(parts_to_age_);
  const auto buckets = static_cast<size_t>(buckets_to_age_);
  parts_to_age_ -= parts;
  buckets_to_age_ -= static_cast<double>(buckets);
  nodes_->DropUnused(newest, flushed, parts);
  store_->rows.EvictTo(0, buckets);
}

void EngineImpl::Housekeeping() {
  LimitHistory();
  TrimHistory();
  uint64_t wait_for = 0;
  TrieRoot newest;
  {
    absl::MutexLock lock(&store_->mutex);
    if (store_->tries.size() > kTriesAtMost) wait_for = store_->tries[1]->sequence;
    newest = store_->tries.back()->root;
  }
  if (wait_for != 0) history_->WaitFor(wait_for);
  const uint64_t flushed = store_->flushed_sequence.load(std::memory_order_acquire);
  // A little below the limit: what readers ask for next has a place then.
  const EngineLimits limits = this->limits();
  const int64_t node_bytes = store_->node_bytes_limit.load(std::memory_order_relaxed);
  nodes_->EvictTo(node_bytes - node_bytes / 16, newest, flushed, kPartsAtOnce);
  store_->offers.MoveInto(store_->rows, flushed);
  // Not by how much is over the limit: rows of recent blocks cannot go, and would be looked at again and again.
  const size_t added = store_->rows.rows() - std::min(store_->rows.rows(), rows_left_);
  store_->rows.EvictTo(limits.row_cache_bytes, kEvictionSteps + kStepsARow * added);
  DropUnused(limits, newest, flushed);
  rows_left_ = store_->rows.rows();
  store_->row_epochs.Collect();
  store_->trie_epochs.Collect();
  if (!replaying_ && flushed / 2 > truncated_lsn_) {
    truncated_lsn_ = flushed / 2;
    // A segment that cannot be removed now is removed by the next start.
    (void)log_->TruncateThrough(truncated_lsn_);
  }
}

}  // namespace mptd
