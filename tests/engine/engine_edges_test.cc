// Rare ways through the engine: callers that do not wait or have gone, a log that finds no room, caches that age,
// every compression, a folder that is looked at from outside, and rows that nothing refers to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/engine/stored_state.h"
#include "core/engine/undo_record.h"
#include "core/errors.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "tests/engine/engine_testing.h"
#include "tests/engine/watchdog.h"
#include "tests/storage/fake_files.h"

namespace mptd::testing {
namespace {

using ::testing::HasSubstr;
using Code = absl::StatusCode;
using storage::Table;

EngineOptions OptionsIn(const TempDir& dir) {
  EngineOptions options = QuietOptions(dir);
  options.worker_threads = 2;
  return options;
}

std::vector<AccountChange> Accounts(uint64_t count, uint64_t balance) {
  std::vector<AccountChange> changes;
  for (uint64_t i = 0; i < count; ++i) changes.push_back(SetBalance(i, balance));
  return changes;
}

TEST(EngineEdges, CallersThatDoNotWaitOrHaveGone) {
  TempDir dir;
  TwinChain chain(OptionsIn(dir));
  chain.Apply({SetBalance(1, 1)});
  // The writer may take it up before the caller looks at the clock; then it is a block like any other.
  const BlockChanges block = chain.Next({SetBalance(1, 2)});
  const absl::StatusOr<ApplyResult> late = chain.engine().Apply(block, absl::InfinitePast());
  if (late.ok()) {
    chain.Adopt(block);
  } else {
    EXPECT_EQ(late.status().code(), Code::kResourceExhausted) << late.status();
    EXPECT_TRUE(RetryDelay(late.status()).has_value());
  }
  const absl::Status gone =
      chain.engine().Apply(chain.Next({SetBalance(1, 3)}), absl::InfiniteFuture(), [] { return true; }).status();
  EXPECT_EQ(gone.code(), Code::kCancelled) << gone;
  chain.ExpectHead();
  chain.Apply({SetBalance(1, 4)});
}

TEST(EngineEdges, ABlockSaysWhereItsTimeWent) {
  TempDir dir;
  TwinChain chain(OptionsIn(dir));
  chain.Apply(Accounts(500, 1));
  const BlockChanges block = chain.Next(Accounts(500, 2));
  const absl::StatusOr<ApplyResult> result = chain.engine().Apply(block);
  ASSERT_TRUE(result.ok()) << result.status();
  for (const absl::Duration part :
       {result->times.queue, result->times.read, result->times.tries, result->times.log, result->times.publish}) {
    EXPECT_NE(part, absl::ZeroDuration());
  }
  EXPECT_EQ(result->accounts_changed, 500u);
  EXPECT_GT(result->nodes_hashed, 500u);
}

TEST(EngineEdges, AReorganisationSaysSoToo) {
  TempDir dir;
  TwinChain chain(OptionsIn(dir));
  chain.Apply(Accounts(500, 1));
  chain.Apply(Accounts(500, 2));
  const BlockChanges block = chain.Replacing(chain.head().info.number, {SetBalance(1000, 3)});
  const absl::StatusOr<ApplyResult> result = chain.engine().Apply(block);
  ASSERT_TRUE(result.ok()) << result.status();
  for (const absl::Duration part :
       {result->times.queue, result->times.read, result->times.tries, result->times.log, result->times.publish}) {
    EXPECT_GT(part, absl::ZeroDuration());
  }
  EXPECT_EQ(result->accounts_changed, 1u);
}

// The change log stops before the disk is full; what is refused then succeeds when there is room.
TEST(EngineEdges, ALogThatFindsNoRoom) {
  storage::FakeFiles disk(1);
  TempDir dir;
  EngineOptions options = OptionsIn(dir);
  options.log_files = &disk;
  options.log_segment_bytes = 64u << 10;
  disk.SetCapacity(33u << 20);
  TwinChain chain(options);
  absl::Status status;
  for (uint64_t i = 1; status.ok() && i < 1000; ++i) {
    const BlockChanges block = chain.Next(Accounts(400, i));
    status = chain.engine().Apply(block).status();
    if (status.ok()) chain.Adopt(block);
  }
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << status;
  EXPECT_TRUE(RetryDelay(status).has_value());
  EXPECT_FALSE(chain.engine().Status().read_only);
  chain.ExpectHead();
  disk.SetCapacity(UINT64_MAX);
  chain.Apply(Accounts(400, 5000));
  chain.ExpectHead();
  chain.Reopen();
  chain.ExpectHead();
}

// The caches are larger than the state, so nothing leaves them for want of room.
TEST(EngineEdges, WhatIsNotUsedLeavesTheCaches) {
  const Watchdog watchdog(absl::Minutes(10));
  TempDir dir;
  EngineOptions options = OptionsIn(dir);
  options.cache_ttl = absl::Milliseconds(50);
  TwinChain chain(options);
  chain.Apply(Accounts(2000, 1));
  chain.Reopen();
  chain.ExpectHead();  // reads all rows and branches
  const auto gone = [&] {
    const EngineStatistics statistics = chain.engine().Statistics();
    return statistics.evicted_nodes > 0 && statistics.evicted_rows > 0;
  };
  while (!gone()) absl::SleepFor(absl::Milliseconds(5));
  chain.ExpectHead();
}

TEST(EngineEdges, EveryCompression) {
  for (const TableCompression compression :
       {TableCompression::kNone, TableCompression::kSnappy, TableCompression::kLz4, TableCompression::kZstd}) {
    TempDir dir;
    EngineOptions options = OptionsIn(dir);
    options.compression = compression;
    TwinChain chain(options);
    chain.Apply(Accounts(300, 7));
    chain.Reopen();
    chain.ExpectHead();
  }
}

TEST(EngineEdges, AFolderSeenFromOutside) {
  TempDir dir;
  EXPECT_EQ(*ReadStoredState(dir.path() + "/data", nullptr), std::nullopt);
  TwinChain chain(OptionsIn(dir));
  chain.Close();
  EXPECT_EQ(*ReadStoredState(dir.path() + "/data", nullptr), std::nullopt) << "no block yet";
  chain.Open();
  chain.Apply({SetBalance(1, 1)});
  chain.Close();
  const absl::StatusOr<std::optional<StoredState>> stored = ReadStoredState(dir.path() + "/data", nullptr);
  ASSERT_TRUE(stored.ok() && stored->has_value()) << stored.status();
  EXPECT_EQ((*stored)->head, chain.head().info);
  EditRow(dir.path() + "/data", Table::kMeta, std::string(kStateKey), "nonsense");
  EXPECT_EQ(ReadStoredState(dir.path() + "/data", nullptr).status().code(), Code::kDataLoss);
  EditRow(dir.path() + "/data", Table::kMeta, std::string(kStateKey), std::nullopt);
  EXPECT_EQ(*ReadStoredState(dir.path() + "/data", nullptr), std::nullopt);
  EditRow(dir.path() + "/data", Table::kMeta, std::string(kUnfinishedKey), "");
  const absl::Status unfinished = ReadStoredState(dir.path() + "/data", nullptr).status();
  EXPECT_EQ(unfinished.code(), Code::kFailedPrecondition);
  EXPECT_THAT(std::string(unfinished.message()), HasSubstr("did not finish"));
  EXPECT_EQ(StateEngine::Open(chain.options()).status().code(), Code::kFailedPrecondition);
}

// What a verification says of a row that is added or changed.
TEST(EngineEdges, VerificationNamesRowsThatNothingRefersTo) {
  const Hash nobody = Keccak256("nobody");
  const std::string owner(Keccak256(AddressOf(1).view()).view());
  const struct {
    Table table;
    std::string key;
    std::string value;
    const char* found;
  } rows[] = {
      {Table::kSlots, std::string(nobody.view()) + std::string(32, 'x'), "\1", "belong to no account"},
      {Table::kSlots, owner + std::string(Keccak256(SlotOf(5).view()).view()), std::string("\0\1", 2), "not a value"},
      {Table::kAccountNodes, std::string(64, '\1'), "\1", "not a path"},
      {Table::kSlotNodes, "short", "\1", "not a path"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.found);
    TempDir dir;
    TwinChain chain(OptionsIn(dir));
    AccountChange change = SetSlots(1, {});
    for (uint64_t slot = 0; slot < 6000; ++slot) change.slots.push_back({SlotOf(slot), U256::FromUint64(slot + 1)});
    chain.Apply({change, SetBalance(2, 1)});
    ASSERT_EQ(chain.engine().Verify({})->difference, "");
    chain.Close();
    EditRow(chain.options().data_dir, row.table, row.key, row.value);
    const auto engine = StateEngine::Open(chain.options());
    ASSERT_TRUE(engine.ok()) << engine.status();
    const absl::StatusOr<VerifyReport> report = (*engine)->Verify({});
    const std::string found = report.ok() ? report->difference : std::string(report.status().message());
    EXPECT_THAT(found, HasSubstr(row.found));
    EXPECT_THAT(found, HasSubstr(std::string(storage::TableName(row.table))));
    EXPECT_TRUE((*engine)->Status().read_only);
  }
}

}  // namespace
}  // namespace mptd::testing
