#include "storage/log_scan.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "storage/log_format.h"

namespace mptd::storage {
namespace {

using Replay = std::function<absl::Status(uint64_t lsn, std::string_view payload)>;

struct LoadedSegment {
  std::string bytes;
  uint64_t salt = 0;
};

absl::StatusOr<LoadedSegment> Load(LogFileSystem& files, const std::string& path) {
  absl::StatusOr<std::unique_ptr<LogFile>> file = files.Open(path, LogFileSystem::Mode::kRead);
  if (!file.ok()) return file.status();
  const absl::StatusOr<uint64_t> size = (*file)->Size();
  if (!size.ok()) return size.status();
  LoadedSegment loaded;
  if (absl::Status status = (*file)->Read(0, *size, &loaded.bytes); !status.ok()) return status;
  const absl::StatusOr<uint64_t> salt = DecodeSegmentHeader(loaded.bytes);
  // A segment gets its name only after its header was synced, so this is never the trace of a crash.
  if (!salt.ok()) return absl::Status(salt.status().code(), absl::StrFormat("%s: %s", path, salt.status().ToString()));
  loaded.salt = *salt;
  return loaded;
}

// True when a record at or behind `offset` was written after record `lsn` had become durable.
bool ProvesDurable(const LoadedSegment& segment, uint64_t offset, uint64_t lsn) {
  for (; offset + kRecordHeaderBytes <= segment.bytes.size(); offset += 8) {
    const auto header = DecodeRecordHeader(std::string_view(segment.bytes).substr(offset), segment.salt);
    if (header && header->durable_lsn >= lsn) return true;
  }
  return false;
}

// The record `lsn` at `offset`, or nullopt when there is none that checks out.
std::optional<RecordHeader> GoodRecord(const LoadedSegment& segment, uint64_t offset, uint64_t lsn) {
  const std::string_view rest = std::string_view(segment.bytes).substr(std::min(offset, segment.bytes.size()));
  const auto header = DecodeRecordHeader(rest, segment.salt);
  if (!header || header->lsn != lsn || rest.size() < kRecordHeaderBytes + header->payload_bytes) return std::nullopt;
  if (HashPayload(rest.substr(kRecordHeaderBytes, header->payload_bytes), segment.salt) != header->payload_hash) {
    return std::nullopt;
  }
  return header;
}

class Scanner {
 public:
  Scanner(LogFileSystem& files, std::string dir, const Replay& replay)
      : files_(files), dir_(std::move(dir)), replay_(replay) {}

  absl::StatusOr<LogScan> Run(std::optional<uint64_t> after_lsn) {
    if (absl::Status status = ListSegments(); !status.ok()) return status;
    if (scan_.segments.empty()) return std::move(scan_);
    std::vector<ScannedSegment>& segments = scan_.segments;
    after_lsn_ = after_lsn.value_or(segments.front().first_lsn - 1);
    if (segments.front().first_lsn > after_lsn_ + 1) {
      return absl::DataLossError(
          absl::StrFormat("%s: the change log begins with record %d, but record %d is needed; a segment is missing",
                          dir_, segments.front().first_lsn, after_lsn_ + 1));
    }
    size_t at = 0;
    while (at + 1 < segments.size() && segments[at + 1].first_lsn <= after_lsn_ + 1) {
      segments[at].last_lsn = segments[at + 1].first_lsn - 1;
      ++at;
    }
    for (; at < segments.size(); ++at) {
      const uint64_t end = at + 1 < segments.size() ? segments[at + 1].first_lsn : UINT64_MAX;
      absl::StatusOr<LoadedSegment> loaded = Load(files_, segments[at].path);
      if (!loaded.ok()) return loaded.status();
      if (absl::Status status = ReadSegment(*loaded, end, segments[at]); !status.ok()) return status;
      if (segments[at].last_lsn + 1 == end) continue;
      if (absl::Status status = EndAt(at, *loaded); !status.ok()) return status;
      break;
    }
    FindUnproven();
    return std::move(scan_);
  }

 private:
  absl::Status ListSegments() {
    const absl::StatusOr<std::vector<std::string>> names = files_.List(dir_);
    if (!names.ok()) return names.status();
    for (const std::string& name : *names) {
      const std::string path = absl::StrFormat("%s/%s", dir_, name);
      if (const auto first_lsn = ParseSegmentName(name)) {
        ScannedSegment segment;
        segment.path = path;
        segment.first_lsn = *first_lsn;
        segment.last_lsn = *first_lsn - 1;
        scan_.segments.push_back(std::move(segment));
      } else if (name.ends_with(".tmp")) {
        scan_.leftovers.push_back(path);
      }
    }
    std::sort(scan_.segments.begin(), scan_.segments.end(),
              [](const auto& left, const auto& right) { return left.first_lsn < right.first_lsn; });
    return absl::OkStatus();
  }

  // Reads good records until there is no more, or up to the record before `end`: there the next segment goes on, and
  // whatever follows here had been discarded when that segment was made.
  absl::Status ReadSegment(const LoadedSegment& loaded, uint64_t end, ScannedSegment& segment) {
    segment.file_bytes = loaded.bytes.size();
    segment.good_end = kSegmentHeaderBytes;
    while (segment.last_lsn + 1 < end) {
      const auto header = GoodRecord(loaded, segment.good_end, segment.last_lsn + 1);
      if (!header) break;
      if (header->lsn > after_lsn_ && replay_) {
        const std::string_view payload =
            std::string_view(loaded.bytes).substr(segment.good_end + kRecordHeaderBytes, header->payload_bytes);
        if (absl::Status status = replay_(header->lsn, payload); !status.ok()) return status;
      }
      offsets_.push_back({header->lsn, segment.good_end});
      scan_.proven_lsn = std::max(scan_.proven_lsn, header->durable_lsn);
      scan_.last_lsn = header->lsn;
      ++scan_.records;
      segment.last_lsn = header->lsn;
      segment.good_end += RecordBytes(header->payload_bytes);
    }
    return absl::OkStatus();
  }

  // The log ends in segment `at`, unless that would lose something.
  absl::Status EndAt(size_t at, const LoadedSegment& loaded) {
    std::vector<ScannedSegment>& segments = scan_.segments;
    const uint64_t lsn = segments[at].last_lsn + 1;
    // What is not asked for may be missing: a log that the tables are ahead of is removed, and a power cut may stop
    // that.
    const uint64_t wanted = std::max(lsn, after_lsn_ + 1);
    bool durable = ProvesDurable(loaded, segments[at].good_end, wanted);
    for (size_t later = at + 1; later < segments.size() && !durable; ++later) {
      const absl::StatusOr<LoadedSegment> next = Load(files_, segments[later].path);
      if (!next.ok()) return next.status();
      durable = ProvesDurable(*next, kSegmentHeaderBytes, wanted);
    }
    if (durable) {
      return absl::DataLossError(
          absl::StrFormat("%s: record %d at offset %d is damaged or missing, and record %d had been durable",
                          segments[at].path, lsn, segments[at].good_end, wanted));
    }
    for (size_t later = at + 1; later < segments.size(); ++later) scan_.discarded.push_back(segments[later].path);
    segments.resize(at + 1);
    return absl::OkStatus();
  }

  void FindUnproven() {
    for (ScannedSegment& segment : scan_.segments) {
      segment.unproven_begin = segment.good_end;
      for (const auto& [lsn, offset] : offsets_) {
        if (lsn < segment.first_lsn || lsn > segment.last_lsn || lsn <= scan_.proven_lsn) continue;
        segment.unproven_begin = offset;
        break;
      }
    }
  }

  LogFileSystem& files_;
  const std::string dir_;
  const Replay& replay_;
  uint64_t after_lsn_ = 0;
  LogScan scan_;
  std::vector<std::pair<uint64_t, uint64_t>> offsets_;  // lsn and place of the good records, in order
};

}  // namespace

absl::StatusOr<LogScan> ScanLog(LogFileSystem& files, const std::string& dir, std::optional<uint64_t> after_lsn,
                                const Replay& replay) {
  return Scanner(files, dir, replay).Run(after_lsn);
}

}  // namespace mptd::storage
