// A small chain with everything that a state can have, and one question of each kind about it, for tests of what
// becomes of an answer when the disk below fails or has been changed.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/engine/engine_testing.h"

namespace mptd::testing {

constexpr uint64_t kQuestionedBlocks = 12;

// Blocks 1 to kQuestionedBlocks.
void ApplyQuestioned(TwinChain& chain);
// Another block: leaves that are new, and ones whose going makes branches go.
std::vector<AccountChange> QuestionedChanges(uint64_t salt);

// Different answers are different texts.
using Answer = absl::StatusOr<std::string>;
struct Question {
  const char* name;
  Answer (*ask)(const StateView&);
};
std::span<const Question> Questions();
Answer Ask(const StateEngine& engine, const BlockSelector& block, const Question& question);

// Next to nothing is kept in memory, so that whatever is asked for is read.
EngineOptions WithoutCaches(const std::string& data_dir);

}  // namespace mptd::testing
