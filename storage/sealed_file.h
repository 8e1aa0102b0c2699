// The bytes of an encrypted file of the tables, and the key of each. Knows nothing of RocksDB.
//
// On disk, never change (a new layout gets a new magic). Little-endian.
//   header  magic u64 | layout u8 | 0 0 0 | data key u32 | salt, 32 bytes | GCM tag of all before
//   layout 1, blocks: pieces of kBlockBytes, each with a tag of 16 bytes behind; the last one may be shorter. Any byte
//                     is found by its offset. For table files, which are written once.
//   layout 2, stream: pieces of u32 length, u32 its complement, that many bytes, a tag that covers all. They can be
//                     appended at any length, and what is there is never written again. The complement tells a damaged
//                     length from a file that a crash has cut off, which ends there. For files that grow and are read
//                     from the beginning: MANIFEST, CURRENT, OPTIONS.
// A piece is sealed with AES-256-GCM. Its nonce is its number in the file, and the key is of this file alone (derived
// from a data key and the salt). Files are only ever appended to by the process that made them, so that no nonce comes
// twice, whatever crashes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/aes_gcm.h"
#include "storage/data_keys.h"

namespace mptd::storage {

enum class Layout : uint8_t { kBlocks = 1, kStream = 2 };

inline constexpr size_t kSealedHeaderBytes = 64;
inline constexpr size_t kBlockBytes = 4096;
inline constexpr size_t kSealedBlockBytes = kBlockBytes + kTagBytes;
inline constexpr size_t kLengthBytes = 8;
inline constexpr size_t kMaxPieceBytes = 64u << 10;

// How many bytes a file of `file_bytes` in blocks holds.
constexpr uint64_t PlainBytes(uint64_t file_bytes) {
  if (file_bytes <= kSealedHeaderBytes) return 0;
  const uint64_t body = file_bytes - kSealedHeaderBytes;
  const uint64_t rest = body % kSealedBlockBytes;
  return body / kSealedBlockBytes * kBlockBytes + (rest > kTagBytes ? rest - kTagBytes : 0);
}

// Where the block with the byte `offset` begins in the file.
constexpr uint64_t SealedOffset(uint64_t offset) {
  return kSealedHeaderBytes + offset / kBlockBytes * kSealedBlockBytes;
}

// One file's key. Constant, so safe from any thread.
class FileCipher {
 public:
  // For a new file.
  static absl::StatusOr<FileCipher> Make(std::shared_ptr<const DataKeys> keys, Layout layout);
  // For a file that begins with `header`. DATA_LOSS when that is not a header, was changed, or is of a data key that is
  // not there.
  static absl::StatusOr<FileCipher> Read(std::shared_ptr<const DataKeys> keys, std::string_view header);

  const std::string& header() const { return header_; }
  Layout layout() const { return layout_; }
  absl::StatusOr<AesGcm> Context(AesGcm::Use use) const;

 private:
  FileCipher(std::shared_ptr<const DataKeys> keys, Layout layout, uint32_t key, std::string salt)
      : keys_(std::move(keys)), layout_(layout), key_(key), salt_(std::move(salt)) {}

  std::shared_ptr<const DataKeys> keys_;
  Layout layout_;
  uint32_t key_;
  std::string salt_;
  std::string header_;
};

// The data key of the file that begins with `header`, not checked against anything. NOT_FOUND when it is too short or
// all zeros, as a crash leaves it, and holds nothing; DATA_LOSS when it is no header.
absl::StatusOr<uint32_t> KeyOfHeader(std::string_view header);

// Appends the sealed form of the stream's piece `number` to `out`. `plain` has 1 to kMaxPieceBytes bytes.
bool SealPiece(AesGcm& aes, uint64_t number, std::string_view plain, std::string& out);
// The length in the first kLengthBytes of a piece; 0 when they are zeros, as behind the end of what was written.
// nullopt when they are damaged.
std::optional<uint32_t> PieceLength(std::string_view bytes);

}  // namespace mptd::storage
