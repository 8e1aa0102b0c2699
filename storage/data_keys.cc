#include "storage/data_keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"
#include "storage/data_dir.h"
#include "storage/log_format.h"

namespace mptd::storage {
namespace {

LogFileSystem& OrPosix(LogFileSystem* files) { return files != nullptr ? *files : *PosixLogFileSystem(); }

bool HasKeyFile(const std::string& dir) {
  std::error_code ignored;
  return std::filesystem::exists(dir + "/" + kKeyFileName, ignored);
}

bool HasData(const std::string& dir) {
  std::error_code error;
  if (std::filesystem::exists(dir + "/db/CURRENT", error)) return true;
  for (std::filesystem::directory_iterator entry(dir + "/log", error), end; !error && entry != end;
       entry.increment(error)) {
    if (ParseSegmentName(entry->path().filename().string())) return true;
  }
  return false;
}

absl::Status KeyNeeded(const std::string& dir) {
  return absl::FailedPreconditionError(absl::StrFormat(
      "the data folder %s is encrypted, and no key is configured: say where its master key is (security.encryption_*)",
      dir));
}

absl::Status KeysGone(const std::string& dir) {
  return absl::DataLossError(absl::StrFormat(
      "the data folder %s is encrypted, but its file %s is gone; put back the one of a checkpoint or of a backup", dir,
      kKeyFileName));
}

absl::Status NotEncrypted(const std::string& dir) {
  return absl::FailedPreconditionError(absl::StrFormat(
      "the data folder %s is not encrypted, and a key is configured: take the key out of the settings, or encrypt the "
      "data by restoring a checkpoint of it with that key into a new folder (docs/ENCRYPTION.md)",
      dir));
}

}  // namespace

absl::StatusOr<std::string> NewSalt() {
  std::string salt(kSaltBytes, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(salt.data()), static_cast<int>(salt.size())) != 1) {
    return absl::UnavailableError("the system has no random bytes for a new file's key");
  }
  return salt;
}

absl::Status DataKeys::Take(const SecretKey& master, KeyFile file) {
  std::map<uint32_t, SecretKey> keys;
  for (const WrappedKey& wrapped : file.keys) {
    absl::StatusOr<SecretKey> key = Unwrap(master, file, wrapped);
    if (!key.ok()) {
      return absl::Status(key.status().code(),
                          absl::StrFormat("%s/%s: %s", dir_, kKeyFileName, key.status().message()));
    }
    keys.emplace(wrapped.number, *std::move(key));
  }
  MutexLock lock(mutex_);
  keys_ = std::move(keys);
  current_ = file.current;
  file_ = std::move(file);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<DataKeys>> DataKeys::Load(const std::string& dir, const SecretKey& master,
                                                         LogFileSystem* files) {
  absl::StatusOr<KeyFile> file = ReadKeyFile(OrPosix(files), dir);
  if (!file.ok()) return file.status();
  const std::string id = master.Id();
  if (file->master_id != id) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s/%s is wrapped by master key %s, and the key that is configured is %s; nothing was changed, configure the "
        "right one",
        dir, kKeyFileName, file->master_id, id));
  }
  std::shared_ptr<DataKeys> keys(new DataKeys(dir, OrPosix(files)));
  if (absl::Status status = keys->Take(master, *std::move(file)); !status.ok()) return status;
  return keys;
}

absl::StatusOr<std::shared_ptr<DataKeys>> DataKeys::Create(const std::string& dir, const SecretKey& master,
                                                           LogFileSystem* files) {
  const absl::StatusOr<SecretKey> key = SecretKey::Random();
  if (!key.ok()) return key.status();
  KeyFile file{master.Id(), 1, {}};
  if (absl::Status status = Wrap(master, 1, *key, file); !status.ok()) return status;
  if (absl::Status status = WriteKeyFile(OrPosix(files), dir, file); !status.ok()) return status;
  std::shared_ptr<DataKeys> keys(new DataKeys(dir, OrPosix(files)));
  if (absl::Status status = keys->Take(master, std::move(file)); !status.ok()) return status;
  return keys;
}

std::string DataKeys::master_id() const {
  MutexLock lock(mutex_);
  return file_.master_id;
}

std::vector<uint32_t> DataKeys::numbers() const {
  MutexLock lock(mutex_);
  std::vector<uint32_t> numbers;
  for (const auto& [number, key] : keys_) numbers.push_back(number);
  return numbers;
}

absl::Status DataKeys::Derive(uint32_t number, std::string_view purpose, std::string_view salt,
                              std::span<uint8_t, kKeyBytes> out) const {
  const std::string text = absl::StrFormat("mptd %s%c%s", purpose, '\0', salt);
  MutexLock lock(mutex_);
  const auto key = keys_.find(number);
  if (key == keys_.end()) {
    return absl::DataLossError(
        absl::StrFormat("it is encrypted with data key %d, which %s/%s does not have", number, dir_, kKeyFileName));
  }
  unsigned int size = 0;
  if (HMAC(EVP_sha256(), key->second.bytes().data(), kKeyBytes, reinterpret_cast<const unsigned char*>(text.data()),
           text.size(), out.data(), &size) == nullptr ||
      size != kKeyBytes) {
    return absl::ResourceExhaustedError("HMAC-SHA256 cannot be set up");
  }
  return absl::OkStatus();
}

absl::Status DataKeys::Rotate(const SecretKey& master, bool add_key) {
  // Held while the file is written: of two rotations at a time one comes after the other, on the disk as here.
  MutexLock lock(mutex_);
  KeyFile next{master.Id(), file_.current, {}};
  std::map<uint32_t, SecretKey> added;
  if (add_key) {
    absl::StatusOr<SecretKey> key = SecretKey::Random();
    if (!key.ok()) return key.status();
    next.current = keys_.rbegin()->first + 1;
    added.emplace(next.current, *std::move(key));
  }
  for (const auto* keys : {&keys_, &added}) {
    for (const auto& [number, key] : *keys) {
      if (absl::Status status = Wrap(master, number, key, next); !status.ok()) return status;
    }
  }
  if (absl::Status status = WriteKeyFile(files_, dir_, next); !status.ok()) return status;
  keys_.merge(added);
  // Not before the key is durable: a file that needs a lost key is lost.
  current_ = next.current;
  file_ = std::move(next);
  return absl::OkStatus();
}

absl::Status DataKeys::KeepOnly(const std::set<uint32_t>& used) {
  MutexLock lock(mutex_);
  const auto unused = [&used, current = file_.current](uint32_t number) {
    return number != current && !used.contains(number);
  };
  KeyFile next = file_;
  std::erase_if(next.keys, [&](const WrappedKey& key) { return unused(key.number); });
  if (next.keys.size() == file_.keys.size()) return absl::OkStatus();
  if (absl::Status status = WriteKeyFile(files_, dir_, next); !status.ok()) return status;
  std::erase_if(keys_, [&](const auto& entry) { return unused(entry.first); });
  file_ = std::move(next);
  return absl::OkStatus();
}

absl::Status DataKeys::CopyTo(const std::string& dir) const {
  KeyFile file;
  {
    MutexLock lock(mutex_);
    file = file_;
  }
  return WriteKeyFile(files_, dir, file);
}

absl::StatusOr<std::shared_ptr<DataKeys>> ReadDataKeys(const std::string& dir, const KeySource& source) {
  const bool encrypted = HasKeyFile(dir);
  if (source.empty()) {
    if (encrypted) return KeyNeeded(dir);
    if (IsEncryptedFormat(dir)) return KeysGone(dir);
    return std::shared_ptr<DataKeys>();
  }
  if (encrypted) {
    const absl::StatusOr<SecretKey> master = ReadMasterKey(source);
    if (!master.ok()) return master.status();
    return DataKeys::Load(dir, *master);
  }
  if (IsEncryptedFormat(dir)) return KeysGone(dir);
  return HasData(dir) ? absl::StatusOr<std::shared_ptr<DataKeys>>(NotEncrypted(dir)) : std::shared_ptr<DataKeys>();
}

absl::StatusOr<std::shared_ptr<DataKeys>> OpenDataKeys(const std::string& dir, const KeySource& source) {
  absl::StatusOr<std::shared_ptr<DataKeys>> keys = ReadDataKeys(dir, source);
  if (!keys.ok() || source.empty()) return keys;
  if (*keys == nullptr) {
    const absl::StatusOr<SecretKey> master = ReadMasterKey(source);
    if (!master.ok()) return master.status();
    keys = DataKeys::Create(dir, *master);
    if (!keys.ok()) return keys;
  }
  // Behind the keys, so that a crash between leaves a folder that the next opening completes. It keeps out programs
  // that know nothing of encryption.
  if (!IsEncryptedFormat(dir)) {
    if (absl::Status status = WriteFormat(dir, /*encrypted=*/true); !status.ok()) return status;
  }
  return keys;
}

}  // namespace mptd::storage
