// A life of the engine on a simulated machine: a writer that applies, reorganises, rolls back, flushes and prunes,
// readers of the head and of older blocks beside it, one who follows the head and one who asks for flushes,
// verification and figures, under the scheduler of one seed, with power cuts at any step, also while it recovers.
// Everything that anybody sees is compared with the naive model. Failures are gtest's.
#pragma once

#include <cstddef>

#include "tests/simulation/machine.h"
#include "tests/simulation/scheduler.h"

namespace mptd::simulation {

// What Progress::counts counts.
enum class Count : uint8_t {
  kAcknowledged,  // operations of the writer
  kFailed,        // that a cut or a full disk made fail
  kViews,         // that readers compared with the model
  kHistoric,      // of them, of blocks behind the head
  kHeads,         // that the follower was told of
  kCuts,          // of the power
  kOpened,        // engines
  kFlushes,
};

void LiveALife(Scheduler& scheduler, Defect defect);

}  // namespace mptd::simulation
