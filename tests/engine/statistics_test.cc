// What the engine counts of itself: the size of the state against the rows on disk, what waits for the flush, the
// caches, and the events that operators count.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <vector>

#include "core/engine/engine.h"
#include "core/engine/state_counts.h"
#include "core/trie/branch_record.h"
#include "tests/engine/engine_testing.h"

namespace mptd::testing {
namespace {

using storage::Table;

CacheLookups LookupsOf(const StateEngine& engine, CacheKind kind) {
  return engine.Statistics().lookups[static_cast<size_t>(kind)];
}

// What the tables of a closed folder hold.
StateCounts CountRows(const std::string& data_dir) {
  const AllTables tables = ReadTables(data_dir);
  const auto rows = [&](Table table) -> const TableRows& { return tables[static_cast<size_t>(table)]; };
  StateCounts counts;
  counts.accounts = rows(Table::kAccounts).size();
  counts.slots = rows(Table::kSlots).size();
  for (const Table table : {Table::kAccountNodes, Table::kSlotNodes}) {
    for (const auto& [key, row] : rows(table)) {
      const absl::StatusOr<OwnedBranch> decoded = DecodeBranchNode(row);
      EXPECT_TRUE(decoded.ok());
      ++counts.branches;
      if ((*decoded)->extension_size != 0) ++counts.extensions;
    }
  }
  return counts;
}

TEST(EngineStatistics, CountsAreThoseOfTheTables) {
  const uint64_t seed = FirstSeed();
  SCOPED_TRACE(::testing::Message() << "MPTD_TEST_SEED=" << seed);
  BlockMaker maker(seed);
  TempDir dir;
  TwinChain chain(QuietOptions(dir));
  std::optional<BlockInfo> head;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 10; ++i) {
      ASSERT_NO_FATAL_FAILURE(chain.Apply(maker.Make(head)));
      head = chain.head().info;
      if (maker.Below(4) != 0) continue;
      ASSERT_TRUE(chain.engine().Flush().ok());
    }
    ASSERT_NO_FATAL_FAILURE(chain.Rollback(head->number - 1 - maker.Below(4)));
    head = chain.head().info;
    ASSERT_TRUE(chain.engine().Flush().ok());
    const StateCounts counts = chain.engine().Statistics().counts;
    chain.Close();
    EXPECT_EQ(counts, CountRows(chain.options().data_dir));
    EXPECT_GT(counts.accounts, 0u);
    chain.Open();
    EXPECT_EQ(chain.engine().Statistics().counts, counts);
  }
}

TEST(EngineStatistics, DataWithoutCountsIsEstimatedAndSaysSo) {
  TempDir dir;
  TwinChain chain(QuietOptions(dir));
  std::vector<AccountChange> changes;
  for (uint64_t i = 0; i < 100; ++i) changes.push_back(SetBalance(i, 1));
  ASSERT_NO_FATAL_FAILURE(chain.Apply(std::move(changes)));
  chain.Close();
  EditRow(chain.options().data_dir, Table::kMeta, std::string(kCountsKey), std::nullopt);
  chain.Open();
  StateCounts counts = chain.engine().Statistics().counts;
  EXPECT_TRUE(counts.estimated);
  EXPECT_EQ(counts.accounts, 100u);
  ASSERT_NO_FATAL_FAILURE(chain.Apply({SetBalance(200, 1)}));
  chain.Reopen();
  counts = chain.engine().Statistics().counts;
  EXPECT_TRUE(counts.estimated);
  EXPECT_EQ(counts.accounts, 101u);
}

TEST(EngineStatistics, ACountsRowOfAnotherSequenceIsNotBelieved) {
  const StateCounts counts{.accounts = 1, .slots = 2, .branches = 3, .extensions = 4};
  const Bytes row = EncodeCounts(7, counts);
  EXPECT_EQ(DecodeCounts(row, 7), counts);
  EXPECT_EQ(DecodeCounts(row, 8), std::nullopt);
  EXPECT_EQ(DecodeCounts(row + "x", 7), std::nullopt);
  EXPECT_EQ(DecodeCounts(row.substr(1), 7), std::nullopt);
}

TEST(EngineStatistics, DirtyNodesAreThoseOfTheNextFlush) {
  TempDir dir;
  TwinChain chain(QuietOptions(dir));
  std::vector<AccountChange> changes;
  for (uint64_t i = 0; i < 100; ++i) changes.push_back(SetBalance(i, 1));
  ASSERT_NO_FATAL_FAILURE(chain.Apply(changes));
  const uint64_t dirty = chain.engine().Statistics().dirty_nodes;
  EXPECT_GT(dirty, 1u);
  // The same branches once more: they are written once.
  for (AccountChange& change : changes) change.balance = U256::FromUint64(2);
  ASSERT_NO_FATAL_FAILURE(chain.Apply(changes));
  EXPECT_EQ(chain.engine().Statistics().dirty_nodes, dirty);
  ASSERT_TRUE(chain.engine().Flush().ok());
  EXPECT_EQ(chain.engine().Statistics().dirty_nodes, 0u);
  EXPECT_EQ(chain.engine().Statistics().counts.branches, dirty);
}

TEST(EngineStatistics, LookupsAreHitsOnceTheRowIsInMemory) {
  TempDir dir;
  TwinChain chain(QuietOptions(dir));
  ASSERT_NO_FATAL_FAILURE(chain.Apply({SetBalance(1, 1), SetSlots(2, {{3, 4}})}));
  ASSERT_NO_FATAL_FAILURE(chain.Apply({SetBalance(5, 1)}));
  chain.Reopen();  // nothing is in memory
  const absl::StatusOr<StateViewPtr> view = chain.engine().View(LatestBlock{});
  ASSERT_TRUE(view.ok());
  const CacheLookups accounts = LookupsOf(chain.engine(), CacheKind::kAccounts);
  ASSERT_TRUE((*view)->GetAccount(AddressOf(1)).ok());
  EXPECT_EQ(LookupsOf(chain.engine(), CacheKind::kAccounts).misses, accounts.misses + 1);
  const CacheLookups slots = LookupsOf(chain.engine(), CacheKind::kSlots);
  ASSERT_TRUE((*view)->GetStorage(AddressOf(2), std::vector<Hash>{SlotOf(3)}).ok());
  EXPECT_EQ(LookupsOf(chain.engine(), CacheKind::kSlots).hits + LookupsOf(chain.engine(), CacheKind::kSlots).misses,
            slots.hits + slots.misses + 1);
  const CacheLookups nodes = LookupsOf(chain.engine(), CacheKind::kNodes);
  ASSERT_NO_FATAL_FAILURE(chain.Apply({SetBalance(1, 2)}));
  const CacheLookups before = LookupsOf(chain.engine(), CacheKind::kAccounts);
  ASSERT_NO_FATAL_FAILURE(chain.Apply({SetBalance(1, 3)}));
  EXPECT_EQ(LookupsOf(chain.engine(), CacheKind::kAccounts).hits, before.hits + 1);
  EXPECT_EQ(LookupsOf(chain.engine(), CacheKind::kAccounts).misses, before.misses);
  ASSERT_TRUE((*view)->GetProof(AddressOf(1), {}).ok());
  EXPECT_GE(LookupsOf(chain.engine(), CacheKind::kNodes).hits, nodes.hits);
}

TEST(EngineStatistics, EvictionsAreCounted) {
  TempDir dir;
  EngineOptions options = QuietOptions(dir);
  options.row_cache_bytes = 1;
  options.history_memory_bytes = 1u << 20;
  options.node_cache_bytes = 1;
  options.keep_blocks = 1;
  TwinChain chain(options);
  for (uint64_t round = 1; round < 5; ++round) {
    std::vector<AccountChange> changes;
    for (uint64_t i = 0; i < 500; ++i) changes.push_back(SetBalance(1000 * round + i, round));
    ASSERT_NO_FATAL_FAILURE(chain.Apply(std::move(changes)));
    ASSERT_TRUE(chain.engine().Flush().ok());
  }
  // The writer clears up behind a block, or a little later.
  const absl::Time end = absl::Now() + absl::Minutes(4);
  const auto evicted = [&] {
    const EngineStatistics statistics = chain.engine().Statistics();
    return statistics.evicted_rows > 0 && statistics.evicted_nodes > 0;
  };
  while (!evicted() && absl::Now() < end) absl::SleepFor(absl::Milliseconds(20));
  EXPECT_TRUE(evicted());
}

TEST(EngineStatistics, TheStoreTellsItsTables) {
  TempDir dir;
  TwinChain chain(QuietOptions(dir));
  ASSERT_NO_FATAL_FAILURE(chain.Apply({SetBalance(1, 1), SetBalance(2, 1)}));
  ASSERT_TRUE(chain.engine().Flush().ok());
  const EngineStatistics statistics = chain.engine().Statistics();
  ASSERT_EQ(statistics.tables.size(), storage::kTableCount);
  EXPECT_EQ(statistics.tables[0].name, "accounts");
  EXPECT_GT(statistics.tables[0].disk_bytes, 0u);
  EXPECT_GT(statistics.trie_disk_bytes, 0u);
  const EngineStatus status = chain.engine().Status();
  EXPECT_GT(status.change_log_bytes, 0u);
  EXPECT_GT(status.disk_bytes, statistics.trie_disk_bytes + status.change_log_bytes);
  EXPECT_GT(statistics.store_memory_bytes, 0u);
  EXPECT_THAT(statistics.store_counters, ::testing::Contains(::testing::Key("rocksdb.block.cache.hit")));
}

TEST(EngineStatistics, SyncsAndPruningAreEvents) {
  TempDir dir;
  EngineOptions options = QuietOptions(dir);
  options.durability = Durability::kSync;
  std::mutex mutex;
  std::vector<EngineEvent> synced;
  std::vector<EngineEvent> pruned;
  options.on_event = [&](const EngineEvent& event) {
    const std::lock_guard lock(mutex);
    if (event.kind == EngineEvent::Kind::kLogSynced) synced.push_back(event);
    if (event.kind == EngineEvent::Kind::kPruned) pruned.push_back(event);
  };
  TwinChain chain(options);
  for (uint64_t i = 1; i <= 10; ++i) ASSERT_NO_FATAL_FAILURE(chain.Apply({SetBalance(i, i)}));
  ASSERT_TRUE(chain.engine().Flush().ok());
  EXPECT_EQ(*chain.engine().Prune(3), 6u);
  const std::lock_guard lock(mutex);
  EXPECT_EQ(synced.size(), 10u);
  EXPECT_GT(synced.back().duration, absl::ZeroDuration());
  ASSERT_EQ(pruned.size(), 1u);
  EXPECT_EQ(pruned[0].a, 7u);
  EXPECT_EQ(pruned[0].b, 6u);
}

}  // namespace
}  // namespace mptd::testing
