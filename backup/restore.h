// Makes a data folder of a checkpoint. The only part of backups that opens the engine. Safe from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "backup/manifest.h"
#include "storage/secret_key.h"

namespace mptd::backup {

struct RestoreOptions {
  std::string checkpoint;
  std::string data_dir;  // must not exist, or be empty
  bool full = false;     // recompute every trie, not only follow one path from the root
  // The master key of an encrypted checkpoint. With a key, a checkpoint that is not encrypted becomes data that is.
  storage::KeySource encryption_key = {};
  // Gets what is being done, and how much of it where that is known (0 to 1, else negative).
  std::function<void(const std::string& what, double done)> progress;
};

struct Restored {
  Manifest manifest;
  // How many files came how.
  uint64_t cloned = 0;
  uint64_t linked = 0;
  uint64_t copied = 0;
};

// Checks every hash, makes a copy beside `data_dir`, opens it and compares block and state root, and only then gives it
// its name; the checkpoint is not changed. Encrypted data stays as it is, and needs its key here. On an error nothing
// of the copy stays. DATA_LOSS: the checkpoint is damaged, with the file; FAILED_PRECONDITION: `data_dir` holds
// something, the key is not the right one, or a newer program made the checkpoint; NOT_FOUND: no checkpoint, or no
// folder to make `data_dir` in; else what the system said.
absl::StatusOr<Restored> Restore(const RestoreOptions& options);

}  // namespace mptd::backup
