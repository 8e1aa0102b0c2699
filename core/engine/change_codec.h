// Change sets as bytes: the payloads of the change log and the rows of the `changelog` table.
// Pure functions; safe from any thread.
#pragma once

#include <variant>

#include "absl/status/statusor.h"
#include "core/engine/block.h"

namespace mptd {

// Identifies what a block changes, whatever the order in which its accounts and slots were sent.
using ChangeDigest = FixedBytes<16>;

// A block as it goes to the log.
struct LoggedBlock {
  BlockChanges block;
  Hash state_root;
};
// The head went back to a block.
struct LoggedRollback {
  uint64_t number = 0;
  Hash state_root;
};
using LogRecord = std::variant<LoggedBlock, LoggedRollback>;

// The changes alone, sorted by address and their slots by key, and the digest of that encoding with the block's rules.
Bytes EncodeChanges(const BlockChanges& block);
ChangeDigest DigestOf(const BlockChanges& block, BytesView encoded_changes);

// On disk, never change: a type byte (1 block, 2 rollback), then the fields.
Bytes EncodeLogBlock(const BlockChanges& block, const Hash& state_root, BytesView encoded_changes);
Bytes EncodeLogRollback(const LoggedRollback& rollback);
// DATA_LOSS when it is not such a record.
absl::StatusOr<LogRecord> DecodeLogRecord(BytesView record);

}  // namespace mptd
