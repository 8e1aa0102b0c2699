// The state engine's parts put together. Internal to core/engine; the interface is engine.h.
//
// Threads: the writer runs everything that changes the state, one task at a time, and publishes it; the history worker
// makes undo records; the flusher writes the tables; in `batched` mode a fourth syncs the log. Another fills the caches
// after the start and ends. Readers run on their own threads.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/engine/cache_warmer.h"
#include "core/engine/engine.h"
#include "core/engine/flusher.h"
#include "core/engine/history_reader.h"
#include "core/engine/history_worker.h"
#include "core/engine/node_cache.h"
#include "core/engine/state_store.h"
#include "core/engine/transition.h"
#include "core/engine/view_impl.h"
#include "core/engine/worker_pool.h"
#include "storage/change_log.h"
#include "storage/data_dir.h"

namespace mptd {

class EngineImpl final : public StateEngine {
 public:
  EngineImpl(EngineOptions options, storage::DataDirLock lock);
  ~EngineImpl() override;

  // Recovers what the folder holds and starts the threads. Called once, before anything else.
  absl::Status Start();

  absl::StatusOr<ApplyResult> Apply(BlockChanges block, absl::Time deadline,
                                    const std::function<bool()>& cancelled) override;
  absl::StatusOr<BlockInfo> RollbackTo(const BlockSelector& block) override;
  absl::StatusOr<StateViewPtr> View(const BlockSelector& block) const override;
  bool IsDurable(uint64_t number) const override;
  absl::StatusOr<std::optional<HeadEvent>> WaitForHead(uint64_t index, absl::Time deadline) const override;
  uint64_t NextHeadIndex() const override;
  absl::StatusOr<BlockInfo> Flush() override;
  absl::StatusOr<BlockInfo> Checkpoint(const std::string& dir) override;
  absl::StatusOr<uint64_t> Prune(uint64_t keep_blocks) override;
  absl::StatusOr<KeyReport> RotateKeys(const KeyRotation& rotation) override;
  absl::Status CheckKey() const override;
  absl::StatusOr<VerifyReport> Verify(const std::function<bool(const VerifyProgress&)>& progress) override;
  EngineStatus Status() const override;
  EngineStatistics Statistics() const override;
  void SetLimits(const EngineLimits& limits) override;
  EngineLimits limits() const override;

 private:
  using ViewPtr = std::shared_ptr<const ViewImpl>;
  // A step ready to be made visible.
  struct Step {
    uint64_t sequence = 0;
    std::unique_ptr<Transition> transition;
    std::shared_ptr<const BlockRecord> record;  // the block, or for a rollback its target as the new head
    bool rollback = false;
    Bytes change_row;
    ApplyTimes times;
  };

  struct RollbackPlan {
    std::shared_ptr<const BlockRecord> target;
    std::shared_ptr<const BlockRecord> on_disk;
    std::map<storage::Table, std::vector<Bytes>> keys;
    std::vector<Bytes> gone_code;  // hashes of code that rolled back blocks on disk were the first to bring
  };

  // Opening (engine_open.cc).
  absl::Status OpenTables();
  absl::Status OpenLog(uint64_t flushed_lsn);
  absl::Status DropOldKeys(uint64_t flushed_lsn);
  absl::Status LoadTables(FlushedState& flushed);
  absl::StatusOr<StateCounts> LoadCounts(uint64_t sequence) const;
  absl::Status LoadHistory(const FlushedState& flushed);
  absl::Status LoadUndoRecord(uint64_t number, BytesView row);
  absl::Status ReplayRecord(uint64_t lsn, BytesView payload);

  // The writer's tasks (engine_write.cc).
  absl::Status RunOnWriter(const std::function<absl::Status()>& task, absl::Time deadline);
  void WriterLoop();
  bool WaitForRoom(absl::Time deadline);
  absl::StatusOr<ApplyResult> ApplyNow(const BlockChanges& block, const ChangeDigest& digest, BytesView encoded,
                                       absl::Time deadline);
  absl::StatusOr<std::shared_ptr<const BlockRecord>> FindRecord(const BlockChanges& block) const;
  absl::StatusOr<std::optional<ApplyResult>> FindApplied(const BlockChanges& block, const ChangeDigest& digest) const;
  absl::StatusOr<std::optional<BlockInfo>> FindParent(const BlockChanges& block) const;
  absl::StatusOr<ApplyResult> ApplyOnHead(const BlockChanges& block, const ChangeDigest& digest, BytesView encoded);
  absl::StatusOr<ApplyResult> ApplyReorganized(const BlockChanges& block, const ChangeDigest& digest, BytesView encoded,
                                               const BlockInfo& parent);
  absl::StatusOr<BlockInfo> RollbackNow(const BlockSelector& block);
  absl::StatusOr<RollbackPlan> PlanRollback(uint64_t number) const;
  absl::Status MakeRollback(uint64_t number, uint64_t sequence, Step& step);
  absl::Status MakeBlock(const ViewImpl& parent, const BlockChanges& block, const ChangeDigest& digest,
                         uint64_t sequence, Step& step);
  absl::StatusOr<uint64_t> AppendToLog(BytesView payload);
  absl::Status SyncLog();

  // Making steps visible (engine_publish.cc). Commit records a step's rows and nodes, unseen by readers; Publish shows
  // the committed ones all at once.
  PublishedTransition Commit(Step step);
  void Publish(std::vector<PublishedTransition> committed);
  void Strand(const PublishedTransition& committed);
  std::shared_ptr<const TransitionRows> RecordRows(const Transition& transition, uint64_t sequence);
  void AdvanceWindow(const PublishedTransition& step, BlockWindow& window, BlockWindow& unserved)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(store_->mutex);
  // Serves no more than the newest `keep` blocks behind the head from now on; returns the oldest that is served.
  uint64_t ServeNewest(uint64_t keep) ABSL_EXCLUSIVE_LOCKS_REQUIRED(store_->mutex);
  void LimitHistory();
  void Announce(const BlockInfo& block, bool rolled_back) ABSL_EXCLUSIVE_LOCKS_REQUIRED(head_mutex_);
  void TrimHistory();
  void Housekeeping();
  void DropUnused(const EngineLimits& limits, const TrieRoot& newest, uint64_t flushed);
  // With the counts and times of `result`.
  ApplyResult ResultOf(const BlockInfo& block, ApplyResult result = {}) const;
  TransitionRules RulesOf(const BlockChanges& block) const;
  uint64_t NextLsn() const { return replaying_ ? replaying_lsn_ : log_->last_lsn() + 1; }

  // Shared (engine_read.cc).
  std::shared_ptr<const TrieSnapshot> TrieFor(uint64_t sequence) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(store_->mutex);
  // A view of a block in memory; with its own trie where that is kept.
  ViewPtr MakeView(const BlockRecord& record) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(store_->mutex);
  ViewPtr Head() const ABSL_LOCKS_EXCLUDED(head_mutex_);
  absl::StatusOr<std::shared_ptr<const ViewImpl>> FindView(const BlockSelector& block) const;
  absl::StatusOr<ViewPtr> ViewOnDisk(uint64_t number) const;
  absl::StatusOr<ViewPtr> TryViewOnDisk(uint64_t number, uint64_t rollbacks) const;
  absl::Status IndexOnDisk() const;
  absl::StatusOr<std::optional<uint64_t>> FindIndexed(const BlockSelector& block) const;
  absl::Status NotServed(const std::string& what) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(store_->mutex);
  uint64_t DurableSequence() const;
  uint64_t DurableNumber() const;
  void Emit(const EngineEvent& event) const {
    if (options_.on_event) options_.on_event(event);
  }
  void BecomeReadOnly(std::string why, EngineEvent::Kind kind);
  absl::Status ReadOnlyError() const;
  absl::Status DamageFound(absl::Status status);
  void SyncLoop();

  const EngineOptions options_;
  const storage::DataDirLock lock_;
  std::shared_ptr<storage::DataKeys> keys_;  // null when the data is not encrypted; constant after Start
  absl::Mutex rotation_mutex_;               // held by the one rotation that is under way
  std::shared_ptr<StateStore> store_;
  std::unique_ptr<storage::ChangeLog> log_;
  std::unique_ptr<Flusher> flusher_;
  std::unique_ptr<HistoryWorker> history_;
  std::unique_ptr<WorkerPool> pool_;
  std::unique_ptr<CacheWarmer> warmer_;  // where it is wanted

  // The writer's.
  std::unique_ptr<NodeCache> nodes_;
  bool replaying_ = false;
  uint64_t replaying_lsn_ = 0;
  uint64_t replayed_ = 0;
  uint64_t unsynced_changes_ = 0;
  size_t rows_left_ = 0;  // in the index, after the last housekeeping
  absl::Time aged_at_ = absl::Now();
  double parts_to_age_ = 0;    // of the tries; what is left of one below 1
  double buckets_to_age_ = 0;  // of the index
  uint64_t truncated_lsn_ = 0;
  // No limit while the log is replayed: its rollbacks may go further back than what is to be kept by now.
  std::atomic<uint64_t> keep_blocks_{UINT64_MAX - 1};

  mutable BlockRecords records_on_disk_;

  mutable absl::Mutex limits_mutex_;
  EngineLimits limits_ ABSL_GUARDED_BY(limits_mutex_);

  mutable absl::Mutex head_mutex_;
  ViewPtr head_ ABSL_GUARDED_BY(head_mutex_);
  bool has_blocks_ ABSL_GUARDED_BY(head_mutex_) = false;
  std::deque<HeadEvent> events_ ABSL_GUARDED_BY(head_mutex_);
  uint64_t next_event_ ABSL_GUARDED_BY(head_mutex_) = 1;

  mutable absl::Mutex state_mutex_;
  bool read_only_ ABSL_GUARDED_BY(state_mutex_) = false;
  std::string read_only_reason_ ABSL_GUARDED_BY(state_mutex_);
  absl::StatusCode read_only_code_ ABSL_GUARDED_BY(state_mutex_) = absl::StatusCode::kUnavailable;
  std::optional<Hash> genesis_root_ ABSL_GUARDED_BY(state_mutex_);
  // Hashes of blocks that were served and are not any more, since the start; the newest of them.
  std::deque<Hash> pruned_hashes_ ABSL_GUARDED_BY(state_mutex_);

  struct Task;
  absl::Mutex task_mutex_;
  std::deque<std::shared_ptr<Task>> tasks_ ABSL_GUARDED_BY(task_mutex_);
  bool stopping_ ABSL_GUARDED_BY(task_mutex_) = false;
  bool rows_offered_ ABSL_GUARDED_BY(task_mutex_) = false;  // by readers, for the index
  std::atomic<uint64_t> writer_turns_{0};
  std::thread writer_;

  absl::Mutex sync_mutex_;
  bool sync_wanted_ ABSL_GUARDED_BY(sync_mutex_) = false;
  bool sync_now_ ABSL_GUARDED_BY(sync_mutex_) = false;
  bool sync_stopping_ ABSL_GUARDED_BY(sync_mutex_) = false;
  std::thread syncer_;
};

}  // namespace mptd
