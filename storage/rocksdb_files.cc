#include "storage/rocksdb_files.h"

#include <algorithm>
#include <string_view>

namespace mptd::storage {
namespace {

class StagedFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  using FSWritableFileOwnerWrapper::FSWritableFileOwnerWrapper;
  rocksdb::IOStatus Sync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
    return Flush(options, debug);
  }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
    return Flush(options, debug);
  }
};

// Behind the last rows of a file are its filter and its index, which of a file of 64 MiB take less than half of this.
constexpr uint64_t kEndBytes = 4u << 20;

class StagedReader final : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  StagedReader(GuardedFileSystem& files, std::string path, std::unique_ptr<rocksdb::FSRandomAccessFile> file)
      : FSRandomAccessFileOwnerWrapper(std::move(file)), files_(files), path_(std::move(path)) {}

  rocksdb::IOStatus ReadEnd(uint64_t file_bytes, rocksdb::IODebugContext* debug) {
    const uint64_t begin = file_bytes - std::min(file_bytes, kEndBytes);
    end_.resize(file_bytes - begin);
    rocksdb::Slice got;
    rocksdb::IOStatus status =
        FSRandomAccessFileOwnerWrapper::Read(begin, end_.size(), rocksdb::IOOptions(), &got, end_.data(), debug);
    if (status.ok() && got.size() != end_.size()) status = rocksdb::IOStatus::IOError("it has become shorter", path_);
    if (!status.ok()) return status;
    if (got.data() != end_.data()) end_.assign(got.data(), got.size());
    end_begin_ = begin;
    return status;
  }

  rocksdb::IOStatus Read(uint64_t offset, size_t count, const rocksdb::IOOptions& options, rocksdb::Slice* result,
                         char* scratch, rocksdb::IODebugContext* debug) const override {
    if (offset >= end_begin_ && offset <= end_begin_ + end_.size()) {
      const std::string_view found = std::string_view(end_).substr(offset - end_begin_, count);
      *result = rocksdb::Slice(scratch, found.copy(scratch, found.size()));
      return rocksdb::IOStatus::OK();
    }
    rocksdb::IOStatus status = FSRandomAccessFileOwnerWrapper::Read(offset, count, options, result, scratch, debug);
    if (!status.ok()) files_.NoteUnreadable(path_, status);
    return status;
  }
  rocksdb::IOStatus MultiRead(rocksdb::FSReadRequest* requests, size_t count, const rocksdb::IOOptions& options,
                              rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = FSRandomAccessFileOwnerWrapper::MultiRead(requests, count, options, debug);
    if (!status.ok()) files_.NoteUnreadable(path_, status);
    for (size_t i = 0; i < count; ++i) {
      if (!requests[i].status.ok()) files_.NoteUnreadable(path_, requests[i].status);
    }
    return status;
  }

 private:
  GuardedFileSystem& files_;
  const std::string path_;
  std::string end_;
  uint64_t end_begin_ = UINT64_MAX;
};

}  // namespace

void GuardedFileSystem::NoteUnreadable(const std::string& path, const rocksdb::IOStatus& why) {
  MutexLock lock(mutex_);
  unreadable_.emplace(path, why);
}

rocksdb::IOStatus GuardedFileSystem::NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions& options,
                                                         std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                                         rocksdb::IODebugContext* debug) {
  rocksdb::IOStatus status = FileSystemWrapper::NewRandomAccessFile(path, options, file, debug);
  if (!status.ok() || !path.starts_with(staging_)) return status;
  uint64_t bytes = 0;
  status = FileSystemWrapper::GetFileSize(path, rocksdb::IOOptions(), &bytes, debug);
  if (!status.ok()) return status;
  auto reader = std::make_unique<StagedReader>(*this, path, std::move(*file));
  status = reader->ReadEnd(bytes, debug);
  if (status.ok()) *file = std::move(reader);
  return status;
}

rocksdb::IOStatus GuardedFileSystem::LinkFile(const std::string& from, const std::string& to,
                                              const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) {
  {
    MutexLock lock(mutex_);
    if (const auto found = unreadable_.find(from); found != unreadable_.end()) return found->second;
  }
  return FileSystemWrapper::LinkFile(from, to, options, debug);
}

rocksdb::IOStatus GuardedFileSystem::DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                                                rocksdb::IODebugContext* debug) {
  {
    MutexLock lock(mutex_);
    unreadable_.erase(path);
  }
  if (keep_) return rocksdb::IOStatus::OK();
  return FileSystemWrapper::DeleteFile(path, options, debug);
}

rocksdb::IOStatus GuardedFileSystem::NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                                     std::unique_ptr<rocksdb::FSWritableFile>* file,
                                                     rocksdb::IODebugContext* debug) {
  rocksdb::IOStatus status = FileSystemWrapper::NewWritableFile(path, options, file, debug);
  if (status.ok() && path.starts_with(staging_)) *file = std::make_unique<StagedFile>(std::move(*file));
  return status;
}

}  // namespace mptd::storage
