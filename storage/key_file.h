// DIR/KEYS: the data keys of a folder, each wrapped by the master key. Pure functions but for reading and writing it.
//
// On disk, never change (a new layout gets a new number in the first line). Lines of text:
//   mptd keys 1
//   master <id of the master key>
//   current <number of the data key that new files are written with>
//   key <number> <nonce, 24 digits> <AES-256-GCM of the data key with tag, 96 digits>     one line a key, ascending
//   sha256 <of all lines before>
// What the tag of a key covers beside the key: the first three lines, and "key <number>". The checksum tells a damaged
// file from a wrong master key.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/log_file.h"
#include "storage/secret_key.h"

namespace mptd::storage {

inline constexpr char kKeyFileName[] = "KEYS";

struct WrappedKey {
  uint32_t number = 0;  // from 1
  std::string nonce;    // bytes
  std::string wrapped;  // bytes, the tag behind

  friend bool operator==(const WrappedKey&, const WrappedKey&) = default;
};

struct KeyFile {
  std::string master_id;
  uint32_t current = 0;
  std::vector<WrappedKey> keys;

  friend bool operator==(const KeyFile&, const KeyFile&) = default;
};

std::string FormatKeyFile(const KeyFile& file);
// DATA_LOSS when it is not what FormatKeyFile wrote, FAILED_PRECONDITION when a newer program wrote it. `where` stands
// in the message.
absl::StatusOr<KeyFile> ParseKeyFile(std::string_view text, const std::string& where);

// Adds `key` to a file whose master_id and current are final: the tag covers them.
absl::Status Wrap(const SecretKey& master, uint32_t number, const SecretKey& key, KeyFile& file);
// DATA_LOSS when the tag does not match.
absl::StatusOr<SecretKey> Unwrap(const SecretKey& master, const KeyFile& file, const WrappedKey& key);

// NOT_FOUND when there is none in that folder.
absl::StatusOr<KeyFile> ReadKeyFile(LogFileSystem& files, const std::string& dir);
// Replaces it durably: after a crash at any moment the old one or the new one is there, whole.
absl::Status WriteKeyFile(LogFileSystem& files, const std::string& dir, const KeyFile& file);

}  // namespace mptd::storage
