// What a checkpoint is: a folder with the data and the file CHECKPOINT.json, which says which block it is and what is
// in every other file. It is written last, so that a folder without it is not a checkpoint. Start reading here.
//
// The functions touch nothing but the files that they are given; safe from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/engine/block.h"

namespace mptd::backup {

inline constexpr char kManifestName[] = "CHECKPOINT.json";
// Raised by a change that an older program cannot read; a number never changes its meaning.
inline constexpr uint64_t kManifestVersion = 1;

struct FileEntry {
  std::string path;  // relative to the checkpoint, parts separated by '/'
  uint64_t bytes = 0;
  std::string sha256;  // 64 lower-case digits

  friend bool operator==(const FileEntry&, const FileEntry&) = default;
};

struct Manifest {
  std::string daemon_version;
  absl::Time created;  // whole seconds
  BlockInfo block;
  std::optional<Hash> genesis_root;
  std::vector<FileEntry> files;  // every file but the manifest, in the order of their paths

  uint64_t bytes() const;
  friend bool operator==(const Manifest&, const Manifest&) = default;
};

// JSON with a checksum over itself.
std::string FormatManifest(const Manifest& manifest);
// DATA_LOSS: not what FormatManifest wrote. FAILED_PRECONDITION: a newer program wrote it. `where` stands in the
// message.
absl::StatusOr<Manifest> ParseManifest(std::string_view text, const std::string& where);

// NOT_FOUND when `dir` has no manifest, else as ParseManifest.
absl::StatusOr<Manifest> ReadManifest(const std::string& dir);
// Durably, and whole or not at all; replaces one that is there.
absl::Status WriteManifest(const std::string& dir, const Manifest& manifest);

}  // namespace mptd::backup
