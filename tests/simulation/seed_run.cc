#include "tests/simulation/seed_run.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "absl/debugging/symbolize.h"
#include "absl/strings/str_format.h"

namespace mptd::simulation {
namespace {

constexpr int kFailedExit = 1;
// Of real time; a seed takes a second, and a minute under sanitizers on a busy machine.
constexpr unsigned kMostSeconds = 600;

// Progress in memory that the child writes and the parent reads, even when the child is gone.
class SharedProgress {
 public:
  SharedProgress()
      : memory_(::mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    if (memory_ == MAP_FAILED) std::abort();
    progress_ = new (memory_) Progress();
  }
  ~SharedProgress() { ::munmap(memory_, sizeof(Progress)); }
  SharedProgress(const SharedProgress&) = delete;
  SharedProgress& operator=(const SharedProgress&) = delete;
  Progress& get() { return *progress_; }

 private:
  void* const memory_;
  Progress* progress_ = nullptr;
};

[[noreturn]] void RunChild(uint64_t seed, const Scenario& scenario, Progress& progress) {
  ::alarm(kMostSeconds);
  // One thread runs at a time; on one processor the next takes over sooner.
  cpu_set_t here;
  CPU_ZERO(&here);
  CPU_SET(::sched_getcpu(), &here);
  (void)::sched_setaffinity(0, sizeof(here), &here);
  absl::InitializeSymbolizer("/proc/self/exe");
  (void)std::setvbuf(stdout, nullptr, _IOLBF, 0);  // it may have no time to flush it
  Scheduler scheduler(seed, progress);
  scheduler.Run([&] { scenario(scheduler); });
  std::fflush(stdout);
  std::fflush(stderr);
  std::_Exit(::testing::Test::HasFailure() ? kFailedExit : 0);
}

std::string ReadAll(int descriptor) {
  std::string text;
  std::array<char, 4096> part{};
  for (ssize_t got = 0; (got = ::read(descriptor, part.data(), part.size())) > 0;) {
    text.append(part.data(), static_cast<size_t>(got));
  }
  return text;
}

Ending EndingOf(int status) {
  if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGALRM ? Ending::kHung : Ending::kCrashed;
  switch (WEXITSTATUS(status)) {
    case 0:
      return Ending::kPassed;
    case kFailedExit:
      return Ending::kFailed;
    case Scheduler::kStuckExit:
      return Ending::kStuck;
    default:
      return Ending::kCrashed;
  }
}

}  // namespace

bool SeedRun::SameAs(const SeedRun& other) const {
  return seed == other.seed && ending == other.ending && progress.steps == other.progress.steps &&
         progress.trace == other.progress.trace && progress.counts == other.progress.counts;
}

SeedRun RunSeed(uint64_t seed, const Scenario& scenario) {
  SharedProgress progress;
  std::array<int, 2> output{};
  std::fflush(stdout);
  std::fflush(stderr);
  if (::pipe(output.data()) != 0) std::abort();
  const pid_t child = ::fork();
  if (child < 0) std::abort();
  if (child == 0) {
    ::dup2(output[1], STDOUT_FILENO);
    ::dup2(output[1], STDERR_FILENO);
    ::close(output[0]);
    ::close(output[1]);
    RunChild(seed, scenario, progress.get());
  }
  ::close(output[1]);
  SeedRun run;
  run.seed = seed;
  run.output = ReadAll(output[0]);
  ::close(output[0]);
  int status = 0;
  if (::waitpid(child, &status, 0) != child) std::abort();
  run.ending = EndingOf(status);
  run.progress = progress.get();
  return run;
}

std::string Describe(const SeedRun& run) {
  static constexpr std::array<const char*, 5> kEndings = {"passed", "failed", "got stuck", "hung", "crashed"};
  return absl::StrFormat("seed %d %s at step %d (trace %016x)\n%s", run.seed, kEndings[static_cast<size_t>(run.ending)],
                         run.progress.steps, run.progress.trace, run.output);
}

}  // namespace mptd::simulation
