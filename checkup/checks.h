// The checks before a daemon starts: each looks at one thing that was read, knows what the daemon needs of it, and says
// what to do. Pure functions; safe from any thread.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "checkup/finding.h"
#include "checkup/readings.h"
#include "config/config.h"
#include "core/types.h"

namespace mptd::checkup {

Finding CheckConfiguration(const config::Settings& settings);
Finding CheckDiskSpeed(const absl::StatusOr<SyncTimes>& sync);
Finding CheckSpace(const absl::StatusOr<DiskSpace>& space, const config::Settings& settings);
Finding CheckMemory(const MemoryReading& memory, const config::Settings& settings);
Finding CheckFileLimits(const FileLimits& files, const config::Settings& settings);
Finding CheckPorts(const std::vector<ListenReading>& listen);
Finding CheckClock(const ClockReading& clock);
Finding CheckCpu(const CpuReading& cpu, const config::Settings& settings);
Finding CheckKernel(const KernelReading& kernel, const MemoryReading& memory);
Finding CheckPermissions(const Readings& readings);
Finding CheckSecrets(const Readings& readings, const config::Settings& settings);
// `files` are those of the settings, when these have TLS.
Finding CheckTls(const config::Settings& settings, const absl::StatusOr<tls::TlsMaterial>& files, absl::Time now);
// `genesis` is the root of the configured genesis, when that is block 0.
Finding CheckData(const DataReading& data, const std::optional<Hash>& genesis);
Finding CheckVersion(const DataReading& data, std::string_view version);

// All of them, in this order.
std::vector<Finding> CheckAll(const Readings& readings, const config::Settings& settings,
                              const std::optional<Hash>& genesis, std::string_view version);

}  // namespace mptd::checkup
