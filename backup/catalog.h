// A folder of checkpoints: which are there, and which are one too many. Checkpoints that a daemon makes by itself have
// names that only they have; nothing with another name is ever removed. One thread changes a folder at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "backup/manifest.h"

namespace mptd::backup {

// Behind the name of a checkpoint that is being made or removed.
inline constexpr char kPartialSuffix[] = ".partial";

// "checkpoint-000000000017-20260102T030405Z".
std::string CheckpointName(uint64_t number, absl::Time created);
// The block number in such a name; nullopt for any other text.
std::optional<uint64_t> NumberInName(std::string_view name);

enum class CheckpointState {
  kComplete,  // names and sizes of all files are as in the manifest
  kPartial,   // remains of one that was interrupted
  kDamaged,   // has a manifest that cannot be read or does not fit the files
};

struct Listed {
  std::string name;
  CheckpointState state = CheckpointState::kComplete;
  std::optional<Manifest> manifest;  // when it can be read
  std::string problem;               // of a damaged one
};

// The checkpoints in `dir`, whatever their names, in the order of their blocks; those without a manifest last.
absl::StatusOr<std::vector<Listed>> ListCheckpoints(const std::string& dir);
// The complete one that was made last; null when there is none.
const Listed* Newest(const std::vector<Listed>& listed);

// Whether a folder holds nothing but what an interrupted checkpoint leaves.
bool LooksLikeRemains(const std::string& path);
absl::Status RemoveTree(const std::string& path);

// Removes the remains of scheduled checkpoints in `dir` and returns their names. No checkpoint may be under way.
absl::StatusOr<std::vector<std::string>> RemoveRemains(const std::string& dir);
// Removes the oldest complete scheduled checkpoints in `dir` but `keep`, and returns their names. A damaged one, or one
// that a daemon has been started on, is neither counted nor removed.
absl::StatusOr<std::vector<std::string>> RemoveOldest(const std::string& dir, uint64_t keep);

}  // namespace mptd::backup
