// Runs the threads of a test one at a time, in an order that a seed decides, with a clock of its own: the same seed
// gives the same order again. interposed.cc puts it under every lock, wait, thread and clock of the program that it is
// linked into, so the code under test is the same objects that the daemon is made of and does not know of it.
//
// A thread keeps the processor until it comes to a scheduling point: a lock or unlock, a wait or a call that ends one,
// the begin and end of a thread, a sleep, an operation of a simulated disk, an atomic operation (atomics.cc). There the
// scheduler picks who goes on among those that can. What is between two points happens at once, for all others; time
// passes only at points.
//
// Threads that were not started under a scheduler know nothing of it: Current() is null there. All methods but Run are
// for the thread whose turn it is, so nothing here is locked: the turn is handed on through a semaphore.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace mptd::simulation {

// What a thread did to come to a scheduling point.
enum class Op : uint8_t { kBegin, kEnd, kStart, kJoin, kLock, kUnlock, kWait, kNotify, kSleep, kDisk, kTable, kAtomic };

// What is known of a run while it goes on, and after the process has died of it.
struct Progress {
  uint64_t steps = 0;
  uint64_t switches = 0;             // steps after which another thread went on
  uint64_t trace = 0;                // a hash of all steps: who did what, and who went on
  absl::Duration time;               // that passed
  std::array<uint64_t, 8> counts{};  // the scenario's
};

class Scheduler {
 public:
  // A run that takes more steps than that is taken for one that does not end.
  static constexpr uint64_t kMostSteps = 20'000'000;
  // How the process ends when no thread can go on.
  static constexpr int kStuckExit = 3;

  Scheduler(uint64_t seed, Progress& progress);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // The scheduler that the calling thread runs under.
  static Scheduler* Current();

  // Calls `body` on the calling thread, as the first one. The threads that it starts have ended when it returns.
  void Run(const std::function<void()>& body);

  // The numbers of what happens by chance; the same in each run of a seed.
  uint64_t Below(uint64_t n) { return random_() % n; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  absl::Time now() const { return now_; }
  Progress& progress() { return progress_; }

  // Scheduling points.
  void Point(Op op);
  void SleepFor(absl::Duration duration, Op op = Op::kSleep);
  // Of an atomic operation: few of them, or all, are points, as the seed has it.
  void AtomicPoint();

  // Locks are known by their addresses. `caller` is where in the program the call came from, for reports.
  void Lock(const void* mutex, const void* caller);
  bool TryLock(const void* mutex);
  void Unlock(const void* mutex);
  bool Holds(const void* mutex) const;
  // With `mutex` held, which is given up meanwhile, or null: waits until `ready` says so, or for the deadline, and
  // returns what `ready` says then. `ready` is called on any thread's turn while nobody holds the mutex.
  bool Await(const void* mutex, const std::function<bool()>& ready, absl::Time deadline, const void* caller);
  // A condition variable; wakes without a reason now and then, as the real one may.
  void WaitOn(const void* condition, const void* mutex, const void* caller);
  void Notify(const void* condition, bool all);

  // A thread that is simulated; it lives as long as the scheduler. Add is called by the one that starts it, Enter and
  // Leave by itself; it runs between the two.
  struct Thread;
  Thread& AddThread(const void* caller);
  void Enter(Thread& thread);
  void Leave();
  void Join(const Thread& thread, const void* caller);
  void NameThread(const char* name);

  // Ends the process, with the state of all threads and the last steps.
  [[noreturn]] void GiveUp(const std::string& why);

 private:
  class Turn;
  struct Step {
    size_t thread = 0;
    Op op = Op::kBegin;
    size_t next = 0;
  };

  bool CanGoOn(const Thread& thread) const;
  // Hands the turn to whoever goes on, and returns when it is the caller's again; the caller has said what it waits
  // for.
  void Yield(Op op);
  Thread& PassOn(Op op);
  Thread* Choose();
  void PassTime();
  void Note(Op op, const Thread& next);
  void DrawWeights();
  std::string Describe(const Thread& thread) const;

  const uint64_t seed_;
  Progress& progress_;
  std::mt19937_64 random_;
  absl::Time now_;
  const absl::Time began_;
  uint64_t stay_percent_;    // how often a thread that can go on does
  uint64_t atomics_one_in_;  // so many are points; none with 0
  bool choosing_ = false;    // what others wait for is looked at
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Thread*> able_;  // of Choose
  Thread* running_ = nullptr;
  std::map<const void*, const Thread*> owners_;  // of the locks that are held
  std::array<Step, 48> last_{};
};

}  // namespace mptd::simulation
