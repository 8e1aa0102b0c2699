#include "core/engine/undo_record.h"

#include <algorithm>

#include "absl/status/status.h"
#include "core/byte_io.h"

namespace mptd {
namespace {

constexpr uint8_t kVersion = 1;
constexpr uint8_t kHasHash = 1;
constexpr uint8_t kHasParentHash = 2;
constexpr uint16_t kAbsent = 0xffff;

absl::Status Damaged() { return absl::DataLossError("not an undo record"); }

void EncodeHeader(ByteWriter& out, const BlockRecord& header) {
  out.U8(kVersion);
  out.U64(header.sequence);
  out.U64(header.block.number);
  out.U8(static_cast<uint8_t>((header.block.hash ? kHasHash : 0) | (header.block.parent_hash ? kHasParentHash : 0)));
  if (header.block.hash) out.Fixed(*header.block.hash);
  if (header.block.parent_hash) out.Fixed(*header.block.parent_hash);
  out.Fixed(header.block.state_root);
  out.Fixed(header.parent_root);
  out.Fixed(header.digest);
}

bool DecodeHeader(ByteReader& in, BlockRecord& header) {
  if (in.U8() != kVersion) return false;
  header.sequence = in.U64();
  header.block.number = in.U64();
  const uint8_t flags = in.U8();
  if ((flags & kHasHash) != 0) header.block.hash = in.Fixed<Hash>();
  if ((flags & kHasParentHash) != 0) header.block.parent_hash = in.Fixed<Hash>();
  header.block.state_root = in.Fixed<Hash>();
  header.parent_root = in.Fixed<Hash>();
  header.digest = in.Fixed<ChangeDigest>();
  return !in.failed();
}

// Keys of one list differ in what follows the first `shared_size` bytes; those are written when they change.
void EncodeRows(ByteWriter& out, const std::vector<UndoRow>& rows, size_t shared_size) {
  out.U32(static_cast<uint32_t>(rows.size()));
  BytesView shared;
  for (const UndoRow& row : rows) {
    if (shared_size > 0) {
      const BytesView prefix = row.key.substr(0, shared_size);
      out.U8(prefix == shared ? 0 : 1);
      if (prefix != shared) out.Append(prefix);
      shared = prefix;
    }
    out.Short(row.key.substr(shared_size));
    out.U16(row.value ? static_cast<uint16_t>(row.value->size()) : kAbsent);
    if (row.value) out.Append(*row.value);
  }
}

bool DecodeRows(ByteReader& in, std::vector<UndoRow>& rows, size_t shared_size, std::deque<Bytes>& keys) {
  const uint32_t count = in.Count(3);
  rows.reserve(count);
  BytesView shared;
  for (uint32_t i = 0; i < count; ++i) {
    UndoRow row;
    if (shared_size > 0) {
      if (in.U8() != 0) shared = in.Take(shared_size);
      const BytesView rest = in.Short();
      if (in.failed() || shared.size() != shared_size) return false;
      Bytes& key = keys.emplace_back(shared);
      key.append(rest);
      row.key = key;
    } else {
      row.key = in.Short();
    }
    const uint16_t size = in.U16();
    if (size != kAbsent) row.value = in.Take(size);
    if (in.failed()) return false;
    rows.push_back(row);
  }
  return true;
}

bool KeysHave(const std::vector<UndoRow>& rows, size_t bytes) {
  return std::all_of(rows.begin(), rows.end(), [bytes](const UndoRow& row) { return row.key.size() == bytes; });
}

}  // namespace

Bytes BlockKey(uint64_t number) {
  Bytes key;
  for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<char>(number >> shift & 0xff));
  return key;
}

uint64_t BlockNumberOf(BytesView key) {
  uint64_t number = 0;
  for (char c : key.substr(key.size() - 8)) number = number << 8 | static_cast<uint8_t>(c);
  return number;
}

Bytes EncodeUndo(const UndoRecord& record) {
  Bytes bytes;
  size_t size = 256 + record.new_code.size() * 32;
  for (const auto* rows : {&record.accounts, &record.slots, &record.account_nodes, &record.slot_nodes}) {
    for (const UndoRow& row : *rows) size += row.key.size() + 4 + (row.value ? row.value->size() : 0);
  }
  bytes.reserve(size);
  ByteWriter out(bytes);
  EncodeHeader(out, record.header);
  EncodeRows(out, record.accounts, 0);
  EncodeRows(out, record.slots, 32);
  EncodeRows(out, record.account_nodes, 0);
  EncodeRows(out, record.slot_nodes, 32);
  out.U32(static_cast<uint32_t>(record.new_code.size()));
  for (BytesView hash : record.new_code) out.Append(hash);
  return bytes;
}

absl::StatusOr<UndoRecord> DecodeUndo(BytesView bytes) {
  ByteReader in(bytes);
  UndoRecord record;
  if (!DecodeHeader(in, record.header) || !DecodeRows(in, record.accounts, 0, record.keys) ||
      !DecodeRows(in, record.slots, 32, record.keys) || !DecodeRows(in, record.account_nodes, 0, record.keys) ||
      !DecodeRows(in, record.slot_nodes, 32, record.keys)) {
    return Damaged();
  }
  if (!KeysHave(record.accounts, Hash::kSize) || !KeysHave(record.slots, 2 * Hash::kSize)) return Damaged();
  const uint32_t codes = in.Count(32);
  for (uint32_t i = 0; i < codes; ++i) record.new_code.push_back(in.Take(32));
  if (!in.done()) return Damaged();
  return record;
}

absl::StatusOr<BlockRecord> DecodeUndoHeader(BytesView bytes) {
  ByteReader in(bytes);
  BlockRecord header;
  if (!DecodeHeader(in, header)) return Damaged();
  return header;
}

}  // namespace mptd
