// Checkpoints that the daemon makes by itself, one every interval, the oldest removed. What fails is logged and tried
// again; the daemon goes on. Start and Stop are called by one thread, all else by any.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/engine/engine.h"
#include "metrics/log.h"
#include "metrics/metrics.h"
#include "server/checkpoint_maker.h"
#include "server/mutex.h"

namespace mptd {

struct BackupOptions {
  std::string dir;  // empty: none are made
  absl::Duration interval = absl::Hours(24);
  uint64_t keep = 7;
};

class BackupSchedule {
 public:
  // All arguments but `options` outlive this object.
  BackupSchedule(BackupOptions options, const StateEngine& engine, CheckpointMaker& maker, Logger& log);
  ~BackupSchedule() { Stop(); }

  // Starts the thread.
  void Start();
  // Waits for a checkpoint that is under way; CheckpointMaker::Stop makes that short.
  void Stop();

  // One turn: removes what an interrupted one left, makes a checkpoint unless the head is that of the newest, removes
  // the oldest. Logs an error and returns it. Called by the thread; by tests without one.
  absl::Status RunOnce();
  // How long after `now` the first turn is due: the interval counts from the newest checkpoint.
  absl::Duration UntilFirst(absl::Time now);
  // How long after a turn that ended like this the next one is due.
  absl::Duration UntilNext(const absl::Status& turn) const;

  void Write(MetricsWriter& writer) const;

 private:
  void Run();
  absl::Status MakeOne();
  void Remember(const backup::Manifest& newest);
  absl::Status RemoveOld();

  const BackupOptions options_;
  const StateEngine& engine_;
  CheckpointMaker& maker_;
  Logger& log_;

  std::atomic<uint64_t> made_{0};
  std::atomic<uint64_t> failed_{0};
  std::atomic<int64_t> last_made_seconds_{0};  // 0: none that this daemon knows of
  std::atomic<uint64_t> last_block_{0};

  Mutex mutex_;
  std::condition_variable_any changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace mptd
