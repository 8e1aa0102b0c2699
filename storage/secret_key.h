// Keys in memory, and where the master key comes from.
//
// A SecretKey lives in a page of its own that is left out of core files and wiped when it goes. What names a key in
// files, logs and errors is its id, from which nothing of the key follows.
// A SecretKey belongs to one owner and may be read by any thread; the functions are thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace mptd::storage {

inline constexpr size_t kKeyBytes = 32;  // AES-256

class SecretKey {
 public:
  // RESOURCE_EXHAUSTED when there is no memory for it.
  static absl::StatusOr<SecretKey> Copy(std::span<const uint8_t, kKeyBytes> bytes);
  static absl::StatusOr<SecretKey> Random();

  SecretKey(SecretKey&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}
  SecretKey& operator=(SecretKey&& other) noexcept {
    std::swap(page_, other.page_);
    return *this;
  }
  ~SecretKey();

  std::span<const uint8_t, kKeyBytes> bytes() const { return std::span<const uint8_t, kKeyBytes>(page_, kKeyBytes); }
  // 16 hexadecimal digits.
  std::string Id() const;

 private:
  explicit SecretKey(uint8_t* page) : page_(page) {}
  static absl::StatusOr<SecretKey> Make();

  uint8_t* page_;  // mapped for this key alone
};

// Bytes of a key on their way somewhere else, wiped when they go out of scope.
class KeyBuffer {
 public:
  KeyBuffer() = default;
  ~KeyBuffer();
  KeyBuffer(const KeyBuffer&) = delete;
  KeyBuffer& operator=(const KeyBuffer&) = delete;
  std::span<uint8_t, kKeyBytes> bytes() { return bytes_; }

 private:
  std::array<uint8_t, kKeyBytes> bytes_{};
};

// Where the master key is: at most one of them is set, and none for data that is not encrypted.
struct KeySource {
  std::string file = {};         // its path: 32 bytes, or 64 hexadecimal digits; nobody but the owner may have access
  std::string environment = {};  // the name of a variable: 64 hexadecimal digits
  std::string command = {};      // for /bin/sh, which answers on standard output as a file would

  bool empty() const { return file.empty() && environment.empty() && command.empty(); }
};

// Reads the key anew at each call. FAILED_PRECONDITION: not there, not of that form, or open to others;
// INVALID_ARGUMENT: not exactly one source. Messages never hold what was read.
absl::StatusOr<SecretKey> ReadMasterKey(const KeySource& source);

}  // namespace mptd::storage
