// The file system as RocksDB sees it: the operating system's, with corrections to how RocksDB 7.8 ingests files.
//
// 1. When the record of an ingest has been written to the manifest but syncing it failed, RocksDB deletes the files
//    that it had linked. If the record was on the disk after all, the store cannot be opened again. So nothing is
//    deleted any more once such a failure was reported; the next opening removes what the manifest does not name.
// 2. A file made for an ingest is synced when it is finished, and again when RocksDB has linked it. The first of these
//    is left out: a staged file that was not linked has no meaning.
// 3. Before it links a file, RocksDB looks for its first key, and takes a read that fails for a file without keys: it
//    would be added, and none of its rows found. So a file that could not be read cannot be linked either.
// 4. Then it looks for its last key, and a read that fails ends the process by an assertion. So the end of a staged
// file,
//    where the last rows are, is read when it is opened, which RocksDB knows may fail.
// Thread-safe.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "rocksdb/file_system.h"
#include "storage/mutex.h"

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
  rocksdb::IOStatus NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                        rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus LinkFile(const std::string& from, const std::string& to, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;

  // For its files: reading a staged one has failed.
  void NoteUnreadable(const std::string& path, const rocksdb::IOStatus& why) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const std::string staging_;
  std::atomic<bool> keep_ = false;
  Mutex mutex_;
  std::map<std::string, rocksdb::IOStatus> unreadable_ ABSL_GUARDED_BY(mutex_);  // staged files, until they are removed
};

}  // namespace mptd::storage
