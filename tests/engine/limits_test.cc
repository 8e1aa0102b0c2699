// Limits that change while the engine runs: what has to go does go, what grows is used, and states stay right.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "core/engine/engine.h"
#include "core/errors.h"
#include "tests/engine/engine_testing.h"

namespace mptd::testing {
namespace {

using Code = absl::StatusCode;

EngineOptions OptionsIn(const TempDir& dir) {
  EngineOptions options = QuietOptions(dir);
  options.flush_blocks = 100'000;
  return options;
}

// The same accounts and slots with other values in every round.
std::vector<AccountChange> Round(uint64_t round) {
  std::vector<AccountChange> changes;
  for (uint64_t i = 0; i < 600; ++i) changes.push_back(SetBalance(i, 1000 * round + i));
  AccountChange storage = SetSlots(1000, {});
  for (uint64_t slot = 0; slot < 200; ++slot) storage.slots.push_back({SlotOf(slot), U256::FromUint64(round + slot)});
  changes.push_back(std::move(storage));
  return changes;
}

void ApplyRounds(TwinChain& chain, uint64_t first, uint64_t n) {
  for (uint64_t i = 0; i < n; ++i) ASSERT_NO_FATAL_FAILURE(chain.Apply(Round(first + i)));
}

// Waits for the writer, which clears up behind a block or a little later.
bool Becomes(const std::function<bool()>& wanted) {
  const absl::Time end = absl::Now() + absl::Minutes(4);
  while (!wanted() && absl::Now() < end) absl::SleepFor(absl::Milliseconds(10));
  return wanted();
}

// Enough that most nodes are below the two levels that always stay.
constexpr uint64_t kMany = 20'000;

void ApplyMany(StateEngine& engine, uint64_t salt) {
  BlockChanges block;
  block.number = engine.Status().head.number + 1;
  for (uint64_t i = 0; i < kMany; ++i) block.changes.push_back(SetBalance(i, salt * kMany + i));
  ASSERT_EQ(engine.Apply(std::move(block)).status(), absl::OkStatus());
  ASSERT_EQ(engine.Flush().status(), absl::OkStatus());
}

// The writer clears up a little behind every block.
void ApplySmallBlocks(StateEngine& engine, int n) {
  for (; n > 0; --n) {
    BlockChanges block;
    block.number = engine.Status().head.number + 1;
    block.changes.push_back(SetBalance(kMany, block.number));
    ASSERT_EQ(engine.Apply(std::move(block)).status(), absl::OkStatus());
  }
}

void ExpectMany(StateEngine& engine, uint64_t salt) {
  const StateViewPtr view = *engine.View(LatestBlock{});
  for (uint64_t i = 0; i < kMany; i += 101) {
    const absl::StatusOr<std::optional<Account>> account = view->GetAccount(AddressOf(i));
    ASSERT_TRUE(account.ok() && account->has_value()) << i;
    EXPECT_EQ((*account)->balance, U256::FromUint64(salt * kMany + i));
  }
  EXPECT_EQ(engine.Verify({})->difference, "");
}

TEST(EngineLimitsTest, CachesShrinkAndGrowAgain) {
  TempDir dir;
  EngineOptions options = OptionsIn(dir);
  options.keep_blocks = 1;
  options.row_cache_bytes = 16u << 20;
  options.history_memory_bytes = 1u << 20;
  const std::unique_ptr<StateEngine> engine = *StateEngine::Open(options);
  for (uint64_t salt = 1; salt <= 3; ++salt) ASSERT_NO_FATAL_FAILURE(ApplyMany(*engine, salt));
  const uint64_t nodes = engine->Status().node_cache_bytes;
  const uint64_t rows = engine->Statistics().cached_rows;
  ASSERT_GE(rows, kMany);

  EngineLimits small = options;
  small.node_cache_bytes = nodes / 4;
  small.row_cache_bytes = 1;
  engine->SetLimits(small);
  EXPECT_EQ(engine->limits().row_cache_bytes, 1u);
  ASSERT_NO_FATAL_FAILURE(ApplySmallBlocks(*engine, 300));
  EXPECT_TRUE(Becomes([&] { return engine->Statistics().cached_rows < rows / 2; }));
  EXPECT_TRUE(Becomes([&] { return engine->Status().node_cache_bytes <= small.node_cache_bytes; }));
  ASSERT_NO_FATAL_FAILURE(ExpectMany(*engine, 3));

  engine->SetLimits(options);
  for (uint64_t salt = 4; salt <= 5; ++salt) ASSERT_NO_FATAL_FAILURE(ApplyMany(*engine, salt));
  ASSERT_NO_FATAL_FAILURE(ApplySmallBlocks(*engine, 300));
  EXPECT_GT(engine->Status().node_cache_bytes, small.node_cache_bytes);
  EXPECT_GE(engine->Statistics().cached_rows, kMany);
  ASSERT_NO_FATAL_FAILURE(ExpectMany(*engine, 5));
}

TEST(EngineLimitsTest, HistoryGoesFromMemoryAndIsServedAllTheSame) {
  TempDir dir;
  const EngineOptions options = OptionsIn(dir);
  TwinChain chain(options);
  ASSERT_NO_FATAL_FAILURE(ApplyRounds(chain, 1, 16));
  ASSERT_TRUE(chain.engine().Flush().ok());
  const uint64_t full = chain.engine().Status().history_bytes;
  ASSERT_GT(full, 0u);
  EngineLimits small = options;
  small.history_memory_bytes = 1;
  chain.engine().SetLimits(small);
  EXPECT_TRUE(Becomes([&] { return chain.engine().Status().history_bytes < full / 2; }));
  ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
  EXPECT_EQ(chain.engine().Status().oldest_served_number, 1u);
}

TEST(EngineLimitsTest, AQueueAboveItsNewLimitIsFlushed) {
  TempDir dir;
  const EngineOptions options = OptionsIn(dir);
  TwinChain chain(options);
  ASSERT_NO_FATAL_FAILURE(ApplyRounds(chain, 1, 3));
  EXPECT_EQ(chain.engine().Status().queue_blocks, 3u);
  EngineLimits small = options;
  small.queue_bytes = chain.engine().Status().queue_bytes;  // flushed at half of it
  chain.engine().SetLimits(small);
  EXPECT_TRUE(Becomes([&] { return chain.engine().Status().queue_blocks == 0; }));
  EXPECT_EQ(chain.engine().Status().flushed_number, 3u);
  ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
}

TEST(EngineLimitsTest, ASmallerQueueRefusesAndALargerOneTakesAgain) {
  TempDir dir;
  const EngineOptions options = OptionsIn(dir);
  TwinChain chain(options);
  ASSERT_NO_FATAL_FAILURE(ApplyRounds(chain, 1, 3));
  // Where the store builds its files there is suddenly no folder, so that the queue stays.
  std::filesystem::remove_all(options.data_dir + "/db/staging");
  std::ofstream(options.data_dir + "/db/staging") << "not a folder";
  EngineLimits small = options;
  small.queue_bytes = 1;
  chain.engine().SetLimits(small);
  const absl::Status full = chain.engine().Apply(chain.Next(Round(4)), absl::Now() + absl::Milliseconds(50)).status();
  EXPECT_EQ(full.code(), Code::kResourceExhausted) << full;
  EXPECT_TRUE(RetryDelay(full).has_value());
  chain.engine().SetLimits(options);
  ASSERT_NO_FATAL_FAILURE(ApplyRounds(chain, 4, 1));
  ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
  std::filesystem::remove(options.data_dir + "/db/staging");
}

TEST(EngineLimitsTest, TheWindowFollowsWithTheNextBlock) {
  TempDir dir;
  const EngineOptions options = OptionsIn(dir);
  TwinChain chain(options);
  ASSERT_NO_FATAL_FAILURE(ApplyRounds(chain, 1, 10));
  EngineLimits changed = options;
  changed.keep_blocks = 3;
  chain.engine().SetLimits(changed);
  EXPECT_EQ(chain.engine().Status().oldest_served_number, 1u);
  ASSERT_NO_FATAL_FAILURE(ApplyRounds(chain, 11, 1));
  EXPECT_EQ(chain.engine().Status().oldest_served_number, 8u);
  EXPECT_EQ(chain.engine().View(uint64_t{7}).status().code(), Code::kOutOfRange);
  ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
  // What is gone does not come back; from here on more is kept.
  changed.keep_blocks = 6;
  chain.engine().SetLimits(changed);
  ASSERT_NO_FATAL_FAILURE(ApplyRounds(chain, 12, 3));
  EXPECT_EQ(chain.engine().Status().oldest_served_number, 8u);
  ASSERT_NO_FATAL_FAILURE(ApplyRounds(chain, 15, 2));
  EXPECT_EQ(chain.engine().Status().oldest_served_number, 10u);
  ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
}

TEST(EngineLimitsTest, AnArchiveKeepsAll) {
  TempDir dir;
  EngineOptions options = OptionsIn(dir);
  options.archive = true;
  TwinChain chain(options);
  EngineLimits changed = options;
  changed.keep_blocks = 1;
  chain.engine().SetLimits(changed);
  ASSERT_NO_FATAL_FAILURE(ApplyRounds(chain, 1, 5));
  EXPECT_EQ(chain.engine().Status().oldest_served_number, 1u);
  ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
}

TEST(EngineLimitsTest, BlocksAreMeasuredByTheNewLimits) {
  TempDir dir;
  const EngineOptions options = OptionsIn(dir);
  TwinChain chain(options);
  ASSERT_NO_FATAL_FAILURE(ApplyRounds(chain, 1, 1));
  EngineLimits changed = options;
  changed.max_changes_per_block = 600;
  chain.engine().SetLimits(changed);
  EXPECT_EQ(chain.engine().Apply(chain.Next(Round(2))).status().code(), Code::kInvalidArgument);
  changed.max_changes_per_block = 601;
  changed.max_slots_per_account = 199;
  chain.engine().SetLimits(changed);
  EXPECT_EQ(chain.engine().Apply(chain.Next(Round(2))).status().code(), Code::kInvalidArgument);
  changed.max_slots_per_account = 200;
  chain.engine().SetLimits(changed);
  ASSERT_NO_FATAL_FAILURE(ApplyRounds(chain, 2, 1));
  ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
}

}  // namespace
}  // namespace mptd::testing
