#include "storage/data_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "absl/strings/str_format.h"
#include "storage/posix_error.h"

namespace mptd::storage {
namespace {

constexpr std::string_view kFormatText = "mptd data format ";
constexpr size_t kMaxSmallFile = 256;

// Closes when destroyed.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }
  int Release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

absl::Status WriteAll(int descriptor, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return PosixError("writing", path, errno);
    text.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

// The beginning of a small file.
absl::StatusOr<std::string> ReadSmall(int descriptor, const std::string& path) {
  std::string text(kMaxSmallFile, '\0');
  const ssize_t got = ::pread(descriptor, text.data(), text.size(), 0);
  if (got < 0) return PosixError("reading", path, errno);
  text.resize(static_cast<size_t>(got));
  return text;
}

std::string WithoutSlashes(std::string dir) {
  while (dir.size() > 1 && dir.back() == '/') dir.pop_back();
  return dir;
}

absl::Status InUse(int descriptor, const std::string& dir) {
  absl::StatusOr<std::string> pid = ReadSmall(descriptor, dir + "/LOCK");
  while (pid.ok() && !pid->empty() && pid->back() == '\n') pid->pop_back();
  const bool known = pid.ok() && !pid->empty();
  return absl::FailedPreconditionError(absl::StrFormat("the data folder %s is in use by another process (%s)", dir,
                                                       known ? "pid " + *pid : "pid unknown"));
}

// Opens DIR/LOCK with `flags` and locks it in the `mode` of flock.
absl::StatusOr<int> OpenAndLock(const std::string& dir, int flags, int mode) {
  const std::string path = dir + "/LOCK";
  Descriptor file(::open(path.c_str(), flags | O_CLOEXEC, 0640));
  if (file.get() < 0) return PosixError("opening the data folder's lock", path, errno);
  while (::flock(file.get(), mode | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) return InUse(file.get(), dir);
    return PosixError("locking", path, errno);
  }
  return file.Release();
}

// Makes DIR/LOCK, locks it for us alone, and writes our process id into it.
absl::StatusOr<int> OpenLock(const std::string& dir) {
  const absl::StatusOr<int> locked = OpenAndLock(dir, O_RDWR | O_CREAT, LOCK_EX);
  if (!locked.ok()) return locked;
  Descriptor file(*locked);
  const std::string path = dir + "/LOCK";
  if (::ftruncate(file.get(), 0) != 0) return PosixError("writing", path, errno);
  if (absl::Status status = WriteAll(file.get(), absl::StrFormat("%d\n", ::getpid()), path); !status.ok())
    return status;
  return file.Release();
}

absl::StatusOr<uint32_t> ReadFormat(const std::string& named) {
  const std::string path = WithoutSlashes(named) + "/" + kFormatFileName;
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return PosixError("opening", path, errno);
  const absl::StatusOr<std::string> text = ReadSmall(file.get(), path);
  if (!text.ok()) return text.status();
  std::string_view rest = *text;
  uint32_t version = 0;
  bool good = rest.starts_with(kFormatText) && rest.ends_with('\n');
  if (good) {
    rest = rest.substr(kFormatText.size(), rest.size() - kFormatText.size() - 1);
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), version);
    good = error == std::errc() && end == rest.data() + rest.size() && version > 0;
  }
  if (!good) return absl::DataLossError(absl::StrFormat("%s is damaged: it does not name a data format", path));
  if (version > kFormatVersion) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s: written by a newer mptd (format %d, this program reads up to %d); upgrade", path, version,
                        kFormatVersion));
  }
  return version;
}

absl::Status EnsureFormat(const std::string& dir) {
  absl::Status status = CheckDataDir(dir);
  return absl::IsNotFound(status) ? WriteFormat(dir, /*encrypted=*/false) : status;
}

}  // namespace

DataDirLock::~DataDirLock() {
  // The file stays: removing it would let two processes lock two files of that name.
  if (descriptor_ >= 0) ::close(descriptor_);
}

absl::StatusOr<DataDirLock> LockDataDir(const std::string& named) {
  const std::string dir = WithoutSlashes(named);
  if (absl::Status status = MakeDirectory(dir); !status.ok()) return status;
  const absl::StatusOr<int> descriptor = OpenLock(dir);
  if (!descriptor.ok()) return descriptor.status();
  DataDirLock lock(dir, *descriptor);
  if (absl::Status status = EnsureFormat(dir); !status.ok()) return status;
  if (absl::Status status = MakeDirectory(lock.db_dir()); !status.ok()) return status;
  if (absl::Status status = MakeDirectory(lock.log_dir()); !status.ok()) return status;
  return lock;
}

absl::StatusOr<DataDirLock> ShareDataDir(const std::string& named) {
  std::string dir = WithoutSlashes(named);
  const absl::StatusOr<int> descriptor = OpenAndLock(dir, O_RDONLY, LOCK_SH);
  if (!descriptor.ok()) return descriptor.status();
  return DataDirLock(std::move(dir), *descriptor);
}

absl::Status WriteFormat(const std::string& named, bool encrypted) {
  const std::string dir = WithoutSlashes(named);
  const std::string path = dir + "/" + kFormatFileName;
  const std::string draft = path + ".tmp";
  const Descriptor file(::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640));
  if (file.get() < 0) return PosixError("making", draft, errno);
  const std::string text = absl::StrFormat("%s%d\n", kFormatText, FormatVersion(encrypted));
  if (absl::Status status = WriteAll(file.get(), text, draft); !status.ok()) return status;
  if (::fsync(file.get()) != 0) return PosixError("syncing", draft, errno);
  if (::rename(draft.c_str(), path.c_str()) != 0) return PosixError("making", path, errno);
  return SyncDirectory(dir);
}

absl::Status CheckFormat(const std::string& dir) { return ReadFormat(dir).status(); }

bool IsEncryptedFormat(const std::string& dir) {
  const absl::StatusOr<uint32_t> version = ReadFormat(dir);
  return version.ok() && *version == FormatVersion(/*encrypted=*/true);
}

absl::Status CheckDataDir(const std::string& named) {
  const std::string dir = WithoutSlashes(named);
  absl::Status status = CheckFormat(dir);
  if (!absl::IsNotFound(status)) return status;
  std::error_code ignored;
  if (std::filesystem::exists(dir + "/db", ignored) || std::filesystem::exists(dir + "/log", ignored)) {
    return absl::DataLossError(absl::StrFormat("the data folder %s has data but no file FORMAT", dir));
  }
  return status;
}

absl::StatusOr<uint64_t> FreeDiskBytes(const std::string& dir) {
  struct statvfs found {};
  if (::statvfs(dir.c_str(), &found) != 0) return PosixError("examining the disk of", dir, errno);
  return static_cast<uint64_t>(found.f_bavail) * found.f_frsize;
}

}  // namespace mptd::storage
