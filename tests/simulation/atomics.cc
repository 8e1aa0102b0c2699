// Makes atomic operations scheduling points, so that what the engine does without locks is interleaved too: the
// engine's sources are compiled once more for these tests with the calls that ThreadSanitizer's run-time would take
// (-fsanitize=thread), and this takes them in its place. Everything is as if sequentially consistent, since one thread
// runs at a time. What else the compiler reports, plain reads and writes, is of no concern here.
#include <cstdint>

#include "tests/simulation/scheduler.h"

namespace {

using mptd::simulation::Scheduler;

void Point() {
  if (Scheduler* scheduler = Scheduler::Current()) scheduler->AtomicPoint();
}

template <typename T>
T Load(const volatile T* at) {
  Point();
  return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}

template <typename T>
void Store(volatile T* at, T value) {
  Point();
  __atomic_store_n(at, value, __ATOMIC_SEQ_CST);
}

template <typename T>
T Exchange(volatile T* at, T value) {
  Point();
  return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST);
}

template <typename T>
T Add(volatile T* at, T value) {
  Point();
  return __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST);
}

template <typename T>
T Subtract(volatile T* at, T value) {
  Point();
  return __atomic_fetch_sub(at, value, __ATOMIC_SEQ_CST);
}

template <typename T>
T And(volatile T* at, T value) {
  Point();
  return __atomic_fetch_and(at, value, __ATOMIC_SEQ_CST);
}

template <typename T>
T Or(volatile T* at, T value) {
  Point();
  return __atomic_fetch_or(at, value, __ATOMIC_SEQ_CST);
}

template <typename T>
int CompareExchange(volatile T* at, T* expected, T value) {
  Point();
  return __atomic_compare_exchange_n(at, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) ? 1 : 0;
}

}  // namespace

// The calls as the compiler makes them, by size; `order` is what the program asked for.
#define MPTD_ATOMICS(bits, type)                                                                             \
  extern "C" type mptd_load_##bits(const volatile type* at, int) asm("__tsan_atomic" #bits "_load");         \
  type mptd_load_##bits(const volatile type* at, int /*order*/) { return Load(at); }                         \
  extern "C" void mptd_store_##bits(volatile type* at, type value, int) asm("__tsan_atomic" #bits "_store"); \
  void mptd_store_##bits(volatile type* at, type value, int /*order*/) { Store(at, value); }                 \
  MPTD_CHANGE(bits, type, Exchange, exchange)                                                                \
  MPTD_CHANGE(bits, type, Add, fetch_add)                                                                    \
  MPTD_CHANGE(bits, type, Subtract, fetch_sub)                                                               \
  MPTD_CHANGE(bits, type, And, fetch_and)                                                                    \
  MPTD_CHANGE(bits, type, Or, fetch_or)                                                                      \
  MPTD_COMPARE(bits, type, strong)                                                                           \
  MPTD_COMPARE(bits, type, weak)

#define MPTD_CHANGE(bits, type, call, name)                                                                      \
  extern "C" type mptd_##name##_##bits(volatile type* at, type value, int) asm("__tsan_atomic" #bits "_" #name); \
  type mptd_##name##_##bits(volatile type* at, type value, int /*order*/) { return call(at, value); }

#define MPTD_COMPARE(bits, type, name)                                                                               \
  extern "C" int mptd_##name##_##bits(volatile type* at, type* expected, type value, int,                            \
                                      int) asm("__tsan_atomic" #bits "_compare_exchange_" #name);                    \
  int mptd_##name##_##bits(volatile type* at, type* expected, type value, int /*order*/, int /*order_of_failure*/) { \
    return CompareExchange(at, expected, value);                                                                     \
  }

MPTD_ATOMICS(8, uint8_t)
MPTD_ATOMICS(16, uint16_t)
MPTD_ATOMICS(32, uint32_t)
MPTD_ATOMICS(64, uint64_t)

#define MPTD_IGNORED(name)                            \
  extern "C" void mptd_##name() asm("__tsan_" #name); \
  void mptd_##name() {}

MPTD_IGNORED(init)
MPTD_IGNORED(func_entry)
MPTD_IGNORED(func_exit)
MPTD_IGNORED(vptr_update)
MPTD_IGNORED(vptr_read)
MPTD_IGNORED(read1)
MPTD_IGNORED(read2)
MPTD_IGNORED(read4)
MPTD_IGNORED(read8)
MPTD_IGNORED(read16)
MPTD_IGNORED(read_range)
MPTD_IGNORED(write1)
MPTD_IGNORED(write2)
MPTD_IGNORED(write4)
MPTD_IGNORED(write8)
MPTD_IGNORED(write16)
MPTD_IGNORED(write_range)
