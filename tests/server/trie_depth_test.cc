// Depths by sampling, against the proofs of a real engine: a proof of an account has a node for each step to its leaf.
#include "server/trie_depth.h"

#include <gtest/gtest.h>

#include "core/engine/engine.h"
#include "tests/engine/engine_testing.h"

namespace mptd::testing {
namespace {

class TrieDepthTest : public ::testing::Test {
 protected:
  TrieDepthTest() {
    EngineOptions options;
    options.data_dir = dir_.path() + "/data";
    engine_ = *StateEngine::Open(options);
  }

  void Apply(uint64_t accounts) {
    BlockChanges block;
    block.number = 1;
    for (uint64_t i = 0; i < accounts; ++i) block.changes.push_back(SetBalance(i, 1));
    const absl::StatusOr<ApplyResult> applied = engine_->Apply(std::move(block));
    ASSERT_TRUE(applied.ok()) << applied.status();
  }
  StateViewPtr View() { return *engine_->View(LatestBlock{}); }
  TrieDepth Sampled() { return *SampleDepth(*View()); }
  // The steps above the leaf of every account; no extension is on their way as long as there are many.
  TrieDepth Proved(uint64_t accounts) {
    TrieDepth depth;
    const StateViewPtr view = View();
    for (uint64_t i = 0; i < accounts; ++i) {
      const uint64_t steps = view->GetProof(AddressOf(i), {})->proof.size() - 1;
      depth.average += static_cast<double>(steps) / static_cast<double>(accounts);
      depth.max = std::max(depth.max, steps);
    }
    return depth;
  }

  TempDir dir_;
  std::unique_ptr<StateEngine> engine_;
};

TEST_F(TrieDepthTest, NothingIsNotDeep) { EXPECT_EQ(Sampled().max, 0u); }

TEST_F(TrieDepthTest, ASingleLeafIsTheRoot) {
  Apply(1);
  EXPECT_EQ(Sampled().max, 0u);
  EXPECT_EQ(Sampled().average, 0);
}

TEST_F(TrieDepthTest, FewLeavesAreAllLookedAt) {
  Apply(30);
  EXPECT_DOUBLE_EQ(Sampled().average, Proved(30).average);
  EXPECT_EQ(Sampled().max, Proved(30).max);
}

TEST_F(TrieDepthTest, ManyAreSampled) {
  Apply(5000);
  EXPECT_NEAR(Sampled().average, Proved(5000).average, 0.15);
  EXPECT_LE(Sampled().max, Proved(5000).max);
}

}  // namespace
}  // namespace mptd::testing
