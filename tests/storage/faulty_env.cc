#include "tests/storage/faulty_env.h"

#include <filesystem>
#include <utility>

namespace mptd::storage {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

class FaultyFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  FaultyFile(FaultyFileSystem& files, std::string path, std::unique_ptr<rocksdb::FSWritableFile> file, uint64_t size)
      : FSWritableFileOwnerWrapper(std::move(file)), files_(files), path_(std::move(path)), size_(size) {}

  using FSWritableFileOwnerWrapper::Append;
  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    if (IOStatus status = files_.Next(); !status.ok()) return status;
    IOStatus status = FSWritableFileOwnerWrapper::Append(data, options, debug);
    if (status.ok()) files_.Wrote(path_, size_ += data.size());
    return status;
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo& /*checks*/,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    if (IOStatus status = files_.Next(); !status.ok()) return status;
    files_.Synced(path_, size_);
    return FSWritableFileOwnerWrapper::Sync(options, debug);
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override { return Sync(options, debug); }
  IOStatus Flush(const IOOptions& options, IODebugContext* debug) override {
    if (IOStatus status = files_.Next(); !status.ok()) return status;
    return FSWritableFileOwnerWrapper::Flush(options, debug);
  }

 private:
  FaultyFileSystem& files_;
  const std::string path_;
  uint64_t size_;
};

class FaultyDirectory final : public rocksdb::FSDirectoryWrapper {
 public:
  FaultyDirectory(FaultyFileSystem& files, std::unique_ptr<rocksdb::FSDirectory> dir)
      : FSDirectoryWrapper(std::move(dir)), files_(files) {}

  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    if (IOStatus status = files_.Next(); !status.ok()) return status;
    return FSDirectoryWrapper::Fsync(options, debug);
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug,
                               const rocksdb::DirFsyncOptions& how) override {
    if (IOStatus status = files_.Next(); !status.ok()) return status;
    return FSDirectoryWrapper::FsyncWithDirOptions(options, debug, how);
  }

 private:
  FaultyFileSystem& files_;
};

}  // namespace

void FaultyFileSystem::Arm(uint64_t first, uint64_t count, Fault fault) {
  MutexLock lock(mutex_);
  operations_ = 0;
  first_ = first;
  count_ = count;
  fault_ = fault;
}

uint64_t FaultyFileSystem::operations() const {
  MutexLock lock(mutex_);
  return operations_;
}

IOStatus FaultyFileSystem::Next() {
  MutexLock lock(mutex_);
  ++operations_;
  if (fault_ == Fault::kNone || operations_ < first_ || operations_ - first_ >= count_) return IOStatus::OK();
  return fault_ == Fault::kNoSpace ? IOStatus::NoSpace("injected") : IOStatus::IOError("injected");
}

void FaultyFileSystem::Wrote(const std::string& path, uint64_t bytes) {
  MutexLock lock(mutex_);
  if (const auto found = files_.find(path); found != files_.end()) found->second->written = bytes;
}

void FaultyFileSystem::Synced(const std::string& path, uint64_t bytes) {
  MutexLock lock(mutex_);
  if (const auto found = files_.find(path); found != files_.end()) found->second->synced = bytes;
}

void FaultyFileSystem::LosePower() {
  MutexLock lock(mutex_);
  for (const auto& [path, extent] : files_) {
    std::error_code absent;
    if (extent->synced < extent->written) std::filesystem::resize_file(path, extent->synced, absent);
  }
  files_.clear();
}

IOStatus FaultyFileSystem::NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                           std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* debug) {
  if (IOStatus status = Next(); !status.ok()) return status;
  IOStatus status = FileSystemWrapper::NewWritableFile(path, options, file, debug);
  if (!status.ok()) return status;
  {
    MutexLock lock(mutex_);
    files_[path] = std::make_shared<Extent>();
  }
  *file = std::make_unique<FaultyFile>(*this, path, std::move(*file), 0);
  return status;
}

IOStatus FaultyFileSystem::ReopenWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                              std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* debug) {
  if (IOStatus status = Next(); !status.ok()) return status;
  std::error_code absent;
  const auto size = std::filesystem::file_size(path, absent);
  IOStatus status = FileSystemWrapper::ReopenWritableFile(path, options, file, debug);
  if (status.ok()) *file = std::make_unique<FaultyFile>(*this, path, std::move(*file), absent ? 0 : size);
  return status;
}

IOStatus FaultyFileSystem::NewDirectory(const std::string& path, const IOOptions& options,
                                        std::unique_ptr<rocksdb::FSDirectory>* dir, IODebugContext* debug) {
  IOStatus status = FileSystemWrapper::NewDirectory(path, options, dir, debug);
  if (status.ok()) *dir = std::make_unique<FaultyDirectory>(*this, std::move(*dir));
  return status;
}

IOStatus FaultyFileSystem::DeleteFile(const std::string& path, const IOOptions& options, IODebugContext* debug) {
  if (IOStatus status = Next(); !status.ok()) return status;
  {
    MutexLock lock(mutex_);
    files_.erase(path);
  }
  return FileSystemWrapper::DeleteFile(path, options, debug);
}

IOStatus FaultyFileSystem::RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                                      IODebugContext* debug) {
  if (IOStatus status = Next(); !status.ok()) return status;
  IOStatus status = FileSystemWrapper::RenameFile(from, to, options, debug);
  MutexLock lock(mutex_);
  if (const auto found = files_.find(from); status.ok() && found != files_.end()) {
    files_[to] = found->second;
    files_.erase(from);
  }
  return status;
}

IOStatus FaultyFileSystem::LinkFile(const std::string& from, const std::string& to, const IOOptions& options,
                                    IODebugContext* debug) {
  if (IOStatus status = Next(); !status.ok()) return status;
  IOStatus status = FileSystemWrapper::LinkFile(from, to, options, debug);
  MutexLock lock(mutex_);
  if (const auto found = files_.find(from); status.ok() && found != files_.end()) files_[to] = found->second;
  return status;
}

}  // namespace mptd::storage
