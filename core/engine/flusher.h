// The write-behind queue and the thread that empties it into the tables. Internal to core/engine.
//
// Transitions come in order, each once its undo record is made. A flush takes all that are there as of one transition,
// merges them (a row that fifty blocks changed is written once) and hands everything to the store as one atomic batch,
// together with the row of `meta` that names the flushed transition. All methods are safe from any thread.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/engine/engine.h"
#include "core/engine/state_counts.h"
#include "core/engine/state_store.h"

namespace mptd {

// What a flush needs of one transition besides the state itself.
struct FlushItem {
  std::shared_ptr<const TransitionRows> rows;
  std::shared_ptr<const TrieSnapshot> trie;  // after the transition; kept for the newest item only
  // A block: its rows of `history` and `changelog`. Nothing for a rollback.
  std::optional<BlockInfo> block;
  Bytes undo_row;
  Bytes change_row;
  // A rollback: the block that is the head again.
  std::optional<BlockInfo> rolled_back_to;
  // The first of two transitions that one record of the log made: they reach the tables together.
  bool first_half = false;
  // Rows of branches that are gone, by table key.
  std::vector<Bytes> removed_account_nodes;
  std::vector<Bytes> removed_slot_nodes;
  StateCountsChange counts;
};

// The row "state" of `meta`: what the tables hold.
struct FlushedState {
  uint64_t sequence = 0;
  BlockInfo head;
  uint64_t oldest = 0;           // the oldest block with a row in `history`
  uint64_t indexed_through = 0;  // `history_index` covers the undo records of blocks up to here
  std::optional<Hash> genesis_root;
  StateCounts counts;  // in a row of its own
};
Bytes EncodeFlushedState(const FlushedState& state);
absl::StatusOr<FlushedState> DecodeFlushedState(BytesView row);

class Flusher {
 public:
  struct Options {
    uint64_t flush_blocks = 256;
    uint64_t flush_bytes = 64u << 20;
    absl::Duration interval = absl::Seconds(5);
    absl::Duration retry = absl::Milliseconds(250);  // after a failure
    uint64_t prune_interval = 64;
    uint64_t max_prune_blocks = UINT64_MAX;  // a flush
    std::function<void(const EngineEvent&)> on_event;
    // A flush that failed, and how many branches wait for it; it is tried again. Must not call back.
    std::function<void(const absl::Status&, uint64_t waiting)> on_failure;
  };

  Flusher(std::shared_ptr<StateStore> store, Options options, FlushedState flushed);
  // Stops the thread without flushing.
  ~Flusher();
  Flusher(const Flusher&) = delete;
  Flusher& operator=(const Flusher&) = delete;

  void Add(FlushItem item) ABSL_LOCKS_EXCLUDED(mutex_);
  // What waits to be flushed of one transition: so much more, or less where dirty nodes were replaced.
  struct Queued {
    int64_t bytes = 0;
    int64_t nodes = 0;
  };
  // The writer's account of it, since the transition before `sequence`.
  void AddQueued(uint64_t sequence, const Queued& queued) ABSL_LOCKS_EXCLUDED(mutex_);
  uint64_t queued_bytes() const ABSL_LOCKS_EXCLUDED(mutex_);
  uint64_t queued_nodes() const ABSL_LOCKS_EXCLUDED(mutex_);
  uint64_t queued_blocks() const ABSL_LOCKS_EXCLUDED(mutex_);
  // False when there is still not room at the deadline.
  bool WaitForRoom(uint64_t max_bytes, absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);

  // Flushes at least up to `sequence`, which must have been, or come to be, added; the error of the flush otherwise.
  absl::Status FlushThrough(uint64_t sequence) ABSL_LOCKS_EXCLUDED(mutex_);
  // So many bytes in the queue are flushed at once. Takes the place of Options::flush_bytes.
  void SetFlushBytes(uint64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  // Rows of history below this block are to go with the next flush.
  void SetOldest(uint64_t number, bool now) ABSL_LOCKS_EXCLUDED(mutex_);
  // Blocks up to this one are to be found through `history_index`, as soon as they are flushed.
  void RequestIndex(uint64_t through) ABSL_LOCKS_EXCLUDED(mutex_);
  // The same, and waits for it. OUT_OF_RANGE when the block is not in the tables.
  absl::Status IndexThrough(uint64_t through) ABSL_LOCKS_EXCLUDED(mutex_);
  void SetGenesisRoot(const Hash& root) ABSL_LOCKS_EXCLUDED(mutex_);
  FlushedState flushed() const ABSL_LOCKS_EXCLUDED(mutex_);
  // After the newest transition that was added.
  StateCounts counts() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Runs `work` while no flush is running.
  absl::Status WithoutFlush(const std::function<absl::Status()>& work) ABSL_LOCKS_EXCLUDED(flush_mutex_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits until `reached`, unless the thread stops or its next try fails; then the error that says which.
  absl::Status WaitUntil(absl::FunctionRef<bool()> reached) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool ShouldFlush() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  absl::Status FlushOnce() ABSL_LOCKS_EXCLUDED(mutex_, flush_mutex_);
  std::shared_ptr<const TrieSnapshot> FindTrie(uint64_t sequence) const;
  absl::Status PutBack(std::vector<FlushItem> items, absl::Status status) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status IndexSome() ABSL_LOCKS_EXCLUDED(mutex_, flush_mutex_);
  bool PruneBehind() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return prune_wanted_ > flushed_.oldest; }
  bool IndexBehind() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return std::min(index_wanted_, flushed_.head.number) > flushed_.indexed_through;
  }

  const std::shared_ptr<StateStore> store_;
  const Options options_;

  absl::Mutex flush_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);  // held during a flush
  mutable absl::Mutex mutex_;
  std::deque<FlushItem> items_ ABSL_GUARDED_BY(mutex_);
  std::deque<FlushItem> held_ ABSL_GUARDED_BY(mutex_);                     // first halves, until the second comes
  std::deque<std::pair<uint64_t, Queued>> queue_ ABSL_GUARDED_BY(mutex_);  // sequence, what waits of it
  Queued queued_ ABSL_GUARDED_BY(mutex_);                                  // the sum
  uint64_t flush_bytes_ ABSL_GUARDED_BY(mutex_);
  uint64_t wanted_ ABSL_GUARDED_BY(mutex_) = 0;  // somebody waits for this sequence
  absl::Time last_flush_ ABSL_GUARDED_BY(mutex_) = absl::Now();
  absl::Status last_status_ ABSL_GUARDED_BY(mutex_);
  uint64_t attempts_ ABSL_GUARDED_BY(mutex_) = 0;
  FlushedState flushed_ ABSL_GUARDED_BY(mutex_);
  StateCounts counts_ ABSL_GUARDED_BY(mutex_);
  uint64_t oldest_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t prune_wanted_ ABSL_GUARDED_BY(mutex_) = 0;  // blocks below are to leave the tables now
  uint64_t index_wanted_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<Hash> genesis_root_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace mptd
