// The limit of memory, with an engine that only remembers its limits and a resident memory that the test decides.
#include "server/memory_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <thread>
#include <utility>

#include "core/errors.h"
#include "metrics/metrics.h"
#include "tests/server/fake_engine.h"

namespace mptd::testing {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kLimit = 100'000;
constexpr absl::Duration kStep = absl::Seconds(1);

EngineLimits Full() {
  EngineLimits limits;
  limits.keep_blocks = 77;
  limits.max_changes_per_block = 9;
  limits.node_cache_bytes = 1600;
  limits.row_cache_bytes = 3200;
  limits.block_cache_bytes = 4800;
  limits.history_memory_bytes = 6400;
  limits.queue_bytes = 8000;
  return limits;
}

// Looks only when a test has it look: the guard's own thread is held at its first look, until the end.
class MemoryGuardTest : public ::testing::Test {
 protected:
  ~MemoryGuardTest() override { release_.set_value(); }

  uint64_t Resident() {
    if (std::this_thread::get_id() != tester_) released_.wait();
    return resident_;
  }
  // `resident` bytes are in use when the guard looks, `passed` after the last time.
  void Look(uint64_t resident, absl::Duration passed = kStep) {
    resident_ = resident;
    now_ += passed;
    guard_.Check(now_);
  }
  // The engine has 1 / `divisor` of everything that takes memory, and all of the rest.
  void ExpectShare(uint64_t divisor) {
    const EngineLimits full = Full();
    const EngineLimits limits = engine_.limits();
    EXPECT_EQ(limits.node_cache_bytes, full.node_cache_bytes / divisor);
    EXPECT_EQ(limits.row_cache_bytes, full.row_cache_bytes / divisor);
    EXPECT_EQ(limits.block_cache_bytes, full.block_cache_bytes / divisor);
    EXPECT_EQ(limits.history_memory_bytes, full.history_memory_bytes / divisor);
    EXPECT_EQ(limits.queue_bytes, full.queue_bytes / divisor);
    EXPECT_EQ(limits.keep_blocks, full.keep_blocks);
    EXPECT_EQ(limits.max_changes_per_block, full.max_changes_per_block);
  }

  const std::thread::id tester_ = std::this_thread::get_id();
  std::promise<void> release_;
  const std::shared_future<void> released_ = release_.get_future().share();
  std::atomic<uint64_t> resident_{0};
  absl::Time now_ = absl::Now();
  FakeEngine engine_;
  std::unique_ptr<Logger> log_ = Logger::Silent();
  // What the allocator would give back, and how often it was asked to.
  uint64_t free_ = 0;
  int given_back_ = 0;
  MemoryGuard guard_{engine_, *log_, [this] { return Resident(); },
                     [this] {
                       ++given_back_;
                       resident_ -= std::exchange(free_, 0);
                     }};
};

TEST_F(MemoryGuardTest, TakesTheLimitsThatItIsGiven) {
  guard_.Configure(Full(), kLimit);
  ExpectShare(1);
  Look(69'999);
  ExpectShare(1);
}

TEST_F(MemoryGuardTest, ShrinksStepByStepDownToTheLeast) {
  guard_.Configure(Full(), kLimit);
  for (const uint64_t divisor : {2, 4, 8, 16, 16}) {
    Look(70'000);
    ExpectShare(divisor);
  }
}

TEST_F(MemoryGuardTest, FreeMemoryIsGivenBackBeforeCachesShrink) {
  guard_.Configure(Full(), kLimit);
  Look(69'999);
  EXPECT_EQ(given_back_, 0);
  free_ = 30'000;
  Look(90'000);
  EXPECT_EQ(given_back_, 1);
  ExpectShare(1);
  Look(60'000, kStep / 20);
  EXPECT_EQ(guard_.Admit(0), absl::OkStatus()) << "what was given back is not in use";
  free_ = 10'000;
  Look(75'000, kStep / 2);
  EXPECT_EQ(given_back_, 1) << "not more often than once a step";
  ExpectShare(2);
  Look(90'000, kStep / 20);
  EXPECT_EQ(given_back_, 2) << "but where calls are refused";
  Look(90'000);
  EXPECT_EQ(given_back_, 3);
}

TEST_F(MemoryGuardTest, TheLimitIsTheLeastOfWhatIsSetAndWhatThereIs) {
  guard_.Configure(Full(), 0);
  EXPECT_EQ(guard_.Limit(), MemoryLimitBytes());
  guard_.Configure(Full(), kLimit);
  EXPECT_EQ(guard_.Limit(), kLimit);
  guard_.Configure(Full(), UINT64_MAX);
  EXPECT_EQ(guard_.Limit(), MemoryLimitBytes());
}

TEST_F(MemoryGuardTest, WaitsForAStepToShow) {
  guard_.Configure(Full(), kLimit);
  Look(95'000);
  ExpectShare(2);
  Look(95'000, kStep - absl::Milliseconds(1));
  ExpectShare(2);
  Look(95'000, absl::Milliseconds(1));
  ExpectShare(4);
  Look(0, kStep - absl::Milliseconds(1));
  ExpectShare(4);
}

TEST_F(MemoryGuardTest, GrowsAgainWhenThereIsRoom) {
  guard_.Configure(Full(), kLimit);
  for (int i = 0; i < 3; ++i) Look(80'000);
  ExpectShare(8);
  Look(55'000);  // neither much nor little
  ExpectShare(8);
  for (const uint64_t divisor : {4, 2, 1, 1}) {
    Look(54'999);
    ExpectShare(divisor);
  }
}

TEST_F(MemoryGuardTest, RefusesAboveTheBoundAndAdmitsBelow) {
  guard_.Configure(Full(), kLimit);
  Look(79'000);
  EXPECT_EQ(guard_.Admit(199), absl::OkStatus());
  const absl::Status refused = guard_.Admit(200);  // five times over, as what a block becomes
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.message(), HasSubstr("80000 of the 100000 bytes of limits.max_memory_bytes"));
  EXPECT_TRUE(RetryDelay(refused).has_value());
  Look(80'000);
  EXPECT_FALSE(guard_.Admit(0).ok());
  Look(79'999);
  EXPECT_EQ(guard_.Admit(0), absl::OkStatus());
}

TEST_F(MemoryGuardTest, NewSettingsAreSharedAsTheOldOnesWere) {
  guard_.Configure({}, kLimit);
  Look(90'000);
  guard_.Configure(Full(), kLimit);
  ExpectShare(2);
  guard_.Configure(Full(), 10 * kLimit);
  ExpectShare(2);
  Look(90'000);
  ExpectShare(1);
}

TEST_F(MemoryGuardTest, WithoutALimitEverythingPasses) {
  guard_.Configure(Full(), kLimit);
  for (int i = 0; i < 4; ++i) Look(99'000);
  ExpectShare(16);
  guard_.Configure(Full(), 0);
  ExpectShare(1);
  EXPECT_EQ(guard_.Admit(UINT64_MAX / 8), absl::OkStatus());
  Look(UINT64_MAX / 128);
  ExpectShare(1);
  EXPECT_EQ(guard_.Admit(0), absl::OkStatus());
}

TEST(MemoryGuardThreadTest, LooksByItself) {
  FakeEngine engine;
  const std::unique_ptr<Logger> log = Logger::Silent();
  MemoryGuard guard(
      engine, *log, [] { return kLimit; }, [] {});
  guard.Configure(Full(), kLimit);
  const absl::Time end = absl::Now() + absl::Minutes(4);
  while (engine.limits().queue_bytes == Full().queue_bytes && absl::Now() < end) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_LE(engine.limits().queue_bytes, Full().queue_bytes / 2) << "less when it has looked again by now";
  EXPECT_FALSE(guard.Admit(0).ok());
}

}  // namespace
}  // namespace mptd::testing
