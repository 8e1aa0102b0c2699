#include "storage/key_file.h"

#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "storage/aes_gcm.h"

namespace mptd::storage {
namespace {

constexpr std::string_view kTitle = "mptd keys ";
constexpr uint32_t kKeyFileVersion = 1;
constexpr size_t kIdDigits = 16;
// A file with this many keys would have been rotated for years; more is damage.
constexpr uint64_t kMaxBytes = 1u << 20;

std::string Head(const KeyFile& file) {
  return absl::StrFormat("%s%d\nmaster %s\ncurrent %d\n", kTitle, kKeyFileVersion, file.master_id, file.current);
}

std::string Covered(const KeyFile& file, uint32_t number) { return absl::StrFormat("%skey %d", Head(file), number); }

std::string Sha256Hex(std::string_view text) {
  std::array<uint8_t, SHA256_DIGEST_LENGTH> hash{};
  SHA256(reinterpret_cast<const uint8_t*>(text.data()), text.size(), hash.data());
  return absl::BytesToHexString(std::string(hash.begin(), hash.end()));
}

std::vector<std::string_view> Split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (size_t end = text.find(at); end != std::string_view::npos; end = text.find(at)) {
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  parts.push_back(text);
  return parts;
}

std::optional<uint32_t> ParseNumber(std::string_view text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value == 0) return std::nullopt;
  return value;
}

bool IsHex(std::string_view text, size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// The text behind "<word> " in the line, else nullopt.
std::optional<std::string_view> After(std::string_view word, std::string_view line) {
  if (!line.starts_with(word) || line.size() <= word.size() || line[word.size()] != ' ') return std::nullopt;
  return line.substr(word.size() + 1);
}

std::optional<WrappedKey> ParseKeyLine(std::string_view line) {
  const std::vector<std::string_view> parts = Split(line, ' ');
  if (parts.size() != 4 || parts[0] != "key") return std::nullopt;
  const std::optional<uint32_t> number = ParseNumber(parts[1]);
  if (!number || !IsHex(parts[2], 2 * kNonceBytes) || !IsHex(parts[3], 2 * (kKeyBytes + kTagBytes))) {
    return std::nullopt;
  }
  return WrappedKey{*number, absl::HexStringToBytes(std::string(parts[2])),
                    absl::HexStringToBytes(std::string(parts[3]))};
}

std::optional<KeyFile> ParseLines(const std::vector<std::string_view>& lines) {
  if (lines.size() < 3) return std::nullopt;
  const auto master = After("master", lines[1]);
  const auto current = After("current", lines[2]);
  const std::optional<uint32_t> number = current ? ParseNumber(*current) : std::nullopt;
  if (!master || !IsHex(*master, kIdDigits) || !number) return std::nullopt;
  KeyFile file{std::string(*master), *number, {}};
  for (size_t i = 3; i < lines.size(); ++i) {
    std::optional<WrappedKey> key = ParseKeyLine(lines[i]);
    if (!key || (!file.keys.empty() && key->number <= file.keys.back().number)) return std::nullopt;
    file.keys.push_back(*std::move(key));
  }
  const bool known = std::any_of(file.keys.begin(), file.keys.end(),
                                 [&](const WrappedKey& key) { return key.number == file.current; });
  if (!known) return std::nullopt;
  return file;
}

Nonce ToNonce(std::string_view bytes) {
  Nonce nonce{};
  std::memcpy(nonce.data(), bytes.data(), std::min(bytes.size(), nonce.size()));
  return nonce;
}

}  // namespace

std::string FormatKeyFile(const KeyFile& file) {
  std::string text = Head(file);
  for (const WrappedKey& key : file.keys) {
    text += absl::StrFormat("key %d %s %s\n", key.number, absl::BytesToHexString(key.nonce),
                            absl::BytesToHexString(key.wrapped));
  }
  return text + absl::StrFormat("sha256 %s\n", Sha256Hex(text));
}

absl::StatusOr<KeyFile> ParseKeyFile(std::string_view text, const std::string& where) {
  const absl::Status damaged =
      absl::DataLossError(absl::StrFormat("%s is damaged; put back the one of a checkpoint or of a backup", where));
  const size_t last = text.rfind("sha256 ");
  if (last == std::string_view::npos ||
      text != absl::StrFormat("%ssha256 %s\n", text.substr(0, last), Sha256Hex(text.substr(0, last)))) {
    return damaged;
  }
  std::vector<std::string_view> lines = Split(text.substr(0, last), '\n');
  if (lines.empty() || !lines.back().empty()) return damaged;
  lines.pop_back();
  const std::optional<uint32_t> version =
      !lines.empty() && lines[0].starts_with(kTitle) ? ParseNumber(lines[0].substr(kTitle.size())) : std::nullopt;
  if (version && *version > kKeyFileVersion) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s: written by a newer mptd (key file %d, this program reads up to %d); upgrade", where,
                        *version, kKeyFileVersion));
  }
  std::optional<KeyFile> file = version ? ParseLines(lines) : std::nullopt;
  if (!file) return damaged;
  return *std::move(file);
}

absl::Status Wrap(const SecretKey& master, uint32_t number, const SecretKey& key, KeyFile& file) {
  // A master key wraps a handful of keys, so that random nonces do not meet.
  Nonce nonce{};
  if (RAND_bytes(nonce.data(), static_cast<int>(nonce.size())) != 1) {
    return absl::UnavailableError("the system has no random bytes to wrap a key with");
  }
  absl::StatusOr<AesGcm> aes = AesGcm::Make(master.bytes(), AesGcm::Use::kSeal);
  if (!aes.ok()) return aes.status();
  WrappedKey out{number, std::string(nonce.begin(), nonce.end()), std::string(kKeyBytes + kTagBytes, '\0')};
  const std::string_view plain(reinterpret_cast<const char*>(key.bytes().data()), kKeyBytes);
  if (!aes->Seal(nonce, Covered(file, number), plain, out.wrapped.data())) {
    return absl::UnavailableError("AES-256-GCM failed to wrap a key");
  }
  file.keys.push_back(std::move(out));
  return absl::OkStatus();
}

absl::StatusOr<SecretKey> Unwrap(const SecretKey& master, const KeyFile& file, const WrappedKey& key) {
  absl::StatusOr<AesGcm> aes = AesGcm::Make(master.bytes(), AesGcm::Use::kOpen);
  if (!aes.ok()) return aes.status();
  KeyBuffer plain;
  if (key.nonce.size() != kNonceBytes || key.wrapped.size() != kKeyBytes + kTagBytes ||
      !aes->Open(ToNonce(key.nonce), Covered(file, key.number), key.wrapped,
                 reinterpret_cast<char*>(plain.bytes().data()))) {
    return absl::DataLossError(
        absl::StrFormat("data key %d does not open with master key %s, which is said to have wrapped it: the file was "
                        "changed; put back the one of a checkpoint or of a backup",
                        key.number, file.master_id));
  }
  return SecretKey::Copy(plain.bytes());
}

absl::StatusOr<KeyFile> ReadKeyFile(LogFileSystem& files, const std::string& dir) {
  const std::string path = dir + "/" + kKeyFileName;
  absl::StatusOr<std::unique_ptr<LogFile>> file = files.Open(path, LogFileSystem::Mode::kRead);
  if (!file.ok()) return file.status();
  std::string text;
  if (absl::Status status = (*file)->Read(0, kMaxBytes, &text); !status.ok()) return status;
  return ParseKeyFile(text, path);
}

absl::Status WriteKeyFile(LogFileSystem& files, const std::string& dir, const KeyFile& file) {
  const std::string path = dir + "/" + kKeyFileName;
  const std::string draft = path + ".tmp";
  const std::string text = FormatKeyFile(file);
  {
    absl::StatusOr<std::unique_ptr<LogFile>> out = files.Open(draft, LogFileSystem::Mode::kCreate);
    if (!out.ok()) return out.status();
    const std::string_view part = text;
    if (absl::Status status = (*out)->Write(0, {&part, 1}); !status.ok()) return status;
    if (absl::Status status = (*out)->Sync(); !status.ok()) return status;
  }
  if (absl::Status status = files.Rename(draft, path); !status.ok()) return status;
  return files.SyncDir(dir);
}

}  // namespace mptd::storage
