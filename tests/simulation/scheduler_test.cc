// That the simulation finds what it is for: small programs with the classic errors, each found within a number of
// seeds, and again from its seed; and the same programs without the error, which no seed fails.
#include "tests/simulation/scheduler.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "storage/mutex.h"
#include "tests/simulation/seed_run.h"

namespace mptd::simulation {
namespace {

constexpr uint64_t kSeeds = 200;
// Of a program that no seed fails.
constexpr uint64_t kSeedsOfGood = 30;

// The first seed that does not pass, run once more to the same end.
std::optional<SeedRun> FirstThatFails(const Scenario& scenario, uint64_t seeds = kSeeds) {
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    SeedRun run = RunSeed(seed, scenario);
    if (run.ending == Ending::kPassed) continue;
    const SeedRun again = RunSeed(seed, scenario);
    EXPECT_TRUE(run.SameAs(again)) << Describe(run) << "\n" << Describe(again);
    EXPECT_EQ(run.output, again.output);
    return run;
  }
  return std::nullopt;
}

// Two threads that each move a part of one account to another.
struct Accounts {
  absl::Mutex mutex;
  int from ABSL_GUARDED_BY(mutex) = 10;
  int to ABSL_GUARDED_BY(mutex) = 0;
};

void MoveAtOnce(Accounts& accounts) {
  absl::MutexLock lock(&accounts.mutex);
  if (accounts.from < 10) return;
  accounts.from -= 10;
  accounts.to += 10;
}

// Looks, lets go of the lock, and acts on what it saw.
void MoveInTwoSteps(Accounts& accounts) {
  {
    absl::MutexLock lock(&accounts.mutex);
    if (accounts.from < 10) return;
  }
  absl::MutexLock lock(&accounts.mutex);
  accounts.from -= 10;
  accounts.to += 10;
}

void MoveTwice(void (*move)(Accounts&)) {
  Accounts accounts;
  std::thread first([&] { move(accounts); });
  std::thread second([&] { move(accounts); });
  first.join();
  second.join();
  absl::MutexLock lock(&accounts.mutex);
  EXPECT_EQ(accounts.from, 0);
}

TEST(Scheduler, FindsWhatOneLockTooFewLetsHappen) {
  const std::optional<SeedRun> found = FirstThatFails([](Scheduler&) { MoveTwice(MoveInTwoSteps); });
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->ending, Ending::kFailed);
  EXPECT_NE(found->output.find("accounts.from"), std::string::npos) << found->output;
  const std::optional<SeedRun> none = FirstThatFails([](Scheduler&) { MoveTwice(MoveAtOnce); }, kSeedsOfGood);
  EXPECT_FALSE(none.has_value()) << Describe(*none);
}

void LockBoth(bool one_order) {
  storage::Mutex left;
  storage::Mutex right;
  std::thread first([&] {
    const storage::MutexLock outer(left);
    const storage::MutexLock inner(right);
  });
  std::thread second([&] {
    const storage::MutexLock outer(one_order ? left : right);
    const storage::MutexLock inner(one_order ? right : left);
  });
  first.join();
  second.join();
}

TEST(Scheduler, FindsADeadlockAndSaysWhoWaitsForWhat) {
  const std::optional<SeedRun> found = FirstThatFails([](Scheduler&) { LockBoth(false); });
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->ending, Ending::kStuck);
  for (const char* part : {"no thread can go on", "seed ", "thread 0, main: waits for a thread to end",
                           "wants a lock that thread 1", "wants a lock that thread 2", "the last steps"}) {
    EXPECT_NE(found->output.find(part), std::string::npos) << part << " is not in\n" << found->output;
  }
  const std::optional<SeedRun> none = FirstThatFails([](Scheduler&) { LockBoth(true); }, kSeedsOfGood);
  EXPECT_FALSE(none.has_value()) << Describe(*none);
}

// A thread that waits for a flag. `looks`: it looks at the flag with the lock held, right before it waits.
void Signal(bool looks) {
  std::mutex mutex;
  std::condition_variable changed;
  bool set = false;
  std::thread waiter([&] {
    {
      const std::lock_guard lock(mutex);
      if (set) return;
    }
    std::unique_lock lock(mutex);
    if (!looks) changed.wait(lock);
    while (!set) changed.wait(lock);
  });
  {
    const std::lock_guard lock(mutex);
    set = true;
  }
  changed.notify_all();
  waiter.join();
}

TEST(Scheduler, FindsAWakeUpThatIsLost) {
  const std::optional<SeedRun> found = FirstThatFails([](Scheduler&) { Signal(false); });
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->ending, Ending::kStuck);
  EXPECT_NE(found->output.find("waits to be notified"), std::string::npos) << found->output;
  const std::optional<SeedRun> none = FirstThatFails([](Scheduler&) { Signal(true); }, kSeedsOfGood);
  EXPECT_FALSE(none.has_value()) << Describe(*none);
}

TEST(Scheduler, FindsAWaitThatCountsOnNoFalseWakeUp) {
  const std::optional<SeedRun> found = FirstThatFails([](Scheduler&) {
    storage::Mutex mutex;
    storage::CondVar changed;
    bool set = false;
    std::thread waiter([&] {
      const storage::MutexLock lock(mutex);
      if (!set) changed.Wait(mutex);
      EXPECT_TRUE(set);
    });
    {
      const storage::MutexLock lock(mutex);
      set = true;
    }
    changed.NotifyAll();
    waiter.join();
  });
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->ending, Ending::kFailed);
}

// Time stands still while somebody has something to do, but for what the steps take, and leaps when all wait.
TEST(Scheduler, WaitsForNobodysClock) {
  const SeedRun run = RunSeed(1, [](Scheduler&) {
    absl::Mutex mutex;
    bool set = false;
    absl::Notification done;
    const absl::Time begin = absl::Now();
    std::thread waiter([&] {
      {
        absl::MutexLock lock(&mutex);
        EXPECT_FALSE(mutex.AwaitWithTimeout(absl::Condition(&set), absl::Hours(1)));
      }
      EXPECT_FALSE(done.WaitForNotificationWithDeadline(absl::Now() + absl::Hours(1)));
      absl::MutexLock lock(&mutex);
      EXPECT_TRUE(mutex.AwaitWithTimeout(absl::Condition(&set), absl::Hours(1)));
    });
    EXPECT_FALSE(done.WaitForNotificationWithDeadline(begin + absl::Hours(2.5)));
    {
      absl::MutexLock lock(&mutex);
      set = true;
    }
    waiter.join();
    done.Notify();
    EXPECT_TRUE(done.WaitForNotificationWithDeadline(absl::InfinitePast()));
    EXPECT_GE(absl::Now() - begin, absl::Hours(2.5));
  });
  EXPECT_EQ(run.ending, Ending::kPassed) << Describe(run);
  EXPECT_LT(run.progress.time, absl::Hours(2.6));
}

TEST(Scheduler, ReportsWhatCrashes) {
  const SeedRun run = RunSeed(7, [](Scheduler&) {
    std::thread thread([] { std::abort(); });
    thread.join();
  });
  EXPECT_EQ(run.ending, Ending::kCrashed);
  EXPECT_GT(run.progress.steps, 0U);
}

TEST(Scheduler, GivesEachSeedItsOwnOrder) {
  std::set<uint64_t> traces;
  const Scenario scenario = [](Scheduler&) { MoveTwice(MoveAtOnce); };
  for (uint64_t seed = 1; seed <= 20; ++seed) traces.insert(RunSeed(seed, scenario).progress.trace);
  EXPECT_GT(traces.size(), 15U);
}

}  // namespace
}  // namespace mptd::simulation
