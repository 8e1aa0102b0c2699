#include "tests/engine/disk_twin.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "core/hex.h"

namespace mptd::testing {
namespace {

constexpr uint64_t kKeepBlocks = 12;
// What the model remembers: more than any window, and more than any power cut takes back.
constexpr size_t kBlocksKept = 40;

}  // namespace

DiskTwin::DiskTwin(uint64_t seed, Durability durability, bool history_on_disk)
    : durability_(durability),
      history_on_disk_(history_on_disk),
      disk_(seed, storage::FakeFiles::Growth::kInOrder),
      env_(rocksdb::NewCompositeEnv(std::make_shared<storage::FakeTableFiles>(disk_))),
      random_(seed) {}

DiskTwin::~DiskTwin() { engine_.reset(); }

EngineOptions DiskTwin::OptionsFor(const std::string& dir) {
  EngineOptions options;
  options.data_dir = dir;
  options.durability = durability_;
  options.batch_timeout = absl::Milliseconds(3);
  options.keep_blocks = kKeepBlocks;
  options.prune_interval_blocks = 3;
  options.flush_blocks = 5;
  options.flush_interval = absl::Milliseconds(20);
  options.flush_retry = absl::Milliseconds(1);
  options.log_segment_bytes = 16u << 10;
  options.block_cache_bytes = 1u << 20;
  options.row_cache_bytes = 32u << 10;
  options.node_cache_bytes = 32u << 10;
  options.history_memory_bytes = history_on_disk_ ? 1 : 4u << 20;
  options.worker_threads = 2;
  options.table_files = env_.get();
  options.log_files = &disk_;
  if (on_options_) on_options_(options);
  return options;
}

absl::Status DiskTwin::TryOpen() {
  absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(OptionsFor(dir_.path() + "/data"));
  if (!engine.ok()) return engine.status();
  engine_ = *std::move(engine);
  return absl::OkStatus();
}

absl::Status DiskTwin::Open() {
  absl::Status status = TryOpen();
  if (status.ok()) ExpectFound();
  return status;
}

void DiskTwin::Restart(storage::PowerCut cut) {
  engine_.reset();
  disk_.Restart(cut);
  Tell(cut == storage::PowerCut::kKeepAll ? "kill" : "power cut", absl::OkStatus());
  power_was_cut_ = power_was_cut_ || cut != storage::PowerCut::kKeepAll;
}

// Cuts the model back to what the engine has. False when the engine has nothing that it may have.
bool DiskTwin::FindFound(const StateView& head, bool has_blocks) {
  const uint64_t floor = power_was_cut_ ? durable_ : first_ + operations_.size() - 1;
  const auto fits = [&](const Chain& chain) {
    return chain.empty() ? !has_blocks : has_blocks && chain.back()->info == head.block();
  };
  for (uint64_t at = first_ + operations_.size(); at-- > floor;) {
    Operation& operation = operations_[at - first_];
    const auto attempt = std::find_if(operation.attempts.begin(), operation.attempts.end(), fits);
    Chain found;
    if (attempt != operation.attempts.end()) {
      found = *attempt;
    } else if (fits(operation.chain)) {
      found = operation.chain;
    } else {
      continue;
    }
    // What was found is durable once the engine has opened.
    operations_.assign(1, {std::move(found), {}});
    first_ = durable_ = at + 1;
    Tell(absl::StrCat("found what operation ", at, " left, block ", blocks()), absl::OkStatus());
    return true;
  }
  return false;
}

void DiskTwin::Tell(std::string_view what, const absl::Status& status) {
  told_.push_back(absl::StrCat(first_ + operations_.size() - 1, " (durable ", durable_,
                               "): ", absl::string_view(what.data(), what.size()), ", ", status.ToString()));
}

std::string DiskTwin::WhereFrom(const StateView& head) const {
  const auto made = made_by_.find(head.block().state_root);
  return made == made_by_.end() ? "by no operation" : absl::StrCat("by operation ", made->second);
}

void DiskTwin::ExpectFound() {
  absl::StatusOr<StateViewPtr> head = engine_->View(LatestBlock{});
  ASSERT_TRUE(head.ok()) << head.status();
  const EngineStatus status = engine_->Status();
  const uint64_t operations = first_ + operations_.size() - 1;
  ASSERT_TRUE(FindFound(**head, status.has_blocks))
      << "the head is block " << (*head)->block().number << ", root " << ToHex((*head)->block().state_root) << ", made "
      << WhereFrom(**head) << ", after none of operations " << (power_was_cut_ ? durable_ : operations) << " to "
      << operations << "; durable is block " << status.durable_number << ", flushed " << status.flushed_number << "\n"
      << absl::StrJoin(std::span(told_).last(std::min<size_t>(told_.size(), 60)), "\n");
  power_was_cut_ = false;
  if (chain().empty()) return;
  ASSERT_NO_FATAL_FAILURE(ExpectHead());
  const uint64_t number = chain().back()->info.number;
  const uint64_t lowest = std::max(number > kKeepBlocks ? number - kKeepBlocks : 1, may_be_pruned_);
  EXPECT_LE(status.oldest_served_number, std::min(lowest, number));
  for (const auto& block : chain()) {
    if (block->info.number < status.oldest_served_number) continue;
    SCOPED_TRACE(::testing::Message() << "block " << block->info.number);
    absl::StatusOr<StateViewPtr> view = engine_->View(block->info.number);
    ASSERT_TRUE(view.ok()) << view.status();
    ASSERT_EQ((*view)->block(), block->info);
    if (random_.Below(4) == 0) {
      ASSERT_NO_FATAL_FAILURE(ExpectState(**view, block->state));
    }
  }
  const absl::StatusOr<VerifyReport> report = engine_->Verify({});
  // A fault may be armed already.
  if (report.ok()) {
    EXPECT_EQ(report->difference, "");
  }
  EXPECT_NE(report.status().code(), absl::StatusCode::kDataLoss) << report.status();
}

void DiskTwin::ExpectHead() {
  absl::StatusOr<StateViewPtr> head = engine_->View(LatestBlock{});
  ASSERT_TRUE(head.ok()) << head.status();
  if (chain().empty()) return;
  ASSERT_EQ((*head)->block(), chain().back()->info);
  ExpectState(**head, chain().back()->state);
}

void DiskTwin::NoteDurable() {
  const uint64_t number = engine_->Status().durable_number;
  for (const auto& block : chain()) {
    if (block->info.number == number) durable_ = std::max(durable_, block->operation);
  }
}

// The engine has answered; `becomes` is the chain after the operation.
absl::Status DiskTwin::Took(absl::Status status, Chain becomes) {
  if (!status.ok()) {
    ++failed_;
    operations_.back().attempts.push_back(std::move(becomes));
    const absl::StatusOr<StateViewPtr> head = engine_->View(LatestBlock{});
    EXPECT_TRUE(head.ok()) << head.status();
    if (head.ok() && !chain().empty()) {
      EXPECT_EQ((*head)->block(), chain().back()->info) << "after " << status;
    }
    return status;
  }
  ++acknowledged_;
  if (becomes.size() > kBlocksKept) becomes.erase(becomes.begin());
  operations_.push_back({std::move(becomes), {}});
  NoteDurable();
  Trim();
  return status;
}

void DiskTwin::Trim() {
  while (first_ < durable_) {
    operations_.erase(operations_.begin());
    ++first_;
  }
}

// The index in the chain of a served block below the head, or of the head when there is none.
size_t DiskTwin::PickServed() {
  const uint64_t oldest = engine_->Status().oldest_served_number;
  size_t lowest = 0;
  while (lowest + 1 < chain().size() && chain()[lowest]->info.number < oldest) ++lowest;
  const size_t most = chain().size() - 1 - lowest;
  return chain().size() - 1 - (most == 0 ? 0 : 1 + random_.Below(std::min<size_t>(most, 4)));
}

absl::Status DiskTwin::ApplyOn(size_t kept, bool reorganize) {
  Chain becomes(chain().begin(), chain().begin() + static_cast<ptrdiff_t>(kept));
  BlockChanges changes = random_.Make(kept == 0 ? std::nullopt : std::optional<BlockInfo>(becomes.back()->info));
  changes.reorganize = reorganize;
  auto block = std::make_shared<Block>();
  if (kept != 0) block->state = becomes.back()->state;
  ApplyToModel(block->state, changes);
  block->info = {changes.number, changes.hash, changes.parent_hash, block->state.Root()};
  block->operation = first_ + operations_.size();
  made_by_[block->info.state_root] = block->operation;
  becomes.push_back(block);
  if (on_block_) on_block_(block->info, {block, &block->state});
  if (changes.number > kKeepBlocks) may_be_pruned_ = std::max(may_be_pruned_, changes.number - kKeepBlocks);
  const absl::StatusOr<ApplyResult> result = engine_->Apply(std::move(changes), absl::Now() + patience_);
  if (result.ok()) {
    EXPECT_EQ(result->block, block->info);
  }
  absl::Status status = Took(result.status(), std::move(becomes));
  if (status.ok() && durability_ == Durability::kSync) {
    EXPECT_EQ(engine_->Status().durable_number, block->info.number);
    durable_ = block->operation;
  }
  return status;
}

absl::Status DiskTwin::RollBack() {
  const size_t target = PickServed();
  Chain becomes(chain().begin(), chain().begin() + static_cast<ptrdiff_t>(target) + 1);
  absl::Status status = Took(engine_->RollbackTo(becomes.back()->info.number).status(), becomes);
  if (status.ok()) durable_ = first_ + operations_.size() - 1;
  return status;
}

absl::Status DiskTwin::TakeCheckpoint() {
  const std::string dir = dir_.path() + "/copy-" + std::to_string(++copies_made_);
  const absl::StatusOr<BlockInfo> copied = engine_->Checkpoint(dir);
  if (!copied.ok()) return copied.status();
  durable_ = first_ + operations_.size() - 1;
  EXPECT_TRUE(chain().empty() || *copied == chain().back()->info);
  if (!chain().empty()) copies_.push_back({dir, chain().back()});
  return absl::OkStatus();
}

absl::Status DiskTwin::Prune() {
  const uint64_t keep = 3 + random_.Below(5);
  if (blocks() > keep) may_be_pruned_ = std::max(may_be_pruned_, blocks() - keep);
  return engine_->Prune(keep).status();
}

absl::Status DiskTwin::DoOne(Kind kind) {
  if (chain().empty() && kind != Kind::kFlush) return ApplyOn(0, false);
  switch (kind) {
    case Kind::kApply:
      return ApplyOn(chain().size(), false);
    case Kind::kReorganize: {
      const size_t parent = PickServed();
      return ApplyOn(parent + 1, parent + 1 < chain().size());
    }
    case Kind::kRollback:
      return RollBack();
    case Kind::kFlush: {
      const absl::Status status = engine_->Flush().status();
      if (status.ok()) durable_ = first_ + operations_.size() - 1;
      return status;
    }
    case Kind::kPrune:
      return Prune();
    case Kind::kCheckpoint:
      return TakeCheckpoint();
  }
  return absl::OkStatus();
}

absl::Status DiskTwin::Do(Kind kind) {
  static constexpr const char* kNames[] = {"apply", "reorganize", "roll back", "flush", "prune", "checkpoint"};
  absl::Status status = DoOne(kind);
  Tell(absl::StrCat(kNames[static_cast<size_t>(kind)], ", now block ", blocks()), status);
  return status;
}

absl::Status DiskTwin::DoAny() {
  const uint64_t roll = random_.Below(20);
  if (roll < 12) return Do(Kind::kApply);
  if (roll < 15) return Do(Kind::kReorganize);
  if (roll < 17) return Do(Kind::kRollback);
  if (roll < 19) return Do(Kind::kFlush);
  return Do(random_.Below(3) == 0 ? Kind::kCheckpoint : Kind::kPrune);
}

void DiskTwin::ExpectCheckpoints() {
  for (const Copy& copy : std::exchange(copies_, {})) {
    SCOPED_TRACE(copy.dir);
    {
      absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(OptionsFor(copy.dir));
      ASSERT_TRUE(engine.ok()) << engine.status();
      absl::StatusOr<StateViewPtr> head = (*engine)->View(LatestBlock{});
      ASSERT_TRUE(head.ok()) << head.status();
      ASSERT_EQ((*head)->block(), copy.head->info);
      ASSERT_NO_FATAL_FAILURE(ExpectState(**head, copy.head->state));
    }
    for (const std::string& path : disk_.Paths()) {
      if (path.starts_with(copy.dir + "/")) disk_.Remove(path).IgnoreError();
    }
    std::filesystem::remove_all(copy.dir);
  }
}

}  // namespace mptd::testing
