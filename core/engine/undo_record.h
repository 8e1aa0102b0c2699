// The undo record of a block: the row of the `history` table. It says which block it is and what the block replaced:
// the flat values of accounts and slots, the code that it was the first to bring, and of each rewritten branch the
// references that are gone. Applied to the state after the block it gives the state before. Pure functions and values;
// safe from any thread.
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "core/engine/block.h"
#include "core/engine/change_codec.h"
#include "core/trie/nibble_path.h"

namespace mptd {

// Which block it is: the head of its undo record, and all that is kept of a block of the served window.
struct BlockRecord {
  uint64_t sequence = 0;  // a transition after which this block was the head
  BlockInfo block;
  Hash parent_root;
  ChangeDigest digest;
};

// A row's key and what it was; nullopt: there was none.
struct UndoRow {
  BytesView key;
  std::optional<BytesView> value;
};

// The views point into the bytes that were decoded and into `keys`; when encoding, to wherever the caller has them.
struct UndoRecord {
  BlockRecord header;
  std::vector<UndoRow> accounts;       // key: hashed address; value: slim account
  std::vector<UndoRow> slots;          // key: hashed address, hashed slot key
  std::vector<UndoRow> account_nodes;  // key: row key; value: undo entry of core/trie/branch_record.h, never nullopt
  std::vector<UndoRow> slot_nodes;
  std::vector<BytesView> new_code;  // code hashes
  std::deque<Bytes> keys;
};

// The key of a block's rows, and the last part of others' keys: the number, big-endian, so that they are in its order.
Bytes BlockKey(uint64_t number);
// The number at the end of a key that has one.
uint64_t BlockNumberOf(BytesView key);

// On disk, never change: the header, then the five lists in this order, each with its count; keys of slots without the
// hashed address when it is the same as the one before.
Bytes EncodeUndo(const UndoRecord& record);
// DATA_LOSS when it is not such a record.
absl::StatusOr<UndoRecord> DecodeUndo(BytesView bytes);
absl::StatusOr<BlockRecord> DecodeUndoHeader(BytesView bytes);

}  // namespace mptd
