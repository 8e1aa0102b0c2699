#include "storage/encrypted_reading.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"

namespace mptd::storage {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

namespace {

// Contexts that a file keeps: as many as threads read one file at the same time, mostly.
constexpr size_t kIdleContexts = 4;

IOStatus WasChanged(const std::string& path, uint64_t piece) {
  return IOStatus::Corruption(
      absl::StrFormat("%s: piece %d of the encrypted file is damaged or was changed", path, piece));
}

// Reads `count` bytes, fewer only at the end of the file.
IOStatus ReadFully(rocksdb::FSRandomAccessFile& file, uint64_t offset, size_t count, const IOOptions& options,
                   std::string& out, IODebugContext* debug) {
  out.resize(count);
  size_t done = 0;
  while (done < count) {
    Slice got;
    if (IOStatus s = file.Read(offset + done, count - done, options, &got, out.data() + done, debug); !s.ok()) return s;
    if (got.empty()) break;
    if (got.data() != out.data() + done) std::memmove(out.data() + done, got.data(), got.size());
    done += got.size();
  }
  out.resize(done);
  return IOStatus::OK();
}

}  // namespace

IOStatus ToIOStatus(const absl::Status& status, const std::string& path) {
  if (status.ok()) return IOStatus::OK();
  const std::string text = absl::StrFormat("%s: %s", path, status.message());
  return absl::IsDataLoss(status) ? IOStatus::Corruption(text) : IOStatus::IOError(text);
}

IOStatus DecryptingSequentialFile::Changed() const { return WasChanged(path_, number_); }

IOStatus DecryptingSequentialFile::Fill(size_t bytes, std::string& out) const {
  out.resize(bytes);
  size_t done = 0;
  while (done < bytes) {
    Slice got;
    if (IOStatus s = base_->Read(bytes - done, IOOptions(), &got, out.data() + done, nullptr); !s.ok()) return s;
    if (got.empty()) break;
    if (got.data() != out.data() + done) std::memmove(out.data() + done, got.data(), got.size());
    done += got.size();
  }
  out.resize(done);
  return IOStatus::OK();
}

// A file that a crash left without its header holds nothing.
IOStatus DecryptingSequentialFile::ReadHeader() {
  begun_ = true;
  std::string header;
  if (IOStatus s = Fill(kSealedHeaderBytes, header); !s.ok()) return s;
  if (absl::IsNotFound(KeyOfHeader(header).status())) {
    ended_ = true;
    return IOStatus::OK();
  }
  const absl::StatusOr<FileCipher> cipher = FileCipher::Read(keys_, header);
  if (!cipher.ok()) return ToIOStatus(cipher.status(), path_);
  absl::StatusOr<AesGcm> aes = cipher->Context(AesGcm::Use::kOpen);
  if (!aes.ok()) return ToIOStatus(aes.status(), path_);
  layout_ = cipher->layout();
  aes_ = std::make_unique<AesGcm>(*std::move(aes));
  return IOStatus::OK();
}

// What a crash cut off at the end was never synced, and ends the file as it would end a plain one.
IOStatus DecryptingSequentialFile::NextOfStream() {
  std::string length_bytes;
  if (IOStatus s = Fill(kLengthBytes, length_bytes); !s.ok()) return s;
  const std::optional<uint32_t> length =
      length_bytes.size() == kLengthBytes ? PieceLength(length_bytes) : std::optional<uint32_t>(0);
  if (!length) return Changed();
  if (*length > 0) {
    if (IOStatus s = Fill(*length + kTagBytes, sealed_); !s.ok()) return s;
  }
  ended_ = *length == 0 || sealed_.size() < *length + kTagBytes;
  if (ended_) return IOStatus::OK();
  piece_.resize(*length);
  return aes_->Open(CountingNonce(number_++), length_bytes, sealed_, piece_.data()) ? IOStatus::OK() : Changed();
}

IOStatus DecryptingSequentialFile::NextBlock() {
  if (IOStatus s = Fill(kSealedBlockBytes, sealed_); !s.ok()) return s;
  ended_ = sealed_.size() < kSealedBlockBytes;
  if (sealed_.size() <= kTagBytes) return IOStatus::OK();
  piece_.resize(sealed_.size() - kTagBytes);
  return aes_->Open(CountingNonce(number_++), {}, sealed_, piece_.data()) ? IOStatus::OK() : Changed();
}

IOStatus DecryptingSequentialFile::NextPiece() {
  piece_.clear();
  taken_ = 0;
  if (!begun_) {
    if (IOStatus s = ReadHeader(); !s.ok() || ended_) return s;
  }
  IOStatus s = layout_ == Layout::kStream ? NextOfStream() : NextBlock();
  if (!s.ok()) {
    piece_.clear();
    ended_ = true;
  }
  return s;
}

IOStatus DecryptingSequentialFile::Read(size_t count, const IOOptions& /*options*/, Slice* result, char* scratch,
                                        IODebugContext* /*debug*/) {
  size_t done = 0;
  while (done < count) {
    if (taken_ == piece_.size()) {
      if (ended_) break;
      if (IOStatus s = NextPiece(); !s.ok()) return s;
      continue;
    }
    const size_t part = std::min(count - done, piece_.size() - taken_);
    std::memcpy(scratch + done, piece_.data() + taken_, part);
    done += part;
    taken_ += part;
  }
  *result = Slice(scratch, done);
  return IOStatus::OK();
}

IOStatus DecryptingSequentialFile::Skip(uint64_t count) {
  while (count > 0) {
    if (taken_ == piece_.size()) {
      if (ended_) break;
      if (IOStatus s = NextPiece(); !s.ok()) return s;
      continue;
    }
    const uint64_t part = std::min<uint64_t>(count, piece_.size() - taken_);
    count -= part;
    taken_ += part;
  }
  return IOStatus::OK();
}

absl::StatusOr<AesGcm> DecryptingRandomFile::TakeContext() const {
  {
    MutexLock lock(mutex_);
    if (!idle_.empty()) {
      AesGcm context = std::move(idle_.back());
      idle_.pop_back();
      return context;
    }
  }
  return cipher_.Context(AesGcm::Use::kOpen);
}

void DecryptingRandomFile::GiveBack(AesGcm context) const {
  MutexLock lock(mutex_);
  if (idle_.size() < kIdleContexts) idle_.push_back(std::move(context));
}

IOStatus DecryptingRandomFile::Read(uint64_t offset, size_t count, const IOOptions& options, Slice* result,
                                    char* scratch, IODebugContext* debug) const {
  *result = Slice(scratch, 0);
  // RocksDB opens CURRENT this way when it starts, to see whether it could, and reads nothing.
  if (cipher_.layout() != Layout::kBlocks) {
    return IOStatus::NotSupported(absl::StrFormat("%s: it is read from the beginning only", path_));
  }
  if (count == 0) return IOStatus::OK();
  const uint64_t first = offset / kBlockBytes;
  const uint64_t blocks = (offset + count - 1) / kBlockBytes - first + 1;
  // Kept by the thread: reads of a few kilobytes come by the million.
  thread_local std::string sealed;
  if (IOStatus s = ReadFully(*base_, SealedOffset(offset), blocks * kSealedBlockBytes, options, sealed, debug);
      !s.ok()) {
    return s;
  }
  absl::StatusOr<AesGcm> aes = TakeContext();
  if (!aes.ok()) return ToIOStatus(aes.status(), path_);
  size_t done = 0;
  for (uint64_t i = 0; i < blocks; ++i) {
    const std::string_view all = sealed;
    const std::string_view block = all.substr(std::min<size_t>(i * kSealedBlockBytes, all.size()), kSealedBlockBytes);
    if (block.size() <= kTagBytes) break;
    const size_t size = block.size() - kTagBytes;
    const size_t skip = i == 0 ? offset % kBlockBytes : 0;
    const size_t part = size > skip ? std::min(size - skip, count - done) : 0;
    char plain[kBlockBytes];
    char* const to = part == size ? scratch + done : plain;
    if (!aes->Open(CountingNonce(first + i), {}, block, to)) return WasChanged(path_, first + i);
    if (to == plain) std::memcpy(scratch + done, plain + skip, part);
    done += part;
  }
  GiveBack(*std::move(aes));
  // One long read, as of a compaction, must not be remembered by every thread for ever.
  if (sealed.capacity() > (size_t{4} << 20)) std::string().swap(sealed);
  *result = Slice(scratch, done);
  return IOStatus::OK();
}

IOStatus DecryptingRandomFile::Prefetch(uint64_t offset, size_t count, const IOOptions& options,
                                        IODebugContext* debug) {
  return base_->Prefetch(SealedOffset(offset), (count / kBlockBytes + 2) * kSealedBlockBytes, options, debug);
}

}  // namespace mptd::storage
