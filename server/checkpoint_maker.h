// Makes checkpoints that can be verified: the engine's copy of its data, and a manifest of it. The folder has another
// name until it is complete. Safe from any thread; one checkpoint is made at a time, others wait.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "backup/manifest.h"
#include "core/engine/engine.h"
#include "metrics/log.h"
#include "server/mutex.h"

namespace mptd {

class CheckpointMaker {
 public:
  // `engine` and `log` outlive this object; `version` is the daemon's.
  CheckpointMaker(StateEngine& engine, std::string version, Logger& log)
      : engine_(engine), version_(std::move(version)), log_(log) {}

  // Makes the folder `dir` and says what is in it; with `verify`, after it has read all of it again. ALREADY_EXISTS
  // when something of that name is there, CANCELLED after Stop, DATA_LOSS when a file differs from what was written,
  // else what the engine or the system said. What an attempt has left is removed.
  absl::StatusOr<backup::Manifest> Make(const std::string& dir, bool verify);
  // The same in the existing folder `parent`, under the name of a scheduled checkpoint. The name of the new folder is
  // returned in `name`.
  absl::StatusOr<backup::Manifest> MakeIn(const std::string& parent, std::string& name);

  // Ends what is under way soon, and refuses what comes after.
  void Stop() { stopping_ = true; }

 private:
  using NameFor = std::function<std::string(const backup::Manifest&)>;
  absl::StatusOr<backup::Manifest> MakeNamed(const std::string& partial, const NameFor& name, bool verify);
  absl::StatusOr<backup::Manifest> Fill(const std::string& partial, bool verify);

  StateEngine& engine_;
  const std::string version_;
  Logger& log_;
  std::atomic<bool> stopping_{false};
  Mutex making_;
};

}  // namespace mptd
