#include "storage/change_log.h"

#include <array>
#include <atomic>
#include <deque>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "storage/encrypted_log.h"
#include "storage/log_file.h"
#include "storage/log_format.h"
#include "storage/log_scan.h"
#include "storage/mutex.h"
#include "storage/segment_maker.h"

namespace mptd::storage {
namespace {

struct Segment {
  std::string path;
  uint64_t first_lsn = 0;
  uint64_t bytes = 0;
  std::shared_ptr<LogFile> file;  // null for segments of an earlier process: they are complete and synced
  bool dirty = false;             // holds appended records that no sync has covered
};

class SegmentedLog final : public ChangeLog {
 public:
  SegmentedLog(const ChangeLogOptions& options, LogFileSystem& files) : options_(options), files_(files) {}

  absl::Status Recover(uint64_t after_lsn, const Replay& replay);

  absl::StatusOr<uint64_t> Append(std::string_view payload) override;
  absl::Status Sync() override;
  absl::Status TruncateThrough(uint64_t lsn) override;
  absl::Status RemoveAll() override;
  uint64_t first_lsn() const override {
    MutexLock lock(mutex_);
    return segments_.empty() ? last_lsn_ + 1 : segments_.front().first_lsn;
  }
  uint64_t last_lsn() const override { return last_lsn_; }
  uint64_t durable_lsn() const override { return durable_lsn_; }
  uint64_t disk_bytes() const override;

 private:
  absl::Status Discard(const LogScan& scan);
  absl::Status MakeReplayedDurable(const LogScan& scan);
  absl::Status CheckRoom() const;
  absl::Status StartSegment();
  absl::Status Failure() const {
    MutexLock lock(mutex_);
    return failure_;
  }
  absl::Status Fail(const absl::Status& cause);

  // Constant after Recover.
  const ChangeLogOptions options_;
  LogFileSystem& files_;
  std::unique_ptr<SegmentMaker> maker_;  // self-synchronised

  // Used by the writer.
  std::shared_ptr<LogFile> current_;
  uint64_t salt_ = 0;
  uint64_t end_ = 0;                    // where the next record goes
  uint64_t capacity_ = 0;               // of the current segment
  std::optional<MadeSegment> unnamed_;  // taken, but renaming it failed

  // Written under mutex_ or by the writer, read by any.
  std::atomic<uint64_t> last_lsn_ = 0;
  std::atomic<uint64_t> durable_lsn_ = 0;

  // Held during a sync: who finds nothing left to write must not say that it is durable while another is still at it.
  Mutex sync_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  mutable Mutex mutex_;
  std::deque<Segment> segments_ ABSL_GUARDED_BY(mutex_);  // in order; the last one is current
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);          // sticky
};

// The order matters, so that a crash at any point leaves a folder which the next Open understands the same way: what
// was found good is made durable first; then the segments behind a torn tail go, highest first, and durably, because
// records with the same numbers are written next; only then the new segment gets its name.
absl::Status SegmentedLog::Recover(uint64_t after_lsn, const Replay& replay) {
  if (absl::Status status = files_.MakeDir(options_.dir); !status.ok()) return status;
  absl::StatusOr<LogScan> scan = ScanLog(files_, options_.dir, after_lsn, replay);
  if (!scan.ok()) return scan.status();
  if (scan->last_lsn < after_lsn) {
    // The tables are ahead of what is left of the log. New records must be numbered above `after_lsn`, else they would
    // not be replayed, and all that is here is in the tables.
    for (size_t i = scan->segments.size(); i-- > 0;) {
      scan->discarded.insert(scan->discarded.begin(), scan->segments[i].path);
    }
    scan->segments.clear();
    scan->last_lsn = after_lsn;
  } else if (absl::Status status = MakeReplayedDurable(*scan); !status.ok()) {
    return status;
  }
  if (absl::Status status = Discard(*scan); !status.ok()) return status;

  last_lsn_ = scan->last_lsn;
  durable_lsn_ = scan->last_lsn;
  {
    MutexLock lock(mutex_);
    for (const ScannedSegment& segment : scan->segments) {
      // An empty last one is replaced by the new segment, which has the same name.
      if (segment.first_lsn > scan->last_lsn) continue;
      segments_.push_back({segment.path, segment.first_lsn, segment.file_bytes, nullptr, false});
    }
  }
  maker_ = std::make_unique<SegmentMaker>(files_, options_.dir, options_.segment_bytes);
  return StartSegment();
}

absl::Status SegmentedLog::Discard(const LogScan& scan) {
  if (scan.discarded.empty() && scan.leftovers.empty()) return absl::OkStatus();
  for (size_t i = scan.discarded.size(); i-- > 0;) {
    if (absl::Status status = files_.Remove(scan.discarded[i]); !status.ok()) return status;
    // Each before the next: were a lower one gone and a higher one still there after a power cut, the next Open would
    // miss what lay between them.
    if (absl::Status status = files_.SyncDir(options_.dir); !status.ok()) return status;
  }
  for (const std::string& path : scan.leftovers) {
    if (absl::Status status = files_.Remove(path); !status.ok()) return status;
  }
  return scan.leftovers.empty() ? absl::OkStatus() : files_.SyncDir(options_.dir);
}

// Records that were read may be in the operating system's memory only, and if a sync of them has failed in an earlier
// process, another sync would do nothing and report success. So their bytes are written again, in place, before.
absl::Status SegmentedLog::MakeReplayedDurable(const LogScan& scan) {
  for (const ScannedSegment& segment : scan.segments) {
    if (segment.unproven_begin >= segment.good_end) continue;
    absl::StatusOr<std::unique_ptr<LogFile>> file = files_.Open(segment.path, LogFileSystem::Mode::kWrite);
    if (!file.ok()) return file.status();
    std::string bytes;
    absl::Status status = (*file)->Read(segment.unproven_begin, segment.good_end - segment.unproven_begin, &bytes);
    const std::string_view part = bytes;
    if (status.ok()) status = (*file)->Write(segment.unproven_begin, {&part, 1});
    if (status.ok()) status = (*file)->Sync();
    if (!status.ok()) return status;
  }
  return files_.SyncDir(options_.dir);
}

absl::Status SegmentedLog::Fail(const absl::Status& cause) {
  MutexLock lock(mutex_);
  if (failure_.ok()) {
    failure_ = absl::UnavailableError(
        absl::StrFormat("the change log in %s failed and takes no more records until it is opened again: %s",
                        options_.dir, std::string(cause.message())));
  }
  return failure_;
}

absl::Status SegmentedLog::CheckRoom() const {
  const uint64_t free_bytes = files_.FreeBytes(options_.dir);
  if (free_bytes >= options_.reserved_disk_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrFormat(
      "the disk of %s is nearly full: %d bytes are free, %d are reserved; make room, and writing goes on by itself",
      options_.dir, free_bytes, options_.reserved_disk_bytes));
}

// Goes on in a new segment. A full disk changes nothing, any other failure is final.
absl::Status SegmentedLog::StartSegment() {
  if (!unnamed_) {
    absl::StatusOr<MadeSegment> made = maker_->Take();
    if (!made.ok()) return absl::IsResourceExhausted(made.status()) ? made.status() : Fail(made.status());
    unnamed_ = *std::move(made);
  }
  const uint64_t first_lsn = last_lsn_ + 1;
  const std::string path = absl::StrFormat("%s/%s", options_.dir, SegmentName(first_lsn));
  if (absl::Status status = files_.Rename(unnamed_->path, path); !status.ok()) {
    return absl::IsResourceExhausted(status) ? status : Fail(status);
  }
  if (absl::Status status = files_.SyncDir(options_.dir); !status.ok()) return Fail(status);
  current_ = std::move(unnamed_->file);
  salt_ = unnamed_->salt;
  end_ = kSegmentHeaderBytes;
  capacity_ = unnamed_->bytes;
  unnamed_.reset();
  MutexLock lock(mutex_);
  segments_.push_back({path, first_lsn, capacity_, current_, false});
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> SegmentedLog::Append(std::string_view payload) {
  if (payload.size() > kMaxPayloadBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a change log record of %d bytes; at most %d are possible", payload.size(), kMaxPayloadBytes));
  }
  if (absl::Status status = Failure(); !status.ok()) return status;
  const uint64_t record_bytes = RecordBytes(payload.size());
  if (end_ + record_bytes > capacity_ && end_ > kSegmentHeaderBytes) {
    if (absl::Status status = CheckRoom(); !status.ok()) return status;
    if (absl::Status status = StartSegment(); !status.ok()) return status;
  }
  RecordHeader header;
  header.payload_hash = HashPayload(payload, salt_);
  header.payload_bytes = static_cast<uint32_t>(payload.size());
  header.lsn = last_lsn_ + 1;
  header.durable_lsn = durable_lsn_;
  const auto encoded = EncodeRecordHeader(header, salt_);
  constexpr std::string_view kZeros("\0\0\0\0\0\0\0", 7);
  const std::array<std::string_view, 3> parts = {std::string_view(encoded.data(), encoded.size()), payload,
                                                 kZeros.substr(0, record_bytes - kRecordHeaderBytes - payload.size())};
  if (absl::Status status = current_->Write(end_, parts); !status.ok()) {
    // What was written of it is overwritten by the next record.
    return absl::IsResourceExhausted(status) ? status : Fail(status);
  }
  end_ += record_bytes;
  MutexLock lock(mutex_);
  if (!failure_.ok()) return failure_;
  if (end_ > capacity_) segments_.back().bytes = capacity_ = end_;
  segments_.back().dirty = true;
  last_lsn_ = header.lsn;
  return header.lsn;
}

absl::Status SegmentedLog::Sync() {
  const MutexLock sync_lock(sync_mutex_);
  uint64_t target = 0;
  std::vector<std::shared_ptr<LogFile>> dirty;
  {
    MutexLock lock(mutex_);
    if (!failure_.ok()) return failure_;
    target = last_lsn_;
    for (Segment& segment : segments_) {
      if (std::exchange(segment.dirty, false)) dirty.push_back(segment.file);
    }
  }
  for (const std::shared_ptr<LogFile>& file : dirty) {
    if (absl::Status status = file->Sync(); !status.ok()) return Fail(status);
  }
  MutexLock lock(mutex_);
  if (!failure_.ok()) return failure_;
  if (target > durable_lsn_) durable_lsn_ = target;
  return absl::OkStatus();
}

absl::Status SegmentedLog::TruncateThrough(uint64_t lsn) {
  bool spare = false;
  bool changed = false;
  while (true) {
    std::string path;
    uint64_t bytes = 0;
    {
      MutexLock lock(mutex_);
      if (segments_.size() < 2 || segments_[1].first_lsn > lsn + 1) break;
      path = segments_.front().path;
      bytes = segments_.front().bytes;
    }
    const bool keep = !spare && bytes == options_.segment_bytes && maker_->WantsSpare();
    const absl::Status status = keep ? files_.Rename(path, maker_->spare_path()) : files_.Remove(path);
    if (!status.ok() && !absl::IsNotFound(status)) return status;
    spare = spare || (keep && status.ok());
    changed = true;
    MutexLock lock(mutex_);
    segments_.pop_front();
  }
  if (!changed) return absl::OkStatus();
  // A spare is written over: not before its old name is gone for good.
  if (absl::Status status = files_.SyncDir(options_.dir); !status.ok()) return status;
  if (spare) maker_->AddSpare();
  return absl::OkStatus();
}

// Lowest first, so that what a crash leaves has no gap.
absl::Status SegmentedLog::RemoveAll() {
  if (absl::Status status = TruncateThrough(last_lsn_); !status.ok()) return status;
  MutexLock lock(mutex_);
  if (failure_.ok()) failure_ = absl::FailedPreconditionError("the change log is closed");
  for (; !segments_.empty(); segments_.pop_front()) {
    const absl::Status status = files_.Remove(segments_.front().path);
    if (!status.ok() && !absl::IsNotFound(status)) return status;
  }
  return files_.SyncDir(options_.dir);
}

uint64_t SegmentedLog::disk_bytes() const {
  uint64_t sum = maker_->disk_bytes();
  MutexLock lock(mutex_);
  for (const Segment& segment : segments_) sum += segment.bytes;
  return sum;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChangeLog>> ChangeLog::Open(const ChangeLogOptions& options, uint64_t after_lsn,
                                                           const Replay& replay) {
  if (options.segment_bytes < 4096) return absl::InvalidArgumentError("a change log segment needs at least 4096 bytes");
  if (options.keys != nullptr) return OpenEncryptedLog(options, after_lsn, replay);
  LogFileSystem& files = options.files != nullptr ? *options.files : *PosixLogFileSystem();
  auto log = std::make_unique<SegmentedLog>(options, files);
  if (absl::Status status = log->Recover(after_lsn, replay); !status.ok()) return status;
  return log;
}

absl::StatusOr<ChangeLogSummary> CheckChangeLog(const std::string& dir, LogFileSystem* files,
                                                const std::shared_ptr<const DataKeys>& keys) {
  LogDecryptor decryptor(keys);
  ChangeLog::Replay check;
  if (keys != nullptr) {
    check = [&](uint64_t lsn, std::string_view record) {
      return decryptor.Knows(record) ? decryptor.Open(lsn, record).status() : absl::OkStatus();
    };
  }
  const absl::StatusOr<LogScan> scan =
      ScanLog(files != nullptr ? *files : *PosixLogFileSystem(), dir, std::nullopt, check);
  if (!scan.ok()) return scan.status();
  ChangeLogSummary summary;
  summary.segments = scan->segments.size();
  summary.records = scan->records;
  summary.last_lsn = scan->last_lsn;
  if (scan->records > 0) summary.first_lsn = scan->segments.front().first_lsn;
  for (const ScannedSegment& segment : scan->segments) summary.disk_bytes += segment.file_bytes;
  return summary;
}

}  // namespace mptd::storage
