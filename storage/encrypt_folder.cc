#include "storage/encrypt_folder.h"

#include <filesystem>
#include <memory>
#include <system_error>

#include "absl/strings/str_format.h"
#include "rocksdb/file_system.h"
#include "storage/data_dir.h"
#include "storage/data_keys.h"
#include "storage/encrypted_fs.h"
#include "storage/posix_error.h"
#include "storage/rocksdb_status.h"

namespace mptd::storage {
namespace {

// RocksDB's lock, and its own text, which encrypted data does without.
bool IsLeftOut(const std::string& name) { return name == "LOCK" || name == "LOG" || name.starts_with("LOG.old."); }

}  // namespace

absl::Status EncryptFolder(const std::string& dir, const KeySource& source) {
  std::error_code error;
  if (IsEncryptedFormat(dir) || std::filesystem::exists(dir + "/" + kKeyFileName, error)) return absl::OkStatus();
  const absl::StatusOr<SecretKey> master = ReadMasterKey(source);
  if (!master.ok()) return master.status();
  absl::StatusOr<std::shared_ptr<DataKeys>> keys = DataKeys::Create(dir, *master);
  if (!keys.ok()) return keys.status();
  const std::shared_ptr<rocksdb::FileSystem> plain = rocksdb::FileSystem::Default();
  EncryptedFileSystem encrypted(plain, *keys);
  std::filesystem::directory_iterator entry(dir + "/db", error);
  std::vector<std::string> paths;
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    if (entry->is_regular_file(error) && !IsLeftOut(entry->path().filename())) paths.push_back(entry->path());
  }
  if (error) return PosixError("listing", dir + "/db", error.value());
  for (const std::string& path : paths) {
    if (rocksdb::IOStatus s = CopyOver(*plain, encrypted, path); !s.ok()) return FromRocksDb(s, "encrypting " + path);
  }
  if (absl::Status status = SyncDirectory(dir + "/db"); !status.ok()) return status;
  return WriteFormat(dir, /*encrypted=*/true);
}

}  // namespace mptd::storage
