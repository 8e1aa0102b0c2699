#include "storage/rocksdb_files.h"

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

}  // namespace

rocksdb::IOStatus GuardedFileSystem::NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                                     std::unique_ptr<rocksdb::FSWritableFile>* file,
                                                     rocksdb::IODebugContext* debug) {
  rocksdb::IOStatus status = FileSystemWrapper::NewWritableFile(path, options, file, debug);
  if (status.ok() && path.starts_with(staging_)) *file = std::make_unique<StagedFile>(std::move(*file));
  return status;
}

}  // namespace mptd::storage
