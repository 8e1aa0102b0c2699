// Rows that RocksDB's checksum takes for right and that are not: written so by a fault in memory, or by hand. Whatever
// needs such a row says DATA_LOSS, what does not goes on to be right, and once it was met nothing is written any more.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "core/proof_verifier.h"
#include "tests/engine/engine_testing.h"
#include "tests/engine/questions.h"

namespace mptd::testing {
namespace {

using Code = absl::StatusCode;
using storage::Table;

struct Damage {
  Table table;
  enum { kCut, kNonsense, kRemove } kind;
  friend void PrintTo(const Damage& damage, std::ostream* out) {
    *out << storage::TableName(damage.table)
         << (damage.kind == kCut        ? " cut"
             : damage.kind == kNonsense ? " nonsense"
                                        : " removed");
  }
};

class DamagedRows : public ::testing::TestWithParam<Damage> {};

// An account or a slot that is not there is an answer, so of these only `nonsense` can be told by who reads one row.
INSTANTIATE_TEST_SUITE_P(
    Engine, DamagedRows,
    ::testing::Values(Damage{Table::kAccounts, Damage::kNonsense}, Damage{Table::kSlots, Damage::kNonsense},
                      Damage{Table::kAccountNodes, Damage::kNonsense}, Damage{Table::kAccountNodes, Damage::kCut},
                      Damage{Table::kAccountNodes, Damage::kRemove}, Damage{Table::kSlotNodes, Damage::kNonsense},
                      Damage{Table::kSlotNodes, Damage::kCut}, Damage{Table::kSlotNodes, Damage::kRemove},
                      Damage{Table::kHistory, Damage::kNonsense}, Damage{Table::kHistory, Damage::kCut},
                      Damage{Table::kHistory, Damage::kRemove}, Damage{Table::kHistoryIndex, Damage::kNonsense},
                      Damage{Table::kHistoryIndex, Damage::kCut}));

std::optional<std::string> Damaged(const Damage& damage, std::string value) {
  if (damage.kind == Damage::kRemove) return std::nullopt;
  if (damage.kind == Damage::kNonsense) return std::string(33, '\xff');
  value.pop_back();
  return value;
}

// Whether the answers about the block are right or DATA_LOSS; adds how many are the latter.
void AskAll(const StateEngine& engine, uint64_t number, std::span<const Answer> right, uint64_t& found) {
  for (size_t i = 0; i < right.size(); ++i) {
    const Question& question = Questions()[i];
    SCOPED_TRACE(absl::StrCat(question.name, " of block ", number));
    const Answer answer = Ask(engine, number, question);
    if (answer.ok()) {
      EXPECT_EQ(*answer, *right[i]);
    } else {
      EXPECT_EQ(answer.status().code(), Code::kDataLoss) << answer.status();
      EXPECT_TRUE(engine.Status().read_only) << answer.status();
      ++found;
    }
  }
}

// A block and a rollback on top of it: they succeed without it, or end all writing.
void ChangeAll(TwinChain& chain, StateEngine& engine, uint64_t& found) {
  for (const bool rollback : {false, true}) {
    const absl::Status status =
        rollback ? engine.RollbackTo(uint64_t{4}).status() : engine.Apply(chain.Next(QuestionedChanges(77))).status();
    if (status.ok()) continue;
    ++found;
    EXPECT_EQ(status.code(), Code::kDataLoss) << status;
    EXPECT_TRUE(engine.Status().read_only) << status;
    return;
  }
}

TEST_P(DamagedRows, AreNeverServed) {
  const Damage& damage = GetParam();
  constexpr uint64_t kOld = 4;
  TempDir dir;
  const std::string data = dir.path() + "/data";
  TwinChain chain(WithoutCaches(data));
  ApplyQuestioned(chain);
  chain.Reopen();
  std::vector<Answer> right;
  std::vector<Answer> right_then;
  for (const Question& question : Questions()) {
    right.push_back(Ask(chain.engine(), kQuestionedBlocks, question));
    right_then.push_back(Ask(chain.engine(), kOld, question));  // which enters the older blocks into history_index
    ASSERT_TRUE(right.back().ok() && right_then.back().ok());
  }
  chain.Close();

  uint64_t found = 0;
  uint64_t at = 0;
  const TableRows rows = ReadTables(data)[static_cast<size_t>(damage.table)];
  const uint64_t step = std::max<uint64_t>(1, rows.size() / 8);
  for (const auto& [key, value] : rows) {
    if (at++ % step != 0) continue;
    SCOPED_TRACE(absl::StrCat("row ", ToHex(key)));
    const std::string copy = absl::StrCat(dir.path(), "/copy");
    CopyFolder(data, copy);
    EditRow(copy, damage.table, key, Damaged(damage, value));
    absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(WithoutCaches(copy));
    if (engine.ok()) {
      AskAll(**engine, kQuestionedBlocks, right, found);
      AskAll(**engine, kOld, right_then, found);
      ChangeAll(chain, **engine, found);
      engine->reset();
    } else {
      EXPECT_EQ(engine.status().code(), Code::kDataLoss) << engine.status();
      ++found;
    }
    std::filesystem::remove_all(copy);
    if (HasFailure()) return;
  }
  EXPECT_GT(found, 0u);
}

// Without its root's row a storage trie could be taken for one of a single slot: proofs, dry runs and blocks compare
// that slot's leaf with the account's storage root.
class StorageRootLost : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    TwinChain chain(WithoutCaches(data_));
    AccountChange three = SetSlots(2, {{1, 5}, {2, 6}, {3, 7}});
    three.nonce = 1;
    AccountChange one = SetSlots(3, {{1, 5}});
    one.nonce = 1;
    chain.Apply({SetBalance(1, 1), three, one});
    next_ = chain.Next({SetSlots(2, {{4, 8}})});
    update_ = chain.Next({SetSlots(2, {{1, 9}})});
    chain.Close();
    const Hash account = Keccak256(AddressOf(2).view());
    ASSERT_EQ(ReadTables(data_)[static_cast<size_t>(Table::kSlotNodes)].size(), 1u);
    EditRow(data_, Table::kSlotNodes, std::string(account.view()), std::nullopt);
    EngineOptions options = WithoutCaches(data_);
    if (GetParam() == std::string_view("caches")) {
      options.row_cache_bytes = options.node_cache_bytes = uint64_t{64} << 20;
    }
    options.on_event = [this](const EngineEvent& event) {
      if (event.kind == EngineEvent::Kind::kCorruption) ++told_;
    };
    absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(std::move(options));
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    view_ = *engine_->View(LatestBlock{});
  }
  void TearDown() override { EXPECT_EQ(told_, damaged_ ? 1 : 0); }

  void ExpectDamage(const absl::Status& status, std::string_view named) {
    damaged_ = true;
    EXPECT_EQ(status.code(), Code::kDataLoss) << status;
    const std::string message(status.message());
    EXPECT_NE(message.find(named), std::string::npos) << status;
    EXPECT_NE(message.find("has no row for its root"), std::string::npos) << status;
    EXPECT_TRUE(engine_->Status().read_only);
  }

  const std::string address_ = "account " + ToHex(AddressOf(2));
  const std::string hashed_ = "account " + ToHex(Keccak256(AddressOf(2).view()));
  TempDir dir_;
  const std::string data_ = dir_.path() + "/data";
  BlockChanges next_;
  BlockChanges update_;
  std::atomic<int> told_ = 0;
  bool damaged_ = false;
  std::unique_ptr<StateEngine> engine_;
  StateViewPtr view_;
};

INSTANTIATE_TEST_SUITE_P(Engine, StorageRootLost, ::testing::Values("nothing", "caches"));

TEST_P(StorageRootLost, SlotsAreStillRight) {
  const std::vector<Hash> slots = {SlotOf(1), SlotOf(3), SlotOf(9)};
  const absl::StatusOr<std::vector<U256>> values = view_->GetStorage(AddressOf(2), slots);
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_EQ(*values, (std::vector{U256::FromUint64(5), U256::FromUint64(7), U256{}}));
}

TEST_P(StorageRootLost, AProofOfASlotSaysSo) {
  const std::vector<Hash> slots = {SlotOf(1)};
  ExpectDamage(view_->GetProof(AddressOf(2), slots).status(), address_);
}

TEST_P(StorageRootLost, SoDoesOneOfAnAbsentSlot) {
  const std::vector<Hash> slots = {SlotOf(9)};
  ExpectDamage(view_->GetProof(AddressOf(2), slots).status(), address_);
  ExpectDamage(view_->GetProof(AddressOf(2), slots).status(), address_);
}

TEST_P(StorageRootLost, AndManyTogether) {
  const std::vector<ProofTargetSpec> targets = {{AddressOf(1), {}}, {AddressOf(2), {SlotOf(2)}}};
  ExpectDamage(view_->GetMultiProof(targets).status(), address_);
}

TEST_P(StorageRootLost, ProofsOfOthersAreStillRight) {
  const std::vector<Hash> slots = {SlotOf(1), SlotOf(9)};
  for (const uint64_t other : {1, 3}) {
    const absl::StatusOr<AccountProof> proof = view_->GetProof(AddressOf(other), slots);
    ASSERT_TRUE(proof.ok()) << proof.status();
    EXPECT_TRUE(VerifyAccountProof(view_->block().state_root, *proof).ok());
  }
}

TEST_P(StorageRootLost, DryRunsSaySo) {
  ExpectDamage(view_->ComputeRoot(next_.changes, false).status(), hashed_);
  ExpectDamage(view_->ComputeRoot(update_.changes, false).status(), hashed_);
}

TEST_P(StorageRootLost, ABlockWithANewSlotIsRefused) { ExpectDamage(engine_->Apply(next_).status(), hashed_); }

TEST_P(StorageRootLost, SoIsOneThatChangesASlot) { ExpectDamage(engine_->Apply(update_).status(), hashed_); }

}  // namespace
}  // namespace mptd::testing
