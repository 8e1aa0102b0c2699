// Events of the state, as an engine that is real makes them.
#include "server/state_events.h"

#include <functional>
#include <thread>

#include "gmock/gmock.h"
#include "tests/engine/engine_testing.h"

namespace mptd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::SetBalance;

class StateEventsTest : public ::testing::Test {
 protected:
  StateEventsTest() {
    LogOptions options;
    options.level = "debug";
    options.capture = [this](std::string_view line) {
      const std::lock_guard lock(mutex_);
      (lines_ += line) += '\n';
    };
    log_ = *Logger::Open(options);
  }
  ~StateEventsTest() override { log_.reset(); }

  static EngineOptions OptionsIn(const testing::TempDir& dir) {
    EngineOptions options;
    options.data_dir = dir.path();
    return options;
  }
  // What has been logged since the last call.
  std::string Lines() {
    log_->Flush();
    const std::lock_guard lock(mutex_);
    return std::exchange(lines_, "");
  }

  std::mutex mutex_;
  std::string lines_;
  std::unique_ptr<Logger> log_;
};

TEST_F(StateEventsTest, TriesAndCachesAreToldOfEveryTenSeconds) {
  const testing::TempDir dir;
  testing::TwinChain chain(OptionsIn(dir));
  StateEvents events(chain.engine(), *log_);
  const absl::Time start = absl::Now();
  events.Regularly(start);
  EXPECT_THAT(Lines(), HasSubstr("cache_performance cache_hits=0 cache_misses=0 hit_rate=0"));

  chain.Apply({SetBalance(1, 1), SetBalance(2, 2)});
  // They are counted behind the block.
  const absl::Time deadline = start + absl::Minutes(5);
  while (chain.engine().Statistics().counts.nodes() < 3 && absl::Now() < deadline) std::this_thread::yield();
  const absl::StatusOr<StateViewPtr> view = chain.engine().View(LatestBlock{});
  ASSERT_TRUE(view.ok()) << view.status();
  ASSERT_TRUE((*view)->GetAccount(testing::AddressOf(1)).ok());
  events.Regularly(start + absl::Seconds(9));
  EXPECT_EQ(Lines(), "");
  events.Regularly(start + absl::Seconds(10));
  const std::string lines = Lines();
  EXPECT_THAT(lines, HasSubstr("debug engine trie_node_created nodes=3 total_nodes=3\n"));
  EXPECT_THAT(lines, HasSubstr("debug engine cache_hit cache=accounts lookups="));
  EXPECT_THAT(lines, HasSubstr("debug engine cache_performance cache_hits="));
  events.Regularly(start + absl::Seconds(20));
  EXPECT_THAT(Lines(), Not(HasSubstr("trie_node_created")));
}

TEST_F(StateEventsTest, AProofIsCheckedBeforeItLeaves) {
  const testing::TempDir dir;
  testing::TwinChain chain(OptionsIn(dir));
  chain.Apply({SetBalance(1, 1), SetBalance(2, 2)});
  const StateEvents events(chain.engine(), *log_);
  const absl::StatusOr<StateViewPtr> view = chain.engine().View(LatestBlock{});
  ASSERT_TRUE(view.ok()) << view.status();
  absl::StatusOr<AccountProof> proof = (*view)->GetProof(testing::AddressOf(1), {});
  ASSERT_TRUE(proof.ok()) << proof.status();
  events.VerifyProof((*view)->block(), *proof);
  EXPECT_THAT(Lines(), HasSubstr("debug engine proof_verified block=1 valid=true reason=\"\" duration_ms="));
  proof->account.nonce = 7;
  events.VerifyProof((*view)->block(), *proof);
  EXPECT_THAT(Lines(), HasSubstr("error engine proof_verified block=1 valid=false reason=\"the nonce is stated as 7"));
  log_->SetLevel(LogLevel::kInfo);
  events.VerifyProof((*view)->block(), *proof);
  EXPECT_EQ(Lines(), "");
}

TEST_F(StateEventsTest, ManyProofsTogetherAreCheckedToo) {
  const testing::TempDir dir;
  testing::TwinChain chain(OptionsIn(dir));
  AccountChange contract = testing::SetSlots(2, {{1, 5}, {2, 6}});
  contract.nonce = 1;
  chain.Apply({SetBalance(1, 1), contract, SetBalance(3, 3)});
  const StateEvents events(chain.engine(), *log_);
  const absl::StatusOr<StateViewPtr> view = chain.engine().View(LatestBlock{});
  ASSERT_TRUE(view.ok()) << view.status();
  const std::vector<ProofTargetSpec> targets = {{testing::AddressOf(1), {}},
                                                {testing::AddressOf(2), {testing::SlotOf(1), testing::SlotOf(9)}},
                                                {testing::AddressOf(77), {testing::SlotOf(1)}}};
  const absl::StatusOr<MultiProof> proof = (*view)->GetMultiProof(targets);
  ASSERT_TRUE(proof.ok()) << proof.status();
  const auto line = [&](const MultiProof& checked) {
    events.VerifyProof((*view)->block(), targets, checked);
    return Lines();
  };
  EXPECT_THAT(line(*proof), HasSubstr("debug engine proof_verified block=1 valid=true reason=\"\" duration_ms="));
  MultiProof wrong = *proof;
  wrong.entries[1].values[0] = U256::FromUint64(7);
  EXPECT_THAT(line(wrong), HasSubstr("error engine proof_verified block=1 valid=false reason=\"account 0x"));
  wrong = *proof;
  wrong.entries[2].account.emplace().nonce = 1;
  EXPECT_THAT(line(wrong), HasSubstr("valid=false"));
  wrong = *proof;
  wrong.nodes.push_back("more");
  EXPECT_THAT(line(wrong), HasSubstr("is not needed"));
  wrong = *proof;
  wrong.nodes.pop_back();
  EXPECT_THAT(line(wrong), HasSubstr("no node has the hash"));
}

}  // namespace
}  // namespace mptd
