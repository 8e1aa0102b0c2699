#include "security/audit_verify.h"

#include <cerrno>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mptd::security {
namespace {

// More than the daemon ever leaves torn: without a bound a file of something else would be read into memory whole.
constexpr size_t kMaxTorn = size_t{2} << 20;

class Verifier {
 public:
  explicit Verifier(std::string expect) : expect_(std::move(expect)) {}

  absl::Status Read(const std::string& file);
  absl::StatusOr<AuditReport> Finish();

 private:
  absl::Status Take(const std::string& place, const std::string& text);
  absl::Status Follow(const std::string& place, const SealedLine& line);
  absl::Status Torn(const std::string& place, const SealedLine& line);

  const std::string expect_;
  bool found_ = false;
  AuditReport report_;
  // The lines since the last good one that are none, with the newlines between them, and where they begin.
  std::string torn_;
  std::string torn_place_;
};

absl::Status Broken(std::string_view place, std::string_view why) {
  return absl::DataLossError(absl::StrFormat("%s: %s", place, why));
}

absl::Status Verifier::Torn(const std::string& place, const SealedLine& line) {
  if (torn_place_.empty()) {
    if (line.event != kTornEvent) return absl::OkStatus();
    return Broken(place, "tells of torn bytes before it, and there are none");
  }
  if (line.event != kTornEvent || line.torn_hash != Sha256Hex(torn_)) {
    return Broken(torn_place_, "the line is not as it was written: it does not match its hash");
  }
  ++report_.torn;
  torn_.clear();
  torn_place_.clear();
  return absl::OkStatus();
}

absl::Status Verifier::Follow(const std::string& place, const SealedLine& line) {
  if (report_.lines == 0) {
    report_.first_seq = line.seq;
    const AuditHead none;
    if (line.seq == 1 && line.prev != none.hash) return Broken(place, "is line 1 and yet names a line before it");
    return absl::OkStatus();
  }
  if (line.prev == report_.head.hash && line.seq == report_.head.seq + 1) return absl::OkStatus();
  if (line.seq == 1) return Broken(place, "begins another chain: lines before it are not part of this one");
  return Broken(place, absl::StrFormat("is line %d and does not follow line %d: lines were removed, inserted or moved",
                                       line.seq, report_.head.seq));
}

absl::Status Verifier::Take(const std::string& place, const std::string& text) {
  const auto line = OpenLine(text);
  if (!line.has_value()) {
    if (torn_place_.empty()) {
      torn_place_ = place;
      torn_ = text;
    } else {
      absl::StrAppend(&torn_, "\n", text);
    }
    if (torn_.size() > kMaxTorn) return Broken(torn_place_, "is not a line of an audit log");
    return absl::OkStatus();
  }
  if (absl::Status status = Torn(place, *line); !status.ok()) return status;
  if (absl::Status status = Follow(place, *line); !status.ok()) return status;
  report_.head = {.seq = line->seq, .hash = line->hash};
  ++report_.lines;
  report_.after_expected += found_ ? 1 : 0;
  found_ |= line->hash == expect_;
  return absl::OkStatus();
}

absl::Status Verifier::Read(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return absl::FailedPreconditionError(absl::StrCat(file, ": ", std::generic_category().message(errno)));
  std::string text;
  uint64_t number = 0;
  while (std::getline(in, text)) {
    if (absl::Status status = Take(absl::StrCat(file, ":", ++number), text); !status.ok()) return status;
    if (in.eof() && torn_place_.empty()) {
      return Broken(absl::StrCat(file, ":", number), "the last line has no newline: its end was cut off");
    }
  }
  if (in.bad()) return absl::FailedPreconditionError(absl::StrCat(file, ": cannot be read"));
  if (!torn_place_.empty()) {
    return Broken(torn_place_,
                  "the last line is torn: it was cut off, or the daemon was killed while it wrote it and "
                  "has not been started since");
  }
  return absl::OkStatus();
}

absl::StatusOr<AuditReport> Verifier::Finish() {
  if (report_.lines == 0) return absl::DataLossError("there is no line at all");
  if (expect_.empty() || found_) return report_;
  return absl::DataLossError(
      absl::StrFormat("no line has the hash %s: the newest lines were removed; the last one left "
                      "is line %d",
                      expect_, report_.head.seq));
}

}  // namespace

absl::StatusOr<AuditReport> VerifyAudit(std::span<const std::string> files, const std::string& expect_last) {
  Verifier verifier(expect_last);
  for (const std::string& file : files) {
    if (absl::Status status = verifier.Read(file); !status.ok()) return status;
  }
  return verifier.Finish();
}

}  // namespace mptd::security
