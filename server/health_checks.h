// What the daemon looks at to know how it is. The checks by name:
//
//   corruption  no damaged data was found (0 when it was)       writable    blocks are accepted (1: read-only)
//   storage     a file in the data folder can be written and synced (1)     disk_space  there is room on its disk (1)
//   queue       the tables keep up with the blocks (2)          last_sync   blocks become durable in time (2)
//   memory      less than its share is in use (2)               hashing     Keccak-256 gives what it must (0)
//   log         no lines are being lost (2)         tls  the certificate is good, and so are its files (2)
//   encryption_key  the file with the master key is one that the data can be opened with again (2)
//
// In parentheses: the level while it fails (see health_monitor.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/engine/engine.h"
#include "metrics/log.h"
#include "metrics/metrics.h"
#include "server/engine_watch.h"
#include "server/health_monitor.h"
#include "server/server_tls.h"

namespace mptd {

struct HealthOptions {
  std::string data_dir;                         // empty: no checks of the disk
  uint64_t queue_limit_bytes = 0;               // of the engine; 0: not known, the queue is not compared with it
  absl::Duration interval = absl::Seconds(10);  // of the checks of disk and process; the engine is asked every second
  absl::Duration timeout = absl::Seconds(5);
  uint64_t min_free_disk_bytes = uint64_t{512} << 20;
  uint64_t max_memory_percent = 85;
  std::function<uint64_t()> memory_limit = MemoryLimitBytes;  // what the process may take; 0: not known
  absl::Duration max_sync_age = absl::Seconds(30);
  bool key_in_file = false;  // the data is encrypted, and its master key is in a file
};

// `engine`, `watch` and `log` must outlive the monitor's threads.
void AddHealthChecks(const HealthOptions& options, const StateEngine& engine, const EngineWatch& watch,
                     const Logger& log, HealthMonitor& monitor);

// For a daemon with TLS; `tls` must outlive the monitor's threads.
void AddTlsCheck(const HealthOptions& options, const ServerTls& tls, HealthMonitor& monitor);

// The single findings; pure, or of the file system alone.

// Degraded from 90 % of `limit_bytes` on, and while the tables cannot be written (`flush_error` says why).
HealthFinding CheckQueue(uint64_t queued_bytes, uint64_t limit_bytes, const std::string& flush_error);
HealthFinding CheckMemory(uint64_t resident_bytes, uint64_t limit_bytes, uint64_t max_percent);
// Failing below `min_free_bytes`, degraded below four times that.
HealthFinding CheckDiskSpace(uint64_t free_bytes, uint64_t min_free_bytes);
// Writes a small file, syncs and removes it. Degraded when that takes longer than 200 ms.
HealthFinding CheckStorage(const std::string& data_dir);

// Degraded when the data cannot be opened with the master key as its file is now (`key` says why): the next start would
// be refused.
HealthFinding CheckEncryptionKey(const absl::Status& key);

// Remembers how long the oldest block that is not durable has been waiting. For one thread.
class SyncAge {
 public:
  explicit SyncAge(absl::Duration max_age) : max_age_(max_age) {}
  // Degraded when blocks have been waiting for more than the longest age and none became durable.
  HealthFinding Check(absl::Time now, const EngineStatus& status);

 private:
  const absl::Duration max_age_;
  absl::Time since_ = absl::InfiniteFuture();
  uint64_t durable_ = 0;
};

}  // namespace mptd
