// What the engine refuses, with which status and reason, and that a refusal changes nothing; and blocks that come
// again.
#include <gtest/gtest.h>

#include "core/engine/engine.h"
#include "core/errors.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "tests/engine/engine_testing.h"

namespace mptd::testing {
namespace {

using Code = absl::StatusCode;

class Refusal : public ::testing::Test {
 protected:
  Refusal() : chain_(Options()) {
    for (int i = 0; i < 5; ++i) {
      chain_.Apply({SetBalance(1, static_cast<uint64_t>(i) + 1), SetSlots(2, {{1, static_cast<uint64_t>(i) + 1}}),
                    SetCode(3, "code " + std::to_string(i))});
    }
  }

  EngineOptions Options() {
    EngineOptions options;
    options.data_dir = dir_.path() + "/data";
    options.block_cache_bytes = 8u << 20;
    options.max_changes_per_block = 5;
    options.max_slots_per_account = 4;
    options.max_slots_per_block = 6;
    options.flush_interval = absl::Hours(1);
    return options;
  }

  void ExpectRefused(const BlockChanges& block, Code code, std::string_view reason, std::string_view field = "") {
    SCOPED_TRACE(reason.empty() ? field : reason);
    const absl::StatusOr<ApplyResult> result = chain_.engine().Apply(block);
    ASSERT_EQ(result.status().code(), code) << result.status();
    EXPECT_EQ(ErrorReason(result.status()).value_or(""), reason) << result.status();
    EXPECT_EQ(InvalidFieldPath(result.status()).value_or(""), field) << result.status();
    ASSERT_NO_FATAL_FAILURE(chain_.ExpectHead());
  }
  void ExpectInvalid(std::vector<AccountChange> changes, std::string_view field) {
    const BlockChanges block = chain_.Next(std::move(changes));
    ExpectRefused(block, Code::kInvalidArgument, "", field);
    absl::StatusOr<StateViewPtr> head = chain_.engine().View(LatestBlock{});
    const absl::StatusOr<Hash> root = (*head)->ComputeRoot(block.changes, false);
    if (field != "changes" && field.find(".slots") == std::string_view::npos) {
      EXPECT_EQ(root.status().code(), Code::kInvalidArgument) << "ComputeRoot takes " << field;
    }
  }

  TempDir dir_;
  TwinChain chain_;
};

TEST_F(Refusal, MalformedChanges) {
  ExpectInvalid({SetBalance(1, 1), SetBalance(4, 1), SetBalance(1, 2)}, "changes[2].address");
  AccountChange twice = SetSlots(9, {{1, 1}, {2, 2}, {1, 1}});
  ExpectInvalid({SetBalance(1, 1), twice}, "changes[1].slots[2].key");
  for (int field = 0; field < 5; ++field) {
    AccountChange removed = Remove(2);
    if (field == 0) removed.nonce = 0;
    if (field == 1) removed.balance = U256{};
    if (field == 2) removed.code = Bytes();
    if (field == 3) removed.reset_storage = true;
    if (field == 4) removed.slots.push_back({SlotOf(1), U256{}});
    ExpectInvalid({removed}, "changes[0].delete");
  }
}

TEST_F(Refusal, TooMuch) {
  std::vector<AccountChange> changes;
  for (uint64_t i = 0; i < 6; ++i) changes.push_back(SetBalance(i + 10, 1));
  ExpectInvalid(changes, "changes");
  changes.pop_back();
  chain_.Apply(changes);
  ExpectInvalid({SetBalance(1, 1), SetSlots(2, {{1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}})}, "changes[1].slots");
  ExpectInvalid({SetSlots(1, {{1, 1}, {2, 1}, {3, 1}, {4, 1}}), SetSlots(2, {{1, 1}, {2, 1}, {3, 1}})}, "changes");
  chain_.Apply({SetSlots(2, {{1, 1}, {2, 1}, {3, 1}, {4, 1}})});
}

TEST_F(Refusal, NotTheChildOfTheHead) {
  BlockChanges gap = chain_.Next({SetBalance(1, 9)});
  gap.number += 1;
  ExpectRefused(gap, Code::kFailedPrecondition, "GAP");
  gap.reorganize = true;
  ExpectRefused(gap, Code::kFailedPrecondition, "GAP");
  gap.number = UINT64_MAX;
  ExpectRefused(gap, Code::kFailedPrecondition, "GAP");

  BlockChanges behind = chain_.Replacing(5, {SetBalance(1, 9)});
  behind.reorganize = false;
  ExpectRefused(behind, Code::kFailedPrecondition, "NOT_CHILD_OF_HEAD");
  behind.number = 0;
  ExpectRefused(behind, Code::kFailedPrecondition, "NOT_CHILD_OF_HEAD");
  behind.reorganize = true;
  ExpectRefused(behind, Code::kFailedPrecondition, "NOT_CHILD_OF_HEAD");

  BlockChanges first = chain_.Replacing(2, {SetBalance(1, 9)});
  first.number = 1;  // its parent has never been here
  first.parent_hash.reset();
  first.parent_root.reset();
  ExpectRefused(first, Code::kOutOfRange, "NOT_SERVED");
}

TEST_F(Refusal, OtherParentOrRoot) {
  BlockChanges block = chain_.Next({SetBalance(1, 9)});
  block.parent_hash = chain_.at(4).info.hash;
  ExpectRefused(block, Code::kFailedPrecondition, "PARENT_MISMATCH");
  block = chain_.Next({SetBalance(1, 9)});
  block.parent_root = chain_.at(4).info.state_root;
  ExpectRefused(block, Code::kFailedPrecondition, "PARENT_ROOT_MISMATCH");
  block = chain_.Next({SetBalance(1, 9)});
  block.expected_root = chain_.head().info.state_root;
  ExpectRefused(block, Code::kFailedPrecondition, "ROOT_MISMATCH");

  for (uint64_t number = 2; number <= 5; ++number) {
    BlockChanges other = chain_.Replacing(number, {SetBalance(1, 9)});
    other.parent_hash = chain_.at(number).info.hash;
    ExpectRefused(other, Code::kFailedPrecondition, "PARENT_MISMATCH");
    other = chain_.Replacing(number, {SetBalance(1, 9)});
    other.parent_root = chain_.at(number).info.state_root;
    ExpectRefused(other, Code::kFailedPrecondition, "PARENT_ROOT_MISMATCH");
    other = chain_.Replacing(number, {SetBalance(1, 9)});
    other.expected_root = chain_.head().info.state_root;
    ExpectRefused(other, Code::kFailedPrecondition, "ROOT_MISMATCH");
  }
}

TEST_F(Refusal, AHashThatIsTaken) {
  BlockChanges block = chain_.Next({SetBalance(1, 9)});
  block.hash = chain_.at(3).info.hash;
  ExpectRefused(block, Code::kFailedPrecondition, "HASH_IN_USE");
  block.number = 3;
  ExpectRefused(block, Code::kFailedPrecondition, "CONTENT_MISMATCH");
}

// Refused blocks leave no trace: not in the tables, not in the log, not in what a restart finds.
TEST_F(Refusal, NothingHasChanged) {
  ASSERT_TRUE(chain_.engine().Flush().ok());
  chain_.Close();
  const AllTables before = ReadTables(chain_.options().data_dir);
  chain_.Open();
  const EngineStatus status = chain_.engine().Status();
  const uint64_t next_event = chain_.engine().NextHeadIndex();
  for (int i = 0; i < 3; ++i) {
    ExpectInvalid({SetBalance(1, 1), SetBalance(1, 2)}, "changes[1].address");
    BlockChanges block = chain_.Next({SetBalance(1, 9), Remove(2), SetCode(4, "never"), SetSlots(5, {{1, 1}, {2, 2}})});
    block.expected_root = SlotOf(1);
    ExpectRefused(block, Code::kFailedPrecondition, "ROOT_MISMATCH");
    block = chain_.Replacing(3, block.changes);
    block.expected_root = SlotOf(1);
    ExpectRefused(block, Code::kFailedPrecondition, "ROOT_MISMATCH");
    EXPECT_EQ(chain_.engine().Apply(chain_.Next({}), absl::InfiniteFuture(), [] { return true; }).status().code(),
              Code::kCancelled);
  }
  const EngineStatus after = chain_.engine().Status();
  EXPECT_EQ(after.head, status.head);
  EXPECT_EQ(after.durable_number, status.durable_number);
  EXPECT_EQ(after.oldest_served_number, status.oldest_served_number);
  EXPECT_EQ(after.queue_blocks, 0u);
  EXPECT_EQ(after.queue_bytes, 0u);
  EXPECT_LT(after.node_cache_bytes, 1u << 20) << "nodes that a refused block has loaded are counted wrong";
  EXPECT_EQ(chain_.engine().NextHeadIndex(), next_event);
  EXPECT_EQ((*chain_.engine().View(LatestBlock{}))->GetCode(Keccak256("never"))->has_value(), false);
  ASSERT_NO_FATAL_FAILURE(chain_.ExpectAll());
  chain_.Close();
  ExpectSameTables(ReadTables(chain_.options().data_dir), before, true);
}

// Nodes that were loaded for a block that was then refused are in memory, and go from it, like any others.
TEST_F(Refusal, MemoryIsCountedRight) {
  chain_.options().max_changes_per_block = 0;
  chain_.Reopen();
  std::vector<AccountChange> changes;
  for (uint64_t i = 0; i < 2000; ++i) changes.push_back(SetBalance(i + 100, 1));
  chain_.Apply(changes);
  chain_.options().node_cache_bytes = 0;
  chain_.Reopen();
  for (uint64_t round = 0; round < 8; ++round) {
    for (AccountChange& change : changes) change.balance = U256::FromUint64(round + 2);
    BlockChanges block = chain_.Next(changes);
    block.expected_root = SlotOf(1);
    ASSERT_EQ(chain_.engine().Apply(block).status().code(), Code::kFailedPrecondition);
  }
  chain_.Apply({SetBalance(1, 1)});
  ASSERT_TRUE(chain_.engine().Flush().ok());
  // Housekeeping comes by.
  const auto is_small = [this] { return chain_.engine().Status().node_cache_bytes < 1u << 20; };
  for (const absl::Time end = absl::Now() + absl::Minutes(5); !is_small() && absl::Now() < end;) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_TRUE(is_small()) << chain_.engine().Status().node_cache_bytes;
}

TEST_F(Refusal, TheSameBlockAgain) {
  std::vector<BlockChanges> blocks;
  for (uint64_t i = 0; i < 4; ++i) {
    BlockChanges block =
        chain_.Next({SetSlots(2, {{i, 1}, {i + 1, 3}, {i + 2, 0}}), SetBalance(1, i), SetCode(3, "x")});
    if (i % 2 == 1) block.hash.reset();  // number and content say which it is
    chain_.Apply(block);
    blocks.push_back(block);
  }
  const auto expect_again = [&](bool also_content) {
    for (const BlockChanges& sent : blocks) {
      BlockChanges block = sent;
      std::reverse(block.changes.begin(), block.changes.end());
      std::reverse(block.changes[2].slots.begin(), block.changes[2].slots.end());
      if (!block.hash && !also_content) continue;
      absl::StatusOr<ApplyResult> again = chain_.engine().Apply(block);
      ASSERT_TRUE(again.ok()) << again.status();
      EXPECT_TRUE(again->already_applied);
      EXPECT_EQ(again->block, chain_.at(block.number).info);
      block.expected_root = again->block.state_root;
      EXPECT_TRUE(chain_.engine().Apply(block).ok());
      block.expected_root = SlotOf(1);
      ExpectRefused(block, Code::kFailedPrecondition, "ROOT_MISMATCH");
      block.expected_root.reset();
      block.keep_empty_accounts = true;
      ExpectRefused(block, Code::kFailedPrecondition, block.hash ? "CONTENT_MISMATCH" : "NOT_CHILD_OF_HEAD");
      block = sent;
      block.changes[0].slots[0].value = U256::FromUint64(77);
      ExpectRefused(block, Code::kFailedPrecondition, block.hash ? "CONTENT_MISMATCH" : "NOT_CHILD_OF_HEAD");
    }
  };
  expect_again(true);
  chain_.Reopen();
  expect_again(true);
  // A block that was rolled back is a new one again.
  chain_.Rollback(7);
  for (size_t i = 2; i < 4; ++i) chain_.Apply(blocks[i]);
  chain_.ExpectAll();
}

TEST(EngineFirst, AnyNumber) {
  for (const uint64_t first : {uint64_t{0}, uint64_t{1}, uint64_t{5}, uint64_t{1} << 40, UINT64_MAX - 300}) {
    SCOPED_TRACE(::testing::Message() << "first block " << first);
    TempDir dir;
    EngineOptions options;
    options.data_dir = dir.path() + "/data";
    TwinChain chain(options, first);
    absl::StatusOr<StateViewPtr> nothing = chain.engine().View(LatestBlock{});
    ASSERT_TRUE(nothing.ok());
    EXPECT_EQ((*nothing)->block(), BlockInfo{});
    nothing->reset();  // an engine closes when its views are gone
    EXPECT_EQ(chain.engine().View(uint64_t{0}).status().code(), Code::kFailedPrecondition);
    EXPECT_EQ(ErrorReason(chain.engine().View(uint64_t{0}).status()).value_or(""), "NO_BLOCKS");
    EXPECT_FALSE(chain.engine().Status().has_blocks);
    BlockChanges wrong = chain.Next({SetBalance(1, 1)});
    wrong.parent_root = SlotOf(1);
    EXPECT_EQ(ErrorReason(chain.engine().Apply(wrong).status()).value_or(""), "PARENT_ROOT_MISMATCH");
    BlockChanges block = chain.Next({SetBalance(1, 1), SetSlots(2, {{1, 1}})});
    block.parent_hash = Keccak256("somebody's");
    chain.Apply(block);
    chain.ExpectHead();
    EXPECT_EQ(chain.engine().Status().genesis_root.has_value(), first == 0);
    chain.Reopen();
    chain.ExpectHead();
    chain.Apply({SetBalance(1, 2)});
    chain.Apply({SetBalance(1, 3)});
    EXPECT_EQ(chain.engine().Status().oldest_served_number, first);
    ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
    if (first > 0) {
      EXPECT_EQ(chain.engine().View(first - 1).status().code(), Code::kOutOfRange);
    }
    EXPECT_EQ(chain.engine().View(first + 3).status().code(), Code::kOutOfRange);
    chain.Apply(chain.Replacing(first + 1, {SetBalance(1, 4)}));
    chain.Rollback(first);
    chain.ExpectHead();
    chain.Reopen();
    chain.ExpectHead();
    EXPECT_EQ(chain.engine().Status().genesis_root.has_value(), first == 0);
  }
}

}  // namespace
}  // namespace mptd::testing
