#include "core/genesis.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/errors.h"
#include "core/genesis_data.h"
#include "core/hex.h"

namespace mptd {
namespace {

using Json = nlohmann::json;

// More than any genesis there is; keeps a malicious file from filling the memory.
constexpr size_t kMaxGenesisBytes = size_t{1} << 30;

struct Network {
  std::string_view name;
  std::string_view gzip;
  Hash hash;  // of the genesis block, as go-ethereum's params/config.go has it
};

constexpr uint8_t HexNibble(char c) { return static_cast<uint8_t>(c <= '9' ? c - '0' : c - 'a' + 10); }

consteval Hash HashLiteral(std::string_view hex) {
  Hash out;
  for (size_t i = 0; i < Hash::kSize; ++i) {
    out.bytes[i] = static_cast<uint8_t>(HexNibble(hex[2 * i]) << 4 | HexNibble(hex[2 * i + 1]));
  }
  return out;
}

const std::array<Network, 4>& Networks() {
  static const std::array<Network, 4> kNetworks = {{
      {"mainnet",
       {mptd_genesis_mainnet, mptd_genesis_mainnet_end},
       HashLiteral("d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3")},
      {"sepolia",
       {mptd_genesis_sepolia, mptd_genesis_sepolia_end},
       HashLiteral("25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9")},
      {"holesky",
       {mptd_genesis_holesky, mptd_genesis_holesky_end},
       HashLiteral("b5f7f912443c940f21fd611f12828d75b534364ed9e95ca4e307729a4661bde4")},
      {"hoodi",
       {mptd_genesis_hoodi, mptd_genesis_hoodi_end},
       HashLiteral("bbe312868b376a3001692a646dd2d7d1e4406380dfd86b98aa8a34d1557c971b")},
  }};
  return kNetworks;
}

std::string Under(std::string_view path, std::string_view name) { return absl::StrFormat("%s.%s", path, name); }

// Debian's Abseil has a string_view type of its own.
std::string Message(const absl::Status& status) { return std::string(status.message()); }

bool IsGzip(std::string_view content) { return content.starts_with("\x1f\x8b"); }

absl::StatusOr<std::string> Gunzip(std::string_view content) {
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) return absl::ResourceExhaustedError("no memory to decompress in");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  std::string out;
  std::array<char, 1 << 16> buffer;
  int result = Z_OK;
  while (result == Z_OK && out.size() <= kMaxGenesisBytes) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    result = inflate(&stream, Z_NO_FLUSH);
    out.append(buffer.data(), buffer.size() - stream.avail_out);
  }
  const bool complete = result == Z_STREAM_END && stream.avail_in == 0;
  inflateEnd(&stream);
  if (out.size() > kMaxGenesisBytes) {
    return absl::InvalidArgumentError(absl::StrFormat("more than %d bytes when decompressed", kMaxGenesisBytes));
  }
  if (!complete) return absl::InvalidArgumentError("damaged or incomplete gzip data");
  return out;
}

// Parses text in which no object may have a key twice: the parser alone would keep one of them and say nothing.
class StrictParser {
 public:
  absl::StatusOr<Json> Parse(std::string_view text) {
    try {
      Json json = Json::parse(text.begin(), text.end(), [this](int, Json::parse_event_t event, Json& parsed) {
        OnEvent(event, parsed);
        return true;
      });
      if (!duplicate_.empty()) return InvalidField(duplicate_, "stands here twice");
      return json;
    } catch (const Json::exception& error) {  // also a number beyond a double's range
      std::string_view message = error.what();
      message.remove_prefix(std::min(message.find("] ") + 2, message.size()));
      return absl::InvalidArgumentError(absl::StrFormat("not JSON: %s", message.substr(0, 200)));
    }
  }

 private:
  struct Level {
    absl::flat_hash_set<std::string> keys;
    std::string current;
  };

  void OnEvent(Json::parse_event_t event, const Json& parsed) {
    if (event == Json::parse_event_t::object_start) levels_.emplace_back();
    if (event == Json::parse_event_t::object_end) levels_.pop_back();
    if (event != Json::parse_event_t::key) return;
    Level& level = levels_.back();
    level.current = parsed.get_ref<const std::string&>();
    if (level.keys.insert(level.current).second || !duplicate_.empty()) return;
    duplicate_ = absl::StrJoin(levels_, ".", [](std::string* out, const Level& l) { out->append(l.current); });
  }

  std::vector<Level> levels_;
  std::string duplicate_;
};

absl::Status WithPath(const absl::Status& status, std::string_view path) { return InvalidField(path, Message(status)); }

absl::StatusOr<U256> ReadQuantity(const Json& json, std::string_view path) {
  if (json.is_number_unsigned()) return U256::FromUint64(json.get<uint64_t>());
  if (json.is_number()) {
    return InvalidField(path, "not a whole number from 0 to 2^64 - 1; write larger ones as text");
  }
  if (!json.is_string()) return InvalidField(path, "a number is expected, as text or as it is");
  absl::StatusOr<U256> value = ParseQuantity(json.get_ref<const std::string&>());
  if (!value.ok()) return WithPath(value.status(), path);
  return value;
}

absl::StatusOr<uint64_t> ReadUint64(const Json& json, std::string_view path) {
  const absl::StatusOr<U256> wide = ReadQuantity(json, path);
  if (!wide.ok()) return wide.status();
  if (wide->minimal().size() > 8) return InvalidField(path, "the number does not fit 64 bits");
  uint64_t value = 0;
  for (const char c : wide->minimal()) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

absl::StatusOr<Bytes> ReadBytes(const Json& json, std::string_view path) {
  if (!json.is_string()) return InvalidField(path, "hexadecimal text is expected");
  absl::StatusOr<Bytes> bytes = FromHex(json.get_ref<const std::string&>());
  if (!bytes.ok()) return WithPath(bytes.status(), path);
  return bytes;
}

absl::StatusOr<Hash> ReadHash(const Json& json, std::string_view path) {
  const absl::StatusOr<Bytes> bytes = ReadBytes(json, path);
  if (!bytes.ok()) return bytes.status();
  if (bytes->size() != Hash::kSize)
    return InvalidField(path, absl::StrFormat("%d bytes where 32 are expected", bytes->size()));
  return Hash::FromView(*bytes);
}

// A slot's key or value: hexadecimal with any number of digits up to 64, "0x" optional, as go-ethereum takes them.
absl::StatusOr<U256> ReadWord(std::string_view text, std::string_view path) {
  if (text.starts_with("0x")) text.remove_prefix(2);
  const absl::StatusOr<Bytes> bytes = FromHex(absl::StrFormat("%s%s", text.size() % 2 == 0 ? "" : "0", text));
  if (!bytes.ok()) return WithPath(bytes.status(), path);
  if (bytes->size() > 32) return InvalidField(path, absl::StrFormat("%d bytes where 32 are the most", bytes->size()));
  return U256::FromPadded(*bytes);
}

absl::StatusOr<std::vector<SlotChange>> ReadStorage(const Json& json, std::string_view path) {
  if (!json.is_object()) return InvalidField(path, "an object of slots is expected");
  std::vector<SlotChange> slots;
  absl::flat_hash_set<Hash> seen;
  for (const auto& [text, item] : json.items()) {
    const std::string slot_path = Under(path, text);
    const absl::StatusOr<U256> key = ReadWord(text, slot_path);
    if (!key.ok()) return key.status();
    if (!item.is_string()) return InvalidField(slot_path, "hexadecimal text is expected");
    const absl::StatusOr<U256> value = ReadWord(item.get_ref<const std::string&>(), slot_path);
    if (!value.ok()) return value.status();
    if (!seen.insert(Hash{key->be}).second) return InvalidField(slot_path, "a slot that stands here twice");
    if (!value->IsZero()) slots.push_back({Hash{key->be}, *value});
  }
  std::ranges::sort(slots, {}, &SlotChange::key);
  return slots;
}

// Moves the value of `from` to `to` when there is one; returns the status.
template <typename T, typename To>
absl::Status Assign(absl::StatusOr<T> from, To& to) {
  if (!from.ok()) return from.status();
  to = *std::move(from);
  return absl::OkStatus();
}

// One field of an account into `change`.
absl::Status ReadAccountField(std::string_view name, const Json& json, std::string_view path, AccountChange& change) {
  if (name == "balance") return Assign(ReadQuantity(json, path), change.balance);
  if (name == "nonce") return Assign(ReadUint64(json, path), change.nonce);
  if (name == "code") return Assign(ReadBytes(json, path), change.code);
  if (name == "storage") return Assign(ReadStorage(json, path), change.slots);
  if (name == "secretkey") return absl::OkStatus();  // go-ethereum's, for its own tests
  return InvalidField(path, "an account has no such field; balance, nonce, code and storage are known");
}

absl::StatusOr<AccountChange> ReadAccount(const Json& json, std::string_view path) {
  if (!json.is_object()) return InvalidField(path, "an object is expected");
  AccountChange change;
  change.nonce = 0;
  change.balance = U256{};
  absl::flat_hash_set<std::string> seen;
  for (const auto& [name, item] : json.items()) {
    const std::string lower = absl::AsciiStrToLower(name);
    const std::string field_path = Under(path, name);
    if (!seen.insert(lower).second) return InvalidField(field_path, "a field that stands here twice");
    if (absl::Status status = ReadAccountField(lower, item, field_path, change); !status.ok()) return status;
  }
  if (change.code && change.code->empty()) change.code.reset();
  return change;
}

absl::StatusOr<std::vector<AccountChange>> ReadAccounts(const Json& json, std::string_view path) {
  if (!json.is_object()) return InvalidField(path, "an object of accounts is expected");
  std::vector<AccountChange> changes;
  changes.reserve(json.size());
  absl::flat_hash_set<Address> seen;
  for (const auto& [text, item] : json.items()) {
    const std::string account_path = Under(path, text);
    const absl::StatusOr<Address> address = AddressFromHex(text);
    if (!address.ok()) return WithPath(address.status(), account_path);
    if (!seen.insert(*address).second) return InvalidField(account_path, "an account that stands here twice");
    absl::StatusOr<AccountChange> change = ReadAccount(item, account_path);
    if (!change.ok()) return change.status();
    change->address = *address;
    changes.push_back(*std::move(change));
  }
  std::ranges::sort(changes, {}, &AccountChange::address);
  return changes;
}

// One field of the file into `genesis`; others are the header's and not ours.
absl::Status ReadTopField(std::string_view name, const Json& json, std::string_view path, Genesis& genesis) {
  if (name == "number") return Assign(ReadUint64(json, path), genesis.number);
  if (name == "hash") return Assign(ReadHash(json, path), genesis.hash);
  if (name == "state_root" || name == "stateroot") return Assign(ReadHash(json, path), genesis.state_root);
  if (name == "name") {
    if (!json.is_string()) return InvalidField(path, "text is expected");
    genesis.name = json.get<std::string>();
  }
  return absl::OkStatus();
}

absl::StatusOr<Genesis> ReadGenesis(std::string_view name, const Json& json) {
  if (!json.is_object()) return absl::InvalidArgumentError("a JSON object is expected");
  Genesis genesis;
  genesis.name = name;
  std::string accounts_key;
  for (const auto& [key, item] : json.items()) {
    const std::string lower = absl::AsciiStrToLower(key);
    if (lower != "alloc" && lower != "accounts") {
      if (absl::Status status = ReadTopField(lower, item, key, genesis); !status.ok()) return status;
      continue;
    }
    if (!accounts_key.empty())
      return InvalidField(key, absl::StrFormat("the accounts already stand in %s", accounts_key));
    accounts_key = key;
    absl::StatusOr<std::vector<AccountChange>> changes = ReadAccounts(item, key);
    if (!changes.ok()) return changes.status();
    genesis.changes = *std::move(changes);
  }
  if (accounts_key.empty()) return absl::InvalidArgumentError("neither \"alloc\" nor \"accounts\" is there");
  return genesis;
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::error_code error;
  const auto type = std::filesystem::status(path, error).type();
  if (type == std::filesystem::file_type::not_found) {
    return absl::NotFoundError(absl::StrFormat(
        "no file \"%s\" and no network of that name (%s)", path,
        absl::StrJoin(Networks(), ", ", [](std::string* out, const Network& n) { out->append(n.name); })));
  }
  if (type == std::filesystem::file_type::directory) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: a folder where a file is expected", path));
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::PermissionDeniedError(absl::StrFormat("%s: cannot be opened for reading", path));
  std::string content{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) return absl::UnavailableError(absl::StrFormat("%s: reading failed", path));
  return content;
}

// "chain" for "/etc/mptd/chain.json.gz".
std::string Stem(const std::string& path) {
  const std::string file = std::filesystem::path(path).filename().string();
  return file.substr(0, file.find('.', 1));
}

}  // namespace

std::vector<std::string_view> GenesisNetworks() {
  std::vector<std::string_view> names;
  for (const Network& network : Networks()) names.push_back(network.name);
  return names;
}

absl::StatusOr<Genesis> ParseGenesis(std::string_view name, std::string_view content) {
  std::string plain;
  if (IsGzip(content)) {
    absl::StatusOr<std::string> unpacked = Gunzip(content);
    if (!unpacked.ok()) return unpacked.status();
    plain = *std::move(unpacked);
    content = plain;
  }
  const absl::StatusOr<Json> json = StrictParser().Parse(content);
  if (!json.ok()) return json.status();
  return ReadGenesis(name, *json);
}

absl::StatusOr<Genesis> LoadGenesis(std::string_view name_or_path) {
  for (const Network& network : Networks()) {
    if (network.name != name_or_path) continue;
    absl::StatusOr<Genesis> genesis = ParseGenesis(network.name, network.gzip);
    if (genesis.ok()) genesis->hash = network.hash;
    return genesis;
  }
  const std::string path(name_or_path);
  const absl::StatusOr<std::string> content = ReadFile(path);
  if (!content.ok()) return content.status();
  absl::StatusOr<Genesis> genesis = ParseGenesis(Stem(path), *content);
  if (genesis.ok()) return genesis;
  return absl::Status(genesis.status().code(), absl::StrFormat("%s: %s", path, Message(genesis.status())));
}

BlockChanges GenesisBlock(Genesis genesis) {
  BlockChanges block;
  block.number = genesis.number;
  block.hash = genesis.hash;
  if (genesis.hash && genesis.number == 0) block.parent_hash = Hash{};
  block.expected_root = genesis.state_root;
  block.keep_empty_accounts = true;
  block.changes = std::move(genesis.changes);
  return block;
}

}  // namespace mptd
