// Puts the scheduler under the program: the linker takes these functions in the place of Abseil's and the standard
// library's (--wrap, see CMakeLists.txt), in the project's own objects and not in shared libraries. On a thread that no
// scheduler runs, they are the real ones.
//
// What a scheduler runs never touches the real locks: they stay free, and only the scheduler knows who holds them.
#include <pthread.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "tests/simulation/scheduler.h"

#define MPTD_WRAPPED(result, name, symbol, ...)         \
  result Real##name(__VA_ARGS__) asm("__real_" symbol); \
  result Wrap##name(__VA_ARGS__) asm("__wrap_" symbol); \
  result Wrap##name(__VA_ARGS__)

#define MPTD_CALLER __builtin_return_address(0)

using mptd::simulation::Op;
using mptd::simulation::Scheduler;

namespace {

// The handle of a thread that a scheduler runs, to what it is there. Written and read on such threads' turns only.
std::map<pthread_t, Scheduler::Thread*>& SimulatedThreads() {
  static std::map<pthread_t, Scheduler::Thread*> threads;
  return threads;
}

// Runs a thread's own state between the scheduler's Enter and Leave.
class SimulatedState final : public std::thread::_State {
 public:
  SimulatedState(Scheduler& scheduler, Scheduler::Thread& thread, std::unique_ptr<std::thread::_State> state)
      : scheduler_(scheduler), thread_(thread), state_(std::move(state)) {}

  void _M_run() override {
    scheduler_.Enter(thread_);
    scheduler_.Point(Op::kBegin);
    state_->_M_run();
    state_.reset();
    scheduler_.Leave();
  }

 private:
  Scheduler& scheduler_;
  Scheduler::Thread& thread_;
  std::unique_ptr<std::thread::_State> state_;
};

bool AwaitUnder(Scheduler& scheduler, const absl::Mutex* mutex, const absl::Condition& condition, absl::Time deadline,
                const void* caller) {
  return scheduler.Await(
      mutex, [&condition] { return condition.Eval(); }, deadline, caller);
}

}  // namespace

// Abseil's locks.

MPTD_WRAPPED(void, Lock, "_ZN4absl7debian35Mutex4LockEv", absl::Mutex* mutex) {
  if (Scheduler* scheduler = Scheduler::Current()) return scheduler->Lock(mutex, MPTD_CALLER);
  RealLock(mutex);
}

MPTD_WRAPPED(bool, TryLock, "_ZN4absl7debian35Mutex7TryLockEv", absl::Mutex* mutex) {
  if (Scheduler* scheduler = Scheduler::Current()) return scheduler->TryLock(mutex);
  return RealTryLock(mutex);
}

MPTD_WRAPPED(void, Unlock, "_ZN4absl7debian35Mutex6UnlockEv", absl::Mutex* mutex) {
  if (Scheduler* scheduler = Scheduler::Current()) return scheduler->Unlock(mutex);
  RealUnlock(mutex);
}

MPTD_WRAPPED(void, AssertHeld, "_ZNK4absl7debian35Mutex10AssertHeldEv", const absl::Mutex* mutex) {
  Scheduler* scheduler = Scheduler::Current();
  if (scheduler == nullptr) return RealAssertHeld(mutex);
  if (!scheduler->Holds(mutex)) scheduler->GiveUp("a lock should be held and is not");
}

MPTD_WRAPPED(void, Await, "_ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE", absl::Mutex* mutex,
             const absl::Condition& condition) {
  Scheduler* scheduler = Scheduler::Current();
  if (scheduler == nullptr) return RealAwait(mutex, condition);
  (void)AwaitUnder(*scheduler, mutex, condition, absl::InfiniteFuture(), MPTD_CALLER);
}

MPTD_WRAPPED(bool, AwaitWithTimeout, "_ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE",
             absl::Mutex* mutex, const absl::Condition& condition, absl::Duration timeout) {
  Scheduler* scheduler = Scheduler::Current();
  if (scheduler == nullptr) return RealAwaitWithTimeout(mutex, condition, timeout);
  return AwaitUnder(*scheduler, mutex, condition, scheduler->now() + timeout, MPTD_CALLER);
}

MPTD_WRAPPED(bool, AwaitWithDeadline, "_ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE",
             absl::Mutex* mutex, const absl::Condition& condition, absl::Time deadline) {
  Scheduler* scheduler = Scheduler::Current();
  if (scheduler == nullptr) return RealAwaitWithDeadline(mutex, condition, deadline);
  return AwaitUnder(*scheduler, mutex, condition, deadline, MPTD_CALLER);
}

MPTD_WRAPPED(void, Notify, "_ZN4absl7debian312Notification6NotifyEv", absl::Notification* notification) {
  // Takes a real lock for a moment, which nobody else can hold: the others wait as below.
  RealNotify(notification);
  if (Scheduler* scheduler = Scheduler::Current()) scheduler->Point(Op::kNotify);
}

MPTD_WRAPPED(void, WaitForNotification, "_ZNK4absl7debian312Notification19WaitForNotificationEv",
             const absl::Notification* notification) {
  Scheduler* scheduler = Scheduler::Current();
  if (scheduler == nullptr) return RealWaitForNotification(notification);
  (void)scheduler->Await(
      nullptr, [notification] { return notification->HasBeenNotified(); }, absl::InfiniteFuture(), MPTD_CALLER);
}

MPTD_WRAPPED(bool, WaitForNotificationWithDeadline,
             "_ZNK4absl7debian312Notification31WaitForNotificationWithDeadlineENS0_4TimeE",
             const absl::Notification* notification, absl::Time deadline) {
  Scheduler* scheduler = Scheduler::Current();
  if (scheduler == nullptr) return RealWaitForNotificationWithDeadline(notification, deadline);
  return scheduler->Await(
      nullptr, [notification] { return notification->HasBeenNotified(); }, deadline, MPTD_CALLER);
}

MPTD_WRAPPED(absl::Time, Now, "_ZN4absl7debian33NowEv") {
  const Scheduler* scheduler = Scheduler::Current();
  return scheduler != nullptr ? scheduler->now() : RealNow();
}

// The standard library's.

MPTD_WRAPPED(int, MutexLock, "pthread_mutex_lock", pthread_mutex_t* mutex) {
  Scheduler* scheduler = Scheduler::Current();
  if (scheduler == nullptr) return RealMutexLock(mutex);
  scheduler->Lock(mutex, MPTD_CALLER);
  return 0;
}

MPTD_WRAPPED(int, MutexUnlock, "pthread_mutex_unlock", pthread_mutex_t* mutex) {
  Scheduler* scheduler = Scheduler::Current();
  if (scheduler == nullptr) return RealMutexUnlock(mutex);
  scheduler->Unlock(mutex);
  return 0;
}

MPTD_WRAPPED(void, CondWait, "_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE",
             std::condition_variable* condition, std::unique_lock<std::mutex>& lock) {
  Scheduler* scheduler = Scheduler::Current();
  if (scheduler == nullptr) return RealCondWait(condition, lock);
  scheduler->WaitOn(condition, lock.mutex()->native_handle(), MPTD_CALLER);
}

MPTD_WRAPPED(void, CondNotifyOne, "_ZNSt18condition_variable10notify_oneEv", std::condition_variable* condition) {
  if (Scheduler* scheduler = Scheduler::Current()) return scheduler->Notify(condition, false);
  RealCondNotifyOne(condition);
}

MPTD_WRAPPED(void, CondNotifyAll, "_ZNSt18condition_variable10notify_allEv", std::condition_variable* condition) {
  if (Scheduler* scheduler = Scheduler::Current()) return scheduler->Notify(condition, true);
  RealCondNotifyAll(condition);
}

MPTD_WRAPPED(void, StartThread, "_ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE",
             std::thread* thread, std::unique_ptr<std::thread::_State> state, void (*depend)()) {
  Scheduler* scheduler = Scheduler::Current();
  if (scheduler == nullptr) return RealStartThread(thread, std::move(state), depend);
  Scheduler::Thread& added = scheduler->AddThread(MPTD_CALLER);
  RealStartThread(thread, std::make_unique<SimulatedState>(*scheduler, added, std::move(state)), depend);
  SimulatedThreads()[thread->native_handle()] = &added;
  scheduler->Point(Op::kStart);
}

MPTD_WRAPPED(void, JoinThread, "_ZNSt6thread4joinEv", std::thread* thread) {
  if (Scheduler* scheduler = Scheduler::Current()) {
    const auto found = SimulatedThreads().find(thread->native_handle());
    if (found != SimulatedThreads().end()) {
      scheduler->Join(*found->second, MPTD_CALLER);
      SimulatedThreads().erase(found);
    }
  }
  RealJoinThread(thread);
}

MPTD_WRAPPED(int, NameThread, "pthread_setname_np", pthread_t thread, const char* name) {
  if (Scheduler* scheduler = Scheduler::Current()) scheduler->NameThread(name);
  return RealNameThread(thread, name);
}

// Chance.
MPTD_WRAPPED(unsigned, RandomDevice, "_ZNSt13random_device9_M_getvalEv", std::random_device* device) {
  if (Scheduler* scheduler = Scheduler::Current()) return static_cast<unsigned>(scheduler->Below(uint64_t{1} << 32));
  return RealRandomDevice(device);
}
