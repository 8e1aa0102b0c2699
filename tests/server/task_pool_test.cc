#include "server/task_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <memory>

namespace mptd {
namespace {

TEST(TaskPoolTest, RefusesWhenTooManyWait) {
  TaskPool pool("test", 1, 2);
  std::latch running(1);
  std::latch go(1);
  TaskPool::Task blocker = [&] {
    running.count_down();
    go.wait();
  };
  ASSERT_TRUE(pool.TrySubmit(blocker));
  running.wait();
  std::atomic<int> done{0};
  for (int i = 0; i < 2; ++i) {
    TaskPool::Task task = [&] { ++done; };
    EXPECT_TRUE(pool.TrySubmit(task));
  }
  EXPECT_EQ(pool.waiting(), 2u);
  TaskPool::Task refused = [&] { ++done; };
  EXPECT_FALSE(pool.TrySubmit(refused));
  refused();                     // is still the caller's
  pool.Submit([&] { ++done; });  // bounded elsewhere
  go.count_down();
  pool.Stop();
  EXPECT_EQ(done, 4);
}

TEST(TaskPoolTest, StopRunsWhatWasSubmitted) {
  std::atomic<int> done{0};
  TaskPool pool("a name longer than fifteen", 3, 1000);
  for (int i = 0; i < 500; ++i) pool.Submit([&done, token = std::make_unique<int>(i)] { ++done; });
  pool.Stop();
  EXPECT_EQ(done, 500);
  TaskPool::Task late = [&] { ++done; };
  EXPECT_FALSE(pool.TrySubmit(late));
}

}  // namespace
}  // namespace mptd
