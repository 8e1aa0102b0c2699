// Makes segment files ahead of the change log's writer, in a thread of its own: full of zeros, or an old segment used
// again, synced, with a header and a new salt. A sync after writing into such a file has no metadata to write (measured
// here: 0.13 ms instead of 0.3 ms for 60 KB).
//
// Thread-safe, except that Take is called by one thread at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/log_file.h"
#include "storage/mutex.h"

namespace mptd::storage {

struct MadeSegment {
  std::unique_ptr<LogFile> file;
  std::string path;  // a temporary name; rename it to use it
  uint64_t salt = 0;
  uint64_t bytes = 0;
};

class SegmentMaker {
 public:
  // `files` must outlive this. Temporary names are <dir>/*.tmp; none may exist yet.
  SegmentMaker(LogFileSystem& files, std::string dir, uint64_t segment_bytes);
  ~SegmentMaker();  // abandons a file in the making, and removes what nobody took
  SegmentMaker(const SegmentMaker&) = delete;
  SegmentMaker& operator=(const SegmentMaker&) = delete;

  // The next segment, waiting for it if need be, and begins to make another. When the thread has failed the caller
  // tries once more itself, and gets its error.
  absl::StatusOr<MadeSegment> Take() ABSL_LOCKS_EXCLUDED(mutex_);

  // True when a used segment would be welcome. Then rename one to spare_path(), sync the folder, and tell by AddSpare.
  bool WantsSpare() const ABSL_LOCKS_EXCLUDED(mutex_);
  const std::string& spare_path() const { return spare_path_; }
  void AddSpare() ABSL_LOCKS_EXCLUDED(mutex_);

  uint64_t disk_bytes() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<MadeSegment> Make() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status FillWithZeros(LogFile& file) const;
  bool TakeSpare() ABSL_LOCKS_EXCLUDED(mutex_);

  // Constant after construction.
  LogFileSystem& files_;
  const std::string dir_;
  const uint64_t segment_bytes_;
  const std::string spare_path_;

  std::atomic<bool> stopping_ = false;
  std::atomic<uint64_t> next_number_ = 1;

  mutable Mutex mutex_;
  CondVar changed_;
  bool making_ ABSL_GUARDED_BY(mutex_) = false;  // asked for, or under way
  bool failed_ ABSL_GUARDED_BY(mutex_) = false;  // the thread gave up until the next Take
  bool spare_ ABSL_GUARDED_BY(mutex_) = false;   // there is a file at spare_path_
  std::optional<MadeSegment> ready_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace mptd::storage
