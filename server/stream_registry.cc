#include "server/stream_registry.h"

#include <pthread.h>

#include <optional>

#include "core/errors.h"
#include "server/caller_limits.h"

namespace mptd {
namespace {

// How long the destructor may have to wait for the thread.
constexpr absl::Duration kPoll = absl::Milliseconds(100);
constexpr absl::Duration kTick = absl::Seconds(1);

}  // namespace

absl::Status ShuttingDown() {
  return WithReason(absl::UnavailableError("the daemon is shutting down"), "SHUTTING_DOWN");
}

StreamRegistry::StreamRegistry(StateEngine& engine, size_t max_streams)
    : engine_(engine), max_streams_(max_streams), thread_([this] { Run(); }) {
  pthread_setname_np(thread_.native_handle(), "mptd-streams");
}

StreamRegistry::~StreamRegistry() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

absl::Status StreamRegistry::Add(RegisteredStream* stream) {
  const MutexLock lock(mutex_);
  if (draining_) return ShuttingDown();
  if (streams_.size() >= max_streams_) {
    return NoRoom("as many streams are open as limits.max_streams allows; try again later", "max_streams");
  }
  streams_.insert(stream);
  changed_.notify_all();
  return absl::OkStatus();
}

void StreamRegistry::Remove(RegisteredStream* stream) {
  const MutexLock lock(mutex_);
  streams_.erase(stream);
}

void StreamRegistry::Drain() {
  const MutexLock lock(mutex_);
  draining_ = true;
  for (RegisteredStream* stream : streams_) stream->OnDrain();
}

bool StreamRegistry::draining() const {
  const MutexLock lock(mutex_);
  return draining_;
}

size_t StreamRegistry::size() const {
  const MutexLock lock(mutex_);
  return streams_.size();
}

void StreamRegistry::Run() {
  absl::Time next_tick = absl::InfinitePast();
  uint64_t notified = 0;
  while (true) {
    // Events below this index are there already: whoever is woken now sees them, and whoever registers later starts by
    // looking.
    const uint64_t next_index = engine_.NextHeadIndex();
    {
      const MutexLock lock(mutex_);
      while (!stopping_ && streams_.empty()) changed_.wait(mutex_);
      if (stopping_) return;
      const absl::Time now = absl::Now();
      const bool tick = now >= next_tick;
      if (tick) next_tick = now + kTick;
      for (RegisteredStream* stream : streams_) {
        if (next_index != notified) stream->OnHeads();
        if (tick) stream->OnTick(now);
      }
      notified = next_index;
    }
    // Only the waiting matters here, not the answer: an error means that the event is long past.
    const absl::StatusOr<std::optional<HeadEvent>> event = engine_.WaitForHead(next_index, absl::Now() + kPoll);
    if (!event.ok()) absl::SleepFor(absl::Milliseconds(1));
  }
}

}  // namespace mptd
