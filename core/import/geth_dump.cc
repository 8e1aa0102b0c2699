#include "core/import/geth_dump.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <string_view>

#include "absl/strings/str_format.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "core/rlp.h"
#include "core/trie/trie_builder.h"
#include "nlohmann/json.hpp"

namespace mptd {
namespace {

using Json = nlohmann::json;

enum Field : size_t { kBalance, kNonce, kRoot, kCodeHash, kCode, kStorage, kAddress, kKey, kFields };
constexpr std::array<std::string_view, kFields> kNames = {"balance", "nonce",   "root",    "codeHash",
                                                          "code",    "storage", "address", "key"};

Hash RootOf(const std::vector<std::pair<Hash, U256>>& slots) {
  TrieBuilder builder([](const NibblePath&, const BranchValue&) {});
  Bytes leaf;
  for (const auto& [key, value] : slots) {
    leaf.clear();
    rlp::AppendString(leaf, value.minimal());
    builder.Add(key, leaf, false);
  }
  return builder.Finish();
}

// Debian's Abseil has a string_view type of its own.
std::string Message(const absl::Status& status) { return std::string(status.message()); }

}  // namespace

// The members of a line that count, as they stand there.
struct GethDump::Line {
  std::array<std::string, kFields> text;
  std::bitset<kFields> present;
  std::vector<std::pair<std::string, std::string>> storage;

  bool has(Field field) const { return present[field]; }
  void Clear() {
    present.reset();
    storage.clear();
  }
};

namespace {

// Puts a line's members where they belong; `Line` is a template parameter because it is private.
template <typename Line>
class LineHandler final : public nlohmann::json_sax<Json> {
 public:
  explicit LineHandler(Line& line) : line_(line) {}
  const std::string& problem() const { return problem_; }

  // NOLINTBEGIN(readability-identifier-naming): these names are the library's.
  bool null() override {
    if (depth_ != 1 || field_ == kFields) return Value("");
    line_.present.reset(field_);
    return true;
  }
  bool boolean(bool /*value*/) override { return Value("a truth value"); }
  bool number_integer(number_integer_t value) override { return Value(std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override { return Value(std::to_string(value)); }
  bool number_float(number_float_t /*value*/, const string_t& text) override { return Value(text); }
  bool string(string_t& value) override { return Value(value); }
  bool binary(binary_t& /*value*/) override { return false; }
  bool start_object(size_t /*size*/) override {
    ++depth_;
    if (depth_ == 1 || field_ == kFields) return true;
    if (depth_ == 2 && field_ == kStorage) return true;
    return Fail(absl::StrFormat("%s is not text or a number", kNames[field_]));
  }
  bool key(string_t& name) override {
    if (depth_ > 1) {
      if (depth_ == 2 && field_ == kStorage) slot_ = std::move(name);
      return true;
    }
    field_ = static_cast<Field>(std::find(kNames.begin(), kNames.end(), name) - kNames.begin());
    if (field_ == kFields) return true;
    if (line_.present[field_]) return Fail(absl::StrFormat("%s stands there twice", kNames[field_]));
    line_.present.set(field_);
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool start_array(size_t /*size*/) override {
    if (depth_ == 0) return Fail("a list where an object is expected");
    ++depth_;
    return field_ == kFields || Fail(absl::StrFormat("%s is a list", kNames[field_]));
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool parse_error(size_t /*position*/, const std::string& /*token*/, const Json::exception& error) override {
    std::string_view message = error.what();
    message.remove_prefix(std::min(message.find("] ") + 2, message.size()));
    return Fail(absl::StrFormat("not JSON: %s", message.substr(0, 200)));
  }
  // NOLINTEND(readability-identifier-naming)

 private:
  bool Fail(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
    return false;
  }
  bool Value(std::string value) {
    if (depth_ == 0) return Fail("a value where an object is expected");
    if (field_ == kFields) return true;
    if (depth_ == 2) {
      line_.storage.emplace_back(std::move(slot_), std::move(value));
    } else if (field_ == kStorage) {
      return Fail("storage is not an object");
    } else {
      line_.text[field_] = std::move(value);
    }
    return true;
  }

  Line& line_;
  size_t depth_ = 0;
  Field field_ = kFields;  // the member of the outer object that is being read; kFields: one that does not count
  std::string slot_;
  std::string problem_;
};

}  // namespace

GethDump::GethDump(std::istream& in, std::string name)
    : in_(in), name_(std::move(name)), line_(std::make_unique<Line>()) {}
GethDump::~GethDump() = default;

absl::Status GethDump::Wrong(std::string_view what) const {
  return absl::InvalidArgumentError(absl::StrFormat("%s, line %d: %s", name_, line_number_, what));
}

// False at the end.
absl::StatusOr<bool> GethDump::ReadLine() {
  do {
    if (!std::getline(in_, text_)) return false;
    ++line_number_;
  } while (text_.find_first_not_of(" \t\r") == std::string::npos);
  line_->Clear();
  LineHandler<Line> handler(*line_);
  if (Json::sax_parse(text_, &handler)) return true;
  return Wrong(handler.problem());
}

absl::StatusOr<Hash> GethDump::ReadRoot() {
  const absl::StatusOr<bool> read = ReadLine();
  if (!read.ok()) return read.status();
  constexpr std::string_view kWanted =
      R"(a dump begins with {"root":"0x…"}, as geth dump --iterative and geth snapshot dump write it)";
  if (!*read) return absl::InvalidArgumentError(absl::StrFormat("%s is empty; %s", name_, kWanted));
  if (!line_->has(kRoot) || line_->has(kBalance)) return Wrong(kWanted);
  absl::StatusOr<Hash> root = HashFromHex(line_->text[kRoot]);
  if (!root.ok()) return Wrong(absl::StrFormat("root: %s", Message(root.status())));
  return root;
}

absl::StatusOr<bool> GethDump::Next(DumpedAccount& out) {
  const absl::StatusOr<bool> read = ReadLine();
  if (!read.ok() || !*read) return read;
  if (absl::Status s = TakeAccount(out); !s.ok()) return s;
  return true;
}

absl::Status GethDump::TakeAccount(DumpedAccount& out) {
  for (const Field field : {kBalance, kNonce, kRoot, kCodeHash}) {
    if (!line_->has(field)) return Wrong(absl::StrFormat("an account without %s", kNames[field]));
  }
  const absl::StatusOr<U256> balance = ParseQuantity(line_->text[kBalance]);
  if (!balance.ok()) return Wrong(absl::StrFormat("balance: %s", Message(balance.status())));
  const absl::StatusOr<uint64_t> nonce = ParseUint64(line_->text[kNonce]);
  if (!nonce.ok()) return Wrong(absl::StrFormat("nonce: %s", Message(nonce.status())));
  const absl::StatusOr<Hash> root = HashFromHex(line_->text[kRoot]);
  if (!root.ok()) return Wrong(absl::StrFormat("root: %s", Message(root.status())));
  const absl::StatusOr<Hash> code_hash = HashFromHex(line_->text[kCodeHash]);
  if (!code_hash.ok()) return Wrong(absl::StrFormat("codeHash: %s", Message(code_hash.status())));
  out.account.balance = *balance;
  out.account.nonce = *nonce;
  out.account.storage_root = *root;
  out.account.code_hash = *code_hash;
  if (absl::Status s = TakeKey(out); !s.ok()) return s;
  if (absl::Status s = TakeCode(out); !s.ok()) return s;
  return TakeStorage(out);
}

absl::Status GethDump::TakeKey(DumpedAccount& out) const {
  std::optional<Hash> hashed;
  if (line_->has(kAddress)) {
    const absl::StatusOr<Address> address = AddressFromHex(line_->text[kAddress]);
    if (!address.ok()) return Wrong(absl::StrFormat("address: %s", Message(address.status())));
    hashed = Keccak256(address->view());
  }
  if (line_->has(kKey)) {
    const absl::StatusOr<Hash> key = HashFromHex(line_->text[kKey]);
    if (!key.ok()) return Wrong(absl::StrFormat("key: %s", Message(key.status())));
    if (hashed && *hashed != *key) {
      return Wrong(absl::StrFormat("key is %s, but the address has hash %s", ToHex(*key), ToHex(*hashed)));
    }
    hashed = *key;
  }
  if (!hashed) return Wrong("an account without address and key");
  out.account.key = *hashed;
  return absl::OkStatus();
}

absl::Status GethDump::TakeCode(DumpedAccount& out) const {
  out.code.clear();
  if (line_->has(kCode)) {
    absl::StatusOr<Bytes> code = FromHex(line_->text[kCode]);
    if (!code.ok()) return Wrong(absl::StrFormat("code: %s", Message(code.status())));
    out.code = *std::move(code);
  }
  if (out.code.empty() && out.account.code_hash != kEmptyCodeHash) {
    return Wrong(absl::StrFormat("account %s has code, and the dump leaves it out; dump without --nocode",
                                 ToHex(out.account.key)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::pair<Hash, U256>>> GethDump::SlotsAs(Slots way) const {
  std::vector<std::pair<Hash, U256>> out;
  out.reserve(line_->storage.size());
  for (const auto& [key_text, value_text] : line_->storage) {
    const absl::StatusOr<Hash> key = HashFromHex(key_text);
    if (!key.ok()) return Wrong(absl::StrFormat("storage, key %s: %s", key_text, Message(key.status())));
    const absl::StatusOr<Bytes> value = FromHex(value_text);
    if (!value.ok()) return Wrong(absl::StrFormat("storage, slot %s: %s", key_text, Message(value.status())));
    BytesView bytes = *value;
    if (way.rlp_values) {
      const absl::StatusOr<rlp::Item> item = rlp::ReadOnly(bytes);
      if (!item.ok() || item->is_list) return Wrong(absl::StrFormat("storage, slot %s: not RLP", key_text));
      bytes = item->payload;
    }
    if (bytes.size() > 32) return Wrong(absl::StrFormat("storage, slot %s: more than 32 bytes", key_text));
    out.emplace_back(*key, U256::FromPadded(bytes));
  }
  if (!way.hashed_keys) {
    std::vector<std::pair<Hash, U256>> plain = out;
    std::vector<KeccakJob> jobs;
    for (size_t i = 0; i < out.size(); ++i) jobs.push_back({plain[i].first.view(), out[i].first.bytes.data()});
    Keccak256Batch(jobs);
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  const auto same = [](const auto& a, const auto& b) { return a.first == b.first; };
  const auto twice = std::adjacent_find(out.begin(), out.end(), same);
  if (twice != out.end()) return Wrong(absl::StrFormat("storage: slot %s stands there twice", ToHex(twice->first)));
  return out;
}

absl::Status GethDump::TakeStorage(DumpedAccount& out) {
  out.slots.clear();
  const Hash& root = *out.account.storage_root;
  if (line_->storage.empty()) {
    if (root == kEmptyRoot) return absl::OkStatus();
    return Wrong(absl::StrFormat(
        "account %s has storage, and the dump leaves it out; dump without --nostorage, or with geth snapshot dump",
        ToHex(out.account.key)));
  }
  if (ways_.size() == 1) {
    absl::StatusOr<std::vector<std::pair<Hash, U256>>> slots = SlotsAs(ways_.front());
    if (!slots.ok()) return slots.status();
    out.slots = *std::move(slots);
    return absl::OkStatus();  // the import compares the root
  }
  absl::Status malformed;
  bool readable = false;
  std::vector<Slots> left;
  for (const Slots& way : ways_) {
    absl::StatusOr<std::vector<std::pair<Hash, U256>>> slots = SlotsAs(way);
    malformed.Update(slots.status());
    readable |= slots.ok();
    if (!slots.ok() || RootOf(*slots) != root) continue;
    left.push_back(way);
    out.slots = *std::move(slots);
  }
  if (!readable) return malformed;
  if (left.empty()) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s, line %d: the slots of account %s do not give its storage root %s, whether their keys are "
                        "taken for hashed or "
                        "not; geth dump loses slots whose keys it does not know, geth snapshot dump does not",
                        name_, line_number_, ToHex(out.account.key), ToHex(root)));
  }
  ways_ = std::move(left);
  return absl::OkStatus();
}

}  // namespace mptd
