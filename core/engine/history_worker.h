// Makes the undo records of transitions, behind the writer's back: the undo entries of branches, indexed in memory, and
// the rows of `history`. The thread belongs to the worker; Submit and the setters are safe from any thread. Internal to
// core/engine.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/engine/flusher.h"
#include "core/engine/state_store.h"
#include "core/engine/transition.h"
#include "core/engine/undo_record.h"

namespace mptd {

// A transition that has been published.
struct PublishedTransition {
  std::shared_ptr<const TransitionRows> rows;
  std::shared_ptr<const BlockRecord> record;  // null for a rollback
  std::optional<BlockInfo> rolled_back_to;
  bool first_half = false;
  std::unique_ptr<Transition> transition;
  std::unique_ptr<storage::EpochPin> trie_pin;  // taken before the replaced nodes were retired
  std::shared_ptr<const TrieSnapshot> trie;     // after it
  Bytes change_row;
};

class HistoryWorker {
 public:
  HistoryWorker(std::shared_ptr<StateStore> store, Flusher& flusher);
  // Finishes what has been submitted.
  ~HistoryWorker();
  HistoryWorker(const HistoryWorker&) = delete;
  HistoryWorker& operator=(const HistoryWorker&) = delete;

  void Submit(PublishedTransition published) ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits until everything up to `sequence` has been handed to the flusher.
  void WaitFor(uint64_t sequence) const ABSL_LOCKS_EXCLUDED(mutex_);
  // The newest transition whose undo entries are indexed.
  uint64_t indexed_sequence() const { return indexed_.load(std::memory_order_acquire); }
  size_t pending() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Undo entries of transitions up to here are not asked for any more.
  void TrimThrough(uint64_t sequence) { trim_.store(sequence, std::memory_order_release); }

  // Before any Submit: an undo record that was read from the table.
  void Load(uint64_t sequence, const std::vector<UndoRow>& account_nodes, const std::vector<UndoRow>& slot_nodes);
  void SetIndexed(uint64_t sequence) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  FlushItem Process(PublishedTransition& published);

  const std::shared_ptr<StateStore> store_;
  Flusher& flusher_;

  std::atomic<uint64_t> indexed_{0};
  std::atomic<uint64_t> trim_{0};
  mutable absl::Mutex mutex_;
  std::deque<PublishedTransition> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace mptd
