#include "tests/simulation/scheduler.h"

#include <semaphore.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "absl/debugging/symbolize.h"
#include "absl/strings/str_format.h"

namespace mptd::simulation {
namespace {

constexpr std::array<const char*, 12> kOpNames = {"begins", "ends",     "starts a thread", "joined",
                                                  "locked", "unlocked", "waited",          "notified",
                                                  "slept",  "disk",     "tables",          "atomic"};

constexpr uint64_t kTraceFactor = 0x100000001b3;

// What one step takes at most, and what a machine that is busy with other things takes now and then.
constexpr int64_t kStepNanoseconds = 2'000;
constexpr int64_t kPauseNanoseconds = 8'000'000;
constexpr uint64_t kStepsToPause = 400;

thread_local Scheduler* current_scheduler = nullptr;

std::string NameOfCode(const void* address) {
  std::array<char, 256> name{};
  if (address == nullptr || !absl::Symbolize(address, name.data(), static_cast<int>(name.size()))) return "?";
  return name.data();
}

}  // namespace

// Where a thread sleeps until it is its turn. Not std::binary_semaphore, which spins first: the one that is to release
// it may be without a processor meanwhile.
class Scheduler::Turn {
 public:
  Turn() { ::sem_init(&semaphore_, 0, 0); }
  ~Turn() { ::sem_destroy(&semaphore_); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  void Give() { ::sem_post(&semaphore_); }
  void Await() {
    while (::sem_wait(&semaphore_) != 0) {
    }
  }

 private:
  sem_t semaphore_;
};

struct Scheduler::Thread {
  size_t number = 0;
  std::string name;
  Turn turn;
  uint64_t weight = 1;
  bool ended = false;

  // What it waits for; nothing while it runs.
  const void* wants = nullptr;                   // a lock that must be free
  const std::function<bool()>* ready = nullptr;  // must hold, unless the deadline has passed
  absl::Time deadline = absl::InfiniteFuture();
  const void* condition = nullptr;  // a condition variable that it stands at
  bool notified = false;
  Op op = Op::kBegin;
  const void* caller = nullptr;
};

Scheduler::Scheduler(uint64_t seed, Progress& progress)
    : seed_(seed),
      progress_(progress),
      random_(seed),
      now_(absl::FromUnixSeconds(1'700'000'000)),
      began_(now_),
      stay_percent_(std::array<uint64_t, 4>{0, 50, 80, 95}[Below(4)]),
      atomics_one_in_(std::array<uint64_t, 4>{0, 1, 8, 64}[std::mt19937_64(~seed)() % 4]) {
  progress_ = {};
}

Scheduler::~Scheduler() = default;

Scheduler* Scheduler::Current() { return current_scheduler; }

void Scheduler::Run(const std::function<void()>& body) {
  Thread& first = AddThread(nullptr);
  running_ = &first;
  running_->name = "main";
  current_scheduler = this;
  body();
  current_scheduler = nullptr;
  for (const auto& thread : threads_) {
    if (thread.get() != &first && !thread->ended) GiveUp("a thread was left behind");
  }
}

// A thread at weight 1 beside one at 64 hardly moves: what it holds or has begun stays so while the others go on.
void Scheduler::DrawWeights() {
  for (const auto& thread : threads_) thread->weight = std::array<uint64_t, 5>{64, 64, 64, 8, 1}[Below(5)];
}

bool Scheduler::CanGoOn(const Thread& thread) const {
  if (thread.ended || (thread.wants != nullptr && owners_.contains(thread.wants))) return false;
  return thread.ready == nullptr || thread.deadline <= now_ || (*thread.ready)();
}

void Scheduler::PassTime() {
  const bool pause = OneIn(kStepsToPause);
  now_ += absl::Nanoseconds(static_cast<int64_t>(Below(pause ? kPauseNanoseconds : kStepNanoseconds)));
  progress_.time = now_ - began_;
}

Scheduler::Thread* Scheduler::Choose() {
  if (OneIn(kStepsToPause)) DrawWeights();
  while (true) {
    able_.clear();
    uint64_t weights = 0;
    absl::Time earliest = absl::InfiniteFuture();
    for (const auto& thread : threads_) {
      if (CanGoOn(*thread)) {
        able_.push_back(thread.get());
        weights += thread->weight;
      } else if (!thread->ended && thread->deadline > now_) {
        earliest = std::min(earliest, thread->deadline);
      }
    }
    if (!able_.empty()) {
      const bool stays = std::find(able_.begin(), able_.end(), running_) != able_.end() && Below(100) < stay_percent_;
      if (stays) return running_;
      uint64_t at = Below(weights);
      for (Thread* thread : able_) {
        if (at < thread->weight) return thread;
        at -= thread->weight;
      }
    }
    if (earliest == absl::InfiniteFuture()) return nullptr;
    now_ = earliest;
  }
}

void Scheduler::Note(Op op, const Thread& next) {
  last_[progress_.steps % last_.size()] = {running_->number, op, next.number};
  ++progress_.steps;
  if (&next != running_) ++progress_.switches;
  const uint64_t what = (running_->number << 24) | (next.number << 8) | static_cast<uint64_t>(op);
  progress_.trace = (progress_.trace ^ what ^ static_cast<uint64_t>(absl::ToUnixNanos(now_))) * kTraceFactor;
}

Scheduler::Thread& Scheduler::PassOn(Op op) {
  running_->op = op;
  PassTime();
  choosing_ = true;
  Thread* next = Choose();
  choosing_ = false;
  if (next == nullptr) GiveUp("no thread can go on: a deadlock, or a wake-up that was lost");
  if (progress_.steps >= kMostSteps) GiveUp("the run does not end");
  Note(op, *next);
  return *next;
}

void Scheduler::Yield(Op op) {
  Thread& self = *running_;
  Thread& next = PassOn(op);
  if (&next != &self) {
    running_ = &next;
    next.turn.Give();
    self.turn.Await();
  }
  self.caller = nullptr;
}

void Scheduler::Point(Op op) { Yield(op); }

void Scheduler::AtomicPoint() {
  if (!choosing_ && atomics_one_in_ != 0 && OneIn(atomics_one_in_)) Yield(Op::kAtomic);
}

void Scheduler::SleepFor(absl::Duration duration, Op op) {
  const std::function<bool()> never = [] { return false; };
  running_->ready = &never;
  running_->deadline = now_ + duration;
  Yield(op);
  running_->ready = nullptr;
  running_->deadline = absl::InfiniteFuture();
}

void Scheduler::Lock(const void* mutex, const void* caller) {
  Thread& self = *running_;
  self.wants = mutex;
  self.caller = caller;
  Yield(Op::kLock);
  self.wants = nullptr;
  owners_[mutex] = &self;
}

bool Scheduler::TryLock(const void* mutex) {
  Yield(Op::kLock);
  return owners_.try_emplace(mutex, running_).second;
}

void Scheduler::Unlock(const void* mutex) {
  if (!Holds(mutex)) GiveUp("a lock is given back by a thread that does not hold it");
  owners_.erase(mutex);
  Yield(Op::kUnlock);
}

bool Scheduler::Holds(const void* mutex) const {
  const auto owner = owners_.find(mutex);
  return owner != owners_.end() && owner->second == running_;
}

bool Scheduler::Await(const void* mutex, const std::function<bool()>& ready, absl::Time deadline, const void* caller) {
  Thread& self = *running_;
  if (mutex != nullptr) {
    if (!Holds(mutex)) GiveUp("a wait without the lock");
    owners_.erase(mutex);
  }
  self.wants = mutex;
  self.ready = &ready;
  self.deadline = deadline;
  self.caller = caller;
  Yield(Op::kWait);
  self.wants = nullptr;
  self.ready = nullptr;
  self.deadline = absl::InfiniteFuture();
  if (mutex != nullptr) owners_[mutex] = &self;
  choosing_ = true;
  const bool is_ready = ready();
  choosing_ = false;
  return is_ready;
}

void Scheduler::WaitOn(const void* condition, const void* mutex, const void* caller) {
  constexpr uint64_t kWaitsToFalseWakeUp = 16;
  Thread& self = *running_;
  self.condition = condition;
  self.notified = OneIn(kWaitsToFalseWakeUp);
  (void)Await(
      mutex, [&self] { return self.notified; }, absl::InfiniteFuture(), caller);
  self.condition = nullptr;
}

void Scheduler::Notify(const void* condition, bool all) {
  std::vector<Thread*> waiting;
  for (const auto& thread : threads_) {
    if (!thread->ended && thread->condition == condition && !thread->notified) waiting.push_back(thread.get());
  }
  if (!all && !waiting.empty()) waiting = {waiting[Below(waiting.size())]};
  for (Thread* thread : waiting) thread->notified = true;
  Yield(Op::kNotify);
}

Scheduler::Thread& Scheduler::AddThread(const void* caller) {
  auto thread = std::make_unique<Thread>();
  thread->number = threads_.size();
  thread->name = absl::StrFormat("thread started in %s", NameOfCode(caller));
  threads_.push_back(std::move(thread));
  return *threads_.back();
}

// Until the turn is the thread's, others run: nothing of the scheduler may be looked at before.
void Scheduler::Enter(Thread& thread) {
  thread.turn.Await();
  current_scheduler = this;
}

void Scheduler::Leave() {
  running_->ended = true;
  current_scheduler = nullptr;
  Thread& next = PassOn(Op::kEnd);
  running_ = &next;
  next.turn.Give();
}

void Scheduler::Join(const Thread& thread, const void* caller) {
  const std::function<bool()> ended = [&thread] { return thread.ended; };
  running_->ready = &ended;
  running_->caller = caller;
  Yield(Op::kJoin);
  running_->ready = nullptr;
}

void Scheduler::NameThread(const char* name) { running_->name = name; }

std::string Scheduler::Describe(const Thread& thread) const {
  if (thread.ended) return "has ended";
  if (thread.condition != nullptr && !thread.notified) {
    return absl::StrFormat("waits to be notified, in %s", NameOfCode(thread.caller));
  }
  std::string what;
  if (thread.wants != nullptr) {
    const auto owner = owners_.find(thread.wants);
    if (owner != owners_.end()) {
      what = absl::StrFormat("wants a lock that thread %d (%s) holds", owner->second->number, owner->second->name);
    }
  }
  if (what.empty() && thread.ready != nullptr && !(*thread.ready)()) {
    what = thread.op == Op::kJoin ? "waits for a thread to end" : "waits for a condition that does not hold";
    if (thread.deadline != absl::InfiniteFuture()) {
      what += absl::StrFormat(", for %s at most", absl::FormatDuration(thread.deadline - now_));
    }
  }
  if (what.empty()) what = "can go on";
  return absl::StrFormat("%s, in %s", what, NameOfCode(thread.caller));
}

void Scheduler::GiveUp(const std::string& why) {
  choosing_ = true;
  std::string report = absl::StrFormat("%s\nseed %d, step %d, after %s of simulated time\n", why, seed_,
                                       progress_.steps, absl::FormatDuration(now_ - began_));
  for (const auto& thread : threads_) {
    report += absl::StrFormat("  thread %d, %s: %s\n", thread->number, thread->name, Describe(*thread));
  }
  report += "the last steps, oldest first:\n";
  const uint64_t first = progress_.steps > last_.size() ? progress_.steps - last_.size() : 0;
  for (uint64_t i = first; i < progress_.steps; ++i) {
    const Step& step = last_[i % last_.size()];
    report += absl::StrFormat("  %d %s %s, then %d\n", i, threads_[step.thread]->name,
                              kOpNames[static_cast<size_t>(step.op)], step.next);
  }
  std::fflush(stdout);
  std::fputs(report.c_str(), stderr);
  std::fflush(stderr);
  std::_Exit(kStuckExit);
}

}  // namespace mptd::simulation
