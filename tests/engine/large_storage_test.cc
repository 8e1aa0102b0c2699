// Contracts of which a block changes many slots: their storage is worked out in parts, and must be what it is in one.
#include <gtest/gtest.h>

#include "core/engine/engine.h"
#include "core/keccak.h"
#include "tests/engine/engine_testing.h"

namespace mptd::testing {
namespace {

EngineOptions OptionsIn(const TempDir& dir, int threads) {
  EngineOptions options = QuietOptions(dir);
  options.flush_blocks = 100000;
  options.worker_threads = threads;
  return options;
}

// Slots [first, last) of a contract, with `step` between them; zero removes.
AccountChange Slots(uint64_t address, uint64_t first, uint64_t last, uint64_t step, uint64_t value) {
  std::vector<std::pair<uint64_t, uint64_t>> slots;
  for (uint64_t slot = first; slot < last; slot += step) slots.emplace_back(slot, value == 0 ? 0 : value + slot);
  return SetSlots(address, slots);
}

// All hashed keys that begin with one nibble: the rest of the trie's root goes.
AccountChange AllButOneNibble(uint64_t address, uint64_t slots, uint8_t nibble) {
  std::vector<std::pair<uint64_t, uint64_t>> removed;
  for (uint64_t slot = 0; slot < slots; ++slot) {
    if (Keccak256(SlotOf(slot).view()).bytes[0] >> 4 != nibble) removed.emplace_back(slot, 0);
  }
  return SetSlots(address, removed);
}

void Grow(TwinChain& chain) { chain.Apply({Slots(1, 0, 900, 1, 5), Slots(2, 0, 700, 1, 9), SetBalance(3, 3)}); }

void ChangeInEveryWay(TwinChain& chain) {
  chain.Apply({Slots(1, 0, 900, 3, 50), Slots(2, 300, 1000, 2, 4), SetBalance(4, 4)});
  chain.Apply({Slots(1, 0, 900, 2, 0), Slots(2, 0, 700, 2, 0), SetSlots(5, {{1, 1}})});
  ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
  chain.Apply({Slots(1, 0, 900, 1, 77), Slots(2, 0, 1000, 1, 78)});
  chain.Apply({AllButOneNibble(1, 900, 7), SetBalance(3, 8)});  // the root is another branch then
  ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
  chain.Apply({Slots(1, 0, 900, 1, 6), Reset(Slots(2, 100, 600, 1, 3))});
  chain.Apply({Slots(1, 1, 900, 1, 0)});  // one slot left
  chain.Apply({Slots(1, 0, 900, 1, 8), Remove(2)});
  chain.Apply({Slots(1, 0, 900, 1, 0), Slots(2, 0, 400, 1, 2)});  // none left
  ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
}

class LargeStorage : public ::testing::TestWithParam<int> {};

TEST_P(LargeStorage, EveryWayToChangeIt) {
  TempDir dir;
  TwinChain chain(OptionsIn(dir, GetParam()));
  ASSERT_NO_FATAL_FAILURE(Grow(chain));
  ASSERT_NO_FATAL_FAILURE(ChangeInEveryWay(chain));
  ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
  absl::StatusOr<VerifyReport> report = chain.engine().Verify({});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->difference, "");
}

TEST_P(LargeStorage, FromTheTables) {
  TempDir dir;
  TwinChain chain(OptionsIn(dir, GetParam()));
  ASSERT_NO_FATAL_FAILURE(Grow(chain));
  ASSERT_NO_FATAL_FAILURE(chain.Reopen());
  // A reader brings the root of one of them into memory.
  ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
  ASSERT_NO_FATAL_FAILURE(ChangeInEveryWay(chain));
  ASSERT_NO_FATAL_FAILURE(chain.Reopen());
  ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
}

// A refused block leaves the nodes as they were, for readers and for the next block.
TEST_P(LargeStorage, RefusedAndRolledBack) {
  TempDir dir;
  TwinChain chain(OptionsIn(dir, GetParam()));
  ASSERT_NO_FATAL_FAILURE(Grow(chain));
  BlockChanges wrong = chain.Next({Slots(1, 0, 900, 1, 13), Slots(2, 0, 700, 2, 0)});
  wrong.expected_root = SlotOf(1);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(chain.engine().Apply(wrong).status().code(), absl::StatusCode::kFailedPrecondition);
    ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
  }
  chain.Apply({Slots(1, 0, 900, 2, 31)});
  chain.Apply({Slots(2, 0, 700, 1, 0)});
  ASSERT_NO_FATAL_FAILURE(chain.Rollback(1));
  ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
  chain.Apply({Slots(1, 0, 900, 1, 32), Slots(2, 0, 700, 1, 33)});
  ASSERT_NO_FATAL_FAILURE(chain.Apply(chain.Replacing(2, {Slots(1, 0, 900, 5, 0)})));
  ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
}

INSTANTIATE_TEST_SUITE_P(Threads, LargeStorage, ::testing::Values(1, 2, 5));

}  // namespace
}  // namespace mptd::testing
