// One seed of a scenario, in a process of its own: a scenario that fails, hangs, or brings the process down says so
// with its seed, and each begins with the same memory. The process that calls this has one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "tests/simulation/scheduler.h"

namespace mptd::simulation {

enum class Ending : uint8_t {
  kPassed,
  kFailed,   // an expectation of gtest's
  kStuck,    // no thread could go on, or the run did not end
  kHung,     // stood still in real time, which means outside of the scheduler
  kCrashed,  // a signal, or a sanitizer's report
};

struct SeedRun {
  uint64_t seed = 0;
  Ending ending = Ending::kCrashed;
  Progress progress;
  std::string output;  // what it printed, unless it passed

  // Of two runs of a seed.
  bool SameAs(const SeedRun& other) const;
};

using Scenario = std::function<void(Scheduler&)>;

// Calls the scenario under a scheduler; its expectations are gtest's, and fail only the process that runs it. The
// calling test has not failed yet: the scenario would begin with that.
SeedRun RunSeed(uint64_t seed, const Scenario& scenario);

// The ending in words, with the seed and what was printed.
std::string Describe(const SeedRun& run);

}  // namespace mptd::simulation
