// The engine on a disk in memory that fails and loses power, beside a model of every state that may be left.
//
// The model is a list of the operations that were acknowledged, each with the chain after it, and for each what
// operations that failed there would have made of it: a block that got an error may be there after a restart, as one
// whose reply was lost. What a restart finds must be one of these, and not from before the last operation that a reply
// called durable. Everything on it is then compared: head, roots, accounts, slots, code, proofs, older blocks.
// Used by one thread. Failures are gtest's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rocksdb/env.h"
#include "tests/engine/engine_testing.h"
#include "tests/storage/fake_table_files.h"

namespace mptd::testing {

class DiskTwin {
 public:
  enum class Kind : uint8_t { kApply, kReorganize, kRollback, kFlush, kPrune, kCheckpoint };

  // Caches and queues are so small that flushes, evictions and pruning are often. `history_on_disk`: undo records are
  // read from the tables whenever possible.
  DiskTwin(uint64_t seed, Durability durability, bool history_on_disk);
  ~DiskTwin();
  DiskTwin(const DiskTwin&) = delete;
  DiskTwin& operator=(const DiskTwin&) = delete;

  // May change the options of every engine that is opened from now on, but for its folder, durability and keep_blocks.
  void OnOptions(std::function<void(EngineOptions&)> call) { on_options_ = std::move(call); }
  // How long a block waits for room in the queue from now on; for ever at first.
  void SetPatience(absl::Duration patience) { patience_ = patience; }
  // Told of each block with the state after it before the engine is, which may show it at any time from then on.
  using OnBlock = std::function<void(const BlockInfo& block, std::shared_ptr<const model::NaiveState> state)>;
  void OnEachBlock(OnBlock call) { on_block_ = std::move(call); }

  storage::FakeFiles& disk() { return disk_; }
  StateEngine& engine() { return *engine_; }
  BlockMaker& random() { return random_; }
  uint64_t blocks() const { return chain().empty() ? 0 : chain().back()->info.number; }
  uint64_t acknowledged() const { return acknowledged_; }
  uint64_t failed() const { return failed_; }

  // Opens the engine and compares what is there. An error is that of the opening, which only a fault may cause.
  absl::Status Open();
  // Without comparing, which needs a disk that can be read: for an opening that is to be cut short.
  absl::Status TryOpen();
  // One operation on both; the error of the engine's, which has then changed nothing that is seen.
  absl::Status Do(Kind kind);
  absl::Status DoAny();
  // The engine is closed, and what it left is what the cut leaves of it.
  void Restart(storage::PowerCut cut);
  // The head as the model has it.
  void ExpectHead();
  // Opens every checkpoint that was acknowledged and compares it, then removes them.
  void ExpectCheckpoints();

 private:
  struct Block {
    BlockInfo info;
    model::NaiveState state;
    uint64_t operation = 0;  // that made it
  };
  using Chain = std::vector<std::shared_ptr<const Block>>;  // oldest first
  struct Operation {
    Chain chain;                  // after it
    std::vector<Chain> attempts;  // after operations on top of it that failed
  };
  struct Copy {
    std::string dir;
    std::shared_ptr<const Block> head;
  };

  const Chain& chain() const { return operations_.back().chain; }
  EngineOptions OptionsFor(const std::string& dir);
  absl::Status DoOne(Kind kind);
  size_t PickServed();
  absl::Status ApplyOn(size_t kept, bool reorganize);
  absl::Status RollBack();
  absl::Status TakeCheckpoint();
  absl::Status Prune();
  absl::Status Took(absl::Status status, Chain becomes);
  void NoteDurable();
  void Trim();
  void ExpectFound();
  bool FindFound(const StateView& head, bool has_blocks);
  std::string WhereFrom(const StateView& head) const;
  void Tell(std::string_view what, const absl::Status& status);

  const Durability durability_;
  const bool history_on_disk_;
  storage::FakeFiles disk_;
  const std::unique_ptr<rocksdb::Env> env_;
  std::function<void(EngineOptions&)> on_options_;
  absl::Duration patience_ = absl::InfiniteDuration();
  OnBlock on_block_;
  TempDir dir_;
  BlockMaker random_;
  std::unique_ptr<StateEngine> engine_;

  std::vector<std::string> told_;  // what was done, for a failure's message
  // What tells a wrong state from one that was lost.
  std::map<Hash, uint64_t> made_by_;  // state root, and the operation that came to it last
  std::vector<Operation> operations_ = std::vector<Operation>(1);
  uint64_t first_ = 0;    // the number of operations_.front()
  uint64_t durable_ = 0;  // the newest operation that a power cut cannot take back
  bool power_was_cut_ = false;
  uint64_t may_be_pruned_ = 0;  // blocks below need not be served, whatever the head is now
  uint64_t acknowledged_ = 0;
  uint64_t failed_ = 0;
  uint64_t copies_made_ = 0;
  std::vector<Copy> copies_;
};

}  // namespace mptd::testing
