// A long life of the engine on a disk in memory whose power fails at any operation, over and over, also while it
// recovers from the cut before, with other failures of the disk in between. MPTD_TEST_SEED repeats a run as far as the
// threads of RocksDB allow; MPTD_POWER_CUTS says how many cuts, in all modes together.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/engine/disk_twin.h"
#include "tests/engine/watchdog.h"

namespace mptd::testing {
namespace {

using storage::Counted;
using storage::Fault;
using storage::PowerCut;

constexpr int kModes = 3;

int CutsInEach() {
  const char* cuts = std::getenv("MPTD_POWER_CUTS");
  return cuts != nullptr ? (std::atoi(cuts) + kModes - 1) / kModes : Scaled(20);
}

class Life {
 public:
  Life(uint64_t seed, Durability durability) : random_(seed), twin_(seed, durability, seed % 2 == 0) {}

  // Works until the power fails, and starts again.
  void Round() {
    // A failure that the engine lives through, or not, before the cut.
    if (random_.Below(3) == 0) {
      static constexpr Fault kFaults[] = {Fault::kError,   Fault::kShortWrite,   Fault::kTornWrite,
                                          Fault::kNoSpace, Fault::kNoSpaceStays, Fault::kDelay};
      twin_.disk().Arm(1 + random_.Below(200), kFaults[random_.Below(std::size(kFaults))],
                       random_.Below(2) == 0 ? Counted::kAll : Counted::kNoReads);
      for (uint64_t n = random_.Below(12); n > 0; --n) (void)twin_.DoAny();
    }
    twin_.disk().Arm(1 + random_.Below(random_.Below(4) == 0 ? 600 : 120), Fault::kCrash, Counted::kNoReads);
    for (uint64_t n = 1 + random_.Below(25); n > 0; --n) (void)twin_.DoAny();
    twin_.Restart(random_.Below(3) == 0 ? PowerCut::kDropAll : PowerCut::kRandom);
    ++cuts_;
    Recover();
  }

  int cuts() const { return cuts_; }
  DiskTwin& twin() { return twin_; }

 private:
  void Recover() {
    while (random_.Below(4) == 0) {
      twin_.disk().Arm(1 + random_.Below(80), Fault::kCrash, Counted::kNoReads);
      const absl::Status opened = twin_.TryOpen();
      EXPECT_NE(opened.code(), absl::StatusCode::kDataLoss) << opened;
      if (::testing::Test::HasFailure()) return;
      twin_.Restart(random_.Below(3) == 0 ? PowerCut::kDropAll : PowerCut::kRandom);
      ++cuts_;
    }
    twin_.disk().Heal();
    const absl::Status opened = twin_.Open();
    ASSERT_TRUE(opened.ok()) << opened;
    if (::testing::Test::HasFailure()) return;
    twin_.ExpectCheckpoints();
  }

  BlockMaker random_;
  DiskTwin twin_;
  int cuts_ = 0;
};

void LosePowerOften(Durability durability) {
  const uint64_t seed = FirstSeed() + static_cast<uint64_t>(durability);
  SCOPED_TRACE(::testing::Message() << "MPTD_TEST_SEED=" << seed - static_cast<uint64_t>(durability));
  const int cuts = CutsInEach();
  const Watchdog watchdog(absl::Minutes(13 + cuts / 10));
  Life life(seed, durability);
  const absl::Status opened = life.twin().Open();
  ASSERT_TRUE(opened.ok()) << opened;
  // A few cuts may all come before anything was acknowledged, and then show nothing: such a life goes on.
  const auto acknowledged_enough = [&] { return life.twin().acknowledged() > static_cast<uint64_t>(cuts); };
  while (life.cuts() < cuts || (!acknowledged_enough() && life.cuts() < 50 * cuts)) {
    life.Round();
    ASSERT_FALSE(::testing::Test::HasFailure()) << "after " << life.cuts() << " cuts";
  }
  std::printf("seed %llu: %d power cuts, %llu operations acknowledged, %llu failed, head %llu\n",
              static_cast<unsigned long long>(seed - static_cast<uint64_t>(durability)), life.cuts(),
              static_cast<unsigned long long>(life.twin().acknowledged()),
              static_cast<unsigned long long>(life.twin().failed()),
              static_cast<unsigned long long>(life.twin().blocks()));
  EXPECT_TRUE(acknowledged_enough());
}

TEST(PowerCut, Synced) { LosePowerOften(Durability::kSync); }
TEST(PowerCut, Batched) { LosePowerOften(Durability::kBatched); }
TEST(PowerCut, Asynchronous) { LosePowerOften(Durability::kAsync); }

}  // namespace
}  // namespace mptd::testing
