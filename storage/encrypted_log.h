// The change log with its payloads encrypted. What the log says of a record (number, length, how far it was durable,
// checksums of what is on the disk) stays readable: without the key one sees how many records there are and how long.
//
// On disk, never change: a record's payload is
//   data key u32 | 0 u32 | salt, 32 bytes | counter u64 | AES-256-GCM of the caller's payload | tag
// The key is derived from the data key and a salt that each opening of the log, and each change of the data key, draws
// anew; the nonce is the counter, which never stands still, also when an append failed. So no nonce comes twice. The
// log below writes a torn or replayed record again only with the bytes that it has, so that nothing is encrypted twice.
// The record's number is covered by the tag: records cannot be exchanged.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "storage/change_log.h"
#include "storage/data_keys.h"

namespace mptd::storage {

// Turns records back into what they were. Used by one thread at a time.
class LogDecryptor {
 public:
  explicit LogDecryptor(std::shared_ptr<const DataKeys> keys);
  ~LogDecryptor();
  // The payload, valid until the next call. DATA_LOSS when the record was changed or is not encrypted.
  absl::StatusOr<std::string_view> Open(uint64_t lsn, std::string_view record);
  // False for a record of a data key that is not there any more.
  bool Knows(std::string_view record) const;

 private:
  struct Session;
  const std::shared_ptr<const DataKeys> keys_;
  std::unique_ptr<Session> session_;  // of the last record
  std::string payload_;
};

// As ChangeLog::Open of a log whose records are encrypted.
absl::StatusOr<std::unique_ptr<ChangeLog>> OpenEncryptedLog(const ChangeLogOptions& options, uint64_t after_lsn,
                                                            const ChangeLog::Replay& replay);

}  // namespace mptd::storage
