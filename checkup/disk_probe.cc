#include "checkup/disk_probe.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "storage/posix_error.h"

namespace mptd::checkup {
namespace {

constexpr size_t kAppendBytes = size_t{64} << 10;  // a block of about a thousand updates
constexpr size_t kMostSamples = 256;
constexpr absl::Duration kLongest = absl::Seconds(1);

class Probe {
 public:
  explicit Probe(const std::string& dir) : dir_(dir) {
    descriptor_ = ::open(dir.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    const bool without_such_files = descriptor_ < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL);
    if (without_such_files) OpenAndUnlink();
    error_ = descriptor_ < 0 ? errno : 0;
  }
  ~Probe() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  absl::Status status() const {
    return error_ == 0 ? absl::OkStatus() : storage::PosixError("making a file to measure with in", dir_, error_);
  }
  // The space is there before, as in a segment that was made ahead.
  absl::Status Reserve(uint64_t bytes) {
    const int error = ::posix_fallocate(descriptor_, 0, static_cast<off_t>(bytes));
    if (error != 0) return storage::PosixError("writing to a file to measure with in", dir_, error);
    return Sync();
  }
  absl::Status Append(const std::string& bytes) {
    const ssize_t written = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(end_));
    if (written < 0) return storage::PosixError("writing to a file to measure with in", dir_, errno);
    end_ += static_cast<uint64_t>(written);
    return Sync();
  }

 private:
  void OpenAndUnlink() {
    std::string name = dir_ + "/mptd-check-XXXXXX";
    descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
    if (descriptor_ >= 0) ::unlink(name.c_str());
  }
  absl::Status Sync() {
    if (::fdatasync(descriptor_) == 0) return absl::OkStatus();
    return storage::PosixError("syncing a file to measure with in", dir_, errno);
  }

  const std::string dir_;
  int descriptor_ = -1;
  int error_ = 0;
  uint64_t end_ = 0;
};

absl::Duration At(const std::vector<absl::Duration>& sorted, double quantile) {
  return sorted[static_cast<size_t>(quantile * static_cast<double>(sorted.size() - 1))];
}

}  // namespace

absl::StatusOr<SyncTimes> MeasureSync(const std::string& dir) {
  Probe probe(dir);
  if (!probe.status().ok()) return probe.status();
  if (absl::Status status = probe.Reserve(kMostSamples * kAppendBytes); !status.ok()) return status;
  const std::string bytes(kAppendBytes, '\x5a');
  std::vector<absl::Duration> took;
  const absl::Time end = absl::Now() + kLongest;
  for (absl::Time start = absl::Now(); took.size() < kMostSamples && (took.empty() || start < end);) {
    if (absl::Status status = probe.Append(bytes); !status.ok()) return status;
    const absl::Time now = absl::Now();
    took.push_back(now - std::exchange(start, now));
  }
  std::sort(took.begin(), took.end());
  return SyncTimes{.samples = took.size(), .p50 = At(took, 0.5), .p99 = At(took, 0.99)};
}

}  // namespace mptd::checkup
