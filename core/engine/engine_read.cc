// What readers ask of the engine: views of blocks, heads as they come, and how it is. Any thread.
#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/engine/engine_impl.h"
#include "core/engine/history_indexer.h"
#include "core/engine/undo_record.h"
#include "core/errors.h"
#include "core/hex.h"
#include "storage/data_keys.h"
#include "storage/posix_error.h"

namespace mptd {

using storage::Table;

// The trie of just this transition when it is kept; else the oldest that is, which is newer: all undo entries up to it
// are indexed, and lead back from it.
std::shared_ptr<const TrieSnapshot> EngineImpl::TrieFor(uint64_t sequence) const {
  for (const auto& kept : store_->tries) {
    if (kept->sequence == sequence) return kept;
  }
  return store_->tries.front();
}

EngineImpl::ViewPtr EngineImpl::MakeView(const BlockRecord& record) const {
  ViewImpl::Parts parts;
  parts.sequence = record.sequence;
  parts.block = record.block;
  parts.trie = TrieFor(record.sequence);
  if (parts.trie->sequence != record.sequence) parts.old_trie = store_->old_tries.Of(record.sequence);
  store_->live_views.insert(record.sequence);
  return std::make_shared<ViewImpl>(store_, std::move(parts));
}

EngineImpl::ViewPtr EngineImpl::Head() const {
  absl::MutexLock lock(&head_mutex_);
  return head_;
}

absl::Status EngineImpl::NotServed(const std::string& what) const {
  const BlockWindow& window = *store_->window;
  if (window.empty()) {
    return WithReason(absl::FailedPreconditionError("no block has been applied yet"), "NO_BLOCKS");
  }
  return WithReason(absl::OutOfRangeError(absl::StrFormat("%s is not served; blocks %d to %d are", what,
                                                          store_->oldest_served, window.back()->block.number)),
                    "NOT_SERVED");
}

namespace {

bool IsCalled(const BlockInfo& block, const BlockSelector& selector) {
  if (const auto* hash = std::get_if<BlockByHash>(&selector)) return block.hash == hash->hash;
  if (const auto* root = std::get_if<BlockByRoot>(&selector)) return block.state_root == root->root;
  return true;
}

}  // namespace

absl::StatusOr<EngineImpl::ViewPtr> EngineImpl::FindView(const BlockSelector& selector) const {
  if (std::holds_alternative<LatestBlock>(selector)) return Head();
  std::optional<uint64_t> on_disk;
  {
    absl::MutexLock lock(&store_->mutex);
    const BlockWindow& window = *store_->window;
    if (const auto* number = std::get_if<uint64_t>(&selector)) {
      if (!window.empty() && *number >= window.front()->block.number && *number <= window.back()->block.number) {
        return MakeView(*window[*number - window.front()->block.number]);
      }
      if (window.empty() || *number < store_->oldest_served || *number > window.back()->block.number) {
        return NotServed(absl::StrCat("block ", *number));
      }
      on_disk = *number;
    } else {
      for (auto record = window.rbegin(); record != window.rend(); ++record) {
        if (IsCalled((*record)->block, selector)) return MakeView(**record);
      }
    }
  }
  if (!on_disk) {
    if (absl::Status s = IndexOnDisk(); !s.ok()) return s;
    absl::StatusOr<std::optional<uint64_t>> indexed = FindIndexed(selector);
    if (!indexed.ok()) return indexed.status();
    on_disk = *indexed;
  }
  if (on_disk) {
    absl::StatusOr<ViewPtr> view = ViewOnDisk(*on_disk);
    // A rollback since may have put another block at this number.
    if (!view.ok() || IsCalled((*view)->block(), selector)) return view;
  }
  if (const auto* hash = std::get_if<BlockByHash>(&selector)) {
    absl::MutexLock state_lock(&state_mutex_);
    if (std::find(pruned_hashes_.begin(), pruned_hashes_.end(), hash->hash) == pruned_hashes_.end()) {
      return WithReason(absl::NotFoundError(absl::StrCat("no served block has hash ", ToHex(hash->hash))),
                        "UNKNOWN_HASH");
    }
  }
  absl::MutexLock lock(&store_->mutex);
  if (const auto* hash = std::get_if<BlockByHash>(&selector)) {
    return NotServed(absl::StrCat("the block with hash ", ToHex(hash->hash)));
  }
  return NotServed(absl::StrCat("a block with state root ", ToHex(std::get<BlockByRoot>(selector).root)));
}

// Waits until every block that is served from the tables is indexed.
absl::Status EngineImpl::IndexOnDisk() const {
  uint64_t through = 0;
  {
    absl::MutexLock lock(&store_->mutex);
    const BlockWindow& window = *store_->window;
    if (window.empty() || store_->oldest_served >= window.front()->block.number) return absl::OkStatus();
    through = window.front()->block.number;
  }
  return flusher_->IndexThrough(through);
}

// The number of the newest block that is served from the tables and has this hash or root.
absl::StatusOr<std::optional<uint64_t>> EngineImpl::FindIndexed(const BlockSelector& selector) const {
  const auto* hash = std::get_if<BlockByHash>(&selector);
  const auto* root = std::get_if<BlockByRoot>(&selector);
  std::optional<uint64_t> found;
  if (hash == nullptr && root == nullptr) return found;
  const Bytes name = hash != nullptr ? HashName(hash->hash) : RootName(root->root);
  const std::unique_ptr<storage::Iterator> row = store_->kv->NewIterator(Table::kMeta);
  for (row->Seek(name); row->Valid() && row->key().starts_with(name); row->Next()) {
    const uint64_t number = BlockNumberOf(row->key());
    absl::MutexLock lock(&store_->mutex);
    const BlockWindow& window = *store_->window;
    // Rows of blocks that have been rolled back or pruned go with the next flush.
    if (!window.empty() && number < window.front()->block.number && number >= store_->oldest_served) found = number;
  }
  if (!row->status().ok()) return row->status();
  return found;
}

absl::StatusOr<EngineImpl::ViewPtr> EngineImpl::ViewOnDisk(uint64_t number) const {
  while (true) {
    uint64_t rollbacks;
    {
      absl::MutexLock lock(&store_->mutex);
      rollbacks = store_->rollbacks;
    }
    absl::StatusOr<ViewPtr> view = TryViewOnDisk(number, rollbacks);
    absl::MutexLock lock(&store_->mutex);
    // What the index said is then of the chain that memory spoke of, as its reader stays at what it saw.
    if (rollbacks == store_->rollbacks && number >= store_->oldest_served) return view;
    if (number < store_->oldest_served || number > store_->window->back()->block.number) {
      return NotServed(absl::StrCat("block ", number));
    }
  }
}

absl::StatusOr<EngineImpl::ViewPtr> EngineImpl::TryViewOnDisk(uint64_t number, uint64_t rollbacks) const {
  ViewImpl::Parts parts;
  uint64_t front = 0;
  {
    absl::MutexLock lock(&store_->mutex);
    for (const std::shared_ptr<const BlockRecord>& record : *store_->window) {
      if (record->block.number == number) return MakeView(*record);
    }
    front = store_->window->front()->block.number;
    parts.sequence = store_->window->front()->sequence;
    parts.trie = TrieFor(parts.sequence);
    store_->live_views.insert(parts.sequence);
  }
  const uint64_t sequence = parts.sequence;
  absl::Status status = flusher_->IndexThrough(front);
  if (status.ok()) {
    parts.history = std::make_unique<HistoryReader>(*store_->kv, number);
    absl::StatusOr<std::optional<BlockRecord>> record = records_on_disk_.Of(*store_->kv, number, rollbacks);
    if (record.ok() && record->has_value()) {
      parts.block = (*record)->block;
      parts.old_trie = store_->old_tries.Of((*record)->sequence);
      return ViewPtr(std::make_shared<ViewImpl>(store_, std::move(parts)));
    }
    // Unless it has just been pruned, which the caller looks for.
    status = record.ok() ? absl::DataLossError(absl::StrCat("table history has no row for block ", number))
                         : record.status();
  }
  absl::MutexLock lock(&store_->mutex);
  store_->live_views.erase(store_->live_views.find(sequence));
  return status;
}

absl::StatusOr<StateViewPtr> EngineImpl::View(const BlockSelector& block) const {
  absl::StatusOr<ViewPtr> view = FindView(block);
  if (!view.ok()) return store_->damage.Tell(view.status());
  return StateViewPtr(*std::move(view));
}

uint64_t EngineImpl::DurableSequence() const {
  const uint64_t flushed = store_->flushed_sequence.load(std::memory_order_acquire);
  // While the log is being replayed there is nobody to tell.
  return log_ == nullptr ? flushed : std::max(2 * log_->durable_lsn() + 1, flushed);
}

uint64_t EngineImpl::DurableNumber() const {
  const uint64_t sequence = DurableSequence();
  absl::MutexLock lock(&store_->mutex);
  return store_->applied.NewestDurable(sequence);
}

bool EngineImpl::IsDurable(uint64_t number) const { return number <= DurableNumber(); }

ApplyResult EngineImpl::ResultOf(const BlockInfo& block, ApplyResult result) const {
  result.block = block;
  result.durable_number = DurableNumber();
  result.durable = block.number <= result.durable_number;
  return result;
}

uint64_t EngineImpl::NextHeadIndex() const {
  absl::MutexLock lock(&head_mutex_);
  return next_event_;
}

absl::StatusOr<std::optional<HeadEvent>> EngineImpl::WaitForHead(uint64_t index, absl::Time deadline) const {
  absl::MutexLock lock(&head_mutex_);
  const auto there = [&]() ABSL_SHARED_LOCKS_REQUIRED(head_mutex_) { return next_event_ > index; };
  if (!head_mutex_.AwaitWithDeadline(absl::Condition(&there), deadline)) return std::optional<HeadEvent>();
  const uint64_t first = next_event_ - events_.size();
  if (index < first) {
    return absl::OutOfRangeError("the follower is too far behind; start again from the head");
  }
  return std::optional<HeadEvent>(events_[index - first]);
}

EngineStatus EngineImpl::Status() const {
  EngineStatus status;
  {
    absl::MutexLock lock(&head_mutex_);
    status.has_blocks = has_blocks_;
    status.head = head_->block();
    // Both at one time: a window that ends before it begins would puzzle whoever reads this.
    absl::MutexLock store_lock(&store_->mutex);
    status.oldest_served_number = store_->oldest_served;
  }
  status.durable_number = DurableNumber();
  status.flushed_number = flusher_->flushed().head.number;
  {
    absl::MutexLock lock(&state_mutex_);
    status.read_only = read_only_;
    status.read_only_reason = read_only_reason_;
    status.genesis_root = genesis_root_;
  }
  status.queue_blocks = flusher_->queued_blocks();
  status.queue_bytes = flusher_->queued_bytes();
  status.disk_bytes = store_->kv->Stats().disk_bytes;
  status.node_cache_bytes =
      static_cast<uint64_t>(std::max<int64_t>(store_->node_bytes.load(std::memory_order_relaxed), 0));
  status.row_cache_bytes = store_->rows.bytes();
  status.history_bytes = store_->nodes.bytes();
  status.change_log_bytes = log_->disk_bytes();
  status.disk_bytes += status.change_log_bytes;
  status.format_version = storage::FormatVersion(/*encrypted=*/keys_ != nullptr);
  status.writer_turns = writer_turns_.load(std::memory_order_relaxed);
  status.warming = warmer_ != nullptr && warmer_->running();
  return status;
}

EngineStatistics EngineImpl::Statistics() const {
  EngineStatistics out;
  out.counts = flusher_->counts();
  out.dirty_nodes = flusher_->queued_nodes();
  for (size_t i = 0; i < kCacheKinds; ++i) out.lookups[i] = store_->lookups.Read(static_cast<CacheKind>(i));
  out.cached_rows = store_->rows.rows();
  out.evicted_rows = store_->rows.evicted();
  out.evicted_nodes = nodes_->evicted();
  const storage::StoreStats store = store_->kv->Stats();
  for (size_t i = 0; i < storage::kTableCount; ++i) {
    const auto table = static_cast<Table>(i);
    out.tables.push_back({std::string(storage::TableName(table)), store.table_bytes[i]});
    const bool of_tries = table == Table::kAccounts || table == Table::kSlots || table == Table::kAccountNodes ||
                          table == Table::kSlotNodes;
    if (of_tries) out.trie_disk_bytes += store.table_bytes[i];
  }
  out.store_memory_bytes = store.memory_bytes;
  out.running_compactions = store.running_compactions;
  out.pending_compaction_bytes = store.pending_compaction_bytes;
  out.store_counters = store_->kv->Counters();
  return out;
}

EngineLimits EngineImpl::limits() const {
  absl::MutexLock lock(&limits_mutex_);
  return limits_;
}

void EngineImpl::SetLimits(const EngineLimits& limits) {
  {
    absl::MutexLock lock(&limits_mutex_);
    limits_ = limits;
  }
  store_->node_bytes_limit.store(static_cast<int64_t>(limits.node_cache_bytes), std::memory_order_relaxed);
  store_->kv->SetCacheBytes(limits.block_cache_bytes);
  flusher_->SetFlushBytes(limits.queue_bytes / 2);
  if (!options_.archive) keep_blocks_ = limits.keep_blocks;
}

void EngineImpl::BecomeReadOnly(std::string why, EngineEvent::Kind kind) {
  {
    absl::MutexLock lock(&state_mutex_);
    if (read_only_) return;
    read_only_ = true;
    read_only_reason_ = why;
    read_only_code_ =
        kind == EngineEvent::Kind::kCorruption ? absl::StatusCode::kDataLoss : absl::StatusCode::kUnavailable;
  }
  Emit({kind, 0, 0, {}, std::move(why)});
}

absl::Status EngineImpl::ReadOnlyError() const {
  absl::MutexLock lock(&state_mutex_);
  if (!read_only_) return absl::OkStatus();
  return WithReason(absl::Status(read_only_code_, absl::StrCat("the daemon accepts no changes until it is restarted: ",
                                                               read_only_reason_)),
                    "READ_ONLY");
}

// Damaged data stops all writing: what is derived from it would be damaged too.
absl::Status EngineImpl::DamageFound(absl::Status status) {
  if (absl::IsDataLoss(status)) BecomeReadOnly(std::string(status.message()), EngineEvent::Kind::kCorruption);
  return status;
}

absl::StatusOr<BlockInfo> EngineImpl::Flush() {
  const ViewPtr head = Head();
  if (head->sequence() == 0) return head->block();
  history_->WaitFor(head->sequence());
  if (absl::Status s = flusher_->FlushThrough(head->sequence()); !s.ok()) return s;
  return head->block();
}

absl::StatusOr<BlockInfo> EngineImpl::Checkpoint(const std::string& dir) {
  absl::StatusOr<BlockInfo> flushed = Flush();
  if (!flushed.ok()) return flushed.status();
  absl::Status status = flusher_->WithoutFlush([&]() -> absl::Status {
    flushed = flusher_->flushed().head;
    std::error_code ignored;
    if (std::filesystem::exists(dir, ignored)) {
      return absl::AlreadyExistsError(absl::StrCat(dir, " exists; name a folder that does not"));
    }
    // FORMAT comes last: a copy without it is not taken for a data folder.
    if (absl::Status s = storage::MakeDirectory(dir); !s.ok()) return s;
    if (absl::Status s = store_->kv->Checkpoint(dir + "/db"); !s.ok()) return s;
    if (keys_ != nullptr) {
      if (absl::Status s = keys_->CopyTo(dir); !s.ok()) return s;
    }
    return storage::WriteFormat(dir, /*encrypted=*/keys_ != nullptr);
  });
  if (!status.ok()) return status;
  return flushed;
}

absl::StatusOr<KeyReport> EngineImpl::RotateKeys(const KeyRotation& rotation) {
  if (keys_ == nullptr) {
    return absl::FailedPreconditionError("the data is not encrypted, so that there is no key to rotate");
  }
  absl::MutexLock lock(&rotation_mutex_);
  const absl::StatusOr<storage::SecretKey> master = storage::ReadMasterKey(options_.encryption_key);
  if (!master.ok()) return master.status();
  if (absl::Status s = keys_->Rotate(*master, rotation.new_data_key); !s.ok()) return s;
  if (rotation.rewrite_tables) {
    if (absl::StatusOr<BlockInfo> flushed = Flush(); !flushed.ok()) return flushed.status();
    if (absl::Status s = store_->kv->Rewrite(); !s.ok()) return s;
  }
  return KeyReport{keys_->master_id(), keys_->current(), keys_->numbers()};
}

absl::Status EngineImpl::CheckKey() const {
  return storage::ReadDataKeys(lock_.dir(), options_.encryption_key).status();
}

absl::StatusOr<uint64_t> EngineImpl::Prune(uint64_t keep_blocks) {
  uint64_t pruned = 0;
  absl::Status status = RunOnWriter(
      [&]() -> absl::Status {
        if (absl::Status s = ReadOnlyError(); !s.ok()) return s;
        absl::MutexLock lock(&store_->mutex);
        const uint64_t before = store_->oldest_served;
        const uint64_t oldest = ServeNewest(keep_blocks);
        pruned = oldest - before;
        flusher_->SetOldest(oldest, true);
        return absl::OkStatus();
      },
      absl::InfiniteFuture());
  if (!status.ok()) return status;
  if (pruned > 0) {
    if (absl::StatusOr<BlockInfo> flushed = Flush(); !flushed.ok()) return flushed.status();
  }
  return pruned;
}

}  // namespace mptd
