// The audit log: a file that lines are only ever appended to, each sealed by audit_chain.h. Safe from any thread.
//
// A line is written when it is added, in one write, so that a killed process loses none; a thread of the log's own
// syncs the file once a second, so that a power cut loses the lines of that second at most. A line that cannot be
// written waits in memory and is written before the next one.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "security/audit_chain.h"
#include "storage/mutex.h"

namespace mptd::security {

struct AuditOptions {
  std::string file;
  // Changes are refused while a line waits that cannot be written.
  bool required = true;
  size_t max_waiting = 10'000;  // lines; more are counted, and one line tells how many
  // Of refusals, which anybody can cause: so many at once, and then so many a second, are written.
  double max_refusals = 1'000;
  double refusals_per_second = 10;
  // As write(2); for tests that make it fail. Empty: write(2).
  std::function<ssize_t(int fd, const void* data, size_t size)> write;
};

struct AuditStatus {
  AuditHead head;
  uint64_t lines = 0;  // since the start
  uint64_t failed_writes = 0;
  uint64_t failed_syncs = 0;
  uint64_t waiting = 0;
  uint64_t lost = 0;
  uint64_t left_out = 0;  // refusals that have no line, for there were too many
};

class AuditLog {
 public:
  // Goes on where the file ends, with a line about torn bytes when it does not end in a whole one. Makes the file (mode
  // 0600) when it is not there, which begins a new chain. FAILED_PRECONDITION: it cannot be opened, another process
  // writes to it, or its end is not of an audit log.
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(AuditOptions options);
  // Writes what waits, if it can be, syncs and ends the thread.
  ~AuditLog();
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  void Add(AuditEntry entry);
  // To be asked before a line about somebody who was refused, for nobody may fill the disk with these. False: there are
  // too many. This one is counted, and within a second or two one line ("refusals_left_out") tells how many they were.
  bool HasRoomForRefusal(absl::Time now);
  // To be asked before a change: UNAVAILABLE when lines are required and those that wait cannot be written now, either.
  absl::Status CheckWritable();
  // After the file was renamed: goes on in a new one of the old name, whose first line ("continued") follows the last
  // one of the old file. Does nothing when the file is still there. With an error the old file stays in use.
  absl::Status Reopen();
  AuditStatus status() const;

 private:
  explicit AuditLog(AuditOptions options) : options_(std::move(options)) {}
  void SyncNowAndThen();
  void AddLocked(AuditEntry entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TellLeftOut() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status OpenFile() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Recover() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status WriteWaiting() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status WriteEntry(const AuditEntry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status WriteBytes(std::string_view bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const AuditOptions options_;
  mutable storage::Mutex mutex_;
  int fd_ ABSL_GUARDED_BY(mutex_) = -1;
  AuditStatus status_ ABSL_GUARDED_BY(mutex_);
  std::deque<AuditEntry> waiting_ ABSL_GUARDED_BY(mutex_);
  uint64_t lost_untold_ ABSL_GUARDED_BY(mutex_) = 0;  // that no line tells of yet
  double refusal_room_ ABSL_GUARDED_BY(mutex_) = 0;   // lines, as of the time beside it
  absl::Time refusal_room_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  uint64_t left_out_untold_ ABSL_GUARDED_BY(mutex_) = 0;
  // Bytes behind the last whole line.
  std::string torn_ ABSL_GUARDED_BY(mutex_);
  bool synced_ ABSL_GUARDED_BY(mutex_) = true;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::condition_variable_any stopped_;
  std::thread syncer_;  // started by Open
};

}  // namespace mptd::security
