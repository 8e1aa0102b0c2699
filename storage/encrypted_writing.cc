#include "storage/encrypted_writing.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/str_format.h"

namespace mptd::storage {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

EncryptingFile::~EncryptingFile() {
  if (!closed_) Close(IOOptions(), nullptr).PermitUncheckedError();
  failed_.PermitUncheckedError();
}

IOStatus EncryptingFile::Fail(const IOStatus& status) {
  if (failed_.ok()) failed_ = status;
  return failed_;
}

IOStatus EncryptingFile::WriteHeader(const std::string& header) {
  IOStatus s = target()->Append(header, IOOptions(), nullptr);
  return s.ok() ? s : Fail(s);
}

IOStatus EncryptingFile::Append(const Slice& data, const IOOptions& options, IODebugContext* debug) {
  if (!failed_.ok()) return failed_;
  if (complete_ && !data.empty()) {
    return Fail(
        IOStatus::NotSupported(absl::StrFormat("%s: an encrypted file is not appended to once it is synced", path_)));
  }
  waiting_.append(data.data(), data.size());
  bytes_ += data.size();
  return waiting_.size() >= kMaxPieceBytes ? Seal(/*all=*/false, options, debug) : IOStatus::OK();
}

IOStatus EncryptingFile::PositionedAppend(const Slice& data, uint64_t offset, const IOOptions& options,
                                          IODebugContext* debug) {
  if (offset != bytes_) {
    return Fail(IOStatus::NotSupported(absl::StrFormat("%s: encrypted files are written in order", path_)));
  }
  return Append(data, options, debug);
}

IOStatus EncryptingFile::Truncate(uint64_t size, const IOOptions& /*options*/, IODebugContext* /*debug*/) {
  if (size == bytes_) return IOStatus::OK();
  return IOStatus::NotSupported(absl::StrFormat("%s: encrypted files are not cut", path_));
}

// Moves pieces from waiting_ to sealed_: full ones, or all that there is.
bool EncryptingFile::SealWaiting(bool all) {
  const bool stream = layout_ == Layout::kStream;
  const size_t most = stream ? kMaxPieceBytes : kBlockBytes;
  std::string_view rest = waiting_;
  while (rest.size() >= most || (all && !rest.empty())) {
    const std::string_view plain = rest.substr(0, most);
    if (stream) {
      if (!SealPiece(aes_, number_, plain, sealed_)) return false;
    } else {
      const size_t at = sealed_.size();
      sealed_.resize(at + plain.size() + kTagBytes);
      if (!aes_.Seal(CountingNonce(number_), {}, plain, &sealed_[at])) return false;
      complete_ = plain.size() < kBlockBytes;
    }
    ++number_;
    rest.remove_prefix(plain.size());
  }
  waiting_.erase(0, waiting_.size() - rest.size());
  return true;
}

IOStatus EncryptingFile::Seal(bool all, const IOOptions& options, IODebugContext* debug) {
  if (!failed_.ok()) return failed_;
  sealed_.clear();
  if (!SealWaiting(all)) return Fail(IOStatus::IOError(absl::StrFormat("%s: AES-256-GCM failed", path_)));
  if (sealed_.empty()) return IOStatus::OK();
  IOStatus s = target()->Append(sealed_, options, debug);
  return s.ok() ? s : Fail(s);
}

IOStatus EncryptingFile::Flush(const IOOptions& options, IODebugContext* debug) {
  if (IOStatus s = Seal(/*all=*/layout_ == Layout::kStream, options, debug); !s.ok()) return s;
  return target()->Flush(options, debug);
}

IOStatus EncryptingFile::Sync(const IOOptions& options, IODebugContext* debug) {
  if (IOStatus s = Seal(/*all=*/true, options, debug); !s.ok()) return s;
  return target()->Sync(options, debug);
}

IOStatus EncryptingFile::Fsync(const IOOptions& options, IODebugContext* debug) {
  if (IOStatus s = Seal(/*all=*/true, options, debug); !s.ok()) return s;
  return target()->Fsync(options, debug);
}

IOStatus EncryptingFile::Close(const IOOptions& options, IODebugContext* debug) {
  IOStatus sealed = Seal(/*all=*/true, options, debug);
  closed_ = true;
  IOStatus closed = target()->Close(options, debug);
  return sealed.ok() ? closed : sealed;
}

// Begins to write out what was appended up to there; the few bytes behind do no harm.
IOStatus EncryptingFile::RangeSync(uint64_t offset, uint64_t bytes, const IOOptions& options, IODebugContext* debug) {
  if (layout_ == Layout::kStream) return IOStatus::OK();
  const uint64_t begin = SealedOffset(offset);
  return target()->RangeSync(begin, SealedOffset(offset + bytes) - begin, options, debug);
}

}  // namespace mptd::storage
