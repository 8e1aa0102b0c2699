// Writing encrypted files for RocksDB; only EncryptedFileSystem makes these. Used by one thread at a time.
#pragma once

#include <memory>
#include <string>

#include "rocksdb/file_system.h"
#include "storage/sealed_file.h"

namespace mptd::storage {

// Keeps back what does not fill a piece yet. A stream hands it on with Flush, a file in blocks only with Sync or Close,
// which complete it: what is appended later is refused. An error is final, so that no piece is ever sealed twice.
class EncryptingFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  EncryptingFile(std::unique_ptr<rocksdb::FSWritableFile> base, std::string path, Layout layout, AesGcm aes)
      : FSWritableFileOwnerWrapper(std::move(base)), path_(std::move(path)), layout_(layout), aes_(std::move(aes)) {}
  ~EncryptingFile() override;

  rocksdb::IOStatus WriteHeader(const std::string& header);

  using FSWritableFileOwnerWrapper::Append;
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           const rocksdb::DataVerificationInfo& /*info*/, rocksdb::IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  rocksdb::IOStatus PositionedAppend(const rocksdb::Slice& data, uint64_t offset, const rocksdb::IOOptions& options,
                                     rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus PositionedAppend(const rocksdb::Slice& data, uint64_t offset, const rocksdb::IOOptions& options,
                                     const rocksdb::DataVerificationInfo& /*info*/,
                                     rocksdb::IODebugContext* debug) override {
    return PositionedAppend(data, offset, options, debug);
  }
  rocksdb::IOStatus Truncate(uint64_t size, const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus Flush(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus Sync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus Close(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus RangeSync(uint64_t offset, uint64_t bytes, const rocksdb::IOOptions& options,
                              rocksdb::IODebugContext* debug) override;
  bool IsSyncThreadSafe() const override { return false; }
  uint64_t GetFileSize(const rocksdb::IOOptions& /*options*/, rocksdb::IODebugContext* /*debug*/) override {
    return bytes_;
  }
  rocksdb::IOStatus InvalidateCache(size_t /*offset*/, size_t /*length*/) override {
    return target()->InvalidateCache(0, 0);
  }

 private:
  rocksdb::IOStatus Seal(bool all, const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug);
  bool SealWaiting(bool all);
  rocksdb::IOStatus Fail(const rocksdb::IOStatus& status);

  const std::string path_;
  const Layout layout_;
  AesGcm aes_;
  uint64_t number_ = 0;    // of the next piece
  uint64_t bytes_ = 0;     // appended
  std::string waiting_;    // not sealed yet
  std::string sealed_;     // on its way to the file
  bool complete_ = false;  // has a block that is not full
  bool closed_ = false;
  rocksdb::IOStatus failed_;  // sticky
};

// A file that is complete, opened to be synced.
class CompleteFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  using FSWritableFileOwnerWrapper::FSWritableFileOwnerWrapper;
  rocksdb::IOStatus Append(const rocksdb::Slice& /*data*/, const rocksdb::IOOptions& /*options*/,
                           rocksdb::IODebugContext* /*debug*/) override {
    return Refused();
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& /*data*/, const rocksdb::IOOptions& /*options*/,
                           const rocksdb::DataVerificationInfo& /*info*/, rocksdb::IODebugContext* /*debug*/) override {
    return Refused();
  }

 private:
  static rocksdb::IOStatus Refused() {
    return rocksdb::IOStatus::NotSupported("an encrypted file is not appended to once it is complete");
  }
};

}  // namespace mptd::storage
