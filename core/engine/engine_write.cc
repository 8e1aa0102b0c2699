// What changes the state: applying blocks, reorganising, rolling back. Runs on the writer thread.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/notification.h"
#include "core/account.h"
#include "core/engine/engine_impl.h"
#include "core/engine/history_reader.h"
#include "core/engine/undo_record.h"
#include "core/errors.h"
#include "core/hex.h"

namespace mptd {
namespace {

using storage::Table;

constexpr absl::Duration kRetryDelay = absl::Milliseconds(200);
constexpr absl::Duration kWriterTurn = absl::Milliseconds(200);

std::string Show(const std::optional<Hash>& hash) { return hash ? ToHex(*hash) : "none"; }

absl::Status Mismatch(std::string_view what, std::string_view reason) {
  return WithReason(absl::FailedPreconditionError(absl::string_view(what.data(), what.size())), reason);
}

bool SameBlock(const BlockChanges& block, const BlockRecord& record) {
  if (block.hash) return record.block.hash == block.hash;
  return record.block.number == block.number &&
         (!block.parent_hash || !record.block.parent_hash || block.parent_hash == record.block.parent_hash);
}

// Time in pieces.
class Lap {
 public:
  absl::Duration Take() {
    const absl::Time now = absl::Now();
    const absl::Duration taken = now - last_;
    last_ = now;
    return taken;
  }

 private:
  absl::Time last_ = absl::Now();
};

}  // namespace

struct EngineImpl::Task {
  enum class Phase { kWaiting, kRunning, kAbandoned };
  const std::function<absl::Status()>* work;
  std::atomic<Phase> phase{Phase::kWaiting};
  absl::Status status;
  absl::Notification done;
};

absl::Status EngineImpl::RunOnWriter(const std::function<absl::Status()>& work, absl::Time deadline) {
  auto task = std::make_shared<Task>();
  task->work = &work;
  {
    absl::MutexLock lock(&task_mutex_);
    if (stopping_) return absl::UnavailableError("the daemon is shutting down; try another or try again later");
    tasks_.push_back(task);
  }
  if (!task->done.WaitForNotificationWithDeadline(deadline)) {
    auto waiting = Task::Phase::kWaiting;
    if (task->phase.compare_exchange_strong(waiting, Task::Phase::kAbandoned)) {
      return RetryLater("the deadline passed before the block's turn came: earlier blocks are still being applied",
                        kRetryDelay);
    }
    task->done.WaitForNotification();
  }
  return task->status;
}

void EngineImpl::WriterLoop() {
  while (true) {
    writer_turns_.fetch_add(1, std::memory_order_relaxed);
    std::shared_ptr<Task> task;
    {
      absl::MutexLock lock(&task_mutex_);
      const auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(task_mutex_) {
        return stopping_ || !tasks_.empty() || rows_offered_;
      };
      task_mutex_.AwaitWithTimeout(absl::Condition(&ready), kWriterTurn);
      // Housekeeping comes next, behind a task or at once.
      rows_offered_ = false;
      if (tasks_.empty()) {
        if (stopping_) return;
        task_mutex_.Unlock();
        Housekeeping();
        task_mutex_.Lock();
        continue;
      }
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    auto waiting = Task::Phase::kWaiting;
    if (!task->phase.compare_exchange_strong(waiting, Task::Phase::kRunning)) continue;
    task->status = (*task->work)();
    task->done.Notify();
    Housekeeping();
  }
}

// False when the deadline came first. A writer that waits here does not hang, however long a slow disk makes it wait.
bool EngineImpl::WaitForRoom(absl::Time deadline) {
  while (!flusher_->WaitForRoom(limits().queue_bytes, std::min(deadline, absl::Now() + kWriterTurn))) {
    if (absl::Now() >= deadline) return false;
    writer_turns_.fetch_add(1, std::memory_order_relaxed);
  }
  return true;
}

TransitionRules EngineImpl::RulesOf(const BlockChanges& block) const {
  // What the log holds was accepted once, whatever the limits are now.
  if (replaying_) return {block.keep_empty_accounts};
  return {block.keep_empty_accounts, ChangeLimitsOf(limits())};
}

absl::StatusOr<ApplyResult> EngineImpl::Apply(BlockChanges block, absl::Time deadline,
                                              const std::function<bool()>& cancelled) {
  const Bytes encoded = EncodeChanges(block);
  const ChangeDigest digest = DigestOf(block, encoded);
  absl::StatusOr<ApplyResult> result = absl::UnknownError("not run");
  Lap lap;
  absl::Status status = RunOnWriter(
      [&] {
        if (cancelled && cancelled()) return absl::CancelledError("the caller has gone away");
        const absl::Duration queue = lap.Take();
        result = ApplyNow(block, digest, encoded, deadline);
        if (result.ok()) result->times.queue += queue;
        return absl::OkStatus();
      },
      deadline);
  if (!status.ok()) return status;
  return result;
}

// The served block that `block` would be again, or null.
absl::StatusOr<std::shared_ptr<const BlockRecord>> EngineImpl::FindRecord(const BlockChanges& block) const {
  {
    absl::MutexLock lock(&store_->mutex);
    const BlockWindow& window = *store_->window;
    for (const auto& record : window) {
      if (SameBlock(block, *record)) return record;
    }
    const bool on_disk =
        !window.empty() && block.number >= store_->oldest_served && block.number < window.front()->block.number;
    if (!on_disk) return nullptr;
  }
  absl::StatusOr<std::optional<BlockRecord>> record = ReadBlockRecord(*store_->kv, block.number);
  if (!record.ok()) return record.status();
  if (!record->has_value() || !SameBlock(block, **record)) return nullptr;
  return std::make_shared<const BlockRecord>(**std::move(record));
}

// The answer to a block that is there already, nullopt for a new one.
absl::StatusOr<std::optional<ApplyResult>> EngineImpl::FindApplied(const BlockChanges& block,
                                                                   const ChangeDigest& digest) const {
  absl::StatusOr<std::shared_ptr<const BlockRecord>> found = FindRecord(block);
  if (!found.ok()) return found.status();
  if (*found == nullptr) return std::optional<ApplyResult>();
  const BlockRecord& record = **found;
  if (record.block.number != block.number) {
    return Mismatch(absl::StrFormat("hash %s is that of block %d, which has been applied, not of block %d",
                                    Show(block.hash), record.block.number, block.number),
                    "HASH_IN_USE");
  }
  if (record.digest != digest) {
    if (!block.hash) return std::optional<ApplyResult>();
    return Mismatch(absl::StrFormat("block %d with hash %s has been applied with other changes; a block's hash stands "
                                    "for its content",
                                    block.number, Show(block.hash)),
                    "CONTENT_MISMATCH");
  }
  if (block.expected_root && *block.expected_root != record.block.state_root) {
    return Mismatch(absl::StrFormat("block %d has been applied with state root %s, expected_root is %s", block.number,
                                    ToHex(record.block.state_root), ToHex(*block.expected_root)),
                    kRootMismatch);
  }
  ApplyResult result = ResultOf(record.block);
  result.already_applied = true;
  return std::optional<ApplyResult>(result);
}

// The block that `block` goes on top of: the head, an ancestor with `reorganize`, or none when it is the first.
absl::StatusOr<std::optional<BlockInfo>> EngineImpl::FindParent(const BlockChanges& block) const {
  std::optional<BlockInfo> parent;
  bool has_blocks;
  BlockInfo head;
  {
    absl::MutexLock lock(&head_mutex_);
    has_blocks = has_blocks_;
    head = head_->block();
  }
  if (has_blocks) {
    parent = head;
    if (block.number > head.number + 1) {
      return Mismatch(absl::StrFormat("block %d does not follow the head, block %d; send block %d first", block.number,
                                      head.number, head.number + 1),
                      "GAP");
    }
    if (block.number <= head.number) {
      if (!block.reorganize || block.number == 0) {
        return Mismatch(absl::StrFormat("block %d is not the child of the head, block %d (%s); to replace blocks, set "
                                        "reorganize",
                                        block.number, head.number, Show(head.hash)),
                        "NOT_CHILD_OF_HEAD");
      }
      absl::StatusOr<ViewPtr> view = FindView(block.number - 1);
      if (!view.ok()) return view.status();
      parent = (*view)->block();
    }
    if (block.parent_hash && parent->hash && *block.parent_hash != *parent->hash) {
      return Mismatch(absl::StrFormat("parent_hash of block %d is %s, but block %d has hash %s", block.number,
                                      ToHex(*block.parent_hash), parent->number, ToHex(*parent->hash)),
                      "PARENT_MISMATCH");
    }
  }
  const Hash parent_root = parent ? parent->state_root : kEmptyRoot;
  if (block.parent_root && *block.parent_root != parent_root) {
    return Mismatch(absl::StrFormat("parent_root of block %d is %s, but the state before it has root %s", block.number,
                                    ToHex(*block.parent_root), ToHex(parent_root)),
                    "PARENT_ROOT_MISMATCH");
  }
  return parent;
}

absl::StatusOr<ApplyResult> EngineImpl::ApplyNow(const BlockChanges& block, const ChangeDigest& digest,
                                                 BytesView encoded, absl::Time deadline) {
  if (absl::Status s = ReadOnlyError(); !s.ok()) return s;
  absl::StatusOr<std::optional<ApplyResult>> applied = FindApplied(block, digest);
  if (!applied.ok()) return DamageFound(applied.status());
  if (applied->has_value()) return **applied;
  absl::StatusOr<std::optional<BlockInfo>> parent = FindParent(block);
  if (!parent.ok()) return DamageFound(parent.status());
  Lap lap;
  if (flusher_->queued_bytes() > limits().queue_bytes) {
    Emit({EngineEvent::Kind::kBackPressure, flusher_->queued_bytes(), 0, {}, {}});
    // Trimming and freeing go on meanwhile on other threads; only room is waited for.
    if (!WaitForRoom(deadline)) {
      return WithLimit(
          RetryLater("the write-behind queue is full and its flush has not kept up; the disk may be too slow",
                     kRetryDelay),
          "queue_bytes");
    }
    if (absl::Status s = ReadOnlyError(); !s.ok()) return s;
  }
  const absl::Duration waited = lap.Take();
  const bool on_head = !parent->has_value() || (*parent)->number == Head()->block().number;
  absl::StatusOr<ApplyResult> result =
      on_head ? ApplyOnHead(block, digest, encoded) : ApplyReorganized(block, digest, encoded, **parent);
  if (result.ok()) result->times.queue += waited;
  return result;
}

absl::Status EngineImpl::MakeBlock(const ViewImpl& parent, const BlockChanges& block, const ChangeDigest& digest,
                                   uint64_t sequence, Step& step) {
  Lap lap;
  absl::StatusOr<std::unique_ptr<Transition>> transition =
      FlattenChanges(parent, block.changes, RulesOf(block), TrieUpdate::Purpose::kPublish, pool_.get());
  if (!transition.ok()) return transition.status();
  step.times.read = lap.Take();
  step.transition = *std::move(transition);
  step.sequence = sequence;
  if (absl::Status s = UpdateTries(parent, *step.transition, sequence, pool_.get(), TrieUpdate::Purpose::kPublish);
      !s.ok())
    return s;
  step.times.tries = lap.Take();
  const Hash& root = step.transition->state_root;
  if (block.expected_root && *block.expected_root != root) {
    return Mismatch(absl::StrFormat("block %d gives state root %s, expected_root is %s; nothing has been applied",
                                    block.number, ToHex(root), ToHex(*block.expected_root)),
                    kRootMismatch);
  }
  auto record = std::make_shared<BlockRecord>();
  record->sequence = sequence;
  record->block = {block.number, block.hash, block.parent_hash, root};
  record->parent_root = parent.block().state_root;
  record->digest = digest;
  step.record = std::move(record);
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> EngineImpl::AppendToLog(BytesView payload) {
  if (replaying_) return replaying_lsn_;
  absl::StatusOr<uint64_t> lsn = log_->Append(payload);
  if (lsn.ok()) return lsn;
  if (absl::IsResourceExhausted(lsn.status())) return RetryLater(std::string(lsn.status().message()), absl::Seconds(5));
  BecomeReadOnly(absl::StrCat("writing the change log failed: ", lsn.status().message()), EngineEvent::Kind::kReadOnly);
  return ReadOnlyError();
}

absl::Status EngineImpl::SyncLog() {
  if (replaying_) return absl::OkStatus();
  Lap lap;
  const absl::Status status = log_->Sync();
  if (status.ok()) {
    Emit({EngineEvent::Kind::kLogSynced, 0, 0, lap.Take(), {}});
    return status;
  }
  // A second sync could report success for pages that the kernel has dropped: nothing more is written until a restart.
  BecomeReadOnly(absl::StrCat("syncing the change log failed: ", status.message()), EngineEvent::Kind::kReadOnly);
  return ReadOnlyError();
}

namespace {

// What a step does, for the reply; the rest of which is known when the block is published.
ApplyResult CountsOf(const Transition& transition) {
  ApplyResult counts;
  counts.accounts_changed = transition.accounts.size();
  counts.slots_changed = transition.slots_changed;
  counts.nodes_hashed = transition.trie.nodes_hashed;
  return counts;
}

}  // namespace

absl::StatusOr<ApplyResult> EngineImpl::ApplyOnHead(const BlockChanges& block, const ChangeDigest& digest,
                                                    BytesView encoded) {
  Step step;
  absl::Status status = MakeBlock(*Head(), block, digest, 2 * NextLsn() + 1, step);
  if (!status.ok()) return DamageFound(status);
  Lap lap;
  step.change_row = EncodeLogBlock(block, step.transition->state_root, encoded);
  absl::StatusOr<uint64_t> lsn = AppendToLog(step.change_row);
  if (!lsn.ok()) return lsn.status();
  ApplyResult result = CountsOf(*step.transition);
  result.times = step.times;
  const BlockInfo applied = step.record->block;
  std::vector<PublishedTransition> committed;
  if (options_.durability == Durability::kSync) {
    // Recorded while the disk is at it; nobody is shown anything before both are done.
    absl::Status synced;
    pool_->Run(2, [&](int part) {
      if (part == 0) {
        committed.push_back(Commit(std::move(step)));
      } else {
        synced = SyncLog();
      }
    });
    if (!synced.ok()) {
      Strand(committed.back());
      return synced;
    }
  } else {
    committed.push_back(Commit(std::move(step)));
  }
  result.times.log = lap.Take();
  Publish(std::move(committed));
  result = ResultOf(applied, std::move(result));
  result.times.publish = lap.Take();
  return result;
}

// A step that was recorded and will not be published: its trie has taken over the nodes, though nobody is shown it.
void EngineImpl::Strand(const PublishedTransition& committed) {
  absl::MutexLock lock(&store_->mutex);
  store_->tries.push_back(committed.trie);
}

// Rolls back to `parent` and applies, as one record of the log and one publication.
absl::StatusOr<ApplyResult> EngineImpl::ApplyReorganized(const BlockChanges& block, const ChangeDigest& digest,
                                                         BytesView encoded, const BlockInfo& parent) {
  ApplyTimes times;
  Lap lap;
  // First worked out beside the chain, so that a block that is refused has changed nothing.
  absl::StatusOr<ViewPtr> view = FindView(parent.number);
  if (!view.ok()) return view.status();
  absl::StatusOr<std::unique_ptr<Transition>> trial =
      FlattenChanges(**view, block.changes, RulesOf(block), TrieUpdate::Purpose::kTry, nullptr);
  if (!trial.ok()) return DamageFound(trial.status());
  times.read = lap.Take();
  if (absl::Status s = UpdateTries(**view, **trial, UINT64_MAX, nullptr, TrieUpdate::Purpose::kTry); !s.ok())
    return DamageFound(s);
  const Hash root = (*trial)->state_root;
  if (block.expected_root && *block.expected_root != root) {
    return Mismatch(absl::StrFormat("block %d gives state root %s, expected_root is %s; nothing has been applied",
                                    block.number, ToHex(root), ToHex(*block.expected_root)),
                    kRootMismatch);
  }
  trial->reset();
  view->reset();
  times.tries = lap.Take();
  const uint64_t next = NextLsn();
  Step back;
  if (absl::Status s = MakeRollback(parent.number, 2 * next, back); !s.ok()) return DamageFound(s);
  times.read += lap.Take();
  Bytes change_row = EncodeLogBlock(block, root, encoded);
  absl::StatusOr<uint64_t> lsn = AppendToLog(change_row);
  if (!lsn.ok()) return lsn.status();
  if (options_.durability == Durability::kSync) {
    if (absl::Status s = SyncLog(); !s.ok()) return s;
  }
  const std::shared_ptr<const BlockRecord> back_record = back.record;
  std::vector<PublishedTransition> committed;
  committed.push_back(Commit(std::move(back)));
  committed.back().first_half = true;
  ViewPtr between;
  {
    absl::MutexLock lock(&store_->mutex);
    store_->live_views.insert(back_record->sequence);
    between = std::make_shared<ViewImpl>(
        store_, ViewImpl::Parts{back_record->sequence, back_record->block, committed.back().trie, nullptr, nullptr});
  }
  times.log = lap.Take();
  Step forward;
  absl::Status status = MakeBlock(*between, block, digest, 2 * next + 1, forward);
  between.reset();
  if (!status.ok() || forward.transition->state_root != root) {
    // The record is in the log: a restart will try it again from what is on disk.
    Strand(committed.back());
    const bool unreadable = absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
    BecomeReadOnly(absl::StrCat("a reorganisation to block ", block.number, " failed half way: ", status.message()),
                   unreadable ? EngineEvent::Kind::kReadOnly : EngineEvent::Kind::kCorruption);
    return ReadOnlyError();
  }
  forward.change_row = std::move(change_row);
  const BlockInfo applied = forward.record->block;
  ApplyResult result = CountsOf(*forward.transition);
  times.read += forward.times.read;
  times.tries += forward.times.tries;
  (void)lap.Take();
  committed.push_back(Commit(std::move(forward)));
  times.log += lap.Take();
  Publish(std::move(committed));
  result = ResultOf(applied, std::move(result));
  times.publish = lap.Take();
  result.times = times;
  return result;
}

// Rolling back --------------------------------------------------------------------------------------------------------

absl::StatusOr<BlockInfo> EngineImpl::RollbackTo(const BlockSelector& block) {
  absl::StatusOr<BlockInfo> result = absl::UnknownError("not run");
  absl::Status status = RunOnWriter(
      [&] {
        result = RollbackNow(block);
        return absl::OkStatus();
      },
      absl::InfiniteFuture());
  if (!status.ok()) return status;
  return result;
}

absl::StatusOr<BlockInfo> EngineImpl::RollbackNow(const BlockSelector& block) {
  if (absl::Status s = ReadOnlyError(); !s.ok()) return s;
  absl::StatusOr<ViewPtr> view = FindView(block);
  if (!view.ok()) return DamageFound(view.status());
  const BlockInfo target = (*view)->block();
  view->reset();
  const uint64_t head = Head()->block().number;
  if (target.number == head) {
    if (absl::Status s = SyncLog(); !s.ok()) return s;
    return target;
  }
  Step step;
  if (absl::Status s = MakeRollback(target.number, 2 * NextLsn(), step); !s.ok()) return DamageFound(s);
  absl::StatusOr<uint64_t> lsn = AppendToLog(EncodeLogRollback({target.number, target.state_root}));
  if (!lsn.ok()) return lsn.status();
  if (absl::Status s = SyncLog(); !s.ok()) return s;
  std::vector<PublishedTransition> committed;
  committed.push_back(Commit(std::move(step)));
  Publish(std::move(committed));
  Emit({EngineEvent::Kind::kRolledBack, target.number, head - target.number, {}, {}});
  return target;
}

// The target of a rollback, and the keys of all rows that may differ from it now: those that later transitions in
// memory have changed, and for a target on disk those that its undo records name.
absl::StatusOr<EngineImpl::RollbackPlan> EngineImpl::PlanRollback(uint64_t number) const {
  RollbackPlan plan;
  std::shared_ptr<const TransitionList> transitions;
  uint64_t since = 0;
  uint64_t first_in_memory = 0;
  {
    absl::MutexLock lock(&store_->mutex);
    transitions = store_->transitions;
    const BlockWindow& window = *store_->window;
    first_in_memory = window.front()->block.number;
    since = window.front()->sequence;
    if (number >= first_in_memory) {
      plan.target = window[number - first_in_memory];
      since = plan.target->sequence;
    }
  }
  for (const auto& transition : *transitions) {
    if (transition->sequence <= since) continue;
    for (Table table : {Table::kAccounts, Table::kSlots, Table::kCode}) {
      for (const auto* entry : transition->of(table)) plan.keys[table].emplace_back(entry->key());
    }
  }
  for (uint64_t n = number; plan.target == nullptr && n <= first_in_memory; ++n) {
    absl::StatusOr<storage::Value> row = store_->kv->Get(Table::kHistory, BlockKey(n));
    if (!row.ok()) return row.status();
    const Bytes bytes = row->value_or("");
    absl::StatusOr<UndoRecord> undo = DecodeUndo(bytes);
    if (!undo.ok()) return absl::DataLossError(absl::StrCat("table history, the row of block ", n, " is damaged"));
    if (n == number) {
      plan.on_disk = std::make_shared<const BlockRecord>(undo->header);
      continue;
    }
    for (const UndoRow& r : undo->accounts) plan.keys[Table::kAccounts].emplace_back(r.key);
    for (const UndoRow& r : undo->slots) plan.keys[Table::kSlots].emplace_back(r.key);
    for (BytesView hash : undo->new_code) plan.gone_code.emplace_back(hash);
  }
  if (plan.target == nullptr) plan.target = plan.on_disk;
  for (auto& [table, keys] : plan.keys) {
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  }
  return plan;
}

namespace {

struct RowPair {
  Bytes key;
  std::optional<Bytes> now;
  std::optional<Bytes> then;
};

absl::StatusOr<std::vector<RowPair>> RowsThatDiffer(const ViewImpl& now, const ViewImpl& then, Table table,
                                                    const std::vector<Bytes>& keys) {
  const std::vector<BytesView> views(keys.begin(), keys.end());
  std::vector<std::optional<Bytes>> now_rows(keys.size());
  std::vector<std::optional<Bytes>> then_rows(keys.size());
  if (absl::Status s = now.RowsAt(table, views, now_rows); !s.ok()) return s;
  if (absl::Status s = then.RowsAt(table, views, then_rows); !s.ok()) return s;
  std::vector<RowPair> pairs;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (now_rows[i] != then_rows[i]) pairs.push_back({keys[i], std::move(now_rows[i]), std::move(then_rows[i])});
  }
  return pairs;
}

absl::Status DecodeBoth(const RowPair& pair, std::optional<Account>& before, std::optional<Account>& after) {
  for (const auto& [row, account] : {std::pair(&pair.now, &before), std::pair(&pair.then, &after)}) {
    if (!*row) continue;
    absl::StatusOr<Account> decoded = DecodeSlimAccount(**row);
    if (!decoded.ok()) return decoded.status();
    *account = *decoded;
  }
  return absl::OkStatus();
}

absl::Status AddSlots(const std::vector<RowPair>& slots, Transition& transition) {
  auto account = transition.accounts.begin();
  for (const RowPair& pair : slots) {
    const Hash key = Hash::FromView(BytesView(pair.key).substr(0, 32));
    while (account != transition.accounts.end() && account->key < key) ++account;
    if (account == transition.accounts.end() || account->key != key) {
      return absl::DataLossError(absl::StrCat("a slot of account ", ToHex(key), " changed without its account"));
    }
    FlatSlot slot;
    slot.key = Hash::FromView(BytesView(pair.key).substr(32));
    for (const auto& [row, value] : {std::pair(&pair.now, &slot.before), std::pair(&pair.then, &slot.after)}) {
      if (!*row) continue;
      const absl::StatusOr<U256> decoded = U256::FromMinimal(**row);
      if (!decoded.ok()) return absl::DataLossError(absl::StrCat("table slots, row ", ToHex(pair.key), " is damaged"));
      *value = *decoded;
    }
    account->slots.push_back(slot);
    ++transition.slots_changed;
  }
  return absl::OkStatus();
}

}  // namespace

// The step from the head back to a served block: the old rows as new ones. The root that comes out must be the old one.
absl::Status EngineImpl::MakeRollback(uint64_t number, uint64_t sequence, Step& step) {
  const ViewPtr now = Head();
  absl::StatusOr<ViewPtr> then = FindView(number);
  if (!then.ok()) return then.status();
  absl::StatusOr<RollbackPlan> plan = PlanRollback(number);
  if (!plan.ok()) return plan.status();
  const std::shared_ptr<const BlockRecord>& target = plan->target;
  step.sequence = sequence;
  step.rollback = true;
  step.transition = std::make_unique<Transition>();
  Transition& transition = *step.transition;

  absl::StatusOr<std::vector<RowPair>> accounts =
      RowsThatDiffer(*now, **then, Table::kAccounts, plan->keys[Table::kAccounts]);
  if (!accounts.ok()) return accounts.status();
  for (const RowPair& pair : *accounts) {
    FlatAccount& account = transition.accounts.emplace_back();
    account.key = Hash::FromView(pair.key);
    if (absl::Status s = DecodeBoth(pair, account.before, account.after); !s.ok()) return s;
  }
  absl::StatusOr<std::vector<RowPair>> slots = RowsThatDiffer(*now, **then, Table::kSlots, plan->keys[Table::kSlots]);
  if (!slots.ok()) return slots.status();
  if (absl::Status s = AddSlots(*slots, transition); !s.ok()) return s;
  absl::StatusOr<std::vector<RowPair>> code = RowsThatDiffer(*now, **then, Table::kCode, plan->keys[Table::kCode]);
  if (!code.ok()) return code.status();
  for (RowPair& pair : *code) {
    if (pair.now) transition.removed_code.emplace_back(Hash::FromView(pair.key), *std::move(pair.now));
  }
  for (const Bytes& hash : plan->gone_code) {
    absl::StatusOr<std::optional<Bytes>> row = now->RowAt(Table::kCode, hash);
    if (!row.ok()) return row.status();
    if (*row) transition.removed_code.emplace_back(Hash::FromView(hash), **std::move(row));
  }
  if (absl::Status s = UpdateTries(*now, transition, sequence, pool_.get(), TrieUpdate::Purpose::kPublish); !s.ok())
    return s;
  if (transition.state_root != target->block.state_root) {
    return absl::DataLossError(absl::StrFormat("rolling back to block %d gives root %s instead of %s", number,
                                               ToHex(transition.state_root), ToHex(target->block.state_root)));
  }
  auto record = std::make_shared<BlockRecord>(*target);
  record->sequence = sequence;
  step.record = std::move(record);
  return absl::OkStatus();
}

}  // namespace mptd
