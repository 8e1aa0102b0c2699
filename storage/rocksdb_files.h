// The file system as RocksDB sees it: the operating system's, with two corrections to how RocksDB 7.8 ingests files.
//
// 1. When the record of an ingest has been written to the manifest but syncing it failed, RocksDB deletes the files
// that it
//    had linked. If the record was on the disk after all, the store cannot be opened again. So nothing is deleted any
//    more once such a failure was reported; the next opening removes what the manifest does not name.
// 2. A file made for an ingest is synced when it is finished, and again when RocksDB has linked it. The first of these
// is
//    left out: a staged file that was not linked has no meaning.
// Thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "rocksdb/file_system.h"

namespace mptd::storage {

class GuardedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  // Paths that begin with `staging` are of staged files.
  GuardedFileSystem(const std::shared_ptr<rocksdb::FileSystem>& base, std::string staging)
      : FileSystemWrapper(base), staging_(std::move(staging)) {}

  void KeepAllFiles() { keep_ = true; }

  const char* Name() const override { return "mptd.GuardedFileSystem"; }
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override {
    if (keep_) return rocksdb::IOStatus::OK();
    return FileSystemWrapper::DeleteFile(path, options, debug);
  }

 private:
  const std::string staging_;
  std::atomic<bool> keep_ = false;
};

}  // namespace mptd::storage
