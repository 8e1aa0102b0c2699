// A folder of change log segments, made of the input with right checksums in most places, opened as after a crash. What
// is replayed is one run of records; what opens can be written to, and opens again with the same records and the new
// one.
#include <memory>
#include <string>
#include <vector>

#include "storage/change_log.h"
#include "storage/log_format.h"
#include "tests/fuzz/fuzzing.h"
#include "tests/storage/fake_files.h"

namespace {

using mptd::fuzz::Input;
using mptd::fuzz::Require;
using namespace mptd::storage;

constexpr char kDir[] = "log";
constexpr size_t kMostSegments = 6;
constexpr size_t kMostParts = 24;

// One record, right in all but what the input says.
std::string MakeRecord(Input& input, uint64_t salt, uint64_t& lsn) {
  const uint8_t flags = input.Byte();
  std::string payload(input.Take(input.Below(64)));
  if ((flags & 8) != 0) payload.append(1000, 'x');
  RecordHeader header;
  header.payload_bytes = static_cast<uint32_t>(payload.size());
  header.payload_hash = HashPayload(payload, salt) + ((flags & 1) != 0 ? 1 : 0);
  header.lsn = lsn + ((flags & 2) != 0 ? input.Byte() : 0);
  header.durable_lsn = (flags & 4) != 0 ? input.Byte() : 0;
  lsn = header.lsn + 1;
  const auto bytes = EncodeRecordHeader(header, salt);
  std::string out(bytes.begin(), bytes.end());
  out += payload;
  out.resize(RecordBytes(payload.size()), '\0');
  return out;
}

std::string MakeSegment(Input& input, uint64_t& lsn) {
  const uint64_t salt = input.Byte();
  const auto header = EncodeSegmentHeader(salt);
  std::string out(header.begin(), header.end());
  for (size_t part = 0; part < kMostParts && !input.empty(); ++part) {
    const size_t kind = input.Below(8);
    if (kind == 0) break;
    if (kind == 1) {
      out.append(input.Take(input.Below(64)));
    } else if (kind == 2) {
      out.append(input.Below(200), '\0');
    } else {
      out += MakeRecord(input, salt, lsn);
    }
  }
  if (const size_t damage = input.TwoBytes(); (damage & 1) != 0) {
    char& byte = out[damage / 2 % out.size()];
    byte = static_cast<char>(byte ^ 1);
  }
  return out;
}

void MakeFolder(Input& input, FakeFiles& files) {
  Require(files.MakeDir(kDir).ok());
  uint64_t lsn = 1 + input.Below(4);
  for (size_t i = 0; i < kMostSegments && !input.empty(); ++i) {
    const uint64_t first = lsn + (input.Below(8) == 0 ? input.Byte() : 0);
    const std::string path = std::string(kDir) + "/" + SegmentName(first);
    Require(files.Open(path, LogFileSystem::Mode::kCreate).ok());
    lsn = first;
    files.Overwrite(path, MakeSegment(input, lsn));
  }
  Require(files.SyncDir(kDir).ok());
}

struct Opened {
  absl::Status status;
  std::unique_ptr<ChangeLog> log;
  std::vector<std::string> payloads;
};

Opened Open(FakeFiles& files, uint64_t after_lsn) {
  Opened out;
  uint64_t last = after_lsn;
  auto log = ChangeLog::Open({.dir = kDir, .segment_bytes = 4096, .files = &files}, after_lsn,
                             [&](uint64_t lsn, std::string_view payload) {
                               Require(lsn == ++last);
                               out.payloads.emplace_back(payload);
                               return absl::OkStatus();
                             });
  out.status = log.status();
  if (log.ok()) {
    out.log = *std::move(log);
    Require(out.log->last_lsn() == last && out.log->durable_lsn() == last);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  FakeFiles files(1);
  const uint64_t after_lsn = input.Below(4) == 0 ? input.Byte() : 0;
  MakeFolder(input, files);
  const absl::Status checked = CheckChangeLog(kDir, &files).status();
  Opened first = Open(files, after_lsn);
  if (!first.status.ok()) {
    Require(absl::IsDataLoss(first.status) || absl::IsFailedPrecondition(first.status));
    return 0;
  }
  Require(after_lsn != 0 || checked.ok());
  Require(first.log->Append("the next one").ok() && first.log->Sync().ok());
  first.log.reset();
  files.Restart(PowerCut::kDropAll);
  const Opened again = Open(files, after_lsn);
  Require(again.status.ok());
  first.payloads.emplace_back("the next one");
  Require(again.payloads == first.payloads);
  return 0;
}
