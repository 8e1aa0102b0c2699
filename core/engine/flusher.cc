#include "core/engine/flusher.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "core/byte_io.h"
#include "core/engine/flush_batch.h"
#include "core/engine/history_indexer.h"
#include "core/engine/stored_state.h"
#include "core/engine/undo_record.h"
#include "storage/thread_name.h"

namespace mptd {
namespace {

using storage::Table;

constexpr uint8_t kHasHash = 1;
constexpr uint8_t kHasParentHash = 2;
constexpr uint8_t kHasGenesis = 4;

// The rows of `history` and `changelog` that the items leave: blocks that a rollback took back are not written, and
// what an earlier flush wrote of them goes. Returns the lowest block that was rolled back to.
uint64_t AddBlockRows(std::span<const FlushItem> items, const FlushedState& before, uint64_t oldest,
                      FlushBatch& batch) {
  std::map<uint64_t, const FlushItem*> blocks;
  uint64_t cut = UINT64_MAX;
  for (const FlushItem& item : items) {
    if (item.rolled_back_to) {
      blocks.erase(blocks.upper_bound(item.rolled_back_to->number), blocks.end());
      cut = std::min(cut, item.rolled_back_to->number);
    }
    if (item.block) blocks[item.block->number] = &item;
  }
  if (before.sequence != 0 && cut < before.head.number) {
    for (uint64_t number = cut + 1; number <= before.head.number; ++number) {
      if (blocks.contains(number)) continue;
      batch.Put(Table::kHistory, BlockKey(number), std::nullopt);
      batch.Put(Table::kChangeLog, BlockKey(number), std::nullopt);
    }
  }
  for (const auto& [number, item] : blocks) {
    if (number < oldest) continue;
    batch.PutLarge(Table::kHistory, BlockKey(number), item->undo_row);
    batch.PutLarge(Table::kChangeLog, BlockKey(number), item->change_row);
  }
  return cut;
}

}  // namespace

Bytes EncodeFlushedState(const FlushedState& state) {
  Bytes row;
  ByteWriter out(row);
  out.U64(state.sequence);
  out.U64(state.oldest);
  out.U64(state.indexed_through);
  out.U64(state.head.number);
  out.Fixed(state.head.state_root);
  out.U8(static_cast<uint8_t>((state.head.hash ? kHasHash : 0) | (state.head.parent_hash ? kHasParentHash : 0) |
                              (state.genesis_root ? kHasGenesis : 0)));
  if (state.head.hash) out.Fixed(*state.head.hash);
  if (state.head.parent_hash) out.Fixed(*state.head.parent_hash);
  if (state.genesis_root) out.Fixed(*state.genesis_root);
  return row;
}

absl::StatusOr<FlushedState> DecodeFlushedState(BytesView row) {
  ByteReader in(row);
  FlushedState state;
  state.sequence = in.U64();
  state.oldest = in.U64();
  state.indexed_through = in.U64();
  state.head.number = in.U64();
  state.head.state_root = in.Fixed<Hash>();
  const uint8_t flags = in.U8();
  if ((flags & kHasHash) != 0) state.head.hash = in.Fixed<Hash>();
  if ((flags & kHasParentHash) != 0) state.head.parent_hash = in.Fixed<Hash>();
  if ((flags & kHasGenesis) != 0) state.genesis_root = in.Fixed<Hash>();
  if (!in.done()) return absl::DataLossError("table meta, row \"state\" is damaged");
  return state;
}

Flusher::Flusher(std::shared_ptr<StateStore> store, Options options, FlushedState flushed)
    : store_(std::move(store)),
      options_(std::move(options)),
      flush_bytes_(options_.flush_bytes),
      flushed_(std::move(flushed)),
      counts_(flushed_.counts),
      oldest_(flushed_.oldest) {
  thread_ = std::thread([this] {
    storage::NameThisThread("mptd-flush");
    storage::LetOthersGoFirst();
    Run();
  });
}

Flusher::~Flusher() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void Flusher::Add(FlushItem item) {
  absl::MutexLock lock(&mutex_);
  AddTo(counts_, item.counts);
  if (item.first_half) {
    item.trie.reset();
    held_.push_back(std::move(item));
    return;
  }
  // Only the newest trie is flushed; the older ones need not be kept for it.
  if (!items_.empty()) items_.back().trie.reset();
  items_.insert(items_.end(), std::make_move_iterator(held_.begin()), std::make_move_iterator(held_.end()));
  held_.clear();
  items_.push_back(std::move(item));
}

void Flusher::AddQueued(uint64_t sequence, const Queued& queued) {
  absl::MutexLock lock(&mutex_);
  queue_.emplace_back(sequence, queued);
  queued_.bytes += queued.bytes;
  queued_.nodes += queued.nodes;
}

uint64_t Flusher::queued_bytes() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<uint64_t>(std::max<int64_t>(queued_.bytes, 0));
}

uint64_t Flusher::queued_nodes() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<uint64_t>(std::max<int64_t>(queued_.nodes, 0));
}

uint64_t Flusher::queued_blocks() const {
  absl::MutexLock lock(&mutex_);
  return queue_.size();
}

StateCounts Flusher::counts() const {
  absl::MutexLock lock(&mutex_);
  return counts_;
}

void Flusher::SetFlushBytes(uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  flush_bytes_ = bytes;
}

bool Flusher::WaitForRoom(uint64_t max_bytes, absl::Time deadline) {
  absl::MutexLock lock(&mutex_);
  const auto room = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return queued_.bytes <= static_cast<int64_t>(max_bytes) || stopping_;
  };
  return mutex_.AwaitWithDeadline(absl::Condition(&room), deadline);
}

absl::Status Flusher::WaitUntil(absl::FunctionRef<bool()> reached) {
  const uint64_t attempts = attempts_;
  const auto done = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return reached() || stopping_ || (attempts_ > attempts && !last_status_.ok());
  };
  mutex_.Await(absl::Condition(&done));
  if (reached()) return absl::OkStatus();
  return stopping_ ? absl::UnavailableError("the daemon is shutting down") : last_status_;
}

absl::Status Flusher::FlushThrough(uint64_t sequence) {
  absl::MutexLock lock(&mutex_);
  wanted_ = std::max(wanted_, sequence);
  absl::Status status =
      WaitUntil([&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return flushed_.sequence >= sequence && !PruneBehind(); });
  return flushed_.sequence >= sequence ? absl::OkStatus() : status;
}

void Flusher::SetOldest(uint64_t number, bool now) {
  absl::MutexLock lock(&mutex_);
  oldest_ = std::max(oldest_, number);
  if (now) prune_wanted_ = oldest_;
}

void Flusher::RequestIndex(uint64_t through) {
  absl::MutexLock lock(&mutex_);
  index_wanted_ = std::max(index_wanted_, through);
}

absl::Status Flusher::IndexThrough(uint64_t through) {
  absl::MutexLock lock(&mutex_);
  index_wanted_ = std::max(index_wanted_, through);
  absl::Status status = WaitUntil([&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return flushed_.indexed_through >= through || flushed_.head.number < through;
  });
  if (!status.ok() || flushed_.indexed_through >= through) return status;
  return absl::OutOfRangeError(absl::StrCat("block ", through, " has just been rolled back"));
}

void Flusher::SetGenesisRoot(const Hash& root) {
  absl::MutexLock lock(&mutex_);
  genesis_root_ = root;
}

FlushedState Flusher::flushed() const {
  absl::MutexLock lock(&mutex_);
  return flushed_;
}

absl::Status Flusher::WithoutFlush(const std::function<absl::Status()>& work) {
  absl::MutexLock lock(&flush_mutex_);
  return work();
}

bool Flusher::ShouldFlush() const {
  if (stopping_) return true;
  if (PruneBehind() || IndexBehind()) return true;
  if (items_.empty()) return false;
  return wanted_ > flushed_.sequence || queued_.bytes >= static_cast<int64_t>(flush_bytes_) ||
         items_.size() >= options_.flush_blocks || absl::Now() - last_flush_ >= options_.interval;
}

void Flusher::Run() {
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      while (!ShouldFlush()) {
        mutex_.AwaitWithTimeout(absl::Condition(this, &Flusher::ShouldFlush), absl::Milliseconds(250));
      }
      if (stopping_) return;
    }
    absl::Status status = FlushOnce();
    if (status.ok()) status = IndexSome();
    absl::MutexLock lock(&mutex_);
    last_status_ = status;
    ++attempts_;
    last_flush_ = absl::Now();
    if (status.ok()) continue;
    options_.on_failure(status, static_cast<uint64_t>(std::max<int64_t>(queued_.nodes, 0)));
    const auto stop = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopping_; };
    mutex_.AwaitWithTimeout(absl::Condition(&stop), options_.retry);
  }
}

std::shared_ptr<const TrieSnapshot> Flusher::FindTrie(uint64_t sequence) const {
  absl::MutexLock lock(&store_->mutex);
  for (const auto& trie : store_->tries) {
    if (trie->sequence == sequence) return trie;
  }
  return nullptr;
}

// After a failure: the items wait for the next try.
absl::Status Flusher::PutBack(std::vector<FlushItem> items, absl::Status status) {
  absl::MutexLock lock(&mutex_);
  if (!items.empty() && !items_.empty()) items.back().trie.reset();
  items_.insert(items_.begin(), std::make_move_iterator(items.begin()), std::make_move_iterator(items.end()));
  return status;
}

// A part of the index that is asked for, in a batch of its own.
absl::Status Flusher::IndexSome() {
  absl::MutexLock flush_lock(&flush_mutex_);
  FlushedState after;
  uint64_t through;
  {
    absl::MutexLock lock(&mutex_);
    if (!IndexBehind()) return absl::OkStatus();
    after = flushed_;
    through = std::min(index_wanted_, flushed_.head.number);
  }
  FlushBatch batch;
  const uint64_t from = std::max(after.indexed_through, after.oldest);
  absl::StatusOr<uint64_t> done = IndexBlocks(*store_->kv, from, through, batch);
  if (!done.ok()) return done.status();
  after.indexed_through = *done;
  batch.Put(Table::kMeta, kStateKey, EncodeFlushedState(after));
  std::vector<storage::TableBatch> batches = batch.Finish();
  if (absl::Status s = store_->kv->Ingest(batches); !s.ok()) return s;
  absl::MutexLock lock(&mutex_);
  flushed_.indexed_through = *done;
  return absl::OkStatus();
}

absl::Status Flusher::FlushOnce() {
  absl::MutexLock flush_lock(&flush_mutex_);
  const absl::Time start = absl::Now();
  std::vector<FlushItem> items;
  FlushedState before;
  FlushedState after;
  bool prune;
  {
    absl::MutexLock lock(&mutex_);
    items.assign(std::make_move_iterator(items_.begin()), std::make_move_iterator(items_.end()));
    items_.clear();
    before = after = flushed_;
    if (genesis_root_) after.genesis_root = genesis_root_;
    prune = oldest_ > flushed_.oldest && (PruneBehind() || oldest_ - flushed_.oldest >= options_.prune_interval);
    // The first block may have any number; no history is dropped below it.
    const uint64_t step = flushed_.sequence == 0 ? oldest_ : std::min(options_.max_prune_blocks, oldest_);
    if (prune) after.oldest = std::min(oldest_, flushed_.oldest + step);
  }
  if (!items.empty() && items.back().trie == nullptr) {
    // Left by a flush that failed. The newest transition's trie is kept; if this is not the newest, the next one is on
    // its way.
    items.back().trie = FindTrie(items.back().rows->sequence);
    if (items.back().trie == nullptr)
      return PutBack(std::move(items), absl::UnavailableError("waiting for the next block"));
  }
  FlushBatch batch;
  const storage::EpochPin row_pin(store_->row_epochs);
  if (!items.empty()) {
    after.sequence = items.back().rows->sequence;
    for (const FlushItem& item : items) {
      AddTo(after.counts, item.counts);
      if (item.rolled_back_to) after.head = *item.rolled_back_to;
      if (item.block) after.head = *item.block;
      if (item.block && before.sequence == 0 && after.oldest == 0) after.oldest = items.front().block->number;
    }
    batch.AddFlatRows(items, after.sequence);
    batch.AddBranches(items.back().trie->root, before.sequence, items);
    const uint64_t cut = AddBlockRows(items, before, after.oldest, batch);
    if (cut < before.indexed_through) {
      if (absl::Status s = CutIndex(*store_->kv, cut, before.indexed_through, batch); !s.ok()) {
        return PutBack(std::move(items), s);
      }
      after.indexed_through = cut;
    }
  }
  if (prune) {
    if (before.indexed_through >= before.oldest) {
      const IndexedBlocks indexed{before.oldest, after.indexed_through};
      if (absl::Status s = PruneIndex(*store_->kv, indexed, after.oldest, batch); !s.ok()) {
        return PutBack(std::move(items), s);
      }
    }
    batch.DeleteRange(Table::kHistory, BlockKey(before.oldest), BlockKey(after.oldest));
    batch.DeleteRange(Table::kChangeLog, BlockKey(before.oldest), BlockKey(after.oldest));
  }
  batch.Put(Table::kMeta, kStateKey, EncodeFlushedState(after));
  batch.Put(Table::kMeta, kCountsKey, EncodeCounts(after.sequence, after.counts));
  // The trie has been copied; what was replaced since need not wait for the files to be written.
  if (!items.empty()) items.back().trie.reset();
  std::vector<storage::TableBatch> batches = batch.Finish();
  if (absl::Status s = store_->kv->Ingest(batches); !s.ok()) return PutBack(std::move(items), s);
  absl::MutexLock lock(&mutex_);
  store_->flushed_sequence.store(after.sequence, std::memory_order_release);
  flushed_ = after;
  store_->index_floor->store(after.oldest, std::memory_order_relaxed);
  while (!queue_.empty() && queue_.front().first <= after.sequence) {
    queued_.bytes -= queue_.front().second.bytes;
    queued_.nodes -= queue_.front().second.nodes;
    queue_.pop_front();
  }
  const absl::Duration took = absl::Now() - start;
  options_.on_event({EngineEvent::Kind::kFlushed, after.head.number, batch.rows(), took, {}});
  if (prune) options_.on_event({EngineEvent::Kind::kPruned, after.oldest, after.oldest - before.oldest, took, {}});
  return absl::OkStatus();
}

}  // namespace mptd
