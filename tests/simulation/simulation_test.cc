// Lives of the engine, a seed each: MPTD_SEEDS of them, from MPTD_TEST_SEED on. A seed that fails is run again, and
// must fail in the same way. With MPTD_TELL, what happened is printed of those that pass, too. Left alone, the seeds
// are always the same: scripts/simulate looks for others.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>

#include "tests/engine/engine_testing.h"
#include "tests/simulation/life.h"
#include "tests/simulation/seed_run.h"

namespace mptd::simulation {
namespace {

SeedRun Live(uint64_t seed, Defect defect = Defect::kNone) {
  return RunSeed(seed, [defect](Scheduler& scheduler) { LiveALife(scheduler, defect); });
}

uint64_t CountFrom(const char* variable, uint64_t otherwise) {
  const char* given = std::getenv(variable);
  return given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
}

class Sum {
 public:
  void Add(const SeedRun& run) {
    ++seeds_;
    steps_ += run.progress.steps;
    switches_ += run.progress.switches;
    time_ += run.progress.time;
    traces_.insert(run.progress.trace);
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += run.progress.counts[i];
  }
  uint64_t of(Count count) const { return counts_[static_cast<size_t>(count)]; }
  size_t orders() const { return traces_.size(); }
  uint64_t seeds() const { return seeds_; }
  void Print(uint64_t first) const {
    std::printf("seeds %" PRIu64 " to %" PRIu64 ": %" PRIu64 " steps, %" PRIu64 " switches, %zu different orders, %s\n",
                first, first + seeds_ - 1, steps_, switches_, orders(), absl::FormatDuration(time_).c_str());
    std::printf("  %" PRIu64 " engines opened, %" PRIu64 " power cuts, %" PRIu64 " operations acknowledged, %" PRIu64
                " failed, %" PRIu64 " views compared (%" PRIu64 " of older blocks), %" PRIu64
                " heads followed, %" PRIu64 " flushes beside the writer\n",
                of(Count::kOpened), of(Count::kCuts), of(Count::kAcknowledged), of(Count::kFailed), of(Count::kViews),
                of(Count::kHistoric), of(Count::kHeads), of(Count::kFlushes));
  }

 private:
  uint64_t seeds_ = 0;
  uint64_t steps_ = 0;
  uint64_t switches_ = 0;
  absl::Duration time_;
  std::set<uint64_t> traces_;
  std::array<uint64_t, 8> counts_{};
};

TEST(Simulation, NothingIsLostOrWrong) {
  const uint64_t first = CountFrom("MPTD_TEST_SEED", 1);
  const uint64_t seeds = CountFrom("MPTD_SEEDS", static_cast<uint64_t>(testing::Scaled(60)));
  Sum sum;
  std::string failures;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    const SeedRun run = Live(seed);
    sum.Add(run);
    if (std::getenv("MPTD_TELL") != nullptr) std::printf("%s", Describe(run).c_str());
    if (run.ending == Ending::kPassed) continue;
    failures += Describe(run);
    if (!run.SameAs(Live(seed))) failures += "and not in the same way again\n";
  }
  EXPECT_EQ(failures, "");
  sum.Print(first);
  EXPECT_EQ(sum.orders(), seeds);
}

TEST(Simulation, TheSameSeedIsTheSameRun) {
  const uint64_t first = CountFrom("MPTD_TEST_SEED", 1);
  for (uint64_t seed = first; seed < first + 3; ++seed) {
    const SeedRun once = Live(seed);
    const SeedRun again = Live(seed);
    EXPECT_TRUE(once.SameAs(again)) << Describe(once) << "\n" << Describe(again);
  }
}

// A machine with a defect is found out within a number of seeds, and again from its seed.
class DefectTest : public ::testing::TestWithParam<Defect> {};

TEST_P(DefectTest, IsFound) {
  constexpr uint64_t kSeeds = 200;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const SeedRun run = Live(seed, GetParam());
    if (run.ending == Ending::kPassed) continue;
    std::printf("found by %s\n", Describe(run).c_str());
    EXPECT_TRUE(run.SameAs(Live(seed, GetParam()))) << "seed " << seed << " does not repeat";
    return;
  }
  FAIL() << "not found by " << kSeeds << " seeds";
}

INSTANTIATE_TEST_SUITE_P(Each, DefectTest,
                         ::testing::Values(Defect::kSyncsNothing, Defect::kForgetsNames, Defect::kTearsIngests,
                                           Defect::kReadsUncommitted));

}  // namespace
}  // namespace mptd::simulation
