#include "storage/sealed_file.h"

#include <bit>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"

namespace mptd::storage {
namespace {

static_assert(std::endian::native == std::endian::little, "headers are written in the machine's order");
static_assert(kSealedHeaderBytes == 64 && kBlockBytes == 4096 && kSaltBytes == 32 && kTagBytes == 16,
              "these are on disk and never change");

constexpr uint64_t kMagic = 0x31434e454454504d;  // "MPTDENC1"
constexpr size_t kLayoutAt = 8;
constexpr size_t kKeyAt = 12;
constexpr size_t kSaltAt = 16;
constexpr size_t kTagAt = 48;

// No piece has this number.
Nonce HeaderNonce() {
  Nonce nonce;
  nonce.fill(0xff);
  return nonce;
}

template <typename Int>
Int Take(std::string_view from, size_t at) {
  Int value;
  std::memcpy(&value, from.data() + at, sizeof(value));
  return value;
}

}  // namespace

absl::StatusOr<uint32_t> KeyOfHeader(std::string_view header) {
  if (header.size() < kSealedHeaderBytes ||
      header.substr(0, kSealedHeaderBytes).find_first_not_of('\0') == std::string_view::npos) {
    return absl::NotFoundError("a file that was never finished");
  }
  if (Take<uint64_t>(header, 0) != kMagic) return absl::DataLossError("it is not an encrypted file");
  return Take<uint32_t>(header, kKeyAt);
}

absl::StatusOr<AesGcm> FileCipher::Context(AesGcm::Use use) const {
  KeyBuffer key;
  if (absl::Status status = keys_->Derive(key_, "file", salt_, key.bytes()); !status.ok()) return status;
  return AesGcm::Make(key.bytes(), use);
}

absl::StatusOr<FileCipher> FileCipher::Make(std::shared_ptr<const DataKeys> keys, Layout layout) {
  absl::StatusOr<std::string> salt = NewSalt();
  if (!salt.ok()) return salt.status();
  const uint32_t key = keys->current();
  FileCipher cipher(std::move(keys), layout, key, *std::move(salt));
  std::string header(kSealedHeaderBytes, '\0');
  std::memcpy(header.data(), &kMagic, sizeof(kMagic));
  header[kLayoutAt] = static_cast<char>(layout);
  std::memcpy(&header[kKeyAt], &cipher.key_, sizeof(cipher.key_));
  std::memcpy(&header[kSaltAt], cipher.salt_.data(), kSaltBytes);
  absl::StatusOr<AesGcm> aes = cipher.Context(AesGcm::Use::kSeal);
  if (!aes.ok()) return aes.status();
  if (!aes->Seal(HeaderNonce(), std::string_view(header).substr(0, kTagAt), {}, &header[kTagAt])) {
    return absl::ResourceExhaustedError("AES-256-GCM failed");
  }
  cipher.header_ = std::move(header);
  return cipher;
}

absl::StatusOr<FileCipher> FileCipher::Read(std::shared_ptr<const DataKeys> keys, std::string_view header) {
  const absl::StatusOr<uint32_t> key = KeyOfHeader(header);
  if (absl::IsNotFound(key.status())) return absl::DataLossError("its header is not there");
  if (!key.ok()) return key.status();
  const auto layout = static_cast<Layout>(header[kLayoutAt]);
  FileCipher cipher(std::move(keys), layout, *key, std::string(header.substr(kSaltAt, kSaltBytes)));
  absl::StatusOr<AesGcm> aes = cipher.Context(AesGcm::Use::kOpen);
  if (!aes.ok()) return aes.status();
  char nothing = 0;
  if (!aes->Open(HeaderNonce(), header.substr(0, kTagAt), header.substr(kTagAt, kTagBytes), &nothing) ||
      (layout != Layout::kBlocks && layout != Layout::kStream)) {
    return absl::DataLossError("the header of the encrypted file was changed");
  }
  cipher.header_ = std::string(header.substr(0, kSealedHeaderBytes));
  return cipher;
}

std::optional<uint32_t> PieceLength(std::string_view bytes) {
  const auto length = Take<uint32_t>(bytes, 0);
  const auto complement = Take<uint32_t>(bytes, sizeof(length));
  if (length == 0 && complement == 0) return 0;
  if (complement != ~length || length == 0 || length > kMaxPieceBytes) return std::nullopt;
  return length;
}

bool SealPiece(AesGcm& aes, uint64_t number, std::string_view plain, std::string& out) {
  const auto length = static_cast<uint32_t>(plain.size());
  const size_t at = out.size();
  out.resize(at + kLengthBytes + plain.size() + kTagBytes);
  const uint32_t complement = ~length;
  std::memcpy(&out[at], &length, sizeof(length));
  std::memcpy(&out[at + sizeof(length)], &complement, sizeof(complement));
  return aes.Seal(CountingNonce(number), std::string_view(&out[at], kLengthBytes), plain, &out[at + kLengthBytes]);
}

}  // namespace mptd::storage
