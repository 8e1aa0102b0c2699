#include "storage/aes_gcm.h"

#include <openssl/evp.h>

#include <cstring>

namespace mptd::storage {
namespace {

// The library counts in int.
constexpr size_t kMaxPiece = size_t{1} << 30;

const unsigned char* Bytes(const char* text) { return reinterpret_cast<const unsigned char*>(text); }
unsigned char* Bytes(char* text) { return reinterpret_cast<unsigned char*>(text); }

}  // namespace

Nonce CountingNonce(uint64_t number) {
  Nonce nonce{};
  std::memcpy(nonce.data(), &number, sizeof(number));
  return nonce;
}

void AesGcm::Free::operator()(evp_cipher_ctx_st* context) const { EVP_CIPHER_CTX_free(context); }

absl::StatusOr<AesGcm> AesGcm::Make(std::span<const uint8_t, kKeyBytes> key, Use use) {
  AesGcm made(EVP_CIPHER_CTX_new());
  if (made.context_ == nullptr || EVP_CipherInit_ex(made.context_.get(), EVP_aes_256_gcm(), nullptr, key.data(),
                                                    nullptr, use == Use::kSeal ? 1 : 0) != 1) {
    return absl::ResourceExhaustedError("AES-256-GCM cannot be set up");
  }
  return made;
}

bool AesGcm::Seal(const Nonce& nonce, std::string_view authenticated, std::string_view plain, char* out) {
  if (plain.size() > kMaxPiece || authenticated.size() > kMaxPiece) return false;
  EVP_CIPHER_CTX* const context = context_.get();
  int written = 0;
  return EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()) == 1 &&
         (authenticated.empty() || EVP_EncryptUpdate(context, nullptr, &written, Bytes(authenticated.data()),
                                                     static_cast<int>(authenticated.size())) == 1) &&
         (plain.empty() ||
          EVP_EncryptUpdate(context, Bytes(out), &written, Bytes(plain.data()), static_cast<int>(plain.size())) == 1) &&
         EVP_EncryptFinal_ex(context, Bytes(out) + plain.size(), &written) == 1 &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagBytes, out + plain.size()) == 1;
}

bool AesGcm::Open(const Nonce& nonce, std::string_view authenticated, std::string_view sealed, char* out) {
  if (sealed.size() < kTagBytes || sealed.size() > kMaxPiece || authenticated.size() > kMaxPiece) return false;
  EVP_CIPHER_CTX* const context = context_.get();
  const std::string_view hidden = sealed.substr(0, sealed.size() - kTagBytes);
  std::array<char, kTagBytes> tag{};
  std::memcpy(tag.data(), sealed.data() + hidden.size(), kTagBytes);
  int written = 0;
  return EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()) == 1 &&
         (authenticated.empty() || EVP_DecryptUpdate(context, nullptr, &written, Bytes(authenticated.data()),
                                                     static_cast<int>(authenticated.size())) == 1) &&
         (hidden.empty() || EVP_DecryptUpdate(context, Bytes(out), &written, Bytes(hidden.data()),
                                              static_cast<int>(hidden.size())) == 1) &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag.data()) == 1 &&
         EVP_DecryptFinal_ex(context, Bytes(tag.data()), &written) == 1;
}

}  // namespace mptd::storage
