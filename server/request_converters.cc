#include <algorithm>

#include "absl/strings/str_format.h"
#include "core/errors.h"
#include "server/converters.h"

namespace mptd {
namespace {

constexpr std::string_view kProofKeysLimit = "max_proof_keys";

absl::Status WrongLength(std::string_view path, size_t want, size_t have) {
  return InvalidField(path, absl::StrFormat("must have %d bytes, has %d", want, have));
}

absl::Status TooMany(std::string_view path, size_t max, size_t have, std::string_view limit) {
  return OverLimit(path, absl::StrFormat("may have at most %d entries, has %d", max, have), limit);
}

// The path of an element; made only once something is wrong.
std::string At(std::string_view path, int index) { return absl::StrFormat("%s[%d]", path, index); }

template <typename T>
absl::Status CopyFixed(BytesView bytes, std::string_view path, std::optional<T>& out) {
  if (bytes.size() != T::kSize) return WrongLength(path, T::kSize, bytes.size());
  out = T::FromView(bytes);
  return absl::OkStatus();
}

template <typename T>
absl::StatusOr<std::vector<T>> ToFixedList(const google::protobuf::RepeatedPtrField<std::string>& list,
                                           std::string_view path, size_t max, std::string_view limit) {
  if (static_cast<size_t>(list.size()) > max) return TooMany(path, max, static_cast<size_t>(list.size()), limit);
  std::vector<T> out;
  out.reserve(static_cast<size_t>(list.size()));
  for (int i = 0; i < list.size(); ++i) {
    if (list[i].size() != T::kSize) return WrongLength(At(path, i), T::kSize, list[i].size());
    out.push_back(T::FromView(list[i]));
  }
  return out;
}

absl::Status CheckDelete(const pb::AccountChange& change) {
  const char* also = change.has_nonce()        ? "nonce"
                     : change.has_balance()    ? "balance"
                     : change.has_code()       ? "code"
                     : change.reset_storage()  ? "reset_storage"
                     : !change.slots().empty() ? "slots"
                                               : nullptr;
  if (also == nullptr) return absl::OkStatus();
  return InvalidField("delete", absl::StrFormat("nothing else may be set with it, but %s is", also));
}

absl::Status ToSlotChanges(const google::protobuf::RepeatedPtrField<pb::SlotChange>& slots,
                           std::vector<SlotChange>& out) {
  out.reserve(static_cast<size_t>(slots.size()));
  for (int i = 0; i < slots.size(); ++i) {
    const absl::StatusOr<Hash> key = ToHash(slots[i].key(), "key");
    if (!key.ok()) return WithFieldPrefix(key.status(), At("slots", i));
    const absl::StatusOr<U256> value = ToQuantity(slots[i].value(), "value");
    if (!value.ok()) return WithFieldPrefix(value.status(), At("slots", i));
    out.push_back({.key = *key, .value = *value});
  }
  return absl::OkStatus();
}

absl::StatusOr<AccountChange> ToAccountChange(const pb::AccountChange& change) {
  AccountChange out;
  const absl::StatusOr<Address> address = ToAddress(change.address(), "address");
  if (!address.ok()) return address.status();
  out.address = *address;
  if (change.delete_()) {
    if (absl::Status status = CheckDelete(change); !status.ok()) return status;
    out.remove = true;
    return out;
  }
  if (change.has_nonce()) out.nonce = change.nonce();
  if (change.has_balance()) {
    const absl::StatusOr<U256> balance = ToQuantity(change.balance(), "balance");
    if (!balance.ok()) return balance.status();
    out.balance = *balance;
  }
  if (change.has_code()) out.code = change.code();
  out.reset_storage = change.reset_storage();
  if (absl::Status status = ToSlotChanges(change.slots(), out.slots); !status.ok()) return status;
  return out;
}

}  // namespace

absl::StatusOr<Address> ToAddress(BytesView bytes, std::string_view path) {
  if (bytes.size() != Address::kSize) return WrongLength(path, Address::kSize, bytes.size());
  return Address::FromView(bytes);
}

absl::StatusOr<Hash> ToHash(BytesView bytes, std::string_view path) {
  if (bytes.size() != Hash::kSize) return WrongLength(path, Hash::kSize, bytes.size());
  return Hash::FromView(bytes);
}

absl::StatusOr<U256> ToQuantity(BytesView bytes, std::string_view path) {
  if (bytes.size() > 32) return InvalidField(path, absl::StrFormat("may have at most 32 bytes, has %d", bytes.size()));
  if (!bytes.empty() && bytes.front() == '\0') return InvalidField(path, "must not have leading zeros; zero is empty");
  return U256::FromPadded(bytes);
}

absl::StatusOr<std::optional<Hash>> ToOptionalHash(BytesView bytes, std::string_view path) {
  std::optional<Hash> out;
  if (bytes.empty()) return out;
  if (absl::Status status = CopyFixed(bytes, path, out); !status.ok()) return status;
  return out;
}

absl::StatusOr<BlockSelector> ToBlockSelector(const pb::BlockRef& ref) {
  switch (ref.ref_case()) {
    case pb::BlockRef::REF_NOT_SET:
      return LatestBlock{};
    case pb::BlockRef::kLatest:
      if (!ref.latest()) return InvalidField("block.latest", "must be true when it is set");
      return LatestBlock{};
    case pb::BlockRef::kNumber:
      return ref.number();
    case pb::BlockRef::kHash: {
      const absl::StatusOr<Hash> hash = ToHash(ref.hash(), "block.hash");
      if (!hash.ok()) return hash.status();
      return BlockByHash{*hash};
    }
    case pb::BlockRef::kStateRoot: {
      const absl::StatusOr<Hash> root = ToHash(ref.state_root(), "block.state_root");
      if (!root.ok()) return root.status();
      return BlockByRoot{*root};
    }
  }
  return InvalidField("block", "is of an unknown kind");
}

absl::StatusOr<BlockSelector> ToNamedBlock(bool present, const pb::BlockRef& ref) {
  if (!present || ref.ref_case() == pb::BlockRef::REF_NOT_SET) return InvalidField("block", "must be set");
  return ToBlockSelector(ref);
}

absl::StatusOr<std::vector<AccountChange>> ToAccountChanges(
    const google::protobuf::RepeatedPtrField<pb::AccountChange>& changes) {
  std::vector<AccountChange> out;
  out.reserve(static_cast<size_t>(changes.size()));
  for (int i = 0; i < changes.size(); ++i) {
    absl::StatusOr<AccountChange> change = ToAccountChange(changes[i]);
    if (!change.ok()) return WithFieldPrefix(change.status(), At("changes", i));
    out.push_back(*std::move(change));
  }
  return out;
}

absl::StatusOr<BlockChanges> ToBlockChanges(const pb::ApplyStateChangesRequest& request) {
  BlockChanges out;
  out.number = request.number();
  out.reorganize = request.reorganize();
  out.keep_empty_accounts = request.keep_empty_accounts();

  absl::StatusOr<std::optional<Hash>> hash = ToOptionalHash(request.hash(), "hash");
  if (!hash.ok()) return hash.status();
  out.hash = *hash;
  absl::StatusOr<std::optional<Hash>> parent = ToOptionalHash(request.parent_hash(), "parent_hash");
  if (!parent.ok()) return parent.status();
  out.parent_hash = *parent;
  if (request.has_parent_root()) {
    if (absl::Status s = CopyFixed(request.parent_root(), "parent_root", out.parent_root); !s.ok()) return s;
  }
  if (request.has_expected_root()) {
    if (absl::Status s = CopyFixed(request.expected_root(), "expected_root", out.expected_root); !s.ok()) return s;
  }
  absl::StatusOr<std::vector<AccountChange>> changes = ToAccountChanges(request.changes());
  if (!changes.ok()) return changes.status();
  out.changes = *std::move(changes);
  return out;
}

absl::StatusOr<std::vector<Address>> ToAddresses(const google::protobuf::RepeatedPtrField<std::string>& addresses,
                                                 std::string_view path, size_t max, std::string_view limit) {
  return ToFixedList<Address>(addresses, path, max, limit);
}

absl::StatusOr<std::vector<Hash>> ToSlots(const google::protobuf::RepeatedPtrField<std::string>& slots,
                                          std::string_view path, size_t max, std::string_view limit) {
  return ToFixedList<Hash>(slots, path, max, limit);
}

absl::StatusOr<std::vector<ProofTargetSpec>> ToProofTargets(
    const google::protobuf::RepeatedPtrField<pb::ProofTarget>& targets, size_t max_keys) {
  size_t keys = static_cast<size_t>(targets.size());
  for (const pb::ProofTarget& target : targets) keys += static_cast<size_t>(target.slots_size());
  if (keys > max_keys) {
    return OverLimit("targets",
                     absl::StrFormat("may have at most %d accounts and slots together, has %d", max_keys, keys),
                     kProofKeysLimit);
  }
  std::vector<ProofTargetSpec> out;
  out.reserve(static_cast<size_t>(targets.size()));
  for (int i = 0; i < targets.size(); ++i) {
    const absl::StatusOr<Address> address = ToAddress(targets[i].address(), "address");
    if (!address.ok()) return WithFieldPrefix(address.status(), At("targets", i));
    absl::StatusOr<std::vector<Hash>> slots = ToSlots(targets[i].slots(), "slots", max_keys, kProofKeysLimit);
    if (!slots.ok()) return WithFieldPrefix(slots.status(), At("targets", i));
    out.push_back({.address = *address, .slots = *std::move(slots)});
  }
  return out;
}

absl::StatusOr<size_t> ToPageSize(uint32_t page_size, size_t by_default, size_t max) {
  if (page_size == 0) return std::min(by_default, max);
  if (page_size > max) {
    return OverLimit("page_size", absl::StrFormat("may be at most %d, is %d", max, page_size), "max_page_rows");
  }
  return page_size;
}

}  // namespace mptd
