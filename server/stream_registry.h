// The streams that are open, and the one thread that wakes them: when there is a new head, when time passes, when the
// daemon stops. All methods are safe from any thread.
#pragma once

#include <condition_variable>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/engine/engine.h"
#include "server/mutex.h"

namespace mptd {

// A stream as the registry sees it. The callbacks come from the registry's thread (OnDrain from any) while the registry
// is locked: they must be short and must not call the registry.
class RegisteredStream {
 public:
  virtual ~RegisteredStream() = default;
  // There may be new head events.
  virtual void OnHeads() {}
  // About every second.
  virtual void OnTick(absl::Time /*now*/) {}
  // End as soon as what is being done is done.
  virtual void OnDrain() = 0;
};

class StreamRegistry {
 public:
  // `engine` must outlive this.
  StreamRegistry(StateEngine& engine, size_t max_streams);
  // The streams must be gone.
  ~StreamRegistry();

  // UNAVAILABLE when the registry is draining, RESOURCE_EXHAUSTED when there are too many: the stream is to be refused.
  absl::Status Add(RegisteredStream* stream);
  // On return no callback of `stream` is running or will be.
  void Remove(RegisteredStream* stream);
  // Tells all streams to end and takes no more.
  void Drain();

  bool draining() const;
  size_t size() const;

 private:
  void Run();

  StateEngine& engine_;
  const size_t max_streams_;
  mutable Mutex mutex_;
  std::condition_variable_any changed_;
  absl::flat_hash_set<RegisteredStream*> streams_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last, so that it starts when all else is there
};

// What a stream ends with when the daemon stops.
absl::Status ShuttingDown();

}  // namespace mptd
