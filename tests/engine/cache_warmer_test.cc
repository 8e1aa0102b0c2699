// Nodes that are read into memory after the start: all of them where there is room, and never an old one, whatever
// blocks and flushes do meanwhile.
#include <gtest/gtest.h>

#include <vector>

#include "absl/time/clock.h"
#include "core/engine/engine.h"
#include "tests/engine/engine_testing.h"

namespace mptd::testing {
namespace {

constexpr uint64_t kAccounts = 20'000;

EngineOptions OptionsIn(const std::string& folder) {
  EngineOptions options;
  options.data_dir = folder;
  options.durability = Durability::kAsync;
  options.worker_threads = 2;
  return options;
}

std::unique_ptr<StateEngine> Open(const EngineOptions& options) {
  absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(options);
  EXPECT_TRUE(engine.ok()) << engine.status();
  return engine.ok() ? *std::move(engine) : nullptr;
}

void WaitUntilWarm(const StateEngine& engine) {
  const absl::Time deadline = absl::Now() + absl::Minutes(5);
  while (engine.Status().warming && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(1));
  ASSERT_FALSE(engine.Status().warming);
}

// Applies to all engines, whose roots must agree.
void Apply(const std::vector<StateEngine*>& engines, uint64_t number, const std::vector<AccountChange>& changes) {
  std::optional<Hash> root;
  for (StateEngine* engine : engines) {
    BlockChanges block;
    block.number = number;
    block.changes = changes;
    const absl::StatusOr<ApplyResult> result = engine->Apply(block);
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_EQ(result->block.state_root, root.value_or(result->block.state_root)) << "block " << number;
    root = result->block.state_root;
  }
}

void Preload(StateEngine& engine) {
  std::vector<AccountChange> changes;
  for (uint64_t i = 0; i < kAccounts; ++i) changes.push_back(SetBalance(i, i + 1));
  ASSERT_NO_FATAL_FAILURE(Apply({&engine}, 1, changes));
}

std::vector<AccountChange> SomeChanges(BlockMaker& random) {
  std::vector<AccountChange> changes;
  for (uint64_t i = random.Below(20); changes.size() < 150; i += 1 + random.Below(2 * kAccounts / 150)) {
    changes.push_back(random.Below(5) == 0 ? Remove(i) : SetBalance(i, 1 + random.Below(1000)));
  }
  return changes;
}

uint64_t LoadedNodes(const StateEngine& engine) {
  return engine.Statistics().lookups[static_cast<size_t>(CacheKind::kNodes)].misses;
}

TEST(CacheWarmer, BlocksLoadNothingAfterwards) {
  TempDir dir;
  EngineOptions options = OptionsIn(dir.path() + "/data");
  ASSERT_NO_FATAL_FAILURE(Preload(*Open(options)));
  for (const bool warm : {false, true}) {
    options.warm_up = warm;
    const std::unique_ptr<StateEngine> engine = Open(options);
    ASSERT_NO_FATAL_FAILURE(WaitUntilWarm(*engine));
    std::vector<AccountChange> changes;
    for (uint64_t i = 0; i < kAccounts; i += 7) changes.push_back(SetBalance(i, i + (warm ? 2 : 3)));
    ASSERT_NO_FATAL_FAILURE(Apply({engine.get()}, warm ? 3 : 2, changes));
    if (warm) {
      EXPECT_EQ(LoadedNodes(*engine), 0u);
    } else {
      EXPECT_GT(LoadedNodes(*engine), 1000u);
    }
  }
}

TEST(CacheWarmer, StopsWhenTheMemoryIsFull) {
  TempDir dir;
  EngineOptions options = OptionsIn(dir.path() + "/data");
  ASSERT_NO_FATAL_FAILURE(Preload(*Open(options)));
  options.warm_up = true;
  options.node_cache_bytes = 256u << 10;
  const std::unique_ptr<StateEngine> engine = Open(options);
  ASSERT_NO_FATAL_FAILURE(WaitUntilWarm(*engine));
  EXPECT_GT(engine->Status().node_cache_bytes, options.node_cache_bytes / 2);
  EXPECT_LT(engine->Status().node_cache_bytes, options.node_cache_bytes + 4096);
}

TEST(CacheWarmer, AnEmptyFolderHasNothingToRead) {
  TempDir dir;
  EngineOptions options = OptionsIn(dir.path() + "/data");
  options.warm_up = true;
  const std::unique_ptr<StateEngine> engine = Open(options);
  ASSERT_NO_FATAL_FAILURE(WaitUntilWarm(*engine));
  ASSERT_NO_FATAL_FAILURE(Preload(*engine));
}

// Every block is flushed and the memory is small, so that nodes come, go and are written while the rows are read.
TEST(CacheWarmer, BesideBlocksFlushesAndEvictions) {
  const uint64_t seed = FirstSeed();
  SCOPED_TRACE(::testing::Message() << "MPTD_TEST_SEED=" << seed);
  BlockMaker random(seed);
  TempDir dir;
  EngineOptions plain_options = OptionsIn(dir.path() + "/plain");
  EngineOptions options = OptionsIn(dir.path() + "/warmed");
  options.flush_blocks = 1;
  const std::unique_ptr<StateEngine> plain = Open(plain_options);
  ASSERT_NO_FATAL_FAILURE(Preload(*plain));
  ASSERT_NO_FATAL_FAILURE(Preload(*Open(options)));
  options.warm_up = true;
  uint64_t number = 1;
  for (int start = 0; start < Scaled(12); ++start) {
    options.node_cache_bytes = start % 2 == 0 ? 1u << 20 : 64u << 20;
    const std::unique_ptr<StateEngine> engine = Open(options);
    for (int i = 0; i < 25; ++i)
      ASSERT_NO_FATAL_FAILURE(Apply({plain.get(), engine.get()}, ++number, SomeChanges(random)));
    ASSERT_NO_FATAL_FAILURE(WaitUntilWarm(*engine));
    ASSERT_NO_FATAL_FAILURE(Apply({plain.get(), engine.get()}, ++number, SomeChanges(random)));
    const absl::StatusOr<VerifyReport> report = engine->Verify(nullptr);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->difference, "");
  }
}

}  // namespace
}  // namespace mptd::testing
