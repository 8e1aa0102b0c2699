// A RocksDB Env on the real file system whose writing operations can be made to fail, and that can lose power: then
// every file ends where it ended when it was last synced. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "storage/mutex.h"

namespace mptd::storage {

class FaultyFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  enum class Fault : uint8_t { kNone, kError, kNoSpace };

  FaultyFileSystem() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}

  // Writing operations from the `first`-th from now on, counted from 1, and `count` in all, fail.
  void Arm(uint64_t first, uint64_t count, Fault fault);
  void Heal() { Arm(0, 0, Fault::kNone); }
  uint64_t operations() const;  // since the last Arm
  void SetFreeSpace(uint64_t bytes) { free_bytes_ = bytes; }
  // Cuts files that were written through this object to what was synced.
  void LosePower();

  // For its files: what the operation beginning now answers, and what has become of a file.
  rocksdb::IOStatus Next();
  void Wrote(const std::string& path, uint64_t bytes);
  void Synced(const std::string& path, uint64_t bytes);

  const char* Name() const override { return "FaultyFileSystem"; }
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReopenWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* file,
                                       rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewDirectory(const std::string& path, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* dir, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus LinkFile(const std::string& from, const std::string& to, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus GetFreeSpace(const std::string& /*path*/, const rocksdb::IOOptions& /*options*/, uint64_t* bytes,
                                 rocksdb::IODebugContext* /*debug*/) override {
    *bytes = free_bytes_;
    return rocksdb::IOStatus::OK();
  }

 private:
  struct Extent {  // of one inode, whatever its names
    uint64_t written = 0;
    uint64_t synced = 0;
  };

  std::atomic<uint64_t> free_bytes_ = UINT64_MAX;

  mutable Mutex mutex_;
  uint64_t operations_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t first_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t count_ ABSL_GUARDED_BY(mutex_) = 0;
  Fault fault_ ABSL_GUARDED_BY(mutex_) = Fault::kNone;
  std::map<std::string, std::shared_ptr<Extent>> files_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mptd::storage
