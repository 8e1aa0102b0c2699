// Rows that RocksDB's checksum takes for right and that are not: written so by a fault in memory, or by hand. Whatever
// needs such a row says DATA_LOSS, what does not goes on to be right, and nothing is written on top of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/hex.h"
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
    // Without its root's row a storage trie is taken for one of a single slot. Only a verification finds that.
    if (damage.table == Table::kSlotNodes && damage.kind == Damage::kRemove && key.size() == Hash::kSize) continue;
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

}  // namespace
}  // namespace mptd::testing
