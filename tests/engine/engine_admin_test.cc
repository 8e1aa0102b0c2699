// What operators rely on: verification that finds damage and names it, checkpoints, locks, durability modes, a full
// queue, events and the status.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>
#include <thread>

#include "core/account.h"
#include "core/engine/engine.h"
#include "core/engine/flusher.h"
#include "core/errors.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "tests/engine/engine_testing.h"

namespace mptd::testing {
namespace {

using Code = absl::StatusCode;
using storage::Table;

const Bytes kCode = "some code that accounts run";

// 300 accounts, some with storage and code.
void Fill(TwinChain& chain) {
  std::vector<AccountChange> changes;
  for (uint64_t i = 0; i < 300; ++i) changes.push_back(SetBalance(i, i + 1));
  for (uint64_t i = 300; i < 310; ++i) {
    AccountChange change = SetSlots(i, {});
    for (uint64_t slot = 0; slot < 40; ++slot) change.slots.push_back({SlotOf(slot), U256::FromUint64(slot + i)});
    change.code = kCode;
    changes.push_back(std::move(change));
  }
  chain.Apply(std::move(changes));
  chain.Apply({SetBalance(1, 100), SetSlots(300, {{7, 0}})});
}

// Damage
// -------------------------------------------------------------------------------------------------------------------

struct Damage {
  Table table;
  enum { kFlip, kRemove, kAdd } kind;
  friend void PrintTo(const Damage& damage, std::ostream* out) {
    *out << storage::TableName(damage.table)
         << (damage.kind == kFlip     ? " flip"
             : damage.kind == kRemove ? " remove"
                                      : " add");
  }
};

class Verification : public ::testing::TestWithParam<Damage> {};

INSTANTIATE_TEST_SUITE_P(
    Engine, Verification,
    ::testing::Values(Damage{Table::kAccounts, Damage::kFlip}, Damage{Table::kAccounts, Damage::kRemove},
                      Damage{Table::kAccounts, Damage::kAdd}, Damage{Table::kSlots, Damage::kFlip},
                      Damage{Table::kSlots, Damage::kRemove}, Damage{Table::kSlots, Damage::kAdd},
                      Damage{Table::kAccountNodes, Damage::kFlip}, Damage{Table::kAccountNodes, Damage::kRemove},
                      Damage{Table::kAccountNodes, Damage::kAdd}, Damage{Table::kSlotNodes, Damage::kFlip},
                      Damage{Table::kSlotNodes, Damage::kRemove}, Damage{Table::kSlotNodes, Damage::kAdd},
                      Damage{Table::kCode, Damage::kFlip}, Damage{Table::kCode, Damage::kRemove}));

// A row that is not there: beside one that is, or where nodes have all their siblings, below them.
std::string Neighbour(const TableRows& rows, const std::string& key, Table table) {
  const bool of_nodes = table == Table::kAccountNodes || table == Table::kSlotNodes;
  for (std::string other = key;; other.push_back('\0')) {
    for (int last = 0; last < (of_nodes ? 16 : 256); ++last) {
      other.back() = static_cast<char>(last);
      if (!rows.contains(other)) return other;
    }
  }
}

TEST_P(Verification, FindsAndNamesIt) {
  const Damage& damage = GetParam();
  std::mt19937_64 random(std::random_device{}());
  for (int round = 0; round < 3; ++round) {
    TempDir dir;
    TwinChain chain(QuietOptions(dir));
    Fill(chain);
    absl::StatusOr<VerifyReport> clean = chain.engine().Verify({});
    ASSERT_TRUE(clean.ok()) << clean.status();
    ASSERT_EQ(clean->difference, "");
    EXPECT_EQ(clean->block, chain.head().info);
    EXPECT_EQ(clean->checked.accounts, 310u);
    EXPECT_EQ(clean->checked.slots, 399u);
    chain.Close();

    const TableRows rows = ReadTables(chain.options().data_dir)[static_cast<size_t>(damage.table)];
    // The first row of a node table is the root's, which is looked at when the engine opens.
    const size_t first = rows.size() == 1 ? 0 : 1;
    const auto row = std::next(rows.begin(), static_cast<ptrdiff_t>(first + random() % (rows.size() - first)));
    std::string key = row->first;
    std::optional<std::string> value = row->second;
    if (damage.kind == Damage::kFlip) (*value)[random() % value->size()] ^= static_cast<char>(1 << random() % 8);
    if (damage.kind == Damage::kRemove) value.reset();
    if (damage.kind == Damage::kAdd) key = Neighbour(rows, key, damage.table);
    SCOPED_TRACE(::testing::Message() << "row " << ToHex(key) << " becomes " << (value ? ToHex(*value) : "nothing"));
    EditRow(chain.options().data_dir, damage.table, key, value);

    EngineEvent seen;
    chain.options().on_event = [&](const EngineEvent& event) {
      if (event.kind == EngineEvent::Kind::kCorruption) seen = event;
    };
    absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(chain.options());
    ASSERT_TRUE(engine.ok()) << engine.status();
    const absl::StatusOr<VerifyReport> report = (*engine)->Verify({});
    const std::string found = report.ok() ? report->difference : std::string(report.status().message());
    ASSERT_NE(found, "");
    if (!report.ok()) {
      EXPECT_EQ(report.status().code(), Code::kDataLoss);
    }
    // A changed account or slot may show first in the rows that were made from it.
    const std::string table(storage::TableName(damage.table));
    const bool named = found.find("table " + table) != std::string::npos;
    const bool derived =
        (damage.table == Table::kAccounts &&
         (found.find("account_nodes") != std::string::npos || found.find("table slots") != std::string::npos ||
          found.find("table code") != std::string::npos || found.find("root") != std::string::npos)) ||
        (damage.table == Table::kSlots &&
         (found.find("slot_nodes") != std::string::npos || found.find("storage root") != std::string::npos));
    EXPECT_TRUE(named || derived) << found;
    // No more writing on top of it.
    EXPECT_EQ(seen.text, found);
    EXPECT_TRUE((*engine)->Status().read_only);
    const absl::Status refused = (*engine)->Apply(chain.Next({})).status();
    EXPECT_EQ(refused.code(), Code::kDataLoss) << refused;
    EXPECT_EQ(ErrorReason(refused).value_or(""), "READ_ONLY");
    EXPECT_TRUE((*engine)->View(LatestBlock{}).ok());
  }
}

TEST(EngineAdmin, VerificationStopsWhenAsked) {
  TempDir dir;
  TwinChain chain(QuietOptions(dir));
  std::vector<AccountChange> changes;
  for (uint64_t i = 0; i < 6000; ++i) changes.push_back(SetBalance(i, 1));
  chain.Apply(std::move(changes));
  uint64_t calls = 0;
  const auto stop = [&](const VerifyProgress& progress) {
    ++calls;
    EXPECT_GT(progress.accounts, 0u);
    return false;
  };
  EXPECT_EQ(chain.engine().Verify(stop).status().code(), Code::kCancelled);
  EXPECT_EQ(calls, 1u);
  EXPECT_FALSE(chain.engine().Status().read_only);
  chain.Apply({SetBalance(1, 2)});
}

TEST(EngineAdmin, DamagedHistoryIsFoundAtTheStart) {
  for (const Table table : {Table::kHistory, Table::kMeta}) {
    for (const bool removed : {false, true}) {
      SCOPED_TRACE(storage::TableName(table));
      if (table == Table::kMeta && removed) continue;
      TempDir dir;
      TwinChain chain(QuietOptions(dir));
      for (uint64_t i = 0; i < 5; ++i) chain.Apply({SetBalance(1, i + 1)});
      chain.Close();
      const TableRows rows = ReadTables(chain.options().data_dir)[static_cast<size_t>(table)];
      std::optional<std::string> value = rows.rbegin()->second;
      value->pop_back();
      if (removed) value.reset();
      EditRow(chain.options().data_dir, table, rows.rbegin()->first, value);
      const absl::Status status = StateEngine::Open(chain.options()).status();
      EXPECT_EQ(status.code(), Code::kDataLoss) << status;
      EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(std::string(storage::TableName(table))))
          << status;
    }
  }
}

// Folders
// ------------------------------------------------------------------------------------------------------------------

TEST(EngineAdmin, ACheckpointIsADataFolder) {
  TempDir dir;
  TwinChain chain(QuietOptions(dir));
  Fill(chain);
  const std::string copy = dir.path() + "/copy";
  absl::StatusOr<BlockInfo> at = chain.engine().Checkpoint(copy);
  ASSERT_TRUE(at.ok()) << at.status();
  EXPECT_EQ(*at, chain.head().info);
  EXPECT_EQ(chain.engine().Checkpoint(copy).status().code(), Code::kAlreadyExists);
  const TwinChain::Entry then = chain.head();
  chain.Apply({SetBalance(1, 7777), Remove(300)});
  EngineOptions options = chain.options();
  options.data_dir = copy;
  {
    absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    ASSERT_NO_FATAL_FAILURE(ExpectState(**(*engine)->View(LatestBlock{}), then.state));
    EXPECT_EQ((*engine)->Verify({})->difference, "");
    // It goes its own way.
    ASSERT_TRUE((*engine)->RollbackTo(uint64_t{1}).ok());
    BlockChanges block = chain.Next({SetBalance(1, 3)});
    block.number = 2;
    block.parent_hash.reset();
    block.parent_root.reset();
    ASSERT_TRUE((*engine)->Apply(block).ok());
  }
  ASSERT_TRUE(StateEngine::Open(options).ok());
  chain.ExpectAll();
}

TEST(EngineAdmin, ACheckpointOfNothing) {
  TempDir dir;
  TwinChain chain(QuietOptions(dir));
  const std::string copy = dir.path() + "/copy";
  ASSERT_TRUE(chain.engine().Checkpoint(copy).ok());
  EngineOptions options = chain.options();
  options.data_dir = copy;
  absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(options);
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_FALSE((*engine)->Status().has_blocks);
  EXPECT_EQ((*engine)->Verify({})->difference, "");
  EXPECT_EQ(*(*engine)->Prune(1), 0u);
  EXPECT_EQ((*engine)->Flush().value(), BlockInfo{});
}

TEST(EngineAdmin, AFolderHasOneEngine) {
  TempDir dir;
  TwinChain chain(QuietOptions(dir));
  chain.Apply({SetBalance(1, 1)});
  const absl::Status status = StateEngine::Open(chain.options()).status();
  EXPECT_EQ(status.code(), Code::kFailedPrecondition) << status;
  chain.Apply({SetBalance(1, 2)});
  chain.Reopen();
  chain.ExpectAll();
}

// Limits that were set later do not apply to blocks that had been accepted before a crash.
TEST(EngineAdmin, RecoveryTakesWhatWasAccepted) {
  TempDir dir;
  EngineOptions options = QuietOptions(dir);
  TwinChain chain(options);
  Fill(chain);
  for (uint64_t i = 0; i < 20; ++i) chain.Apply({SetBalance(i, i)});
  chain.Rollback(5);
  chain.Apply(chain.Replacing(3, {SetBalance(1, 5)}));
  EngineOptions crashed = options;
  crashed.data_dir = dir.path() + "/crashed";
  CopyFolder(options.data_dir, crashed.data_dir);
  crashed.max_changes_per_block = 1;
  crashed.max_slots_per_account = 1;
  crashed.keep_blocks = 2;
  absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(crashed);
  ASSERT_TRUE(engine.ok()) << engine.status();
  ASSERT_NO_FATAL_FAILURE(ExpectState(**(*engine)->View(LatestBlock{}), chain.head().state));
  EXPECT_EQ((*engine)->Verify({})->difference, "");
}

// Durability
// ---------------------------------------------------------------------------------------------------------------

TEST(EngineAdmin, RepliesSayWhatIsDurable) {
  for (const Durability mode : {Durability::kSync, Durability::kBatched, Durability::kAsync}) {
    SCOPED_TRACE(static_cast<int>(mode));
    TempDir dir;
    EngineOptions options = QuietOptions(dir);
    options.durability = mode;
    options.batch_timeout = absl::Milliseconds(50);
    TwinChain chain(options);
    EXPECT_EQ(chain.engine().Status().durable_number, 0u);
    for (uint64_t number = 1; number <= 10; ++number) {
      const BlockChanges block = chain.Next({SetBalance(1, number)});
      ASSERT_NO_FATAL_FAILURE(chain.Apply(block));
      absl::StatusOr<ApplyResult> again = chain.engine().Apply(block);
      ASSERT_TRUE(again.ok());
      EXPECT_EQ(again->durable, again->durable_number >= number);
      EXPECT_EQ(chain.engine().IsDurable(number + 1), false);
      if (mode == Durability::kSync) {
        EXPECT_EQ(again->durable_number, number);
      }
      if (mode == Durability::kAsync) {
        EXPECT_EQ(again->durable_number, 0u);
      }
    }
    if (mode == Durability::kAsync) {
      ASSERT_TRUE(chain.engine().Flush().ok());
    }
    const absl::Time deadline = absl::Now() + absl::Minutes(5);
    while (!chain.engine().IsDurable(10) && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(5));
    EXPECT_TRUE(chain.engine().IsDurable(10));
    EXPECT_EQ(chain.engine().Status().durable_number, 10u);
    ASSERT_NO_FATAL_FAILURE(chain.Rollback(4));
    EXPECT_EQ(chain.engine().Status().durable_number, 4u);
    ASSERT_NO_FATAL_FAILURE(chain.Apply({SetBalance(1, 99)}));
    if (mode == Durability::kAsync) {
      EXPECT_EQ(chain.engine().Status().durable_number, 4u);
    }
  }
}

// Blocks that are not served any more are not durable for that.
TEST(EngineAdmin, WhatIsNotServedIsNotDurableForThat) {
  TempDir dir;
  EngineOptions options = QuietOptions(dir);
  options.durability = Durability::kAsync;
  options.keep_blocks = 2;
  TwinChain chain(options);
  for (uint64_t number = 1; number <= 10; ++number) ASSERT_NO_FATAL_FAILURE(chain.Apply({SetBalance(1, number)}));
  EXPECT_EQ(chain.engine().Status().oldest_served_number, 8u);
  EXPECT_EQ(chain.engine().Status().durable_number, 0u);
  ASSERT_TRUE(chain.engine().Flush().ok());
  EXPECT_EQ(chain.engine().Status().durable_number, 10u);
}

// A flush that fails for good: the queue fills, and applying waits for room until its deadline.
TEST(EngineAdmin, AFullQueue) {
  TempDir dir;
  EngineOptions options = QuietOptions(dir);
  options.queue_bytes = 200'000;
  std::atomic<int> failures{0};
  std::atomic<int> waits{0};
  options.on_event = [&](const EngineEvent& event) {
    if (event.kind == EngineEvent::Kind::kFlushFailed) ++failures;
    if (event.kind == EngineEvent::Kind::kBackPressure) ++waits;
  };
  TwinChain chain(options);
  std::vector<AccountChange> changes;
  for (uint64_t i = 0; i < 100; ++i) changes.push_back(SetBalance(i, 1));
  ASSERT_NO_FATAL_FAILURE(chain.Apply(changes));
  ASSERT_TRUE(chain.engine().Flush().ok());
  // Where the store builds its files there is suddenly no folder.
  std::filesystem::remove_all(options.data_dir + "/db/staging");
  std::ofstream(options.data_dir + "/db/staging") << "not a folder";
  absl::Status status;
  // A busy machine may let a deadline pass before the block's turn comes: until one has waited for room.
  for (uint64_t round = 0; round < 200 && waits == 0; ++round) {
    for (AccountChange& change : changes) change.balance = U256::FromUint64(round + 2);
    const BlockChanges block = chain.Next(changes);
    const bool full = chain.engine().Status().queue_bytes > options.queue_bytes;
    const absl::Time start = absl::Now();
    const absl::Time deadline = full ? start + absl::Milliseconds(300) : absl::InfiniteFuture();
    status = chain.engine().Apply(block, deadline).status();
    if (status.ok()) {
      ASSERT_EQ(chain.engine().Apply(block)->already_applied, true);
      chain.Adopt(block);
      continue;
    }
    EXPECT_GE(absl::Now() - start, absl::Milliseconds(290));
  }
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << status;
  EXPECT_TRUE(RetryDelay(status).has_value());
  EXPECT_GT(chain.engine().Status().queue_bytes, options.queue_bytes);
  ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
  EXPECT_GT(waits, 0);
  for (const absl::Time end = absl::Now() + absl::Minutes(5); failures == 0 && absl::Now() < end;) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_GT(failures, 0);
  EXPECT_FALSE(chain.engine().Flush().ok());
  EXPECT_FALSE(chain.engine().Checkpoint(dir.path() + "/copy").ok());
  // Nothing that was answered is lost: the log has it.
  chain.Close();
  std::filesystem::remove(options.data_dir + "/db/staging");
  ASSERT_NO_FATAL_FAILURE(chain.Open());
  ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
  EXPECT_EQ(chain.engine().Verify({})->difference, "");
}

// Who watches the writer can tell waiting, for work or for room, from hanging.
TEST(EngineAdmin, TheWriterComesRoundWhileItWaits) {
  TempDir dir;
  EngineOptions options = QuietOptions(dir);
  options.queue_bytes = 1;
  std::atomic<bool> waits{false};
  options.on_event = [&](const EngineEvent& event) {
    if (event.kind == EngineEvent::Kind::kBackPressure) waits = true;
  };
  TwinChain chain(options);
  const auto comes_round = [&] {
    const uint64_t before = chain.engine().Status().writer_turns;
    while (chain.engine().Status().writer_turns < before + 3) absl::SleepFor(absl::Milliseconds(10));
  };
  comes_round();
  const std::string staging = options.data_dir + "/db/staging";
  std::filesystem::remove_all(staging);
  std::ofstream(staging) << "not a folder";
  ASSERT_NO_FATAL_FAILURE(chain.Apply({SetBalance(1, 1)}));
  const BlockChanges block = chain.Next({SetBalance(1, 2)});
  std::atomic<bool> applied{false};
  std::thread caller([&] {
    const absl::Status status = chain.engine().Apply(block).status();
    EXPECT_TRUE(status.ok()) << status;
    applied = true;
  });
  while (!waits) absl::SleepFor(absl::Milliseconds(10));
  comes_round();
  EXPECT_FALSE(applied);
  std::filesystem::remove(staging);
  std::filesystem::create_directory(staging);
  caller.join();
  chain.Adopt(block);
  ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
}

// Followers
// ----------------------------------------------------------------------------------------------------------------

TEST(EngineAdmin, HeadEvents) {
  TempDir dir;
  TwinChain chain(QuietOptions(dir));
  const uint64_t first = chain.engine().NextHeadIndex();
  EXPECT_EQ(first, 1u);
  EXPECT_EQ(chain.engine().WaitForHead(first, absl::Now() + absl::Milliseconds(10)).value(), std::nullopt);
  std::thread follower([&] {
    absl::StatusOr<std::optional<HeadEvent>> event = chain.engine().WaitForHead(first, absl::Now() + absl::Minutes(5));
    ASSERT_TRUE(event.ok() && event->has_value());
    EXPECT_EQ((*event)->block.number, 1u);
    EXPECT_FALSE((*event)->rolled_back);
  });
  chain.Apply({SetBalance(1, 1)});
  follower.join();
  for (uint64_t i = 0; i < 5000; ++i) {
    ASSERT_TRUE(chain.engine().Apply(chain.Next({SetBalance(1, i % 2 + 2)})).ok());
    ASSERT_TRUE(chain.engine().RollbackTo(uint64_t{1}).ok());
    if (i == 500 && Scaled(10) < 10) break;
  }
  const uint64_t next = chain.engine().NextHeadIndex();
  absl::StatusOr<std::optional<HeadEvent>> event = chain.engine().WaitForHead(next - 1, absl::InfinitePast());
  ASSERT_TRUE(event.ok() && event->has_value());
  EXPECT_TRUE((*event)->rolled_back);
  EXPECT_EQ((*event)->block, chain.at(1).info);
  if (next > 10000) {
    EXPECT_EQ(chain.engine().WaitForHead(1, absl::InfinitePast()).status().code(), Code::kOutOfRange);
  }
}

}  // namespace
}  // namespace mptd::testing
