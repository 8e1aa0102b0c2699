#include "tests/engine/watchdog.h"

#include <execinfo.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/debugging/symbolize.h"
#include "absl/time/clock.h"

namespace mptd::testing {
namespace {

constexpr int kMostFrames = 40;

// On the thread in question. Not everything here is safe in a signal handler, but the program is lost anyway.
void PrintOwnStack(int /*signal*/) {
  void* frames[kMostFrames];
  const int count = backtrace(frames, kMostFrames);
  for (int i = 0; i < count; ++i) {
    char name[512];
    const bool known = absl::Symbolize(frames[i], name, sizeof(name));
    std::fprintf(stderr, "    %p %s\n", frames[i], known ? name : "?");
  }
}

std::string NameOf(const std::filesystem::path& task) {
  std::ifstream file(task / "comm");
  std::string name;
  std::getline(file, name);
  return name;
}

void PrintAllStacks() {
  struct sigaction action {};
  action.sa_handler = PrintOwnStack;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR2, &action, nullptr);
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::fprintf(stderr, "thread %s %s\n", task.path().filename().c_str(), NameOf(task.path()).c_str());
    syscall(SYS_tgkill, getpid(), std::atoi(task.path().filename().c_str()), SIGUSR2);
    // One after the other: their lines would be mixed.
    absl::SleepFor(absl::Milliseconds(300));
  }
}

}  // namespace

Watchdog::Watchdog(absl::Duration limit) {
  absl::InitializeSymbolizer("/proc/self/exe");
  thread_ = std::thread([this, limit] {
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, absl::ToChronoMilliseconds(limit), [this] { return done_; })) return;
    std::fprintf(stderr, "still not done after %s\n", absl::FormatDuration(limit).c_str());
    PrintAllStacks();
    std::abort();
  });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

}  // namespace mptd::testing
