// Reading a change log folder: which records are there, where the log ends, and whether anything is missing. Writes
// nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/log_file.h"

namespace mptd::storage {

struct ScannedSegment {
  std::string path;
  uint64_t first_lsn = 0;
  uint64_t file_bytes = 0;
  uint64_t last_lsn = 0;        // of its good records; first_lsn - 1 when it has none
  uint64_t good_end = 0;        // offset behind the last good record
  uint64_t unproven_begin = 0;  // offset of the first record that `LogScan::proven_lsn` does not cover, else good_end
};

struct LogScan {
  std::vector<ScannedSegment> segments;  // in order; those that end before `after_lsn` have not been read
  std::vector<std::string> discarded;    // segments behind a torn tail, in order
  std::vector<std::string> leftovers;    // unfinished segments of an earlier process
  uint64_t last_lsn = 0;                 // 0 when there is no record
  uint64_t proven_lsn = 0;               // records up to this one say themselves that they were synced
  uint64_t records = 0;                  // read and found good
};

// Reads the folder and calls `replay` for every good record with lsn > `after_lsn`, in order; a null `replay` is not
// called. The log must not begin later than after_lsn + 1; without `after_lsn` it may begin anywhere. Segments whose
// records all have lsn <= `after_lsn` are not read.
//
// A record that does not check out ends the log. It is DATA_LOSS, naming file and offset, when any record behind it, in
// this or a later segment, was written after this one and record after_lsn + 1 had become durable. Otherwise nothing
// that is asked for ever was durable, and the rest is discarded.
absl::StatusOr<LogScan> ScanLog(LogFileSystem& files, const std::string& dir, std::optional<uint64_t> after_lsn,
                                const std::function<absl::Status(uint64_t lsn, std::string_view payload)>& replay);

}  // namespace mptd::storage
