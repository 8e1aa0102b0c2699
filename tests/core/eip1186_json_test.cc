#include "core/eip1186_json.h"

#include "core/errors.h"
#include "core/hex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/testdata.h"

namespace mptd {
namespace {

using ::testing::HasSubstr;

// A small answer, in go-ethereum's order of members.
constexpr char kAnswer[] =
    R"({"address":"0x0000000000000000000000000000000000000004","accountProof":["0xf801","0x80"],"balance":"0x1bc",)"
    R"("codeHash":"0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470","nonce":"0x7",)"
    R"("storageHash":"0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421","storageProof":[)"
    R"({"key":"0x0000000000000000000000000000000000000000000000000000000000000347","value":"0x0","proof":[]},)"
    R"({"key":"0xb277b521ad1836e891e2c1b96f396f6d3a13e664b6294be863a063b3af45b95e","value":"0x5033","proof":["0xe1"]}]})";

// kAnswer with the first `from` replaced.
std::string Changed(std::string_view from, std::string_view to) {
  std::string text = kAnswer;
  const size_t place = text.find(from);
  EXPECT_NE(place, std::string::npos) << from;
  return text.replace(place, from.size(), to);
}

// The field of the refusal.
std::string FieldOf(const std::string& text) {
  const absl::StatusOr<AccountProof> parsed = ParseEip1186(text);
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return InvalidFieldPath(parsed.status()).value_or("none");
}

TEST(Eip1186JsonTest, ReadsEveryMember) {
  const absl::StatusOr<AccountProof> parsed = ParseEip1186(kAnswer);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(ToHex(parsed->address), "0x0000000000000000000000000000000000000004");
  EXPECT_EQ(parsed->account, (Account{7, U256::FromUint64(0x1bc), kEmptyRoot, kEmptyCodeHash}));
  EXPECT_EQ(parsed->proof, (std::vector<Bytes>{"\xf8\x01", "\x80"}));
  ASSERT_EQ(parsed->storage.size(), 2);
  EXPECT_EQ(parsed->storage[0].key, Hash{U256::FromUint64(0x347).be});
  EXPECT_TRUE(parsed->storage[0].value.IsZero());
  EXPECT_TRUE(parsed->storage[0].proof.empty());
  EXPECT_EQ(parsed->storage[1].value, U256::FromUint64(0x5033));
  EXPECT_EQ(parsed->storage[1].proof, std::vector<Bytes>{"\xe1"});
}

TEST(Eip1186JsonTest, WritesWhatItRead) { EXPECT_EQ(WriteEip1186(ParseEip1186(kAnswer).value()), kAnswer); }

TEST(Eip1186JsonTest, ShortKeysAreNumbers) {
  const std::string key = "0x0000000000000000000000000000000000000000000000000000000000000347";
  for (const char* text : {"0x347", "0x0347", "0x00000347"}) {
    EXPECT_EQ(WriteEip1186(ParseEip1186(Changed(key, text)).value()), kAnswer) << text;
  }
  for (const char* text : {"0x", "0x0", "0x00"}) {
    EXPECT_TRUE(ParseEip1186(Changed(key, text))->storage[0].key.IsZero()) << text;
  }
}

TEST(Eip1186JsonTest, OtherMembersAreIgnored) {
  EXPECT_EQ(WriteEip1186(ParseEip1186(Changed("{\"address\"", R"({"extra":{"a":[1,2]},"address")")).value()), kAnswer);
}

TEST(Eip1186JsonTest, RefusalsNameTheField) {
  EXPECT_EQ(FieldOf(Changed("\"address\"", "\"addresses\"")), "address");
  EXPECT_EQ(FieldOf(Changed("0004\"", "04\"")), "address");
  EXPECT_EQ(FieldOf(Changed("\"0x0000000000000000000000000000000000000004\"", "4")), "address");
  EXPECT_EQ(FieldOf(Changed("\"0x000", "\"000")), "address");
  EXPECT_EQ(FieldOf(Changed("[\"0xf801\",\"0x80\"]", "null")), "accountProof");
  EXPECT_EQ(FieldOf(Changed("[\"0xf801\",\"0x80\"]", "\"0xf801\"")), "accountProof");
  EXPECT_EQ(FieldOf(Changed("\"0x80\"", "\"0x8\"")), "accountProof[1]");
  EXPECT_EQ(FieldOf(Changed("\"0x80\"", "\"0xzz\"")), "accountProof[1]");
  EXPECT_EQ(FieldOf(Changed("\"0x80\"", "[]")), "accountProof[1]");
  EXPECT_EQ(FieldOf(Changed("\"0x1bc\"", "\"444\"")), "balance");
  EXPECT_EQ(FieldOf(Changed("\"0x1bc\"", "\"0x\"")), "balance");
  EXPECT_EQ(FieldOf(Changed("\"0x1bc\"", "\"0x1" + std::string(64, '0') + "\"")), "balance");
  EXPECT_EQ(FieldOf(Changed("0xc5d2", "0xc5")), "codeHash");
  EXPECT_EQ(FieldOf(Changed("\"0x7\"", "\"0x10000000000000000\"")), "nonce");
  EXPECT_EQ(FieldOf(Changed("\"0x7\"", "7")), "nonce");
  EXPECT_EQ(FieldOf(Changed("\"storageHash\"", "\"storageRoot\"")), "storageHash");
  EXPECT_EQ(FieldOf(Changed("\"storageProof\"", "\"storage\"")), "storageProof");
  EXPECT_EQ(FieldOf(Changed("{\"key\"", "7,{\"key\"")), "storageProof[0]");
  EXPECT_EQ(FieldOf(Changed("\"value\":\"0x0\",", "")), "storageProof[0].value");
  EXPECT_EQ(FieldOf(Changed("\"0xb277", "\"0x00b277")), "storageProof[1].key");
  EXPECT_EQ(FieldOf(Changed("\"0xb277", "\"b277")), "storageProof[1].key");
  EXPECT_EQ(FieldOf(Changed("\"0xe1\"", "\"e1\"")), "storageProof[1].proof[0]");
}

TEST(Eip1186JsonTest, WhatIsNoAnswerAtAll) {
  for (const std::string text : {"", "{", "null", "[]", "7", "\"text\"", "{}extra", "\xff\xfe", "{\"a\":\"\xff\"}"}) {
    const absl::StatusOr<AccountProof> parsed = ParseEip1186(text);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_EQ(InvalidFieldPath(parsed.status()), std::nullopt) << text;
  }
  EXPECT_THAT(ParseEip1186("{").status().message(),
              HasSubstr("not a usable JSON document: [json.exception.parse_error"));
  EXPECT_EQ(FieldOf("{}"), "address");
  EXPECT_THAT(ParseEip1186(Changed("\"nonce\"", R"("nonce":"0x7","nonce")")).status().message(), HasSubstr("twice"));
  EXPECT_THAT(ParseEip1186(Changed("\"value\"", R"("key":"0x0","value")")).status().message(), HasSubstr("twice"));
  EXPECT_LT(ParseEip1186("\"" + std::string(100'000, 'x')).status().message().size(), 1000);
}

TEST(Eip1186JsonTest, DeepNestingIsHarmless) {
  for (const char* open : {"[", "{\"a\":"}) {
    std::string text;
    for (int i = 0; i < 200'000; ++i) text += open;
    EXPECT_FALSE(ParseEip1186(text).ok());
  }
  EXPECT_FALSE(ParseEip1186(std::string(200'000, '[') + std::string(200'000, ']')).ok());
}

// What go-ethereum wrote is written the same way again.
TEST(Eip1186JsonTest, GethAnswersRoundTrip) {
  size_t answers = 0;
  const nlohmann::json chain = model::LoadJson("geth_chain.json.gz");
  for (const nlohmann::json& block : chain["blocks"]) {
    for (const nlohmann::json& answer : block["proofs"]) {
      const absl::StatusOr<AccountProof> parsed = ParseEip1186(answer.dump());
      ASSERT_TRUE(parsed.ok()) << parsed.status();
      ASSERT_EQ(nlohmann::json::parse(WriteEip1186(*parsed)), answer);
      ++answers;
    }
  }
  EXPECT_EQ(answers, 611);
}

TEST(Eip1186JsonTest, PublicAnswersRoundTrip) {
  for (const nlohmann::json& test : model::LoadJson("proofs.json.gz")) {
    const absl::StatusOr<AccountProof> parsed = ParseEip1186(test["result"].dump());
    ASSERT_TRUE(parsed.ok()) << test["name"] << parsed.status();
    const std::string written = WriteEip1186(*parsed);
    const absl::StatusOr<AccountProof> again = ParseEip1186(written);
    ASSERT_TRUE(again.ok()) << test["name"] << again.status();
    EXPECT_EQ(WriteEip1186(*again), written) << test["name"];
  }
}

}  // namespace
}  // namespace mptd
