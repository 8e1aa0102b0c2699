// The data keys of one folder, unwrapped: what its files are encrypted with.
//
// The master key wraps them in DIR/KEYS and is not kept. Each file gets a key of its own, derived from the current data
// key and from random bytes that the file holds, so that files never share a key and no nonce comes twice.
// Thread-safe. Shared by the store and the change log of the folder, and lives as long as either.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/key_file.h"
#include "storage/log_file.h"
#include "storage/mutex.h"
#include "storage/secret_key.h"

namespace mptd::storage {

inline constexpr size_t kSaltBytes = 32;

class DataKeys {
 public:
  // Reads DIR/KEYS. NOT_FOUND when there is none; FAILED_PRECONDITION, with the ids of both keys, when another master
  // key has wrapped it; DATA_LOSS when it is damaged. Changes nothing. `files` must outlive this.
  static absl::StatusOr<std::shared_ptr<DataKeys>> Load(const std::string& dir, const SecretKey& master,
                                                        LogFileSystem* files = nullptr);
  // Makes DIR/KEYS with one new data key.
  static absl::StatusOr<std::shared_ptr<DataKeys>> Create(const std::string& dir, const SecretKey& master,
                                                          LogFileSystem* files = nullptr);

  // The data key of files that are made from now on.
  uint32_t current() const { return current_; }
  std::string master_id() const;
  std::vector<uint32_t> numbers() const;

  // The key for `purpose` and `salt` under a data key. DATA_LOSS when there is no data key of that number.
  absl::Status Derive(uint32_t number, std::string_view purpose, std::string_view salt,
                      std::span<uint8_t, kKeyBytes> out) const;

  // Wraps all data keys by `master`, and adds one that becomes the current when `add_key`. After an error nothing has
  // changed, but that after a failed sync the file may be the old one or the new one.
  absl::Status Rotate(const SecretKey& master, bool add_key);
  // Drops the data keys that are neither current nor in `used`, which must be complete.
  absl::Status KeepOnly(const std::set<uint32_t>& used);
  // Writes the file into another folder, for a checkpoint.
  absl::Status CopyTo(const std::string& dir) const;

 private:
  DataKeys(std::string dir, LogFileSystem& files) : dir_(std::move(dir)), files_(files) {}
  absl::Status Take(const SecretKey& master, KeyFile file);

  // Constant.
  const std::string dir_;
  LogFileSystem& files_;

  std::atomic<uint32_t> current_ = 0;

  mutable Mutex mutex_;
  KeyFile file_ ABSL_GUARDED_BY(mutex_);
  std::map<uint32_t, SecretKey> keys_ ABSL_GUARDED_BY(mutex_);
};

// kSaltBytes random bytes. UNAVAILABLE when the system has none.
absl::StatusOr<std::string> NewSalt();

// The keys of a data folder that a daemon opens: null when `source` is empty and the folder is not encrypted. Makes
// them in a folder without data. FAILED_PRECONDITION, saying what to do, when the folder is encrypted and `source` is
// empty, when it holds data that is not encrypted and `source` is not, or for another master key; DATA_LOSS when the
// keys of an encrypted folder are gone. The caller holds the folder's lock.
absl::StatusOr<std::shared_ptr<DataKeys>> OpenDataKeys(const std::string& dir, const KeySource& source);
// The same for a folder that is only looked at: makes nothing.
absl::StatusOr<std::shared_ptr<DataKeys>> ReadDataKeys(const std::string& dir, const KeySource& source);

}  // namespace mptd::storage
