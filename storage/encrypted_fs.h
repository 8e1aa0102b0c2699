// RocksDB's files, encrypted: what its own NewEncryptedFS is to an EncryptionProvider, for AES-256-GCM.
//
// RocksDB's EncryptedFileSystem keeps every byte at its place and encrypts what each Append brings by itself. Only a
// keystream (CTR) can do that: XTS cannot encrypt half of a block, and GCM has no room for its tags. A keystream tells
// nothing of a changed byte, so that this stands in its place. The formats are in sealed_file.h.
//
// Encrypted are all files that are made through it. Logger files are refused (RocksDB would write them by itself), and
// so are files that are written at any place, which our stores have none of. A file that was not encrypted reads as
// damaged: nobody can put one in the place of an encrypted one.
// Thread-safe; the files of it as RocksDB asks.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "rocksdb/file_system.h"
#include "storage/data_keys.h"

namespace mptd::storage {

class EncryptedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  EncryptedFileSystem(const std::shared_ptr<rocksdb::FileSystem>& base, std::shared_ptr<const DataKeys> keys)
      : FileSystemWrapper(base), keys_(std::move(keys)) {}

  const char* Name() const override { return "mptd.EncryptedFileSystem"; }

  rocksdb::IOStatus NewSequentialFile(const std::string& path, const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSSequentialFile>* file,
                                      rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                        rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override;
  // For syncing a file that is complete; an Append is refused.
  rocksdb::IOStatus ReopenWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* file,
                                       rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReuseWritableFile(const std::string& path, const std::string& old_path,
                                      const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSWritableFile>* file,
                                      rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewRandomRWFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSRandomRWFile>* file,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewMemoryMappedFileBuffer(const std::string& path,
                                              std::unique_ptr<rocksdb::MemoryMappedFileBuffer>* buffer) override;
  rocksdb::IOStatus NewLogger(const std::string& path, const rocksdb::IOOptions& options,
                              std::shared_ptr<rocksdb::Logger>* logger, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus Truncate(const std::string& path, size_t size, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override;
  // What the file holds, not what it takes.
  rocksdb::IOStatus GetFileSize(const std::string& path, const rocksdb::IOOptions& options, uint64_t* bytes,
                                rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus GetChildrenFileAttributes(const std::string& dir, const rocksdb::IOOptions& options,
                                              std::vector<rocksdb::FileAttributes>* result,
                                              rocksdb::IODebugContext* debug) override;

 private:
  const std::shared_ptr<const DataKeys> keys_;
};

// `base`, encrypted unless `keys` is null.
std::shared_ptr<rocksdb::FileSystem> EncryptedBy(std::shared_ptr<const DataKeys> keys,
                                                 const std::shared_ptr<rocksdb::FileSystem>& base);

// The data keys of all encrypted files in the folder of a store.
absl::StatusOr<std::set<uint32_t>> KeysInUse(rocksdb::FileSystem& base, const std::string& dir);

// Replaces a file by its contents as `to` writes them, durably but for its name.
rocksdb::IOStatus CopyOver(rocksdb::FileSystem& from, rocksdb::FileSystem& to, const std::string& path);

// Writes those files anew that RocksDB never writes again, IDENTITY and OPTIONS, where they are of an old data key.
// While no store is open in `dir`.
absl::Status RenewSmallFiles(const std::shared_ptr<rocksdb::FileSystem>& base,
                             const std::shared_ptr<const DataKeys>& keys, const std::string& dir);

}  // namespace mptd::storage
