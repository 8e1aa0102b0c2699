// The settings that a run gives its daemon. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "bench/options.h"

namespace mptd::bench {

// Flags of mptd, but for its addresses. Without a preset all that `options.engine` says; with one only what
// `options.given` names, so that the preset decides about the rest.
std::vector<std::string> DaemonFlags(const BenchOptions& options);

// Makes `options.engine` what the daemon makes of the preset and of what was given. INVALID_ARGUMENT when it would
// refuse them. Does nothing without a preset.
absl::Status TakePreset(BenchOptions& options);

}  // namespace mptd::bench
