// The two encodings of an account: RLP, as the trie's leaves hold it, and the slim row of the `accounts` table.
// Pure functions; safe from any thread.
#pragma once

#include "absl/status/statusor.h"
#include "core/types.h"

namespace mptd {

// [nonce, balance, storage root, code hash] (Yellow Paper, section 4.1).
void AppendAccountRlp(Bytes& out, const Account& account);
absl::StatusOr<Account> DecodeAccountRlp(BytesView rlp);

// On disk, never change: one byte (low four bits: bytes of the nonce; 0x10: a storage root follows; 0x20: a code hash
// follows), the nonce, the storage root, the code hash, and the balance in what is left; numbers big-endian without
// leading zeros.
void AppendSlimAccount(Bytes& out, const Account& account);
Bytes SlimAccount(const Account& account);
// DATA_LOSS when the row is not such an encoding.
absl::StatusOr<Account> DecodeSlimAccount(BytesView row);
// True when the slim row carries a storage root. The row must not be empty.
inline bool SlimHasStorage(BytesView row) { return (static_cast<uint8_t>(row[0]) & 0x10) != 0; }

}  // namespace mptd
