#include "security/audit_log.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace mptd::security {
namespace {

// Where the last whole line is looked for. A line has less than 16 KiB, and torn ones are few.
constexpr off_t kTail = off_t{1} << 20;
constexpr std::chrono::seconds kSyncInterval{1};

absl::Status FileError(const std::string& path, std::string_view what, int error) {
  return absl::FailedPreconditionError(
      absl::StrFormat("%s: cannot %s the audit log: %s", path, what, std::generic_category().message(error)));
}

absl::StatusOr<std::string> ReadTail(int fd, off_t size, const std::string& path) {
  std::string tail(static_cast<size_t>(std::min(size, kTail)), '\0');
  size_t done = 0;
  while (done < tail.size()) {
    const off_t at = size - static_cast<off_t>(tail.size() - done);
    const ssize_t n = pread(fd, tail.data() + done, tail.size() - done, at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return FileError(path, "read", n < 0 ? errno : EIO);
    done += static_cast<size_t>(n);
  }
  return tail;
}

}  // namespace

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(AuditOptions options) {
  std::unique_ptr<AuditLog> log(new AuditLog(std::move(options)));
  {
    const storage::MutexLock lock(log->mutex_);
    if (absl::Status status = log->OpenFile(); !status.ok()) return status;
    if (absl::Status status = log->Recover(); !status.ok()) return status;
  }
  log->syncer_ = std::thread([raw = log.get()] {
    pthread_setname_np(pthread_self(), "mptd-audit");
    raw->SyncNowAndThen();
  });
  return log;
}

AuditLog::~AuditLog() {
  {
    const storage::MutexLock lock(mutex_);
    stopping_ = true;
  }
  stopped_.notify_all();
  if (syncer_.joinable()) syncer_.join();
  const storage::MutexLock lock(mutex_);
  if (fd_ < 0) return;
  TellLeftOut();
  WriteWaiting().IgnoreError();
  fdatasync(fd_);
  close(fd_);
}

absl::Status AuditLog::OpenFile() {
  const std::string& path = options_.file;
  const int fd = open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
  if (fd < 0) return FileError(path, "open", errno);
  // Two writers would each follow their own last line.
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    close(fd);
    if (error == EWOULDBLOCK) {
      return absl::FailedPreconditionError(absl::StrCat(path, ": another process writes to this audit log"));
    }
    return FileError(path, "lock", error);
  }
  fd_ = fd;
  return absl::OkStatus();
}

absl::Status AuditLog::Recover() {
  struct stat info {};
  if (fstat(fd_, &info) != 0) return FileError(options_.file, "read", errno);
  if (info.st_size == 0) return absl::OkStatus();
  absl::StatusOr<std::string> tail = ReadTail(fd_, info.st_size, options_.file);
  if (!tail.ok()) return tail.status();
  // From the end: the first line that is whole is the last one.
  size_t end = tail->size();
  while (true) {
    const size_t before = end == 0 ? std::string::npos : tail->rfind('\n', end - 1);
    const size_t begin = before == std::string::npos ? 0 : before + 1;
    const auto line = OpenLine(std::string_view(*tail).substr(begin, end - begin));
    if (line.has_value()) {
      status_.head = {.seq = line->seq, .hash = line->hash};
      if (end == tail->size()) return WriteBytes("\n");  // all but its newline was written
      torn_ = tail->substr(end + 1);
      break;
    }
    if (before == std::string::npos) {
      // A first line that was torn when the file was new leaves less than a line.
      if (tail->find('\n') == std::string::npos && tail->size() < static_cast<size_t>(kTail)) {
        torn_ = *std::move(tail);
        break;
      }
      return absl::FailedPreconditionError(
          absl::StrCat(options_.file, ": its end is not of an audit log of mptd; move the file away to begin another"));
    }
    end = before;
  }
  return torn_.empty() ? absl::OkStatus() : WriteWaiting();
}

absl::Status AuditLog::WriteBytes(std::string_view bytes) {
  ssize_t n = 0;
  do {
    n = options_.write ? options_.write(fd_, bytes.data(), bytes.size()) : write(fd_, bytes.data(), bytes.size());
  } while (n < 0 && errno == EINTR);
  synced_ = false;
  if (n == static_cast<ssize_t>(bytes.size())) return absl::OkStatus();
  const int error = n < 0 ? errno : ENOSPC;
  if (n > 0) torn_.append(bytes.substr(0, static_cast<size_t>(n)));
  ++status_.failed_writes;
  return absl::UnavailableError(
      absl::StrFormat("%s: cannot write to the audit log: %s", options_.file, std::generic_category().message(error)));
}

absl::Status AuditLog::WriteEntry(const AuditEntry& entry) {
  AuditHead head = status_.head;
  if (!torn_.empty()) {
    const std::string torn = torn_;
    const std::string line = absl::StrCat("\n", SealLine(TornEntry(absl::Now(), torn), head), "\n");
    if (absl::Status status = WriteBytes(line); !status.ok()) return status;
    torn_.clear();
    status_.head = head;
    ++status_.lines;
  }
  const std::string line = SealLine(entry, head) + "\n";
  if (absl::Status status = WriteBytes(line); !status.ok()) return status;
  status_.head = head;
  ++status_.lines;
  return absl::OkStatus();
}

absl::Status AuditLog::WriteWaiting() {
  if (!torn_.empty() && waiting_.empty()) waiting_.push_back({.time = absl::Now(), .event = "resumed"});
  while (!waiting_.empty()) {
    if (absl::Status status = WriteEntry(waiting_.front()); !status.ok()) return status;
    waiting_.pop_front();
  }
  if (lost_untold_ == 0) return absl::OkStatus();
  const AuditEntry lost{.time = absl::Now(),
                        .event = "lines_lost",
                        .reason = absl::StrCat(lost_untold_, " lines could not be written or kept")};
  if (absl::Status status = WriteEntry(lost); !status.ok()) return status;
  lost_untold_ = 0;
  return absl::OkStatus();
}

void AuditLog::Add(AuditEntry entry) {
  const storage::MutexLock lock(mutex_);
  AddLocked(std::move(entry));
}

bool AuditLog::HasRoomForRefusal(absl::Time now) {
  const storage::MutexLock lock(mutex_);
  if (refusal_room_at_ == absl::InfinitePast()) {
    refusal_room_ = options_.max_refusals;
  } else if (now > refusal_room_at_) {  // the clock may have been set back
    refusal_room_ += absl::ToDoubleSeconds(now - refusal_room_at_) * options_.refusals_per_second;
  }
  refusal_room_ = std::min(refusal_room_, options_.max_refusals);
  refusal_room_at_ = now;
  if (refusal_room_ >= 1) {
    refusal_room_ -= 1;
    return true;
  }
  ++left_out_untold_;
  ++status_.left_out;
  return false;
}

void AuditLog::TellLeftOut() {
  if (left_out_untold_ == 0) return;
  AddLocked({.time = absl::Now(),
             .event = "refusals_left_out",
             .reason = absl::StrCat(left_out_untold_, " more were refused within the last second or two")});
  left_out_untold_ = 0;
}

void AuditLog::AddLocked(AuditEntry entry) {
  if (waiting_.size() >= options_.max_waiting) {
    ++lost_untold_;
    ++status_.lost;
    return;
  }
  waiting_.push_back(std::move(entry));
  WriteWaiting().IgnoreError();  // what waits is seen in status() and by CheckWritable
}

absl::Status AuditLog::CheckWritable() {
  const storage::MutexLock lock(mutex_);
  if (!options_.required || (waiting_.empty() && lost_untold_ == 0)) return absl::OkStatus();
  const absl::Status status = WriteWaiting();
  if (status.ok()) return status;
  return absl::UnavailableError(absl::StrCat(
      status.message(), "; changes are refused until it can be written to, as security.audit_required wants it"));
}

absl::Status AuditLog::Reopen() {
  const storage::MutexLock lock(mutex_);
  struct stat ours {};
  struct stat named {};
  if (fstat(fd_, &ours) != 0) return FileError(options_.file, "look at", errno);
  const bool there = stat(options_.file.c_str(), &named) == 0;
  if (there && named.st_ino == ours.st_ino && named.st_dev == ours.st_dev) return absl::OkStatus();
  if (there && named.st_size != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(options_.file, ": is not empty; the audit log goes on in the renamed file"));
  }
  // The old file must not end in a part of a line.
  if (absl::Status status = WriteWaiting(); !status.ok()) return status;
  const int old = fd_;
  if (absl::Status status = OpenFile(); !status.ok()) return status;
  fdatasync(old);
  close(old);
  waiting_.push_front({.time = absl::Now(), .event = "continued"});
  return WriteWaiting();
}

void AuditLog::SyncNowAndThen() {
  while (true) {
    int copy = -1;
    {
      const storage::MutexLock lock(mutex_);
      if (!stopping_) stopped_.wait_for(mutex_, kSyncInterval);
      if (stopping_) return;
      TellLeftOut();
      if (synced_) continue;
      synced_ = true;
      copy = fcntl(fd_, F_DUPFD_CLOEXEC, 0);
    }
    // Without the lock: nobody who adds a line waits for the disk.
    const bool good = copy >= 0 && fdatasync(copy) == 0;
    if (copy >= 0) close(copy);
    if (good) continue;
    const storage::MutexLock lock(mutex_);
    ++status_.failed_syncs;
  }
}

AuditStatus AuditLog::status() const {
  const storage::MutexLock lock(mutex_);
  AuditStatus out = status_;
  out.waiting = waiting_.size();
  return out;
}

}  // namespace mptd::security
