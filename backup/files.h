// The files of a checkpoint: hashing, comparing, copying and naming them. What can take long asks `progress` whether to
// go on, and ends with CANCELLED when not. Errors name the file. Safe from any thread; two threads must not work on the
// same folder when one of them writes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backup/manifest.h"

namespace mptd::backup {

// Gets the bytes done so far. May be empty.
using Progress = std::function<bool(uint64_t bytes)>;

std::string WithoutSlashes(std::string dir);

// Makes one folder; an existing one is fine. NOT_FOUND when its parent is not there.
absl::Status MakeFolder(const std::string& dir);

std::string Sha256(std::string_view text);

// NOT_FOUND when there is none; for small files.
absl::StatusOr<std::string> ReadWhole(const std::string& path);
// Durably, and whole or not at all.
absl::Status WriteWhole(const std::string& path, std::string_view text);

// The paths of all files in `dir` but the manifest, relative and sorted. DATA_LOSS when something in it is neither a
// file nor a folder.
absl::StatusOr<std::vector<std::string>> ListFiles(const std::string& dir);
// The same with size and hash.
absl::StatusOr<std::vector<FileEntry>> HashFiles(const std::string& dir, const Progress& progress);

struct Difference {
  std::string path;
  std::string what;  // "is missing", "has 10 bytes instead of 12", ...
};
// Where `dir` is not what the manifest says, by names and sizes alone, or by contents too. Files that the manifest does
// not name, and empty folders in which it names none, are differences.
absl::StatusOr<std::vector<Difference>> CompareNames(const std::string& dir, const Manifest& manifest);
absl::StatusOr<std::vector<Difference>> CompareContents(const std::string& dir, const Manifest& manifest,
                                                        const Progress& progress);
// The same of one file; empty when it is as it must be.
absl::StatusOr<std::string> CompareFile(const std::string& dir, const FileEntry& file, const Progress& progress);

// How a file came into another folder.
enum class Placing { kCloned, kLinked, kCopied };
// Puts the file `from` at `to`, which must not exist: shares the blocks where the file system can, else makes another
// name of the same file when `may_link`, else copies and syncs.
absl::StatusOr<Placing> PlaceFile(const std::string& from, const std::string& to, bool may_link);

// Makes all files and folders in `dir`, and itself, durable.
absl::Status SyncTree(const std::string& dir);
// Gives the folder `from` the name `to`, durably. ALREADY_EXISTS when something is there; nothing is replaced but, with
// `over_empty`, an empty folder.
absl::Status MoveDirectory(const std::string& from, const std::string& to, bool over_empty);

}  // namespace mptd::backup
