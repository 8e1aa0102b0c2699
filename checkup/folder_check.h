// Whether the data in a folder that no daemon uses is whole, which file is not, and what can be done about it.
// Safe from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/secret_key.h"

namespace mptd::checkup {

struct Damage {
  std::string file;
  std::string what;
};

struct FolderReport {
  uint64_t table_files = 0;
  uint64_t table_bytes = 0;
  uint64_t log_records = 0;
  std::optional<uint64_t> block;  // that the tables are at; nullopt when they hold none, or cannot be read
  std::vector<Damage> damage;     // empty when all is whole
  bool only_log = false;          // there is damage, and it is in the change log alone
  std::string advice;             // empty when all is whole
};

// Reads every file that the daemon's answers depend on and compares checksums; changes nothing. Whether the tables fit
// together is another question, which the daemon's Verify answers. `key` is that of encrypted data, else empty.
// NOT_FOUND when `dir` is no data folder, FAILED_PRECONDITION when a process has it, a newer program made it, or the key
// is not the right one, else what kept it from being read.
absl::StatusOr<FolderReport> CheckFolder(const std::string& dir, const storage::KeySource& key);

// For a folder whose damage is in the change log alone: moves the log aside, so that a daemon starts at the block that
// the tables are at. Returns where it is now. FAILED_PRECONDITION for any other folder, and changes nothing then.
absl::StatusOr<std::string> SetLogAside(const std::string& dir, const storage::KeySource& key);

}  // namespace mptd::checkup
