#include "storage/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "storage/data_dir.h"
#include "storage/posix_error.h"

namespace mptd::storage {
namespace {

class PosixFile final : public LogFile {
 public:
  PosixFile(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  ~PosixFile() override { ::close(descriptor_); }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  absl::Status Write(uint64_t offset, std::span<const std::string_view> parts) override {
    std::vector<iovec> left;
    left.reserve(parts.size());
    for (const std::string_view part : parts) {
      if (!part.empty()) left.push_back({const_cast<char*>(part.data()), part.size()});
    }
    size_t first = 0;
    while (first < left.size()) {
      const ssize_t written =
          ::pwritev(descriptor_, &left[first], static_cast<int>(left.size() - first), static_cast<off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return PosixError("writing", path_, errno);
      offset += static_cast<uint64_t>(written);
      auto rest = static_cast<size_t>(written);
      while (first < left.size() && rest >= left[first].iov_len) rest -= left[first++].iov_len;
      if (rest > 0) {
        left[first].iov_base = static_cast<char*>(left[first].iov_base) + rest;
        left[first].iov_len -= rest;
      }
    }
    return absl::OkStatus();
  }

  absl::Status Read(uint64_t offset, uint64_t count, std::string* bytes) const override {
    bytes->resize(count);
    size_t done = 0;
    while (done < count) {
      const ssize_t got = ::pread(descriptor_, bytes->data() + done, count - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return PosixError("reading", path_, errno);
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    bytes->resize(done);
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    if (::fdatasync(descriptor_) != 0) return PosixError("syncing", path_, errno);
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() const override {
    struct stat found {};
    if (::fstat(descriptor_, &found) != 0) return PosixError("examining", path_, errno);
    return static_cast<uint64_t>(found.st_size);
  }

 private:
  const int descriptor_;
  const std::string path_;
};

class PosixFileSystem final : public LogFileSystem {
 public:
  absl::StatusOr<std::unique_ptr<LogFile>> Open(const std::string& path, Mode mode) override {
    int flags = O_CLOEXEC | (mode == Mode::kRead ? O_RDONLY : O_RDWR);
    if (mode == Mode::kCreate) flags |= O_CREAT | O_TRUNC;
    const int descriptor = ::open(path.c_str(), flags, 0640);
    if (descriptor < 0) return PosixError("opening", path, errno);
    return std::make_unique<PosixFile>(descriptor, path);
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return PosixError("renaming", from, errno);
    return absl::OkStatus();
  }

  absl::Status Remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) return PosixError("removing", path, errno);
    return absl::OkStatus();
  }

  absl::Status SyncDir(const std::string& dir) override { return SyncDirectory(dir); }

  absl::StatusOr<std::vector<std::string>> List(const std::string& dir) override {
    std::error_code error;
    std::vector<std::string> names;
    for (std::filesystem::directory_iterator entry(dir, error), end; !error && entry != end; entry.increment(error)) {
      names.push_back(entry->path().filename().string());
    }
    if (error) return PosixError("listing", dir, error.value());
    return names;
  }

  absl::Status MakeDir(const std::string& dir) override { return MakeDirectory(dir); }

  uint64_t FreeBytes(const std::string& dir) override { return FreeDiskBytes(dir).value_or(UINT64_MAX); }
};

}  // namespace

LogFileSystem* PosixLogFileSystem() {
  static PosixFileSystem* const system =
      new PosixFileSystem;  // never destroyed: other threads may still use it at exit
  return system;
}

}  // namespace mptd::storage
