// The two forms of go-ethereum's dumps, and what is said of lines that are neither.
#include "core/import/geth_dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "core/hex.h"
#include "core/keccak.h"
#include "core/rlp.h"
#include "nlohmann/json.hpp"
#include "tests/engine/engine_testing.h"

namespace mptd::testing {
namespace {

using Json = nlohmann::ordered_json;
using model::NaiveAccount;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Digits(BytesView bytes) { return ToHex(bytes).substr(2); }

NaiveAccount SomeAccount(std::map<uint64_t, uint64_t> slots = {}, Bytes code = {}) {
  NaiveAccount account;
  account.nonce = 7;
  account.balance = U256::FromUint64(1000);
  account.code = std::move(code);
  for (const auto& [slot, value] : slots) account.storage[SlotOf(slot)] = U256::FromUint64(value);
  return account;
}

enum class Form { kDump, kSnapshotDump };

Json LineOf(const Address& address, const NaiveAccount& account, Form form) {
  const Account committed = model::Commit(account);
  Json line = {{"balance", "1000"},
               {"nonce", account.nonce},
               {"root", ToHex(committed.storage_root)},
               {"codeHash", ToHex(committed.code_hash)}};
  if (!account.code.empty()) line["code"] = ToHex(account.code);
  for (const auto& [slot, value] : account.storage) {
    if (form == Form::kDump) {
      line["storage"][ToHex(slot)] = Digits(value.minimal());
    } else {
      Bytes rlp;
      rlp::AppendString(rlp, value.minimal());
      line["storage"][ToHex(Keccak256(slot.view()))] = Digits(rlp);
    }
  }
  if (form == Form::kDump) line["address"] = ToHex(address);
  line["key"] = ToHex(Keccak256(address.view()));
  return line;
}

// What a dump of these lines gives, or the first error.
absl::StatusOr<std::vector<DumpedAccount>> Read(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  std::istringstream in(text);
  GethDump dump(in, "state.json");
  if (absl::StatusOr<Hash> root = dump.ReadRoot(); !root.ok()) return root.status();
  std::vector<DumpedAccount> out;
  while (true) {
    DumpedAccount& account = out.emplace_back();
    const absl::StatusOr<bool> more = dump.Next(account);
    if (!more.ok()) return more.status();
    if (!*more) break;
  }
  out.pop_back();
  return out;
}

std::string Head() { return Json({{"root", ToHex(Keccak256("root"))}}).dump(); }

void ExpectAccount(const DumpedAccount& actual, const Address& address, const NaiveAccount& expected) {
  const Account committed = model::Commit(expected);
  EXPECT_EQ(actual.account.key, Keccak256(address.view()));
  EXPECT_EQ(actual.account.nonce, expected.nonce);
  EXPECT_EQ(actual.account.balance, expected.balance);
  EXPECT_EQ(actual.account.code_hash, committed.code_hash);
  EXPECT_EQ(actual.account.storage_root, committed.storage_root);
  EXPECT_EQ(actual.code, expected.code);
  std::vector<std::pair<Hash, U256>> slots;
  for (const auto& [slot, value] : expected.storage) slots.emplace_back(Keccak256(slot.view()), value);
  std::sort(slots.begin(), slots.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  EXPECT_EQ(actual.slots, slots);
}

TEST(GethDump, BothForms) {
  const std::vector<NaiveAccount> accounts = {
      SomeAccount(), SomeAccount({}, "code"), SomeAccount({{1, 5}}),  // a value that is its own RLP
      SomeAccount({{1, 300}, {2, 128}}), SomeAccount({{3, 1}, {9, 1u << 30}, {7, 127}}, "other")};
  for (const Form form : {Form::kDump, Form::kSnapshotDump}) {
    std::vector<std::string> lines = {Head()};
    for (size_t i = 0; i < accounts.size(); ++i) lines.push_back(LineOf(AddressOf(i), accounts[i], form).dump());
    lines.insert(lines.begin() + 2, "");
    const absl::StatusOr<std::vector<DumpedAccount>> read = Read(lines);
    ASSERT_TRUE(read.ok()) << read.status();
    ASSERT_EQ(read->size(), accounts.size());
    for (size_t i = 0; i < accounts.size(); ++i) ExpectAccount((*read)[i], AddressOf(i), accounts[i]);
  }
}

// As older versions wrote it: no key, no 0x; and members that do not count.
TEST(GethDump, OtherSpellings) {
  const NaiveAccount account = SomeAccount({{1, 300}}, "code");
  Json line = LineOf(AddressOf(1), account, Form::kDump);
  line.erase("key");
  for (const char* name : {"root", "codeHash", "code"}) line[name] = line[name].get<std::string>().substr(2);
  line["storage"] = {{Digits(SlotOf(1).view()), "012c"}};
  line["more"] = {{"balance", Json::array({1, Json::object()})}, {"nonce", nullptr}};
  line["list"] = Json::array({Json::object({{"root", 1}}), 2.5, true});
  const absl::StatusOr<std::vector<DumpedAccount>> read = Read({Head(), line.dump()});
  ASSERT_TRUE(read.ok()) << read.status();
  ExpectAccount(read->front(), AddressOf(1), account);

  line = LineOf(AddressOf(2), SomeAccount(), Form::kSnapshotDump);
  line["address"] = nullptr;
  line["storage"] = Json::object();
  line["code"] = "0x";
  const absl::StatusOr<std::vector<DumpedAccount>> empty = Read({Head(), line.dump()});
  ASSERT_TRUE(empty.ok()) << empty.status();
  ExpectAccount(empty->front(), AddressOf(2), SomeAccount());
}

TEST(GethDump, ADumpBeginsWithItsRoot) {
  EXPECT_THAT(std::string(Read({}).status().message()), AllOf(HasSubstr("state.json is empty"), HasSubstr("root")));
  const std::string account = LineOf(AddressOf(1), SomeAccount(), Form::kDump).dump();
  for (const std::string& line : {account, std::string("{}"), std::string("[]"), std::string("{\"root\":\"0x12\"}"),
                                  std::string("{\"root\":{}}"), std::string("1"), std::string("{\"root\"")}) {
    const absl::Status status = Read({line}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << line;
    EXPECT_THAT(std::string(status.message()), HasSubstr("state.json, line 1: ")) << line;
  }
}

// A good line with one member replaced (or, by null, left out), and what is said of it.
TEST(GethDump, WhatIsWrongIsNamed) {
  struct Case {
    const char* name;
    Json value;
    const char* says;
  };
  const std::string other = ToHex(Keccak256("other"));
  const std::vector<Case> cases = {
      {"balance", nullptr, "without balance"},
      {"balance", "12x", "balance: "},
      {"nonce", "0x1ffffffffffffffff", "nonce: "},
      {"nonce", -1, "nonce: "},
      {"nonce", 1.5, "nonce: "},
      {"nonce", true, "nonce: "},
      {"root", nullptr, "without root"},
      {"root", "0x00", "root: "},
      {"codeHash", nullptr, "without codeHash"},
      {"codeHash", "zz", "codeHash: "},
      {"code", nullptr, "--nocode"},
      {"code", "0x0", "code: "},
      {"code", Json::array(), "code is a list"},
      {"storage", nullptr, "--nostorage"},
      {"storage", "none", "storage is not an object"},
      {"storage", {{"0x01", "01"}}, "storage, key 0x01: "},
      {"storage", {{other, "0"}}, "storage, slot "},
      {"storage", {{other, Digits(Bytes(40, 'x'))}}, "more than 32 bytes"},
      {"storage", {{other, "01"}}, "geth snapshot dump"},
      {"address", "0x12", "address: "},
      {"key", "0x12", "key: "},
      {"key", other, "but the address has hash"},
  };
  for (const Case& wrong : cases) {
    Json line = LineOf(AddressOf(1), SomeAccount({{1, 300}}, "code"), Form::kDump);
    line[wrong.name] = wrong.value;
    const absl::Status status = Read({Head(), line.dump()}).status();
    ASSERT_FALSE(status.ok()) << line;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("state.json, line 2: "), HasSubstr(wrong.says)));
  }
  Json nameless = LineOf(AddressOf(1), SomeAccount(), Form::kSnapshotDump);
  nameless.erase("key");
  EXPECT_THAT(std::string(Read({Head(), nameless.dump()}).status().message()), HasSubstr("without address and key"));
  const std::string good = LineOf(AddressOf(1), SomeAccount(), Form::kDump).dump();
  EXPECT_THAT(std::string(Read({Head(), good.substr(0, 40)}).status().message()), HasSubstr("not JSON"));
  EXPECT_THAT(std::string(Read({Head(), "{\"nonce\":1," + good.substr(1)}).status().message()),
              HasSubstr("nonce stands there twice"));
}

// A slot whose key geth does not know stands at zero in its dump, over others of the kind.
TEST(GethDump, LostSlotsAreNoticed) {
  Json line = LineOf(AddressOf(1), SomeAccount({{1, 300}, {2, 400}}), Form::kDump);
  line["storage"] = {{ToHex(Hash{}), "0190"}};
  const absl::Status status = Read({Head(), line.dump()}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("geth snapshot dump"));
}

}  // namespace
}  // namespace mptd::testing
