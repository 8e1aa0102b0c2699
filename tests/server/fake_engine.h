// A state engine in memory that follows core/engine/engine.h closely enough to test what is in front of it. Every block
// is a whole copy of the state; roots are hashes of the content, not tries. Tests can hold it up and make it fail.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/engine/engine.h"

namespace mptd::testing {

struct FakeAccount {
  Account account;
  Bytes code;
  std::map<Hash, U256> slots;
};
using FakeState = std::map<Address, FakeAccount>;

class FakeEngine final : public StateEngine {
 public:
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

  // Apply waits while this is held; it gives up as the real one does, at the deadline or when cancelled.
  void HoldApplies(bool hold);
  // Those that are held give up now, as if their deadlines had come.
  void GiveUpApplies();
  int applies_waiting() const;
  // Of the last call.
  absl::Time apply_deadline() const;
  // Every scan of a page waits while this is held.
  void HoldScans(bool hold);
  int scans_done() const { return scans_done_; }
  void set_read_only(std::string reason);
  void set_durable_lag(uint64_t blocks);
  // Checkpoint writes a part of its files, and ends with this.
  void set_checkpoint_error(absl::Status status);
  // What CheckKey answers.
  void set_key_error(absl::Status status);
  void set_events_kept(size_t count);
  void set_verify_steps(int steps) { verify_steps_ = steps; }
  // Views that somebody holds.
  int live_views() const { return live_views_; }
  int flushes() const { return flushes_; }
  // Called between reading a block by number and returning it, without the lock.
  void set_view_hook(std::function<void()> hook);

  struct Block {
    BlockInfo info;
    FakeState state;
    BlockChanges changes;
  };
  class View_;

 private:
  mutable std::mutex limits_mutex_;
  EngineLimits limits_;  // guarded by limits_mutex_

  absl::StatusOr<std::shared_ptr<const Block>> Find(const BlockSelector& block) const;
  absl::Status CheckExtends(const BlockChanges& block, uint64_t parent) const;
  absl::StatusOr<ApplyResult> ApplyLocked(BlockChanges block);
  absl::StatusOr<std::shared_ptr<const Block>> BlockAt(uint64_t number) const;
  void Announce(const BlockInfo& block, bool rolled_back);
  ApplyResult ResultOf(const BlockInfo& block) const;
  bool IsDurableLocked(uint64_t number) const;
  std::string Window() const;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::map<uint64_t, std::shared_ptr<const Block>> blocks_;
  std::vector<HeadEvent> events_;  // event i has index i + 1
  absl::Status checkpoint_error_;
  absl::Status key_error_;
  size_t events_kept_ = 1000;
  uint64_t durable_lag_ = 0;
  bool hold_applies_ = false;
  bool hold_scans_ = false;
  int applies_waiting_ = 0;
  uint64_t give_ups_ = 0;  // how often GiveUpApplies was called
  absl::Time apply_deadline_;
  std::string read_only_;
  std::function<void()> view_hook_;
  std::optional<Hash> genesis_root_;
  std::atomic<int> verify_steps_{3};
  std::atomic<int> flushes_{0};
  mutable std::atomic<int> live_views_{0};
  mutable std::atomic<int> scans_done_{0};
};

}  // namespace mptd::testing
