// Reading every byte of a store that nobody has open, and comparing it with its checksums. Changes nothing.
// Safe from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/data_keys.h"

namespace mptd::storage {

struct DamagedFile {
  std::string path;
  std::string table;  // that it is of; empty for what is of all of them
  std::string what;
};

struct TablesReport {
  uint64_t files = 0;  // table files that were read
  uint64_t bytes = 0;
  std::vector<DamagedFile> damaged;  // by path; empty when all is whole
};

// Checks CURRENT, the manifest that it names, and all blocks of every table file that the manifest names. RocksDB's
// OPTIONS, IDENTITY and text logs are left out: nothing that is served depends on them. NOT_FOUND when there is no
// store in `dir`, UNAVAILABLE or PERMISSION_DENIED when it cannot be read. `keys` is null for data that is not
// encrypted.
absl::StatusOr<TablesReport> CheckTables(const std::string& dir, const std::shared_ptr<const DataKeys>& keys);

}  // namespace mptd::storage
