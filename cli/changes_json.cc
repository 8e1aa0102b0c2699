#include "cli/changes_json.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/json_reader.h"
#include "cli/values.h"
#include "core/errors.h"
#include "core/hex.h"

namespace mptd::cli {
namespace {

using nlohmann::json;
using Changes = google::protobuf::RepeatedPtrField<v1::AccountChange>;

constexpr std::array kBlockMembers = {"number",      "hash",       "parent_hash",         "state_root", "expected_root",
                                      "parent_root", "reorganize", "keep_empty_accounts", "changes"};
// What files of blocks also hold and what is not for the daemon.
constexpr std::array kIgnoredMembers = {"proofs", "name", "client", "timestamp"};

absl::Status Renamed(const absl::Status& status, std::string_view path) {
  return InvalidField(path, std::string(status.message()));
}

const json* Find(const json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

// The text of a string or a number.
absl::StatusOr<std::string> Text(const json& value) {
  if (const auto* text = value.get_ptr<const json::string_t*>(); text != nullptr) return *text;
  if (value.is_number_unsigned()) return absl::StrCat(value.get<uint64_t>());
  return absl::InvalidArgumentError(absl::StrFormat("a string or a number is wanted here, not %s", value.type_name()));
}

absl::StatusOr<std::string> ParseText(const json& value, absl::StatusOr<std::string> (*parse)(std::string_view)) {
  const absl::StatusOr<std::string> text = Text(value);
  return text.ok() ? parse(*text) : text;
}

absl::StatusOr<std::string> HexBytes(std::string_view text) {
  absl::StatusOr<Bytes> bytes = FromHex(text);
  if (!bytes.ok())
    return absl::InvalidArgumentError(absl::StrFormat("not hex: %s", std::string(bytes.status().message())));
  return *std::move(bytes);
}

absl::StatusOr<uint64_t> Number(const json& value) {
  const absl::StatusOr<std::string> text = Text(value);
  if (!text.ok()) return text.status();
  const absl::StatusOr<uint64_t> number = ParseUint64(*text);
  if (!number.ok()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("\"%s\" is not a number of 64 bits: %s", *text, std::string(number.status().message())));
  }
  return number;
}

// Sets `out` when the member is there.
absl::Status BoolMember(const json& object, const char* name, bool& out) {
  const json* value = Find(object, name);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_boolean()) return InvalidField(name, "true or false is wanted here");
  out = value->get<bool>();
  return absl::OkStatus();
}

// Empty when the member is absent or null.
absl::Status HashMember(const json& object, const char* name, std::string& out) {
  const json* value = Find(object, name);
  if (value == nullptr || value->is_null()) return absl::OkStatus();
  absl::StatusOr<std::string> hash = ParseText(*value, HashBytes);
  if (!hash.ok()) return Renamed(hash.status(), name);
  out = *std::move(hash);
  return absl::OkStatus();
}

// One slot, whose key and value may be written in several ways.
absl::Status AddSlot(const std::string& path, const absl::StatusOr<std::string>& key, const json& value,
                     std::set<std::string>& seen, v1::AccountChange& out) {
  if (!key.ok()) return Renamed(key.status(), path);
  if (!seen.insert(*key).second) return InvalidField(path, "this slot comes twice");
  absl::StatusOr<std::string> quantity = ParseText(value, QuantityBytes);
  if (!quantity.ok()) return Renamed(quantity.status(), path);
  v1::SlotChange& slot = *out.add_slots();
  slot.set_key(*key);
  slot.set_value(*std::move(quantity));
  return absl::OkStatus();
}

// `name` is "storage" or "slots": an object of keys and values, or an array of objects with `key` and `value`.
absl::Status ParseStorage(const std::string& name, const json& value, v1::AccountChange& out) {
  std::set<std::string> seen;
  if (value.is_object()) {
    for (const auto& [key, slot_value] : value.items()) {
      const absl::Status status = AddSlot(absl::StrFormat("%s.%s", name, key), SlotBytes(key), slot_value, seen, out);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }
  if (!value.is_array()) return InvalidField(name, "an object of slots and values is wanted here");
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string path = absl::StrFormat("%s[%d]", name, i);
    const json* key = Find(value[i], "key");
    const json* slot_value = Find(value[i], "value");
    if (key == nullptr || slot_value == nullptr || value[i].size() != 2) {
      return InvalidField(path, "an object with key and value is wanted here");
    }
    const absl::Status status = AddSlot(path, ParseText(*key, SlotBytes), *slot_value, seen, out);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ParseAccountMember(const std::string& name, const json& value, v1::AccountChange& out) {
  if (name == "nonce") {
    const absl::StatusOr<uint64_t> nonce = Number(value);
    if (!nonce.ok()) return Renamed(nonce.status(), name);
    out.set_nonce(*nonce);
  } else if (name == "balance") {
    absl::StatusOr<std::string> balance = ParseText(value, QuantityBytes);
    if (!balance.ok()) return Renamed(balance.status(), name);
    out.set_balance(*std::move(balance));
  } else if (name == "code") {
    absl::StatusOr<std::string> code = ParseText(value, HexBytes);
    if (!code.ok()) return Renamed(code.status(), name);
    out.set_code(*std::move(code));
  } else if (name == "storage" || name == "slots") {
    if (out.slots_size() != 0) return InvalidField(name, "storage and slots are the same; give one of them");
    return ParseStorage(name, value, out);
  } else if (name == "delete" || name == "reset_storage") {
    if (!value.is_boolean()) return InvalidField(name, "true or false is wanted here");
    name == "delete" ? out.set_delete_(value.get<bool>()) : out.set_reset_storage(value.get<bool>());
  } else {
    return InvalidField(name, "unknown; an account has balance, nonce, code, storage, reset_storage and delete");
  }
  return absl::OkStatus();
}

absl::Status AddAccount(const std::string& path, const absl::StatusOr<std::string>& address, const json& change,
                        std::set<std::string>& seen, Changes& out) {
  if (!address.ok()) return Renamed(address.status(), path);
  if (!seen.insert(*address).second) return InvalidField(path, "this address comes twice");
  v1::AccountChange& account = *out.Add();
  account.set_address(*address);
  const absl::Status status = ParseAccountChange(change, account);
  if (status.ok()) return status;
  return InvalidFieldPath(status).has_value() ? WithFieldPrefix(status, path) : Renamed(status, path);
}

// An object of addresses and their changes, or an array of objects that name theirs, as the interface has them.
absl::Status ParseChanges(const json& value, std::string_view path, Changes& out) {
  std::set<std::string> seen;  // one address can be written in several ways
  if (value.is_object()) {
    for (const auto& [name, change] : value.items()) {
      const absl::Status status =
          AddAccount(absl::StrFormat("%s.%s", path, name), AddressBytes(name), change, seen, out);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }
  if (!value.is_array()) return InvalidField(path, "an object of addresses and their changes is wanted here");
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string element = absl::StrFormat("%s[%d]", path, i);
    const json* address = Find(value[i], "address");
    if (address == nullptr) return InvalidField(element, "an object with the address and its changes is wanted here");
    json change = value[i];
    change.erase("address");
    const absl::Status status = AddAccount(element, ParseText(*address, AddressBytes), change, seen, out);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// The member that holds a genesis's accounts, or null when `value` is none.
const char* GenesisMember(const json& value) {
  if (!value.is_object() || value.contains("changes")) return nullptr;
  if (value.contains("accounts")) return "accounts";
  return value.contains("alloc") ? "alloc" : nullptr;
}

absl::Status ParseGenesis(const json& value, const BlockOptions& options, v1::ApplyStateChangesRequest& out) {
  out.set_number(options.genesis_number);
  if (const json* number = Find(value, "number"); number != nullptr) {
    const absl::StatusOr<uint64_t> parsed = Number(*number);
    if (!parsed.ok()) return Renamed(parsed.status(), "number");
    out.set_number(*parsed);
  }
  out.set_hash(options.genesis_hash);
  absl::Status status = HashMember(value, "hash", *out.mutable_hash());
  if (!status.ok()) return status;
  std::string root;
  status = HashMember(value, "state_root", root);
  if (!status.ok()) return status;
  if (!root.empty() && options.check_roots) out.set_expected_root(root);
  out.set_keep_empty_accounts(true);  // they count in a genesis's root
  const char* member = GenesisMember(value);
  status = ParseChanges(value[member], member, *out.mutable_changes());
  // Every account of a genesis is there, even when nothing is said about it.
  for (v1::AccountChange& change : *out.mutable_changes()) {
    if (!change.has_nonce()) change.set_nonce(0);
    if (!change.has_balance()) change.set_balance("");
  }
  return status;
}

template <size_t N>
bool Contains(const std::array<const char*, N>& names, const std::string& name) {
  return std::any_of(names.begin(), names.end(), [&](const char* known) { return name == known; });
}

absl::Status Located(const absl::Status& status, const JsonPart& part) {
  std::string where = part.where + ": ";
  if (!part.path.empty()) where += InvalidFieldPath(status).has_value() ? part.path + "." : part.path + ": ";
  return absl::InvalidArgumentError(absl::StrCat(where, status.message()));
}

// True for an object that can only be a block's `changes`.
bool IsBareChanges(const json& value) {
  if (!value.is_object() || value.empty()) return false;
  return std::all_of(value.items().begin(), value.items().end(),
                     [](const auto& item) { return AddressBytes(item.key()).ok(); });
}

}  // namespace

absl::Status ParseAccountChange(const json& value, v1::AccountChange& out) {
  if (!value.is_object()) return absl::InvalidArgumentError("an object with an account's changes is wanted here");
  for (const auto& [name, member] : value.items()) {
    const absl::Status status = ParseAccountMember(name, member, out);
    if (!status.ok()) return status;
  }
  const bool more =
      out.has_nonce() || out.has_balance() || out.has_code() || out.reset_storage() || out.slots_size() > 0;
  if (out.delete_() && more) return InvalidField("delete", "nothing else may stand beside it");
  return absl::OkStatus();
}

absl::Status ParseBlock(const json& value, const BlockOptions& options, v1::ApplyStateChangesRequest& out) {
  if (!value.is_object())
    return absl::InvalidArgumentError("a block (an object with number and changes) is wanted here");
  const json* number = Find(value, "number");
  if (number == nullptr) return InvalidField("number", "missing");
  const absl::StatusOr<uint64_t> parsed = Number(*number);
  if (!parsed.ok()) return Renamed(parsed.status(), "number");
  out.set_number(*parsed);
  std::string state_root;
  std::string expected_root;
  std::string parent_root;
  absl::Status status = HashMember(value, "hash", *out.mutable_hash());
  if (status.ok()) status = HashMember(value, "parent_hash", *out.mutable_parent_hash());
  if (status.ok()) status = HashMember(value, "state_root", state_root);
  if (status.ok()) status = HashMember(value, "expected_root", expected_root);
  if (status.ok()) status = HashMember(value, "parent_root", parent_root);
  bool reorganize = false;
  bool keep_empty = false;
  if (status.ok()) status = BoolMember(value, "reorganize", reorganize);
  if (status.ok()) status = BoolMember(value, "keep_empty_accounts", keep_empty);
  if (!status.ok()) return status;
  if (!state_root.empty() && !expected_root.empty() && state_root != expected_root) {
    return InvalidField("expected_root", "differs from state_root; give one of them");
  }
  if (expected_root.empty()) expected_root = state_root;
  if (!expected_root.empty() && options.check_roots) out.set_expected_root(expected_root);
  if (!parent_root.empty()) out.set_parent_root(parent_root);
  out.set_reorganize(reorganize || options.reorganize);
  out.set_keep_empty_accounts(keep_empty || options.keep_empty_accounts);
  const json* changes = Find(value, "changes");
  if (changes == nullptr) return InvalidField("changes", "missing; a block that changes nothing has {}");
  return ParseChanges(*changes, "changes", *out.mutable_changes());
}

absl::Status ReadBlocks(InputFile& input, const BlockOptions& options,
                        const std::function<absl::Status(InputBlock)>& sink,
                        const std::function<void(const std::string&)>& warn) {
  std::set<std::string> warned;
  return ReadJsonParts(input, [&](JsonPart part) -> absl::Status {
    const bool document = part.kind == JsonPart::Kind::kDocument;
    // What is left of a top-level array or of an object with `blocks` when its elements are gone.
    if (document && (part.value.is_array() || (part.value.is_object() && part.value.contains("blocks")))) {
      return absl::OkStatus();
    }
    InputBlock block;
    block.where = part.path.empty() ? part.where : absl::StrCat(part.where, ": ", part.path);
    const bool genesis = document && GenesisMember(part.value) != nullptr;
    const absl::Status status =
        genesis ? ParseGenesis(part.value, options, block.request) : ParseBlock(part.value, options, block.request);
    if (!status.ok()) return Located(status, part);
    for (const auto& [name, unused] : part.value.items()) {
      if (genesis || Contains(kBlockMembers, name) || Contains(kIgnoredMembers, name)) continue;
      if (warned.insert(name).second) {
        warn(absl::StrFormat("%s: \"%s\" is not a member of a block and is ignored", block.where, name));
      }
    }
    return sink(std::move(block));
  });
}

absl::StatusOr<ChangeSet> ReadChangeSet(InputFile& input) {
  std::optional<ChangeSet> out;
  const BlockOptions options;
  const absl::Status read = ReadJsonParts(input, [&](JsonPart part) -> absl::Status {
    const bool document = part.kind == JsonPart::Kind::kDocument;
    if (document && (part.value.is_array() || (part.value.is_object() && part.value.contains("blocks")))) {
      return absl::OkStatus();
    }
    if (out.has_value()) return Located(absl::InvalidArgumentError("one block is wanted here, not several"), part);
    v1::ApplyStateChangesRequest request;
    absl::Status status;
    if (IsBareChanges(part.value) || (document && part.value.is_object() && part.value.empty())) {
      status = ParseChanges(part.value, "changes", *request.mutable_changes());
    } else if (GenesisMember(part.value) != nullptr) {
      status = ParseGenesis(part.value, options, request);
    } else {
      if (part.value.is_object() && !part.value.contains("number"))
        part.value["number"] = uint64_t{0};  // not asked for here
      status = ParseBlock(part.value, options, request);
    }
    if (!status.ok()) return Located(status, part);
    out.emplace();
    out->changes.Swap(request.mutable_changes());
    out->keep_empty_accounts = request.keep_empty_accounts();
    if (request.has_expected_root()) out->expected_root = request.expected_root();
    return absl::OkStatus();
  });
  if (!read.ok()) return read;
  if (!out.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(input.name(), ": no changes in it"));
  }
  return *std::move(out);
}

}  // namespace mptd::cli
