// Branches as bytes: the record of a branch's row, the undo entry of a change to it, and its RLP.
// Pure functions; safe from any thread.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "core/trie/branch_node.h"
#include "core/types.h"

namespace mptd {

// A branch by value, as it is taken from records: for reading history and for comparisons.
struct BranchValue {
  BranchShape shape;
  Bytes extension;  // nibbles
  std::array<std::array<uint8_t, 32>, 16> refs{};

  BytesView ref(int nibble) const {
    return RefView((shape.embedded >> nibble & 1) != 0, refs[static_cast<size_t>(nibble)].data());
  }
};

BranchValue ToValue(const BranchNode& node);
// A node read from the tables: sequence 0, pointers null.
OwnedBranch ToNode(const BranchValue& value);

// On disk, never change: a flag byte (1: extension, 2: embedded, 4: storage), the masks of children and branches, those
// of embedded and storage where flagged (two bytes each, little-endian), the extension (length, one nibble a byte),
// then the references of the children in order.
void AppendBranchRecord(Bytes& out, const BranchNode& node);
// The longest record there can be.
inline constexpr size_t kMaxRecordBytes = 10 + 64 + 16 * 32;
void AppendBranchRecord(Bytes& out, const BranchValue& value);
absl::StatusOr<BranchValue> DecodeBranchRecord(BytesView record);
// Straight into a node as ToNode makes it. DATA_LOSS when it is not a record.
absl::StatusOr<OwnedBranch> DecodeBranchNode(BytesView record);

// What a transition replaced in one row: nothing (there was no branch at this path), or the old shape and extension and
// the references that are not in the new branch any more.
// `changed` are the children of `before` that may have another reference now; the others are the same in both.
// The second form takes all of `changed` for replaced.
// On disk, never change: the byte 0xff for no branch; or the mask of references that follow (two bytes), then as a
// record, with only those references.
void AppendBranchUndo(Bytes& out, const BranchNode* before, const BranchNode* after, uint16_t changed = 0xffff);
void AppendReplaced(Bytes& out, const BranchNode& before, uint16_t changed);
// The longest undo entry there can be.
inline constexpr size_t kMaxUndoBytes = 3 + kMaxRecordBytes;

// Collects a branch as it was from undo entries, oldest first, and at last from what the row is now.
class BranchRebuilder {
 public:
  // True when nothing more is needed.
  absl::StatusOr<bool> Add(BytesView undo);
  // `now` is null when there is no row.
  absl::Status AddCurrent(const BranchValue* now);
  bool started() const { return started_; }
  bool complete() const { return started_ && (absent_ || missing_ == 0); }
  // Null when there was no branch. Valid when complete.
  const BranchValue* result() const { return absent_ ? nullptr : &value_; }

 private:
  bool started_ = false;
  bool absent_ = false;
  uint16_t missing_ = 0;
  BranchValue value_;
};

// The RLP of the branch itself, without its extension: 17 items, the last empty.
void AppendBranchRlp(Bytes& out, const BranchNode& node);
void AppendBranchRlp(Bytes& out, const BranchValue& value);
// [hex-prefix(path), reference].
void AppendExtensionRlp(Bytes& out, BytesView nibbles, BytesView ref, bool embedded);
// [hex-prefix(rest of key from nibble `depth`), value].
void AppendLeafRlp(Bytes& out, const Hash& key, size_t depth, BytesView value);

}  // namespace mptd
