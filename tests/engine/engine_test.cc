// Blocks of every awkward kind, by name, against the model: after each step nothing more, a flush, or a restart; at the
// end all blocks are read again and rolled back one by one.
#include "core/engine/engine.h"

#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "core/nibbles.h"
#include "tests/engine/engine_testing.h"

namespace mptd::testing {
namespace {

enum class After { kNothing, kFlush, kReopen };

std::string NameOf(const ::testing::TestParamInfo<After>& info) {
  return info.param == After::kNothing ? "InMemory" : info.param == After::kFlush ? "Flushed" : "Reopened";
}

EngineOptions OptionsIn(const TempDir& dir) {
  EngineOptions options;
  options.data_dir = dir.path() + "/data";
  options.block_cache_bytes = 8u << 20;
  return options;
}

class Steps : public ::testing::TestWithParam<After> {
 protected:
  Steps() : chain_(Options(dir_)) {}

  static EngineOptions Options(const TempDir& dir) {
    EngineOptions options = OptionsIn(dir);
    if (GetParam() == After::kNothing) {
      options.flush_blocks = 1000;
      options.flush_interval = absl::Hours(1);
    } else {
      options.node_cache_bytes = options.row_cache_bytes = 0;
    }
    return options;
  }

  void Step(std::vector<AccountChange> changes, bool keep_empty = false) {
    if (::testing::Test::HasFatalFailure()) return;
    BlockChanges block = chain_.Next(std::move(changes));
    block.keep_empty_accounts = keep_empty;
    ASSERT_NO_FATAL_FAILURE(chain_.Apply(block));
    if (GetParam() == After::kFlush) {
      ASSERT_TRUE(chain_.engine().Flush().ok());
    }
    if (GetParam() == After::kReopen) {
      ASSERT_NO_FATAL_FAILURE(chain_.Reopen());
    }
    ASSERT_NO_FATAL_FAILURE(chain_.ExpectHead());
  }

  // Whatever was done: every served block is right, also after a restart, and on the way back.
  void TearDown() override {
    if (::testing::Test::HasFatalFailure()) return;
    ASSERT_NO_FATAL_FAILURE(chain_.ExpectAll());
    ASSERT_NO_FATAL_FAILURE(Verify());
    ASSERT_NO_FATAL_FAILURE(chain_.Reopen());
    ASSERT_NO_FATAL_FAILURE(chain_.ExpectAll());
    const uint64_t oldest = chain_.engine().Status().oldest_served_number;
    while (chain_.head().info.number > oldest) {
      ASSERT_NO_FATAL_FAILURE(chain_.Rollback(chain_.head().info.number - 1));
      if (GetParam() == After::kFlush) {
        ASSERT_TRUE(chain_.engine().Flush().ok());
      }
      ASSERT_NO_FATAL_FAILURE(chain_.ExpectHead());
    }
    ASSERT_NO_FATAL_FAILURE(Verify());
  }

  void Verify() {
    absl::StatusOr<VerifyReport> report = chain_.engine().Verify({});
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->difference, "");
    EXPECT_EQ(report->checked.accounts, chain_.head().state.accounts.size());
  }

  void Crowd() {
    std::vector<AccountChange> changes;
    for (uint64_t i = 100; i < 140; ++i) changes.push_back(SetBalance(i, i));
    Step(std::move(changes));
  }

  TempDir dir_;
  TwinChain chain_;
};

INSTANTIATE_TEST_SUITE_P(Engine, Steps, ::testing::Values(After::kNothing, After::kFlush, After::kReopen), NameOf);

std::vector<std::pair<uint64_t, uint64_t>> Range(uint64_t begin, uint64_t end, uint64_t value) {
  std::vector<std::pair<uint64_t, uint64_t>> slots;
  for (uint64_t i = begin; i < end; ++i) slots.emplace_back(i, value);
  return slots;
}

TEST_P(Steps, TriesOfNoOneAndTwoAccounts) {
  Step({});
  Step({SetBalance(1, 5)});
  Step({SetBalance(1, 6)});
  Step({SetBalance(2, 5)});
  Step({Remove(1)});
  Step({Remove(2)});
  Step({SetBalance(3, 1), SetBalance(4, 1)});
  Step({Remove(3), Remove(4)});
  Step({});
}

TEST_P(Steps, TheOnlyAccountHasStorage) {
  Step({SetSlots(1, {{1, 1}, {2, 2}})});
  Step({SetSlots(1, {{1, 7}})});
  Step({SetSlots(1, Range(1, 30, 9))});
  Step({SetBalance(1, 3)});
  Step({SetSlots(1, {{1, 8}})});
  Step({SetBalance(2, 5)});
  Step({SetSlots(1, {{1, 0}, {3, 33}})});
  Step({Remove(2)});
  Step({SetSlots(1, {{4, 44}})});
  Step({SetSlots(2, Range(1, 9, 1)), Remove(1)});
  Step({SetSlots(2, {{3, 3}})});
  Step({Remove(2)});
}

TEST_P(Steps, StorageShrinksToOneLeafAndToNothingAndGrows) {
  Crowd();
  for (const uint64_t account : {uint64_t{100}, uint64_t{7}}) {
    Step({SetSlots(account, Range(0, 30, 1))});
    Step({SetSlots(account, Range(2, 30, 0))});
    Step({SetSlots(account, {{1, 0}})});
    Step({SetSlots(account, {{0, 5}})});
    Step({SetSlots(account, {{0, 0}})});
    Step({SetSlots(account, {{9, 1}})});
    Step({SetSlots(account, {{10, 1}})});
    Step({SetSlots(account, {{9, 0}, {11, 1}})});
    Step({SetSlots(account, Range(0, 20, 4))});
  }
}

TEST_P(Steps, DestroyedAndCreatedAgainInOneBlock) {
  Crowd();
  Step({SetSlots(1, Range(0, 20, 1))});
  Step({Reset(SetSlots(1, {{3, 3}, {4, 1}, {50, 5}}))});
  Step({Reset(SetSlots(1, {}))});
  Step({Reset(SetSlots(1, Range(0, 3, 2)))});
  Step({Reset(SetSlots(1, Range(0, 3, 2)))});
  Step({Reset(Touch(1))});
  Step({Reset(SetSlots(2, {{1, 1}}))});  // was not there
  Step({Reset(Touch(3))});
}

TEST_P(Steps, DestroyedAndCreatedAgainInTwoBlocks) {
  Crowd();
  Step({SetSlots(1, Range(0, 20, 1)), SetCode(2, "code")});
  Step({Remove(1), Remove(2)});
  Step({SetBalance(1, 1), SetCode(2, "code")});
  Step({Remove(1)});
  Step({SetSlots(1, {{3, 7}, {21, 1}})});
  Step({Remove(77)});  // was never there
}

TEST_P(Steps, CodeThatAccountsShare) {
  Step({SetCode(1, "first"), SetCode(2, "shared")});
  Step({SetCode(3, "shared")});
  Step({Remove(2)});
  Step({Remove(3)});
  Step({SetCode(4, "shared"), SetCode(5, "shared")});
  Step({SetCode(4, "")});
  Step({SetCode(1, "second")});
  Step({SetCode(1, "first")});
  Step({SetCode(1, Bytes(24576, 'x'))});
}

TEST_P(Steps, TouchedEmptyAccounts) {
  Crowd();
  Step({Touch(1)});
  Step({Touch(1), Touch(2), SetBalance(3, 1)}, true);
  AccountChange with_slots = Touch(4);
  with_slots.slots.push_back({SlotOf(1), U256::FromUint64(1)});
  with_slots.slots.push_back({SlotOf(2), U256::FromUint64(1)});
  Step({with_slots}, true);
  Step({SetBalance(5, 1)});  // the others are empty and not touched: they stay
  Step({Touch(1)});
  Step({Touch(4)});
  with_slots.slots[0].value = U256{};
  Step({with_slots});  // nothing is left of it, and it gets nothing
  Step({SetBalance(3, 0)});
  Step({SetBalance(2, 0)});
}

TEST_P(Steps, ZeroSlotValues) {
  Crowd();
  Step({SetSlots(1, Range(0, 5, 0))});
  Step({SetSlots(1, {{1, 0}, {2, 2}, {3, 0}})});
  Step({SetSlots(1, {{2, 0}, {1, 0}})});
  Step({Reset(SetSlots(100, {{1, 0}}))});
}

// Slots whose hashed keys share 10 nibbles: with a value of one byte their leaves are shorter than 32 bytes and stand
// in their branch. Found by search; the deeper ones are in trie_update_test.
TEST_P(Steps, EmbeddedLeaves) {
  constexpr std::pair<uint64_t, uint64_t> kPairs[] = {
      {1173291, 4548936}, {7376701, 2106831}, {2544744, 2277427}, {468858, 1452710}, {127915, 7782468}};
  for (const auto& [a, b] : kPairs) {
    const Bytes first = UnpackNibbles(Keccak256(SlotOf(a).view()).view());
    ASSERT_GE(CommonPrefix(first, UnpackNibbles(Keccak256(SlotOf(b).view()).view())), 10u);
  }
  Step({SetSlots(1, {{kPairs[0].first, 1}, {kPairs[0].second, 1}})});
  Step({SetSlots(1, {{kPairs[1].first, 1}, {kPairs[1].second, 200}})});
  Step({SetSlots(1, {{kPairs[1].second, 2}, {kPairs[0].first, 1000}})});
  Step({SetSlots(1, {{kPairs[2].first, 1}}), SetSlots(2, {{kPairs[2].second, 1}})});
  Step({SetSlots(1, {{kPairs[2].second, 1}}), SetSlots(2, {{kPairs[2].first, 1}})});
  Step({SetSlots(1, {{kPairs[0].first, 1}, {kPairs[1].first, 0}})});
  Step({SetSlots(1, {{kPairs[3].first, 3}, {kPairs[3].second, 3}, {kPairs[4].first, 3}, {kPairs[4].second, 3}})});
  Step({SetSlots(1, {{kPairs[0].first, 0}, {kPairs[1].second, 0}, {kPairs[2].first, 0}, {kPairs[2].second, 0}})});
  Step({SetSlots(1, {{kPairs[3].first, 0}, {kPairs[0].second, 0}})});
  Step({SetSlots(1, {{kPairs[4].first, 0}, {kPairs[3].second, 0}})});
  Step({SetSlots(1, {{kPairs[4].second, 0}})});
}

TEST_P(Steps, LargeValues) {
  AccountChange change = SetSlots(1, Range(0, 40, 1));
  for (SlotChange& slot : change.slots) slot.value.be.fill(0xff);
  change.nonce = UINT64_MAX;
  change.balance.emplace().be.fill(0xff);
  Step({change});
  change.slots[0].value = U256::FromUint64(0x80);
  change.slots[1].value = U256::FromUint64(0x7f);
  Step({change, SetBalance(2, 0x80)});
}

TEST_P(Steps, ManyAccountsInOneBlock) {
  std::vector<AccountChange> changes;
  for (uint64_t i = 0; i < 600; ++i) changes.push_back(i % 7 == 0 ? SetSlots(i, Range(0, i % 5, 3)) : SetBalance(i, 1));
  Step(changes);
  changes.clear();
  for (uint64_t i = 0; i < 600; ++i) {
    changes.push_back(i % 3 == 0 ? Remove(i) : i % 7 == 0 ? SetSlots(i, Range(0, 9, i % 2)) : SetBalance(i, 0x1234));
  }
  Step(changes);
  changes.clear();
  for (uint64_t i = 1; i < 600; ++i) changes.push_back(Remove(i));
  Step(changes);
}

}  // namespace
}  // namespace mptd::testing
