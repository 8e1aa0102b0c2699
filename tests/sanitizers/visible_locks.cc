// Shows ThreadSanitizer the locks of the distribution's Abseil, which is built without the hooks for it: the linker
// puts these functions in place of the real ones (--wrap, see CMakeLists.txt). Linked into the programs of thread
// builds only.
#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

// Where the sanitizer is not to look: a mutex evaluates the conditions of all that wait for it on whichever thread
// holds it.
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);

#define MPTD_WRAPPED(result, name, symbol, ...)         \
  result Real##name(__VA_ARGS__) asm("__real_" symbol); \
  result Wrap##name(__VA_ARGS__) asm("__wrap_" symbol); \
  result Wrap##name(__VA_ARGS__)

namespace {

class Unseen {
 public:
  Unseen() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~Unseen() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};

// Around a call that gives the mutex up and takes it again.
class GivenUp {
 public:
  explicit GivenUp(absl::Mutex* mutex) : mutex_(mutex) {
    __tsan_mutex_pre_unlock(mutex_, 0);
    __tsan_mutex_post_unlock(mutex_, 0);
  }
  ~GivenUp() {
    __tsan_mutex_pre_lock(mutex_, 0);
    __tsan_mutex_post_lock(mutex_, 0, 0);
  }

 private:
  absl::Mutex* const mutex_;
};

}  // namespace

MPTD_WRAPPED(void, Lock, "_ZN4absl7debian35Mutex4LockEv", absl::Mutex* mutex) {
  __tsan_mutex_pre_lock(mutex, 0);
  RealLock(mutex);
  __tsan_mutex_post_lock(mutex, 0, 0);
}

MPTD_WRAPPED(bool, TryLock, "_ZN4absl7debian35Mutex7TryLockEv", absl::Mutex* mutex) {
  __tsan_mutex_pre_lock(mutex, __tsan_mutex_try_lock);
  const bool locked = RealTryLock(mutex);
  __tsan_mutex_post_lock(mutex, locked ? __tsan_mutex_try_lock : __tsan_mutex_try_lock | __tsan_mutex_try_lock_failed,
                         0);
  return locked;
}

MPTD_WRAPPED(void, Unlock, "_ZN4absl7debian35Mutex6UnlockEv", absl::Mutex* mutex) {
  __tsan_mutex_pre_unlock(mutex, 0);
  __tsan_mutex_post_unlock(mutex, 0);
  const Unseen unseen;
  RealUnlock(mutex);
}

MPTD_WRAPPED(void, Await, "_ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE", absl::Mutex* mutex,
             const absl::Condition& condition) {
  const GivenUp given_up(mutex);
  const Unseen unseen;
  RealAwait(mutex, condition);
}

MPTD_WRAPPED(bool, AwaitWithTimeout, "_ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE",
             absl::Mutex* mutex, const absl::Condition& condition, absl::Duration timeout) {
  const GivenUp given_up(mutex);
  const Unseen unseen;
  return RealAwaitWithTimeout(mutex, condition, timeout);
}

MPTD_WRAPPED(bool, AwaitWithDeadline, "_ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE",
             absl::Mutex* mutex, const absl::Condition& condition, absl::Time deadline) {
  const GivenUp given_up(mutex);
  const Unseen unseen;
  return RealAwaitWithDeadline(mutex, condition, deadline);
}

MPTD_WRAPPED(void, Notify, "_ZN4absl7debian312Notification6NotifyEv", absl::Notification* notification) {
  __tsan_release(notification);
  RealNotify(notification);
}

MPTD_WRAPPED(void, WaitFor, "_ZNK4absl7debian312Notification19WaitForNotificationEv",
             const absl::Notification* notification) {
  RealWaitFor(notification);
  __tsan_acquire(const_cast<absl::Notification*>(notification));
}

MPTD_WRAPPED(bool, WaitWithDeadline, "_ZNK4absl7debian312Notification31WaitForNotificationWithDeadlineENS0_4TimeE",
             const absl::Notification* notification, absl::Time deadline) {
  const bool notified = RealWaitWithDeadline(notification, deadline);
  if (notified) __tsan_acquire(const_cast<absl::Notification*>(notification));
  return notified;
}
