// Random chains against the naive model: blocks, reads at random served blocks, proofs, rollbacks, reorganisations,
// flushes, restarts. The seed of each run is printed; MPTD_TEST_SEED runs it again.
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>

#include "core/hex.h"
#include "tests/engine/engine_testing.h"

namespace mptd::testing {
namespace {

struct ModelBlock {
  BlockInfo info;
  model::NaiveState state;
};

class Chain {
 public:
  Chain(uint64_t seed, EngineOptions options) : maker_(seed), options_(std::move(options)) { Open(); }

  void Open() {
    engine_.reset();
    absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(options_);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    if (blocks_.empty()) return;
    absl::StatusOr<StateViewPtr> head = engine_->View(LatestBlock{});
    ASSERT_TRUE(head.ok()) << head.status();
    ASSERT_EQ((*head)->block(), blocks_.back().info);
  }

  void Step() {
    switch (maker_.Below(24)) {
      case 0:
        Rollback();
        break;
      case 1:
      case 2:
        Reorganize();
        break;
      case 3:
        ASSERT_TRUE(engine_->Flush().ok());
        break;
      case 4:
        if (maker_.Below(3) == 0) Open();
        break;
      case 5:
        Refused();
        break;
      default:
        Extend();
    }
    if (!::testing::Test::HasFatalFailure() && !blocks_.empty()) ReadSome();
  }

  void VerifyAll() {
    absl::StatusOr<VerifyReport> report = engine_->Verify({});
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->difference, "");
  }

 private:
  std::optional<BlockInfo> HeadInfo() const {
    if (blocks_.empty()) return std::nullopt;
    return blocks_.back().info;
  }

  void Push(const BlockChanges& block, const BlockInfo& info, model::NaiveState state) {
    ApplyToModel(state, block);
    ASSERT_EQ(info.state_root, state.Root()) << "block " << block.number;
    blocks_.push_back({info, std::move(state)});
    while (blocks_.size() > options_.keep_blocks + 1) blocks_.pop_front();
  }

  void Extend() {
    BlockChanges block = maker_.Make(HeadInfo());
    absl::StatusOr<StateViewPtr> head = engine_->View(LatestBlock{});
    ASSERT_TRUE(head.ok());
    absl::StatusOr<Hash> dry = (*head)->ComputeRoot(block.changes, block.keep_empty_accounts);
    ASSERT_TRUE(dry.ok()) << dry.status();
    absl::StatusOr<ApplyResult> result = engine_->Apply(block);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(*dry, result->block.state_root);
    Push(block, result->block, blocks_.empty() ? model::NaiveState{} : blocks_.back().state);
    absl::StatusOr<ApplyResult> again = engine_->Apply(block);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(again->already_applied);
  }

  void Refused() {
    BlockChanges block = maker_.Make(HeadInfo());
    block.expected_root = SlotOf(1);
    EXPECT_EQ(engine_->Apply(block).status().code(), absl::StatusCode::kFailedPrecondition);
    block.expected_root.reset();
    block.number += 1;
    if (!blocks_.empty()) {
      EXPECT_EQ(engine_->Apply(block).status().code(), absl::StatusCode::kFailedPrecondition);
    }
  }

  void Rollback() {
    if (blocks_.empty()) return;
    const size_t keep = blocks_.size() - maker_.Below(std::min<uint64_t>(blocks_.size(), 12));
    absl::StatusOr<BlockInfo> info = engine_->RollbackTo(blocks_[keep - 1].info.number);
    ASSERT_TRUE(info.ok()) << info.status();
    EXPECT_EQ(*info, blocks_[keep - 1].info);
    blocks_.resize(keep);
  }

  void Reorganize() {
    if (blocks_.size() < 3) return;
    const size_t keep = blocks_.size() - 1 - maker_.Below(std::min<uint64_t>(blocks_.size() - 1, 10));
    BlockChanges block = maker_.Make(blocks_[keep - 1].info);
    block.reorganize = true;
    if (maker_.Below(4) == 0) {
      block.expected_root = SlotOf(1);
      ASSERT_EQ(engine_->Apply(block).status().code(), absl::StatusCode::kFailedPrecondition);
      block.expected_root.reset();
    }
    absl::StatusOr<ApplyResult> result = engine_->Apply(block);
    ASSERT_TRUE(result.ok()) << result.status();
    blocks_.resize(keep);
    Push(block, result->block, blocks_.back().state);
  }

  void ReadSome() {
    const ModelBlock& block = blocks_[maker_.Below(2) == 0 ? blocks_.size() - 1 : maker_.Below(blocks_.size())];
    absl::StatusOr<StateViewPtr> view = engine_->View(block.info.number);
    ASSERT_TRUE(view.ok()) << view.status();
    ASSERT_EQ((*view)->block(), block.info);
    for (int i = 0; i < 3; ++i) {
      const Address address = AddressOf(maker_.Below(130));
      absl::StatusOr<std::optional<Account>> account = (*view)->GetAccount(address);
      ASSERT_TRUE(account.ok()) << account.status();
      ASSERT_EQ(*account, block.state.Get(address)) << "block " << block.info.number << " " << ToHex(address);
    }
    const Address address = AddressOf(maker_.Below(120));
    const std::vector<Hash> slots = {SlotOf(maker_.Below(30)), SlotOf(maker_.Below(40))};
    absl::StatusOr<AccountProof> proof = (*view)->GetProof(address, slots);
    ASSERT_TRUE(proof.ok()) << proof.status();
    const AccountProof expected = block.state.Proof(address, slots);
    ASSERT_EQ(proof->proof, expected.proof) << "block " << block.info.number << " " << ToHex(address);
    ASSERT_EQ(proof->account, expected.account);
    for (size_t i = 0; i < slots.size(); ++i) {
      ASSERT_EQ(proof->storage[i].value, expected.storage[i].value);
      ASSERT_EQ(proof->storage[i].proof, expected.storage[i].proof);
    }
    ASSERT_TRUE(VerifyAccountProof(block.info.state_root, *proof).ok());
    if (maker_.Below(4) == 0) DryRun(**view, block);
    if (maker_.Below(4) == 0) Scan(**view, block);
  }

  void DryRun(const StateView& view, const ModelBlock& block) {
    const BlockChanges changes = maker_.Make(block.info);
    absl::StatusOr<Hash> root = view.ComputeRoot(changes.changes, changes.keep_empty_accounts);
    ASSERT_TRUE(root.ok()) << root.status();
    model::NaiveState state = block.state;
    ApplyToModel(state, changes);
    ASSERT_EQ(*root, state.Root()) << "dry run on block " << block.info.number;
  }

  void Scan(const StateView& view, const ModelBlock& block) {
    size_t accounts = 0;
    Hash start;
    while (true) {
      absl::StatusOr<Page<HashedAccount>> page = view.ScanAccounts(start, 17);
      ASSERT_TRUE(page.ok()) << page.status();
      accounts += page->items.size();
      if (!page->next) break;
      start = *page->next;
    }
    ASSERT_EQ(accounts, block.state.accounts.size());
    const Address address = AddressOf(maker_.Below(120));
    absl::StatusOr<Page<HashedSlot>> slots = view.ScanStorage(address, Hash{}, 1000);
    ASSERT_TRUE(slots.ok());
    const auto it = block.state.accounts.find(address);
    ASSERT_EQ(slots->items.size(), it == block.state.accounts.end() ? 0 : it->second.storage.size());
  }

  BlockMaker maker_;
  const EngineOptions options_;
  std::unique_ptr<StateEngine> engine_;
  std::deque<ModelBlock> blocks_;
};

void RunChains(EngineOptions options, int chains, int steps) {
  const uint64_t first = FirstSeed();
  for (int i = 0; i < chains; ++i) {
    const uint64_t seed = first + static_cast<uint64_t>(i);
    SCOPED_TRACE(::testing::Message() << "MPTD_TEST_SEED=" << seed);
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    TempDir dir;
    options.data_dir = dir.path() + "/data";
    Chain chain(seed, options);
    for (int step = 0; step < steps; ++step) {
      chain.Step();
      if (::testing::Test::HasFatalFailure()) return;
    }
    chain.VerifyAll();
  }
}

TEST(EngineProperty, DefaultOptions) { RunChains({}, Scaled(5), 300); }

TEST(EngineProperty, SyncedWithAShortWindow) {
  EngineOptions options;
  options.durability = Durability::kSync;
  options.warm_up = true;
  options.keep_blocks = 7;
  options.prune_interval_blocks = 3;
  options.flush_blocks = 4;
  RunChains(options, Scaled(5), 300);
}

TEST(EngineProperty, NothingStaysInMemory) {
  EngineOptions options;
  options.durability = Durability::kAsync;
  options.node_cache_bytes = 0;
  options.row_cache_bytes = 0;
  options.flush_blocks = 2;
  options.worker_threads = 1;
  RunChains(options, Scaled(5), 300);
}

TEST(EngineProperty, HistoryOnDisk) {
  EngineOptions options;
  options.history_memory_bytes = 0;
  options.flush_blocks = 3;
  options.keep_blocks = 40;
  options.prune_interval_blocks = 8;
  RunChains(options, Scaled(5), 300);
}

TEST(EngineProperty, Archive) {
  EngineOptions options;
  options.archive = true;
  options.warm_up = true;
  options.history_memory_bytes = 64 << 10;
  options.flush_blocks = 5;
  options.keep_blocks = 1u << 20;
  RunChains(options, Scaled(3), 400);
}

}  // namespace
}  // namespace mptd::testing
