// Tests with many threads that might wait for each other for ever: says where every thread stands, then ends the
// program, before the test runner would without a word.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "absl/time/time.h"

namespace mptd::testing {

class Watchdog {
 public:
  // Starts counting. When it still lives after `limit`, the stack of every thread is printed and the program aborts.
  explicit Watchdog(absl::Duration limit);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace mptd::testing
