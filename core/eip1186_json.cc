#include "core/eip1186_json.h"

#include <exception>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "core/errors.h"
#include "core/hex.h"
#include "nlohmann/json.hpp"

namespace mptd {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxErrorText = 200;

// The text of the string member `name`, in the 0x form that JSON-RPC asks for.
absl::StatusOr<std::string_view> HexText(const Json& value, std::string_view path) {
  const auto* text = value.get_ptr<const Json::string_t*>();
  if (text == nullptr) return InvalidField(path, "not a string");
  if (!text->starts_with("0x")) return InvalidField(path, "does not start with 0x");
  return std::string_view(*text);
}

// Turns the error of a parser of core/hex.h into one about the field.
template <typename T>
absl::StatusOr<T> Named(absl::StatusOr<T> parsed, std::string_view path) {
  if (parsed.ok()) return parsed;
  return InvalidField(path, std::string_view(parsed.status().message().data(), parsed.status().message().size()));
}

template <typename T>
absl::StatusOr<T> Parse(const Json& value, std::string_view path, absl::StatusOr<T> (*parse)(std::string_view)) {
  const absl::StatusOr<std::string_view> text = HexText(value, path);
  if (!text.ok()) return text.status();
  return Named(parse(*text), path);
}

// The member `name` of `object`, or a null pointer.
const Json* Find(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

// Parses the member `name` of `object` into `out`.
template <typename T>
absl::Status Member(const Json& object, const char* name, absl::StatusOr<T> (*parse)(std::string_view), T& out) {
  const Json* value = Find(object, name);
  if (value == nullptr) return InvalidField(name, "missing");
  absl::StatusOr<T> parsed = Parse(*value, name, parse);
  if (!parsed.ok()) return parsed.status();
  out = *std::move(parsed);
  return absl::OkStatus();
}

// The array member `name` of `object`.
absl::StatusOr<const Json*> ArrayMember(const Json& object, const char* name) {
  const Json* value = Find(object, name);
  if (value == nullptr) return InvalidField(name, "missing");
  if (!value->is_array()) return InvalidField(name, "not an array");
  return value;
}

absl::Status Nodes(const Json& object, const char* name, std::vector<Bytes>& out) {
  const absl::StatusOr<const Json*> array = ArrayMember(object, name);
  if (!array.ok()) return array.status();
  out.reserve((*array)->size());
  for (size_t i = 0; i < (*array)->size(); ++i) {
    absl::StatusOr<Bytes> node = Parse<Bytes>((**array)[i], absl::StrFormat("%s[%d]", name, i), FromHex);
    if (!node.ok()) return node.status();
    out.push_back(*std::move(node));
  }
  return absl::OkStatus();
}

// A slot's key: at most 32 bytes of hex, which stand for a number. "0x" alone is zero, as in go-ethereum.
absl::StatusOr<Hash> ParseKey(std::string_view text) {
  if (text.size() > 2 + 2 * Hash::kSize) {
    return absl::InvalidArgumentError("longer than 32 bytes");
  }
  if (text == "0x") return Hash{};
  const absl::StatusOr<U256> number = ParseQuantity(text);
  if (!number.ok()) return number.status();
  return Hash{number->be};
}

absl::StatusOr<StorageProof> Slot(const Json& object) {
  if (!object.is_object()) return InvalidField("", "not an object");
  StorageProof out;
  absl::Status status = Member(object, "key", ParseKey, out.key);
  if (status.ok()) status = Member(object, "value", ParseQuantity, out.value);
  if (status.ok()) status = Nodes(object, "proof", out.proof);
  if (!status.ok()) return status;
  return out;
}

absl::Status Slots(const Json& object, std::vector<StorageProof>& out) {
  const absl::StatusOr<const Json*> array = ArrayMember(object, "storageProof");
  if (!array.ok()) return array.status();
  out.reserve((*array)->size());
  for (size_t i = 0; i < (*array)->size(); ++i) {
    absl::StatusOr<StorageProof> slot = Slot((**array)[i]);
    if (!slot.ok()) return WithFieldPrefix(slot.status(), absl::StrFormat("storageProof[%d]", i));
    out.push_back(*std::move(slot));
  }
  return absl::OkStatus();
}

// The document, or a discarded value with `error` saying why. A member that comes twice is refused, because readers
// differ on which one counts.
Json ParseDocument(std::string_view text, std::string& error) {
  std::vector<std::set<std::string>> names;
  const auto watch = [&names, &error](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) {
      names.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      names.pop_back();
    } else if (event == Json::parse_event_t::key && !names.back().insert(parsed.get<std::string>()).second) {
      error = "a member that comes twice";
    }
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const std::exception& e) {
    error = std::string(e.what()).substr(0, kMaxErrorText);  // it quotes the text, which may be long
  }
  return Json(Json::value_t::discarded);
}

Json WriteNodes(const std::vector<Bytes>& nodes) {
  Json out = Json::array();
  for (const Bytes& node : nodes) out.push_back(ToHex(node));
  return out;
}

}  // namespace

absl::StatusOr<AccountProof> ParseEip1186(std::string_view json) {
  std::string error;
  const Json document = ParseDocument(json, error);
  if (!error.empty()) return absl::InvalidArgumentError(absl::StrFormat("not a usable JSON document: %s", error));
  if (!document.is_object()) return absl::InvalidArgumentError("not a JSON object");
  AccountProof out;
  absl::Status status = Member(document, "address", AddressFromHex, out.address);
  if (status.ok()) status = Nodes(document, "accountProof", out.proof);
  if (status.ok()) status = Member(document, "balance", ParseQuantity, out.account.balance);
  if (status.ok()) status = Member(document, "codeHash", HashFromHex, out.account.code_hash);
  if (status.ok()) status = Member(document, "nonce", ParseUint64, out.account.nonce);
  if (status.ok()) status = Member(document, "storageHash", HashFromHex, out.account.storage_root);
  if (status.ok()) status = Slots(document, out.storage);
  if (!status.ok()) return status;
  return out;
}

std::string WriteEip1186(const AccountProof& proof) {
  Json slots = Json::array();
  for (const StorageProof& slot : proof.storage) {
    Json& out = slots.emplace_back(Json::object());
    out["key"] = ToHex(slot.key);
    out["value"] = ToHexQuantity(slot.value);
    out["proof"] = WriteNodes(slot.proof);
  }
  Json out = Json::object();
  out["address"] = ToHex(proof.address);
  out["accountProof"] = WriteNodes(proof.proof);
  out["balance"] = ToHexQuantity(proof.account.balance);
  out["codeHash"] = ToHex(proof.account.code_hash);
  out["nonce"] = ToHexQuantity(U256::FromUint64(proof.account.nonce));
  out["storageHash"] = ToHex(proof.account.storage_root);
  out["storageProof"] = std::move(slots);
  return out.dump();
}

}  // namespace mptd
