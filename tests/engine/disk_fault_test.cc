// The whole engine on a disk that fails: every operation of the disk in turn, of a scenario that has all of the
// engine's, and random ones of a long run. The disk is one for the tables and the change log. MPTD_TEST_SEED repeats a
// run as far as the threads of RocksDB allow; MPTD_DISK_FAULTS=all tries every fault at every operation.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

#include "tests/engine/disk_twin.h"
#include "tests/engine/watchdog.h"

namespace mptd::testing {
namespace {

using Kind = DiskTwin::Kind;
using storage::Counted;
using storage::Fault;
using storage::PowerCut;

struct Trial {
  const char* name;
  Fault fault;
  PowerCut cut;  // afterwards
  Counted counted = Counted::kNoReads;
};

constexpr Trial kTrials[] = {
    {"crash, what was not synced is dropped", Fault::kCrash, PowerCut::kDropAll},
    {"input/output error", Fault::kError, PowerCut::kKeepAll},
    {"crash, any of what was not synced is kept", Fault::kCrash, PowerCut::kRandom},
    {"short write", Fault::kShortWrite, PowerCut::kRandom},
    {"the disk is full once", Fault::kNoSpace, PowerCut::kRandom},
    {"torn write", Fault::kTornWrite, PowerCut::kDropAll},
    {"the disk is full from then on", Fault::kNoSpaceStays, PowerCut::kDropAll},
    {"killed", Fault::kCrash, PowerCut::kKeepAll},
    {"input/output error, then a power cut", Fault::kError, PowerCut::kRandom},
    {"delay", Fault::kDelay, PowerCut::kRandom},
    {"input/output error, also of reads", Fault::kError, PowerCut::kDropAll, Counted::kAll},
};
constexpr size_t kTrialCount = std::size(kTrials);

// Every kind of operation, twice where the second meets what the first has left.
constexpr Kind kScenario[] = {Kind::kApply,      Kind::kApply, Kind::kFlush, Kind::kApply,      Kind::kReorganize,
                              Kind::kApply,      Kind::kApply, Kind::kApply, Kind::kRollback,   Kind::kApply,
                              Kind::kCheckpoint, Kind::kApply, Kind::kPrune, Kind::kReorganize, Kind::kApply,
                              Kind::kRollback,   Kind::kFlush};

bool Everything() {
  const char* all = std::getenv("MPTD_DISK_FAULTS");
  return all != nullptr && std::string_view(all) == "all";
}

// Where the run begins: MPTD_DISK_FAULT_AT, to repeat one that failed.
uint64_t FirstOperation() {
  const char* at = std::getenv("MPTD_DISK_FAULT_AT");
  return at != nullptr ? std::strtoull(at, nullptr, 10) : 1;
}

// The scenario with one operation of the disk that fails. Returns whether there were so many.
bool Run(const Trial& trial, uint64_t at, uint64_t seed, Durability durability) {
  SCOPED_TRACE(::testing::Message() << trial.name << ", operation " << at << ", mode " << static_cast<int>(durability)
                                    << ", MPTD_TEST_SEED=" << seed);
  DiskTwin twin(seed, durability, seed % 2 == 0);
  twin.disk().Arm(at, trial.fault, trial.counted);
  absl::Status opened = twin.Open();
  if (opened.ok()) {
    for (const Kind kind : kScenario) (void)twin.Do(kind);
  } else {
    EXPECT_NE(opened.code(), absl::StatusCode::kDataLoss) << opened;
  }
  twin.Restart(trial.cut);  // closes: its operations count too
  const bool reached = twin.disk().operations() >= at;
  twin.disk().Heal();
  opened = twin.Open();
  EXPECT_TRUE(opened.ok()) << opened;
  if (!opened.ok() || ::testing::Test::HasFailure()) return false;
  EXPECT_TRUE(twin.Do(Kind::kApply).ok());
  EXPECT_TRUE(twin.Do(Kind::kFlush).ok());
  twin.ExpectHead();
  twin.ExpectCheckpoints();
  return reached && !::testing::Test::HasFailure();
}

void EveryOperation(Durability durability) {
  const Watchdog watchdog(absl::Minutes(Everything() ? 120 : 13));
  const uint64_t seed = FirstSeed();
  // The three modes share the operations between them; builds with sanitizers see a fifth of them.
  const uint64_t step = Everything() ? 1 : Scaled(15) < 15 ? 15 : 3;
  uint64_t runs = 0;
  bool more = true;
  for (uint64_t at = FirstOperation() + (Everything() ? 0 : static_cast<uint64_t>(durability)); more; at += step) {
    if (Everything()) {
      more = false;
      for (const Trial& trial : kTrials) more = Run(trial, at, seed, durability) || more, ++runs;
    } else {
      // Next to each other the operations are alike, so that each kind meets every fault.
      more = Run(kTrials[(at / step + seed) % kTrialCount], at, seed + at, durability);
      ++runs;
    }
    if (::testing::Test::HasFailure()) return;
  }
  std::printf("%llu runs\n", static_cast<unsigned long long>(runs));
  EXPECT_GT(runs * step, 100u);
}

TEST(DiskFault, EveryOperationSynced) { EveryOperation(Durability::kSync); }
TEST(DiskFault, EveryOperationBatched) { EveryOperation(Durability::kBatched); }
TEST(DiskFault, EveryOperationAsynchronous) { EveryOperation(Durability::kAsync); }

}  // namespace
}  // namespace mptd::testing
