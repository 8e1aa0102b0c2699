#include "tests/storage/fake_table_files.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "rocksdb/env.h"

namespace mptd::storage {
namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;
using Mode = LogFileSystem::Mode;

IOStatus ToRocksDb(const absl::Status& status) {
  if (status.ok()) return IOStatus::OK();
  const std::string text(status.message());
  if (absl::IsNotFound(status)) return IOStatus::NotFound(text);
  if (absl::IsResourceExhausted(status)) return IOStatus::NoSpace(text);
  return IOStatus::IOError(text);
}

// As the operating system takes it: no slash twice, none at the end.
std::string Clean(const std::string& path) {
  std::string clean;
  for (const char c : path) {
    if (c != '/' || !clean.ends_with('/')) clean.push_back(c);
  }
  if (clean.size() > 1 && clean.ends_with('/')) clean.pop_back();
  return clean;
}

IOStatus ReadInto(const LogFile& file, uint64_t offset, size_t count, Slice* result, char* scratch) {
  std::string bytes;
  if (absl::Status status = file.Read(offset, count, &bytes); !status.ok()) return ToRocksDb(status);
  std::memcpy(scratch, bytes.data(), bytes.size());
  *result = Slice(scratch, bytes.size());
  return IOStatus::OK();
}

class InOrder final : public rocksdb::FSSequentialFile {
 public:
  explicit InOrder(std::unique_ptr<LogFile> file) : file_(std::move(file)) {}
  IOStatus Read(size_t count, const IOOptions& /*options*/, Slice* result, char* scratch,
                IODebugContext* /*debug*/) override {
    IOStatus status = ReadInto(*file_, offset_, count, result, scratch);
    if (status.ok()) offset_ += result->size();
    return status;
  }
  IOStatus Skip(uint64_t count) override {
    offset_ += count;
    return IOStatus::OK();
  }

 private:
  const std::unique_ptr<LogFile> file_;
  uint64_t offset_ = 0;
};

class Anywhere final : public rocksdb::FSRandomAccessFile {
 public:
  explicit Anywhere(std::unique_ptr<LogFile> file) : file_(std::move(file)) {}
  IOStatus Read(uint64_t offset, size_t count, const IOOptions& /*options*/, Slice* result, char* scratch,
                IODebugContext* /*debug*/) const override {
    return ReadInto(*file_, offset, count, result, scratch);
  }

 private:
  const std::unique_ptr<LogFile> file_;
};

class Appended final : public rocksdb::FSWritableFile {
 public:
  Appended(std::unique_ptr<LogFile> file, uint64_t bytes) : file_(std::move(file)), bytes_(bytes) {}
  using FSWritableFile::Append;
  IOStatus Append(const Slice& data, const IOOptions& /*options*/, IODebugContext* /*debug*/) override {
    const std::string_view part(data.data(), data.size());
    IOStatus status = ToRocksDb(file_->Write(bytes_, {&part, 1}));
    if (status.ok()) bytes_ += data.size();
    return status;
  }
  IOStatus Flush(const IOOptions& /*options*/, IODebugContext* /*debug*/) override { return IOStatus::OK(); }
  IOStatus Sync(const IOOptions& /*options*/, IODebugContext* /*debug*/) override { return ToRocksDb(file_->Sync()); }
  IOStatus Close(const IOOptions& /*options*/, IODebugContext* /*debug*/) override { return IOStatus::OK(); }
  uint64_t GetFileSize(const IOOptions& /*options*/, IODebugContext* /*debug*/) override { return bytes_; }

 private:
  const std::unique_ptr<LogFile> file_;
  uint64_t bytes_;
};

class Folder final : public rocksdb::FSDirectory {
 public:
  Folder(FakeFiles& disk, std::string path) : disk_(disk), path_(std::move(path)) {}
  IOStatus Fsync(const IOOptions& /*options*/, IODebugContext* /*debug*/) override {
    return ToRocksDb(disk_.SyncDir(path_));
  }

 private:
  FakeFiles& disk_;
  const std::string path_;
};

class Held final : public rocksdb::FileLock {
 public:
  explicit Held(std::string name) : path(std::move(name)) {}
  const std::string path;
};

class NoLogger final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char* /*format*/, va_list /*arguments*/) override {}
  size_t GetLogFileSize() const override { return 0; }
};

}  // namespace

IOStatus FakeTableFiles::NewSequentialFile(const std::string& path, const FileOptions& /*options*/,
                                           std::unique_ptr<rocksdb::FSSequentialFile>* file,
                                           IODebugContext* /*debug*/) {
  absl::StatusOr<std::unique_ptr<LogFile>> opened = disk_.Open(Clean(path), Mode::kRead);
  if (opened.ok()) *file = std::make_unique<InOrder>(*std::move(opened));
  return ToRocksDb(opened.status());
}

IOStatus FakeTableFiles::NewRandomAccessFile(const std::string& path, const FileOptions& /*options*/,
                                             std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                             IODebugContext* /*debug*/) {
  absl::StatusOr<std::unique_ptr<LogFile>> opened = disk_.Open(Clean(path), Mode::kRead);
  if (opened.ok()) *file = std::make_unique<Anywhere>(*std::move(opened));
  return ToRocksDb(opened.status());
}

IOStatus FakeTableFiles::NewWritableFile(const std::string& path, const FileOptions& /*options*/,
                                         std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* /*debug*/) {
  absl::StatusOr<std::unique_ptr<LogFile>> opened = disk_.Open(Clean(path), Mode::kCreate);
  if (opened.ok()) *file = std::make_unique<Appended>(*std::move(opened), 0);
  return ToRocksDb(opened.status());
}

IOStatus FakeTableFiles::ReopenWritableFile(const std::string& path, const FileOptions& /*options*/,
                                            std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* /*debug*/) {
  absl::StatusOr<std::unique_ptr<LogFile>> opened = disk_.Open(Clean(path), Mode::kWrite);
  if (!opened.ok()) return ToRocksDb(opened.status());
  const absl::StatusOr<uint64_t> bytes = disk_.SizeOf(Clean(path));
  if (bytes.ok()) *file = std::make_unique<Appended>(*std::move(opened), *bytes);
  return ToRocksDb(bytes.status());
}

IOStatus FakeTableFiles::NewDirectory(const std::string& path, const IOOptions& /*options*/,
                                      std::unique_ptr<rocksdb::FSDirectory>* dir, IODebugContext* /*debug*/) {
  *dir = std::make_unique<Folder>(disk_, Clean(path));
  return IOStatus::OK();
}

IOStatus FakeTableFiles::FileExists(const std::string& path, const IOOptions& /*options*/, IODebugContext* /*debug*/) {
  return disk_.KindOf(Clean(path)) == FakeFiles::Kind::kAbsent ? IOStatus::NotFound(path) : IOStatus::OK();
}

IOStatus FakeTableFiles::GetChildren(const std::string& dir, const IOOptions& /*options*/,
                                     std::vector<std::string>* names, IODebugContext* /*debug*/) {
  if (disk_.KindOf(Clean(dir)) == FakeFiles::Kind::kAbsent) return IOStatus::NotFound(dir);
  absl::StatusOr<std::vector<std::string>> found = disk_.List(Clean(dir));
  if (found.ok()) *names = *std::move(found);
  return ToRocksDb(found.status());
}

IOStatus FakeTableFiles::DeleteFile(const std::string& path, const IOOptions& /*options*/, IODebugContext* /*debug*/) {
  return ToRocksDb(disk_.Remove(Clean(path)));
}

IOStatus FakeTableFiles::CreateDir(const std::string& dir, const IOOptions& /*options*/, IODebugContext* /*debug*/) {
  if (disk_.KindOf(Clean(dir)) != FakeFiles::Kind::kAbsent) return IOStatus::IOError(dir, "it exists");
  return ToRocksDb(disk_.MakeDir(Clean(dir)));
}

IOStatus FakeTableFiles::CreateDirIfMissing(const std::string& dir, const IOOptions& /*options*/,
                                            IODebugContext* /*debug*/) {
  if (disk_.KindOf(Clean(dir)) == FakeFiles::Kind::kDir) return IOStatus::OK();
  return ToRocksDb(disk_.MakeDir(Clean(dir)));
}

IOStatus FakeTableFiles::DeleteDir(const std::string& dir, const IOOptions& /*options*/, IODebugContext* /*debug*/) {
  return ToRocksDb(disk_.RemoveDir(Clean(dir)));
}

IOStatus FakeTableFiles::GetFileSize(const std::string& path, const IOOptions& /*options*/, uint64_t* bytes,
                                     IODebugContext* /*debug*/) {
  const absl::StatusOr<uint64_t> size = disk_.SizeOf(Clean(path));
  if (size.ok()) *bytes = *size;
  return ToRocksDb(size.status());
}

IOStatus FakeTableFiles::GetFileModificationTime(const std::string& /*path*/, const IOOptions& /*options*/,
                                                 uint64_t* time, IODebugContext* /*debug*/) {
  *time = 0;
  return IOStatus::OK();
}

IOStatus FakeTableFiles::RenameFile(const std::string& from, const std::string& to, const IOOptions& /*options*/,
                                    IODebugContext* /*debug*/) {
  return ToRocksDb(disk_.Rename(Clean(from), Clean(to)));
}

IOStatus FakeTableFiles::LinkFile(const std::string& from, const std::string& to, const IOOptions& /*options*/,
                                  IODebugContext* /*debug*/) {
  return ToRocksDb(disk_.Link(Clean(from), Clean(to)));
}

IOStatus FakeTableFiles::LockFile(const std::string& path, const IOOptions& /*options*/, rocksdb::FileLock** lock,
                                  IODebugContext* /*debug*/) {
  MutexLock hold(mutex_);
  if (!locked_.insert(path).second) return IOStatus::IOError("lock " + path, "already held");
  *lock = std::make_unique<Held>(path).release();  // RocksDB gives it back to UnlockFile
  return IOStatus::OK();
}

IOStatus FakeTableFiles::UnlockFile(rocksdb::FileLock* lock, const IOOptions& /*options*/, IODebugContext* /*debug*/) {
  const std::unique_ptr<Held> held(static_cast<Held*>(lock));
  MutexLock hold(mutex_);
  locked_.erase(held->path);
  return IOStatus::OK();
}

IOStatus FakeTableFiles::GetTestDirectory(const IOOptions& /*options*/, std::string* path, IODebugContext* /*debug*/) {
  *path = "/test";
  return IOStatus::OK();
}

IOStatus FakeTableFiles::NewLogger(const std::string& /*path*/, const IOOptions& /*options*/,
                                   std::shared_ptr<rocksdb::Logger>* logger, IODebugContext* /*debug*/) {
  *logger = std::make_shared<NoLogger>();
  return IOStatus::OK();
}

IOStatus FakeTableFiles::GetAbsolutePath(const std::string& path, const IOOptions& /*options*/, std::string* absolute,
                                         IODebugContext* /*debug*/) {
  *absolute = path;
  return IOStatus::OK();
}

IOStatus FakeTableFiles::IsDirectory(const std::string& path, const IOOptions& /*options*/, bool* is_dir,
                                     IODebugContext* /*debug*/) {
  const FakeFiles::Kind kind = disk_.KindOf(Clean(path));
  *is_dir = kind == FakeFiles::Kind::kDir;
  return kind == FakeFiles::Kind::kAbsent ? IOStatus::NotFound(path) : IOStatus::OK();
}

IOStatus FakeTableFiles::GetFreeSpace(const std::string& /*path*/, const IOOptions& /*options*/, uint64_t* bytes,
                                      IODebugContext* /*debug*/) {
  *bytes = disk_.FreeBytes("");
  return IOStatus::OK();
}

}  // namespace mptd::storage
