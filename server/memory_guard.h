// Keeps the process below a limit of resident memory: near it, what is free goes back to the system and caches shrink;
// at it, calls that take memory are refused. Safe from any thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/engine/engine.h"
#include "metrics/log.h"
#include "server/mutex.h"

namespace mptd {

class MemoryGuard {
 public:
  // `engine` and `log` must outlive this. `resident` tells the process's resident bytes; looked at every 50 ms.
  // `give_back` has the allocator return what it holds for later.
  MemoryGuard(StateEngine& engine, Logger& log, std::function<uint64_t()> resident, std::function<void()> give_back);
  ~MemoryGuard();
  MemoryGuard(const MemoryGuard&) = delete;
  MemoryGuard& operator=(const MemoryGuard&) = delete;

  // What the engine may use while memory is not short, and the limit; 0 for none.
  void Configure(const EngineLimits& limits, uint64_t max_bytes);

  // What the process may take, limits.max_memory_bytes or, where that is less or set to none, what the machine or the
  // control group has; 0 when unknown.
  uint64_t Limit() const;

  // RESOURCE_EXHAUSTED with a retry delay when there is no room for requests of `bytes` in all.
  absl::Status Admit(uint64_t bytes) const;

  // What the thread does every 50 ms. For tests.
  void Check(absl::Time now);

 private:
  void Run();
  void SetShift(unsigned shift) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  StateEngine& engine_;
  Logger& log_;
  const std::function<uint64_t()> resident_;
  const std::function<void()> give_back_;
  std::atomic<uint64_t> max_bytes_{0};
  std::atomic<uint64_t> resident_bytes_{0};  // as last looked at

  Mutex mutex_;
  std::condition_variable_any changed_;
  EngineLimits limits_ ABSL_GUARDED_BY(mutex_);
  unsigned shift_ ABSL_GUARDED_BY(mutex_) = 0;  // caches are at 1 / 2^shift of their limits
  absl::Time shifted_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  absl::Time given_back_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// Has jemalloc give back to the system what is free; nothing in a build without it.
void GiveBackFreeMemory();

}  // namespace mptd
