// The write-ahead log: numbered records, appended in order, each with a checksum, in segment files made ahead.
//
// Owned by the engine. Append is called by one thread (the writer). TruncateThrough may be called by another at the
// same time, one at a time; Sync, durable_lsn(), last_lsn() and disk_bytes() by any. A write or sync that failed once
// makes every later Append and Sync fail with UNAVAILABLE until the log is opened again: after a failed fsync the
// kernel may have dropped the dirty pages and marked them clean, so a second one would report success for data that is
// lost. A full disk is the exception: it is noticed before anything is lost.
//
// The bytes on disk are described in log_format.h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mptd::storage {

class DataKeys;
class LogFileSystem;

struct ChangeLogOptions {
  std::string dir;
  uint64_t segment_bytes = 16u << 20;  // at least 4 KiB; a segment grows past it for one larger record
  // While less is free, Append does not go on in a new segment: the rest is for the tables, whose own small writes must
  // not meet a full disk. Open does, so that what is there can be read.
  uint64_t reserved_disk_bytes = 0;
  LogFileSystem* files = nullptr;        // null is the operating system. Must outlive the log.
  std::shared_ptr<const DataKeys> keys;  // records are encrypted with them; null: they are not (encrypted_log.h)
};

class ChangeLog {
 public:
  // Called for each record in order of lsn during Open. An error stops the opening and is returned. The payload is
  // valid during the call. When Open fails, records before the fault may have been replayed.
  using Replay = std::function<absl::Status(uint64_t lsn, std::string_view payload)>;

  // Opens the folder, made when absent (its parent must exist), and replays every record with lsn > `after_lsn`, which
  // the caller has in its tables. A record that does not check out ends the log when nothing shows that it had ever
  // been durable (a torn tail: it and what follows is discarded). When a later record says that it had been durable, or
  // the record after `after_lsn` is gone while later ones are there, that is DATA_LOSS naming the file and offset.
  // Afterwards everything that was replayed is durable, and new records follow the last good one or `after_lsn`,
  // whichever is higher. A crash during Open loses nothing that was durable. RESOURCE_EXHAUSTED when there is no space
  // for a segment.
  static absl::StatusOr<std::unique_ptr<ChangeLog>> Open(const ChangeLogOptions& options, uint64_t after_lsn,
                                                         const Replay& replay);
  // Waits for its own threads; does not sync.
  virtual ~ChangeLog() = default;

  // Writes one record to the operating system; it survives a killed process, and a power cut only after Sync.
  // Returns its lsn, one more than the last. RESOURCE_EXHAUSTED when the disk is full, or nearly: nothing has been
  // appended and later appends may succeed. INVALID_ARGUMENT for more than 1 GiB.
  virtual absl::StatusOr<uint64_t> Append(std::string_view payload) = 0;
  // Makes everything appended before the call durable (fdatasync). Waits for a Sync that is under way.
  virtual absl::Status Sync() = 0;

  // Drops segments that hold only records with lsn <= `lsn`; they are in the tables, durably. The current segment
  // stays. An error leaves the log usable; what was not dropped is dropped by a later call.
  virtual absl::Status TruncateThrough(uint64_t lsn) = 0;
  // Drops every segment, by the thread that appends: all records are in the tables, durably, and nothing is to be
  // appended any more. What an error leaves there, the next Open finds.
  virtual absl::Status RemoveAll() = 0;

  virtual uint64_t first_lsn() const = 0;  // that the oldest segment begins with; any thread
  virtual uint64_t last_lsn() const = 0;   // `after_lsn` when nothing was appended yet
  virtual uint64_t durable_lsn() const = 0;
  virtual uint64_t disk_bytes() const = 0;
  // The data keys that records which are still there may need. Any thread.
  virtual std::set<uint32_t> KeysInUse() const { return {}; }
};

struct ChangeLogSummary {
  uint64_t segments = 0;
  uint64_t records = 0;
  uint64_t first_lsn = 0;  // 0 when there are no records
  uint64_t last_lsn = 0;
  uint64_t disk_bytes = 0;
};

// Reads and checks every record of a folder that no process has open, and changes nothing. DATA_LOSS as in Open; a torn
// tail is no error. NOT_FOUND when there is no such folder.
// With `keys` the records must be encrypted with them: those of data keys that are gone are in the tables, and are
// counted only.
absl::StatusOr<ChangeLogSummary> CheckChangeLog(const std::string& dir, LogFileSystem* files = nullptr,
                                                const std::shared_ptr<const DataKeys>& keys = nullptr);

}  // namespace mptd::storage
