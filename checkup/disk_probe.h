// How fast the disk of a folder syncs. Safe from any thread.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "checkup/readings.h"

namespace mptd::checkup {

// Appends and syncs, as the change log does, for a second at most. The file that it writes has no name, so that nothing
// is left behind however the process ends. NOT_FOUND and PERMISSION_DENIED when no file can be made in `dir`,
// RESOURCE_EXHAUSTED when the disk is full, UNAVAILABLE when it fails.
absl::StatusOr<SyncTimes> MeasureSync(const std::string& dir);

}  // namespace mptd::checkup
