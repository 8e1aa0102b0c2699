#include "storage/segment_maker.h"

#include <algorithm>
#include <array>
#include <random>
#include <utility>

#include "absl/strings/str_format.h"
#include "storage/log_format.h"
#include "storage/thread_name.h"

namespace mptd::storage {
namespace {

constexpr uint64_t kFillBytes = 1u << 20;

uint64_t RandomSalt() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

}  // namespace

SegmentMaker::SegmentMaker(LogFileSystem& files, std::string dir, uint64_t segment_bytes)
    : files_(files), dir_(std::move(dir)), segment_bytes_(segment_bytes), spare_path_(dir_ + "/spare.tmp") {
  thread_ = std::thread([this] {
    NameThisThread("mptd-segments");
    Run();
  });
}

SegmentMaker::~SegmentMaker() {
  stopping_ = true;
  { MutexLock lock(mutex_); }  // the thread is before its check, and sees the flag, or waits, and hears the call
  changed_.NotifyAll();
  thread_.join();
  // The next Open would remove them, too. Until then they would be room that nobody uses.
  if (TakeSpare()) files_.Remove(spare_path_).IgnoreError();
  MutexLock lock(mutex_);
  if (ready_) files_.Remove(ready_->path).IgnoreError();
}

void SegmentMaker::Run() {
  while (true) {
    {
      MutexLock lock(mutex_);
      while (!making_ && !stopping_) changed_.Wait(mutex_);
      if (stopping_) return;
    }
    absl::StatusOr<MadeSegment> made = Make();
    MutexLock lock(mutex_);
    making_ = false;
    failed_ = !made.ok();
    if (made.ok()) ready_ = *std::move(made);
    changed_.NotifyAll();
  }
}

absl::StatusOr<MadeSegment> SegmentMaker::Take() {
  std::optional<MadeSegment> taken;
  {
    MutexLock lock(mutex_);
    while (making_) changed_.Wait(mutex_);
    taken = std::exchange(ready_, std::nullopt);
  }
  if (!taken) {
    absl::StatusOr<MadeSegment> made = Make();
    if (!made.ok()) return made.status();
    taken = *std::move(made);
  }
  MutexLock lock(mutex_);
  making_ = true;
  failed_ = false;
  changed_.NotifyAll();
  return *std::move(taken);
}

bool SegmentMaker::WantsSpare() const {
  MutexLock lock(mutex_);
  return !spare_;
}

void SegmentMaker::AddSpare() {
  MutexLock lock(mutex_);
  spare_ = true;
}

bool SegmentMaker::TakeSpare() {
  MutexLock lock(mutex_);
  return std::exchange(spare_, false);
}

uint64_t SegmentMaker::disk_bytes() const {
  MutexLock lock(mutex_);
  return (spare_ ? segment_bytes_ : 0) + (making_ || ready_ ? segment_bytes_ : 0);
}

absl::Status SegmentMaker::FillWithZeros(LogFile& file) const {
  static const std::array<char, kFillBytes> zeros{};
  for (uint64_t offset = 0; offset < segment_bytes_; offset += kFillBytes) {
    if (stopping_) return absl::CancelledError("the change log is being closed");
    const std::string_view part(zeros.data(), std::min(kFillBytes, segment_bytes_ - offset));
    if (absl::Status status = file.Write(offset, {&part, 1}); !status.ok()) return status;
    // In small steps, so that a sync of the log beside it never waits for all of them.
    if (absl::Status status = file.Sync(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<MadeSegment> SegmentMaker::Make() {
  MadeSegment made;
  made.path = absl::StrFormat("%s/next-%d.tmp", dir_, next_number_++);
  made.salt = RandomSalt();
  made.bytes = segment_bytes_;
  const bool used = TakeSpare() && files_.Rename(spare_path_, made.path).ok();
  absl::StatusOr<std::unique_ptr<LogFile>> file =
      files_.Open(made.path, used ? LogFileSystem::Mode::kWrite : LogFileSystem::Mode::kCreate);
  absl::Status status = file.status();
  if (status.ok() && !used) status = FillWithZeros(**file);
  if (status.ok()) {
    const auto header = EncodeSegmentHeader(made.salt);
    const std::string_view part(header.data(), header.size());
    status = (*file)->Write(0, {&part, 1});
  }
  if (status.ok()) status = (*file)->Sync();
  if (!status.ok()) {
    files_.Remove(made.path).IgnoreError();
    return status;
  }
  made.file = *std::move(file);
  return made;
}

}  // namespace mptd::storage
