#include "core/engine/change_codec.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <span>

#include "absl/status/status.h"
#include "core/byte_io.h"

namespace mptd {
namespace {

constexpr uint8_t kBlock = 1;
constexpr uint8_t kRollback = 2;

// Flags of a block.
constexpr uint8_t kHasHash = 1;
constexpr uint8_t kHasParentHash = 2;
constexpr uint8_t kReorganize = 4;
constexpr uint8_t kKeepEmpty = 8;

// Flags of an account.
constexpr uint8_t kRemove = 1;
constexpr uint8_t kReset = 2;
constexpr uint8_t kNonce = 4;
constexpr uint8_t kBalance = 8;
constexpr uint8_t kCode = 16;

absl::Status Damaged() { return absl::DataLossError("not a record of the change log"); }

void EncodeAccount(ByteWriter& out, const AccountChange& change) {
  out.U8(static_cast<uint8_t>((change.remove ? kRemove : 0) | (change.reset_storage ? kReset : 0) |
                              (change.nonce ? kNonce : 0) | (change.balance ? kBalance : 0) |
                              (change.code ? kCode : 0)));
  out.Fixed(change.address);
  if (change.nonce) out.U64(*change.nonce);
  if (change.balance) out.Short(change.balance->minimal());
  if (change.code) out.Long(*change.code);
  out.U32(static_cast<uint32_t>(change.slots.size()));
  const auto by_key = [](const SlotChange& a, const SlotChange& b) { return a.key < b.key; };
  std::vector<SlotChange> sorted;
  std::span<const SlotChange> slots = change.slots;
  if (!std::is_sorted(slots.begin(), slots.end(), by_key)) {
    sorted = change.slots;
    std::sort(sorted.begin(), sorted.end(), by_key);
    slots = sorted;
  }
  for (const SlotChange& slot : slots) {
    out.Fixed(slot.key);
    out.Short(slot.value.minimal());
  }
}

bool DecodeQuantity(ByteReader& in, U256& value) {
  const BytesView bytes = in.Short();
  if (bytes.size() > 32) return false;
  value = U256::FromPadded(bytes);
  return true;
}

bool DecodeAccount(ByteReader& in, AccountChange& change) {
  const uint8_t flags = in.U8();
  change.address = in.Fixed<Address>();
  change.remove = (flags & kRemove) != 0;
  change.reset_storage = (flags & kReset) != 0;
  if ((flags & kNonce) != 0) change.nonce = in.U64();
  if ((flags & kBalance) != 0 && !DecodeQuantity(in, change.balance.emplace())) return false;
  if ((flags & kCode) != 0) change.code = Bytes(in.Long());
  const uint32_t slots = in.Count(33);
  change.slots.resize(slots);
  for (SlotChange& slot : change.slots) {
    slot.key = in.Fixed<Hash>();
    if (!DecodeQuantity(in, slot.value)) return false;
  }
  return !in.failed();
}

}  // namespace

Bytes EncodeChanges(const BlockChanges& block) {
  std::vector<const AccountChange*> sorted;
  sorted.reserve(block.changes.size());
  size_t size = 4;
  for (const AccountChange& change : block.changes) {
    sorted.push_back(&change);
    size += 80 + change.slots.size() * 65 + (change.code ? change.code->size() : 0);
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const AccountChange* a, const AccountChange* b) { return a->address < b->address; });
  Bytes out;
  out.reserve(size);
  ByteWriter writer(out);
  writer.U32(static_cast<uint32_t>(sorted.size()));
  for (const AccountChange* change : sorted) EncodeAccount(writer, *change);
  return out;
}

ChangeDigest DigestOf(const BlockChanges& block, BytesView encoded_changes) {
  const uint64_t seed = block.number * 2 + (block.keep_empty_accounts ? 1 : 0);
  const XXH128_hash_t hash = XXH3_128bits_withSeed(encoded_changes.data(), encoded_changes.size(), seed);
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  return ChangeDigest::FromView({reinterpret_cast<const char*>(canonical.digest), 16});
}

Bytes EncodeLogBlock(const BlockChanges& block, const Hash& state_root, BytesView encoded_changes) {
  Bytes out;
  out.reserve(encoded_changes.size() + 128);
  ByteWriter writer(out);
  writer.U8(kBlock);
  writer.U64(block.number);
  writer.U8(static_cast<uint8_t>((block.hash ? kHasHash : 0) | (block.parent_hash ? kHasParentHash : 0) |
                                 (block.reorganize ? kReorganize : 0) | (block.keep_empty_accounts ? kKeepEmpty : 0)));
  if (block.hash) writer.Fixed(*block.hash);
  if (block.parent_hash) writer.Fixed(*block.parent_hash);
  writer.Fixed(state_root);
  writer.Append(encoded_changes);
  return out;
}

Bytes EncodeLogRollback(const LoggedRollback& rollback) {
  Bytes out;
  ByteWriter writer(out);
  writer.U8(kRollback);
  writer.U64(rollback.number);
  writer.Fixed(rollback.state_root);
  return out;
}

absl::StatusOr<LogRecord> DecodeLogRecord(BytesView record) {
  ByteReader in(record);
  const uint8_t type = in.U8();
  if (type == kRollback) {
    LoggedRollback rollback;
    rollback.number = in.U64();
    rollback.state_root = in.Fixed<Hash>();
    if (!in.done()) return Damaged();
    return rollback;
  }
  if (type != kBlock) return Damaged();
  LoggedBlock logged;
  logged.block.number = in.U64();
  const uint8_t flags = in.U8();
  if ((flags & kHasHash) != 0) logged.block.hash = in.Fixed<Hash>();
  if ((flags & kHasParentHash) != 0) logged.block.parent_hash = in.Fixed<Hash>();
  logged.block.reorganize = (flags & kReorganize) != 0;
  logged.block.keep_empty_accounts = (flags & kKeepEmpty) != 0;
  logged.state_root = in.Fixed<Hash>();
  logged.block.changes.resize(in.Count(25));
  for (AccountChange& change : logged.block.changes) {
    if (!DecodeAccount(in, change)) return Damaged();
  }
  if (!in.done()) return Damaged();
  return logged;
}

}  // namespace mptd
