// Reading encrypted files for RocksDB; only EncryptedFileSystem makes these.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "rocksdb/file_system.h"
#include "storage/mutex.h"
#include "storage/sealed_file.h"

namespace mptd::storage {

// DATA_LOSS is a corruption to RocksDB, all else a failure to read or write.
rocksdb::IOStatus ToIOStatus(const absl::Status& status, const std::string& path);

// Used by one thread at a time.
class DecryptingSequentialFile final : public rocksdb::FSSequentialFile {
 public:
  DecryptingSequentialFile(std::unique_ptr<rocksdb::FSSequentialFile> base, std::string path,
                           std::shared_ptr<const DataKeys> keys)
      : base_(std::move(base)), path_(std::move(path)), keys_(std::move(keys)) {}

  rocksdb::IOStatus Read(size_t count, const rocksdb::IOOptions& options, rocksdb::Slice* result, char* scratch,
                         rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus Skip(uint64_t count) override;
  rocksdb::IOStatus InvalidateCache(size_t /*offset*/, size_t /*length*/) override {
    return base_->InvalidateCache(0, 0);
  }

 private:
  rocksdb::IOStatus Fill(size_t bytes, std::string& out) const;
  rocksdb::IOStatus ReadHeader();
  rocksdb::IOStatus NextPiece();
  rocksdb::IOStatus NextOfStream();
  rocksdb::IOStatus NextBlock();
  rocksdb::IOStatus Changed() const;

  const std::unique_ptr<rocksdb::FSSequentialFile> base_;
  const std::string path_;
  const std::shared_ptr<const DataKeys> keys_;
  bool begun_ = false;
  bool ended_ = false;
  Layout layout_ = Layout::kStream;
  std::unique_ptr<AesGcm> aes_;
  uint64_t number_ = 0;  // of the next piece
  std::string sealed_;
  std::string piece_;
  size_t taken_ = 0;  // of piece_
};

// Safe from any thread.
class DecryptingRandomFile final : public rocksdb::FSRandomAccessFile {
 public:
  DecryptingRandomFile(std::unique_ptr<rocksdb::FSRandomAccessFile> base, std::string path, FileCipher cipher)
      : base_(std::move(base)), path_(std::move(path)), cipher_(std::move(cipher)) {}

  rocksdb::IOStatus Read(uint64_t offset, size_t count, const rocksdb::IOOptions& options, rocksdb::Slice* result,
                         char* scratch, rocksdb::IODebugContext* debug) const override;
  rocksdb::IOStatus Prefetch(uint64_t offset, size_t count, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override;
  size_t GetUniqueId(char* id, size_t max_size) const override { return base_->GetUniqueId(id, max_size); }
  void Hint(AccessPattern pattern) override { base_->Hint(pattern); }
  rocksdb::IOStatus InvalidateCache(size_t /*offset*/, size_t /*length*/) override {
    return base_->InvalidateCache(0, 0);
  }

 private:
  absl::StatusOr<AesGcm> TakeContext() const;
  void GiveBack(AesGcm context) const;

  const std::unique_ptr<rocksdb::FSRandomAccessFile> base_;
  const std::string path_;
  const FileCipher cipher_;
  mutable Mutex mutex_;
  mutable std::vector<AesGcm> idle_ ABSL_GUARDED_BY(mutex_);  // set up, and used by nobody
};

}  // namespace mptd::storage
