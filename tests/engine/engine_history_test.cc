// What was before: rollback and reorganisation to every depth, the served window, pruning, the archive; and that the
// tables do not tell afterwards that anything had happened.
#include <gtest/gtest.h>

#include <set>

#include "absl/time/clock.h"
#include "core/engine/engine.h"
#include "core/engine/undo_record.h"
#include "core/errors.h"
#include "core/keccak.h"
#include "tests/engine/engine_testing.h"

namespace mptd::testing {
namespace {

using Code = absl::StatusCode;
using storage::Table;

EngineOptions OptionsIn(const TempDir& dir) {
  EngineOptions options = QuietOptions(dir);
  options.flush_blocks = 100000;
  return options;
}

// The undo records of all blocks but the newest are in the tables alone.
EngineOptions HistoryOnDiskIn(const TempDir& dir) {
  EngineOptions options = OptionsIn(dir);
  options.history_memory_bytes = 1;
  return options;
}

// Blocks that go on top of any state: accounts, storage and code come, change and go.
std::vector<AccountChange> Wave(uint64_t i) {
  std::vector<AccountChange> changes = {SetBalance(1, i + 1), SetBalance(10 + i % 17, i + 1),
                                        SetSlots(2, {{i % 23, i % 3}, {30 + i % 7, i + 1}})};
  if (i % 5 == 0) changes.push_back(Remove(30 + i / 5 % 3));
  if (i % 5 == 2) changes.push_back(SetSlots(30 + i / 5 % 3, {{1, i}, {2, i}, {3, i}}));
  if (i % 6 == 1) changes.push_back(SetCode(40 + i % 4, "code " + std::to_string(i % 9)));
  if (i % 9 == 4) changes.push_back(Reset(SetSlots(50, {{i % 11, 1}, {i % 13 + 20, 2}})));
  return changes;
}

void ApplyWaves(TwinChain& chain, uint64_t n, uint64_t seed = 0) {
  for (uint64_t i = 0; i < n; ++i) {
    ASSERT_NO_FATAL_FAILURE(chain.Apply(Wave((chain.entries().empty() ? 0 : chain.head().info.number) * 3 + seed + i)));
  }
}

// One, or `coarse` where tests are to be short.
uint64_t Step(uint64_t coarse) { return Scaled(10) == 10 ? 1 : coarse; }

void ExpectVerified(StateEngine& engine) {
  absl::StatusOr<VerifyReport> report = engine.Verify({});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->difference, "");
}

TEST(EngineHistory, RollbackToEachServedBlock) {
  for (const bool flushed : {false, true}) {
    SCOPED_TRACE(flushed ? "flushed" : "in memory");
    TempDir dir;
    TwinChain chain(OptionsIn(dir));
    ApplyWaves(chain, 24);
    for (uint64_t target = 1; target <= 24; target += Step(3)) {
      if (flushed) {
        ASSERT_TRUE(chain.engine().Flush().ok());
      }
      ASSERT_NO_FATAL_FAILURE(chain.Rollback(target));
      ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
      if (target % 5 == 0) {
        ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
      }
      if (target % 7 == 0) {
        ASSERT_NO_FATAL_FAILURE(chain.Reopen());
      }
      ASSERT_NO_FATAL_FAILURE(ApplyWaves(chain, 24 - target, target));
      ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
    }
    ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
    ASSERT_NO_FATAL_FAILURE(chain.Rollback(24));  // the head itself
    ExpectVerified(chain.engine());
  }
}

TEST(EngineHistory, RollbackByHashAndRoot) {
  TempDir dir;
  TwinChain chain(OptionsIn(dir));
  ApplyWaves(chain, 6);
  const BlockInfo four = chain.at(4).info;
  EXPECT_EQ(chain.engine().RollbackTo(BlockByHash{SlotOf(1)}).status().code(), Code::kNotFound);
  EXPECT_EQ(ErrorReason(chain.engine().RollbackTo(BlockByHash{SlotOf(1)}).status()).value_or(""), "UNKNOWN_HASH");
  EXPECT_EQ(chain.engine().RollbackTo(BlockByRoot{SlotOf(1)}).status().code(), Code::kOutOfRange);
  EXPECT_EQ(chain.engine().RollbackTo(uint64_t{7}).status().code(), Code::kOutOfRange);
  EXPECT_EQ(chain.engine().RollbackTo(uint64_t{0}).status().code(), Code::kOutOfRange);
  ASSERT_EQ(chain.engine().RollbackTo(BlockByHash{*chain.at(5).info.hash}).value(), chain.at(5).info);
  ASSERT_EQ(chain.engine().RollbackTo(BlockByRoot{four.state_root}).value(), four);
  chain.Rollback(4);
  chain.ExpectHead();
  EXPECT_EQ(chain.engine().View(BlockByHash{Keccak256("block 5 5")}).status().code(), Code::kNotFound);
}

TEST(EngineHistory, TheNewestBlockWithARootIsMeant) {
  TempDir dir;
  TwinChain chain(OptionsIn(dir));
  chain.Apply({SetBalance(1, 1)});
  chain.Apply({SetBalance(1, 2)});
  chain.Apply({SetBalance(1, 1)});
  chain.Apply(std::vector<AccountChange>{});
  chain.Apply({SetBalance(1, 3)});
  absl::StatusOr<StateViewPtr> view = chain.engine().View(BlockByRoot{chain.at(1).info.state_root});
  ASSERT_TRUE(view.ok());
  EXPECT_EQ((*view)->block(), chain.at(4).info);
}

TEST(EngineHistory, ReorganisationAtEveryDepth) {
  TempDir dir;
  TwinChain chain(OptionsIn(dir));
  ApplyWaves(chain, 140);
  for (uint64_t depth = 1; depth <= 128; depth += Step(7)) {
    SCOPED_TRACE(::testing::Message() << "depth " << depth);
    if (depth % 3 == 0) {
      ASSERT_TRUE(chain.engine().Flush().ok());
    }
    const uint64_t number = chain.head().info.number - depth + 1;
    const uint64_t event = chain.engine().NextHeadIndex();
    ASSERT_NO_FATAL_FAILURE(chain.Apply(chain.Replacing(number, Wave(1000 + depth))));
    absl::StatusOr<std::optional<HeadEvent>> back = chain.engine().WaitForHead(event, absl::InfinitePast());
    ASSERT_TRUE(back.ok() && back->has_value());
    EXPECT_TRUE((*back)->rolled_back);
    EXPECT_EQ((*back)->block, chain.at(number - 1).info);
    back = chain.engine().WaitForHead(event + 1, absl::InfinitePast());
    ASSERT_TRUE(back.ok() && back->has_value());
    EXPECT_EQ((*back)->block, chain.head().info);
    EXPECT_EQ(chain.engine().NextHeadIndex(), event + 2);
    ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
    if (depth % 16 == 0) {
      ASSERT_NO_FATAL_FAILURE(chain.ExpectAt(number - 1));
    }
    ASSERT_NO_FATAL_FAILURE(ApplyWaves(chain, depth, depth * 7));
    if (depth % 32 == 0) {
      ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
      ASSERT_NO_FATAL_FAILURE(chain.Reopen());
    }
  }
  ExpectVerified(chain.engine());
  // Its parent is 129 behind the head.
  const BlockChanges deep = chain.Replacing(chain.head().info.number - 128, Wave(1));
  const absl::Status status = chain.engine().Apply(deep).status();
  EXPECT_EQ(status.code(), Code::kOutOfRange) << status;
  EXPECT_EQ(ErrorReason(status).value_or(""), "NOT_SERVED");
  chain.ExpectHead();
}

void ExpectWindow(TwinChain& chain, uint64_t oldest) {
  EXPECT_EQ(chain.engine().Status().oldest_served_number, oldest);
  for (const BlockSelector& gone : std::initializer_list<BlockSelector>{
           oldest - 1, uint64_t{1}, BlockByRoot{chain.at(oldest - 1).info.state_root}, chain.head().info.number + 1}) {
    const absl::Status status = chain.engine().View(gone).status();
    EXPECT_EQ(status.code(), Code::kOutOfRange) << status;
    EXPECT_EQ(ErrorReason(status).value_or(""), "NOT_SERVED");
    EXPECT_NE(status.message().find(std::to_string(oldest)), std::string::npos) << status;
    EXPECT_EQ(chain.engine().RollbackTo(gone).status().code(), Code::kOutOfRange);
  }
  ASSERT_NO_FATAL_FAILURE(chain.ExpectAt(oldest));
  EXPECT_TRUE(chain.engine().View(BlockByHash{*chain.at(oldest).info.hash}).ok());
}

// 128 behind the head is served, 129 is not, whatever of it is in the tables.
TEST(EngineHistory, TheWindow) {
  for (const bool in_memory : {true, false}) {
    SCOPED_TRACE(in_memory ? "in memory" : "on disk");
    TempDir dir;
    EngineOptions options = OptionsIn(dir);
    if (!in_memory) options.history_memory_bytes = 1;
    TwinChain chain(options);
    ApplyWaves(chain, 128);
    EXPECT_EQ(chain.engine().Status().oldest_served_number, 1u);
    ASSERT_NO_FATAL_FAILURE(chain.ExpectAt(1));
    ApplyWaves(chain, 10);
    ASSERT_NO_FATAL_FAILURE(ExpectWindow(chain, 10));
    EXPECT_EQ(chain.engine().View(BlockByHash{*chain.at(9).info.hash}).status().code(), Code::kOutOfRange);
    ASSERT_TRUE(chain.engine().Flush().ok());
    ASSERT_NO_FATAL_FAILURE(ExpectWindow(chain, 10));
    ASSERT_NO_FATAL_FAILURE(chain.Reopen());
    ASSERT_NO_FATAL_FAILURE(ExpectWindow(chain, 10));
    ApplyWaves(chain, 1);
    ASSERT_NO_FATAL_FAILURE(ExpectWindow(chain, 11));
    ApplyWaves(chain, 139);
    ASSERT_TRUE(chain.engine().Flush().ok());
    ASSERT_NO_FATAL_FAILURE(ExpectWindow(chain, 150));
    ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
    // A rollback does not bring back what is not served any more.
    ASSERT_NO_FATAL_FAILURE(chain.Rollback(155));
    ASSERT_NO_FATAL_FAILURE(ExpectWindow(chain, 150));
    ASSERT_NO_FATAL_FAILURE(chain.Rollback(150));
    ASSERT_NO_FATAL_FAILURE(ExpectWindow(chain, 150));
    ApplyWaves(chain, 3);
    ASSERT_NO_FATAL_FAILURE(ExpectWindow(chain, 150));
  }
}

// What a folder holds of the history: only served blocks, once pruning has come by.
void ExpectHistoryRows(const AllTables& tables, uint64_t oldest, uint64_t head) {
  for (const Table table : {Table::kHistory, Table::kChangeLog}) {
    const TableRows& rows = tables[static_cast<size_t>(table)];
    ASSERT_FALSE(rows.empty());
    EXPECT_GE(rows.begin()->first, BlockKey(oldest)) << storage::TableName(table);
    EXPECT_EQ(rows.rbegin()->first, BlockKey(head)) << storage::TableName(table);
    EXPECT_EQ(rows.size(), head - oldest + 1) << storage::TableName(table);
  }
}

TEST(EngineHistory, PrunedBlocksLeaveTheTables) {
  for (const uint64_t flush_every : {1, 4, 1000}) {
    SCOPED_TRACE(::testing::Message() << "flushed every " << flush_every);
    TempDir dir;
    EngineOptions options = OptionsIn(dir);
    options.keep_blocks = 7;
    options.prune_interval_blocks = 1;
    TwinChain chain(options);
    for (uint64_t i = 1; i <= 60; ++i) {
      ApplyWaves(chain, 1);
      if (i % flush_every == 0) {
        ASSERT_TRUE(chain.engine().Flush().ok());
      }
    }
    ASSERT_NO_FATAL_FAILURE(ExpectWindow(chain, 53));
    ASSERT_TRUE(chain.engine().Flush().ok());
    chain.Close();
    ASSERT_NO_FATAL_FAILURE(ExpectHistoryRows(ReadTables(options.data_dir), 53, 60));
    chain.Open();
    ASSERT_NO_FATAL_FAILURE(ExpectWindow(chain, 53));
    absl::StatusOr<uint64_t> pruned = chain.engine().Prune(3);
    ASSERT_TRUE(pruned.ok()) << pruned.status();
    EXPECT_EQ(*pruned, 4u);
    ASSERT_NO_FATAL_FAILURE(ExpectWindow(chain, 57));
    EXPECT_EQ(*chain.engine().Prune(3), 0u);
    EXPECT_EQ(*chain.engine().Prune(100), 0u);
    chain.Close();
    const AllTables tables = ReadTables(options.data_dir);
    ASSERT_NO_FATAL_FAILURE(ExpectHistoryRows(tables, 57, 60));
    EXPECT_TRUE(tables[static_cast<size_t>(Table::kHistoryIndex)].empty());
    EXPECT_EQ(tables[static_cast<size_t>(Table::kMeta)].size(), 2u)
        << "more than state and counts: names of blocks that are gone";
    chain.Open();
    ASSERT_NO_FATAL_FAILURE(ExpectWindow(chain, 57));
    EXPECT_EQ(*chain.engine().Prune(0), 3u);
    ASSERT_NO_FATAL_FAILURE(ExpectWindow(chain, 60));
    ApplyWaves(chain, 2);
    chain.Rollback(60);
    chain.ExpectHead();
    ExpectVerified(chain.engine());
  }
}

TEST(EngineHistory, ViewsOutliveTheWindow) {
  for (const bool in_memory : {true, false}) {
    TempDir dir;
    EngineOptions options = OptionsIn(dir);
    options.keep_blocks = 4;
    options.prune_interval_blocks = 1;
    options.row_cache_bytes = options.node_cache_bytes = 0;
    if (!in_memory) options.history_memory_bytes = 1;
    TwinChain chain(options);
    ApplyWaves(chain, 10);
    const TwinChain::Entry ten = chain.head();
    StateViewPtr view = *chain.engine().View(LatestBlock{});
    for (uint64_t i = 0; i < 30; ++i) {
      ApplyWaves(chain, 1);
      if (i % 3 == 0) {
        ASSERT_TRUE(chain.engine().Flush().ok());
      }
      if (i % 10 == 9) {
        ASSERT_NO_FATAL_FAILURE(ExpectState(*view, ten.state));
      }
    }
    EXPECT_EQ(view->block(), ten.info);
    view.reset();
    chain.ExpectAll();
  }
}

// The oldest block is the state before the first undo record that the index takes in, and is found by its names too.
TEST(EngineHistory, TheOldestBlockOnDiskHasItsNames) {
  TempDir dir;
  EngineOptions options = OptionsIn(dir);
  options.keep_blocks = 8;
  options.prune_interval_blocks = 1;
  options.history_memory_bytes = 1;
  TwinChain chain(options);
  ApplyWaves(chain, 20);
  // One flush prunes and then indexes; the writer lets go of what is indexed when it has done its next task.
  ASSERT_TRUE(chain.engine().Flush().ok());
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(chain.engine().Prune(1000).ok());
    absl::SleepFor(absl::Milliseconds(20));
  }
  EXPECT_EQ(chain.engine().Status().oldest_served_number, 12u);
  for (uint64_t number = 12; number <= 20; ++number) {
    absl::StatusOr<StateViewPtr> view = chain.engine().View(BlockByHash{*chain.at(number).info.hash});
    ASSERT_TRUE(view.ok()) << number << ": " << view.status();
    EXPECT_EQ((*view)->block(), chain.at(number).info);
    EXPECT_EQ((*chain.engine().View(BlockByRoot{chain.at(number).info.state_root}))->block(), chain.at(number).info);
  }
}

// The index costs as much as the blocks themselves; after a bulk load nobody asks for any of its blocks.
TEST(EngineHistory, BlocksOnDiskAreIndexedWhenSomebodyAsks) {
  TempDir dir;
  const EngineOptions options = HistoryOnDiskIn(dir);
  TwinChain chain(options);
  ApplyWaves(chain, 60);
  const auto index_rows = [&] {
    chain.Close();
    const size_t rows = ReadTables(options.data_dir)[static_cast<size_t>(Table::kHistoryIndex)].size();
    chain.Open();
    return rows;
  };
  EXPECT_EQ(index_rows(), 0u);
  // Only the head is in memory after the start.
  ASSERT_NO_FATAL_FAILURE(chain.ExpectAt(60));
  EXPECT_EQ(index_rows(), 0u);
  ASSERT_NO_FATAL_FAILURE(chain.ExpectAt(20));
  EXPECT_GT(index_rows(), 0u);
  ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
  // By its name, too.
  ApplyWaves(chain, 60);
  ASSERT_NO_FATAL_FAILURE(chain.Reopen());
  EXPECT_EQ((*chain.engine().View(BlockByHash{*chain.at(90).info.hash}))->block(), chain.at(90).info);
}

TEST(EngineHistory, BlocksOnDiskAreThoseOfTheChainAsItIsNow) {
  TempDir dir;
  const EngineOptions options = HistoryOnDiskIn(dir);
  TwinChain chain(options);
  ApplyWaves(chain, 20);
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    ASSERT_TRUE(chain.engine().Flush().ok());
    ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
    ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
    ASSERT_NO_FATAL_FAILURE(chain.Rollback(8));
    ASSERT_NO_FATAL_FAILURE(ApplyWaves(chain, 12, seed));
    ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
  }
}

TEST(EngineHistory, ABlockOnDiskIsKnownWhenItComesAgain) {
  TempDir dir;
  const EngineOptions options = HistoryOnDiskIn(dir);
  TwinChain chain(options);
  ApplyWaves(chain, 5);
  BlockChanges block = chain.Next(Wave(6));
  ASSERT_NO_FATAL_FAILURE(chain.Apply(block));
  ApplyWaves(chain, 20);
  ASSERT_NO_FATAL_FAILURE(chain.Reopen());
  const absl::StatusOr<ApplyResult> again = chain.engine().Apply(block);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->already_applied);
  EXPECT_EQ(again->block, chain.at(6).info);
  block.changes.push_back(SetBalance(77, 7));
  const absl::Status other = chain.engine().Apply(block).status();
  EXPECT_EQ(other.code(), Code::kFailedPrecondition);
  EXPECT_EQ(ErrorReason(other).value_or(""), "CONTENT_MISMATCH");
  ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
}

// Between two flushes accounts go, come back with one slot, which makes no branch, and go again. What the tables still
// have of their storage is neither then's nor now's.
TEST(EngineHistory, StorageThatTheTablesHaveNotForgotten) {
  TempDir dir;
  TwinChain chain(OptionsIn(dir));
  std::vector<AccountChange> many;
  std::vector<AccountChange> one;
  std::vector<AccountChange> gone;
  for (uint64_t i = 0; i < 60; ++i) {
    AccountChange change = SetSlots(i, {});
    for (uint64_t slot = 0; slot < 15; ++slot) change.slots.push_back({SlotOf(slot), U256::FromUint64(slot + 1)});
    many.push_back(std::move(change));
    if (i % 3 != 0) continue;
    one.push_back(SetSlots(i, {{3, 7}}));
    gone.push_back(Remove(i));
  }
  chain.Apply(many);
  ASSERT_TRUE(chain.engine().Flush().ok());
  // No handles of leaves are in memory then, so neighbours of what goes have none.
  chain.Reopen();
  chain.Apply(gone);
  chain.Apply(one);
  chain.Apply(gone);
  // Until the trie of the block in between is not kept any more.
  for (uint64_t i = 0; i < 20; ++i) chain.Apply({SetBalance(1, i + 1)});
  absl::SleepFor(absl::Milliseconds(500));
  ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
}

// A dry run may need a leaf that its view's trie has without a handle, and whose row has gone from the tables since.
TEST(EngineHistory, ALeafWhoseRowHasGone) {
  TempDir dir;
  TwinChain chain(OptionsIn(dir));
  std::vector<AccountChange> all;
  std::vector<AccountChange> gone;
  std::vector<AccountChange> others;
  for (uint64_t i = 0; i < 90; ++i) {
    all.push_back(SetBalance(i, i + 1));
    if (i % 3 == 0) gone.push_back(Remove(i));
    if (i % 3 == 1) others.push_back(Remove(i));
  }
  chain.Apply(all);
  ASSERT_NO_FATAL_FAILURE(chain.Reopen());
  const StateViewPtr view = *chain.engine().View(LatestBlock{});
  const absl::StatusOr<Hash> before = view->ComputeRoot(others, false);
  ASSERT_TRUE(before.ok()) << before.status();
  chain.Apply(gone);
  ASSERT_TRUE(chain.engine().Flush().ok());
  const absl::StatusOr<Hash> after = view->ComputeRoot(others, false);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(*after, *before);
  ASSERT_NO_FATAL_FAILURE(chain.Rollback(1));
  chain.Apply(others);
  EXPECT_EQ(chain.head().info.state_root, *before);
}

// Blocks without changes have their parent's root; the newest of them that is still there answers to it.
TEST(EngineHistory, BlocksOfOneRootOnDisk) {
  TempDir dir;
  EngineOptions options = OptionsIn(dir);
  options.archive = true;
  options.flush_blocks = 5;
  options.history_memory_bytes = 1;
  TwinChain chain(options);
  ApplyWaves(chain, 10);
  const std::vector<AccountChange> nothing;
  for (int i = 0; i < 3; ++i) ASSERT_NO_FATAL_FAILURE(chain.Apply(nothing));
  const BlockByRoot root{chain.at(10).info.state_root};
  ApplyWaves(chain, 60);
  ASSERT_TRUE(chain.engine().Flush().ok());
  EXPECT_EQ((*chain.engine().View(root))->block().number, 13u);
  ASSERT_NO_FATAL_FAILURE(chain.Rollback(11));
  EXPECT_EQ((*chain.engine().View(root))->block().number, 11u);
  ApplyWaves(chain, 60, 5);
  ASSERT_TRUE(chain.engine().Flush().ok());
  EXPECT_EQ((*chain.engine().View(root))->block().number, 11u);
  ASSERT_NO_FATAL_FAILURE(chain.Reopen());
  EXPECT_EQ((*chain.engine().View(root))->block(), chain.at(11).info);
}

TEST(EngineHistory, AnArchiveServesEverything) {
  TempDir dir;
  EngineOptions options = OptionsIn(dir);
  options.archive = true;
  options.keep_blocks = 4;
  options.flush_blocks = 10;
  options.history_memory_bytes = 1;
  TwinChain chain(options);
  ApplyWaves(chain, 150);
  EXPECT_EQ(chain.engine().Status().oldest_served_number, 1u);
  for (uint64_t number = 1; number <= 150; number += 11) ASSERT_NO_FATAL_FAILURE(chain.ExpectAt(number));
  ASSERT_NO_FATAL_FAILURE(chain.Reopen());
  for (uint64_t number = 2; number <= 150; number += 11) ASSERT_NO_FATAL_FAILURE(chain.ExpectAt(number));
  EXPECT_EQ((*chain.engine().View(BlockByHash{*chain.at(3).info.hash}))->block(), chain.at(3).info);
  EXPECT_EQ((*chain.engine().View(BlockByRoot{chain.at(7).info.state_root}))->block(), chain.at(7).info);
  ASSERT_NO_FATAL_FAILURE(chain.Apply(chain.Replacing(61, Wave(5))));
  ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
  EXPECT_EQ(chain.engine().View(uint64_t{62}).status().code(), Code::kOutOfRange);
  ASSERT_NO_FATAL_FAILURE(ApplyWaves(chain, 40, 3));
  for (uint64_t number = 3; number <= 100; number += 11) ASSERT_NO_FATAL_FAILURE(chain.ExpectAt(number));
  ASSERT_NO_FATAL_FAILURE(chain.Rollback(1));
  ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
  ASSERT_NO_FATAL_FAILURE(chain.Reopen());
  ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
  ExpectVerified(chain.engine());
}

// How much is indexed depends on when memory was short; but never of a block that is not there.
void TakeIndex(AllTables& tables, uint64_t head) {
  TableRows& index = tables[static_cast<size_t>(Table::kHistoryIndex)];
  for (const auto& [key, row] : index) EXPECT_LE(key.substr(key.size() - 8), BlockKey(head));
  index.clear();
}

// Row by row, whether what was rolled back had been flushed or not.
TEST(EngineHistory, TablesAfterARollbackAreTheTablesBefore) {
  for (const bool flushed : {false, true}) {
    for (const bool in_memory : {true, false}) {
      SCOPED_TRACE(::testing::Message() << (flushed ? "flushed " : "unflushed ") << in_memory);
      TempDir dir;
      EngineOptions options = OptionsIn(dir);
      if (!in_memory) options.history_memory_bytes = 1;
      TwinChain chain(options);
      ApplyWaves(chain, 20);
      chain.Close();
      AllTables before = ReadTables(options.data_dir);
      chain.Open();
      ApplyWaves(chain, 15, 100);
      if (flushed) {
        ASSERT_TRUE(chain.engine().Flush().ok());
      }
      chain.Apply(chain.Replacing(30, Wave(3)));
      if (flushed) {
        ASSERT_TRUE(chain.engine().Flush().ok());
      }
      ASSERT_NO_FATAL_FAILURE(chain.Rollback(20));
      chain.Close();
      AllTables after = ReadTables(options.data_dir);
      TakeIndex(after, 20);
      TakeIndex(before, 20);
      ASSERT_NO_FATAL_FAILURE(ExpectSameTables(after, before));
      chain.Open();
      ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
    }
  }
}

// Two engines that reached the same state by different ways hold the same rows of the state.
TEST(EngineHistory, TablesDependOnTheStateAlone) {
  const auto state_tables = [](const std::string& dir) {
    AllTables tables = ReadTables(dir);
    for (const Table table : {Table::kHistory, Table::kHistoryIndex, Table::kChangeLog, Table::kMeta}) {
      tables[static_cast<size_t>(table)].clear();
    }
    return tables;
  };
  TempDir dir;
  TwinChain chain(OptionsIn(dir));
  for (uint64_t i = 0; i < 30; ++i) {
    ApplyWaves(chain, 1, i * i);
    if (i % 4 == 1) {
      ASSERT_TRUE(chain.engine().Flush().ok());
    }
  }
  chain.Close();
  TempDir other_dir;
  TwinChain other(OptionsIn(other_dir));
  std::vector<AccountChange> all;
  std::set<Bytes> codes;
  for (const auto& [address, account] : chain.head().state.accounts) {
    AccountChange& change = all.emplace_back();
    change.address = address;
    change.nonce = account.nonce;
    change.balance = account.balance;
    change.code = account.code;
    for (const auto& [slot, value] : account.storage) change.slots.push_back({slot, value});
  }
  other.Apply(all);
  EXPECT_EQ(other.head().info.state_root, chain.head().info.state_root);
  other.Close();
  AllTables expected = state_tables(other.options().data_dir);
  AllTables actual = state_tables(chain.options().data_dir);
  // Code that no account runs any more stays.
  std::erase_if(actual[static_cast<size_t>(Table::kCode)],
                [&](const auto& row) { return !expected[static_cast<size_t>(Table::kCode)].contains(row.first); });
  ExpectSameTables(actual, expected);
}

}  // namespace
}  // namespace mptd::testing
