// What goes into the state engine and what names its blocks. Plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "core/types.h"

namespace mptd {

struct SlotChange {
  Hash key;    // not hashed
  U256 value;  // zero deletes the slot
};

// What a block does to one account. An absent optional field keeps its value; all absent touches the account.
struct AccountChange {
  Address address;
  bool remove = false;  // with its storage; nothing else may be set with it
  bool reset_storage = false;
  std::optional<uint64_t> nonce;
  std::optional<U256> balance;
  std::optional<Bytes> code;
  std::vector<SlotChange> slots;
};

// One block of changes, as a client sends it.
struct BlockChanges {
  uint64_t number = 0;
  std::optional<Hash> hash;
  std::optional<Hash> parent_hash;
  std::optional<Hash> parent_root;
  std::optional<Hash> expected_root;
  bool reorganize = false;
  bool keep_empty_accounts = false;
  std::vector<AccountChange> changes;
};

// An applied block.
struct BlockInfo {
  uint64_t number = 0;
  std::optional<Hash> hash;
  std::optional<Hash> parent_hash;
  Hash state_root = kEmptyRoot;

  friend bool operator==(const BlockInfo&, const BlockInfo&) = default;
};

struct LatestBlock {
  friend bool operator==(const LatestBlock&, const LatestBlock&) = default;
};
struct BlockByHash {
  Hash hash;
};
struct BlockByRoot {
  Hash root;
};
// Names a served block: the head, a number, a block hash, or the newest with a state root.
using BlockSelector = std::variant<LatestBlock, uint64_t, BlockByHash, BlockByRoot>;

// Where a block's time went.
struct ApplyTimes {
  absl::Duration queue;    // until the writer had done with what came before
  absl::Duration read;     // hashing keys, reading what the block changes
  absl::Duration tries;    // the new branches and their hashes
  absl::Duration log;      // appending to the change log; recording, in `sync` mode while the log becomes durable
  absl::Duration publish;  // showing it to readers
};

struct ApplyResult {
  BlockInfo block;
  bool durable = false;  // of `block`
  uint64_t durable_number = 0;
  bool already_applied = false;
  uint64_t accounts_changed = 0;
  uint64_t slots_changed = 0;
  uint64_t nodes_hashed = 0;
  ApplyTimes times;
};

}  // namespace mptd
