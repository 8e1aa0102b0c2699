#include "cli/changes_json.h"

#include <zlib.h>

#include "cli/json_reader.h"
#include "cli/values.h"
#include "core/decimal.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/support.h"

namespace mptd::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kAddress[] = "0x00000000219ab540356cbb839cbe05303d7705fa";
constexpr char kHashA[] = "0x4ea2b9f8d9106a01c3e73267014bfa02733599dab438abded7952066fe4231ff";
constexpr char kHashB[] = "0xfa742c20043b1d8a13ea6421d85e9678429f9f50c2e25b2814c61f7444504fec";

struct Read {
  absl::Status status;
  std::vector<InputBlock> blocks;
  std::vector<std::string> warnings;

  std::string error() const { return std::string(status.message()); }
};

Read ReadFileBlocks(const std::string& path, const BlockOptions& options = {}) {
  Read out;
  const auto input = InputFile::Open(path).value();
  out.status = ReadBlocks(
      *input, options,
      [&](InputBlock block) {
        out.blocks.push_back(std::move(block));
        return absl::OkStatus();
      },
      [&](const std::string& text) { out.warnings.push_back(text); });
  return out;
}

// The path of the file is taken out of the messages.
Read ReadText(const std::string& text, const BlockOptions& options = {}) {
  const TempDir dir;
  const std::string path = dir.Write("in.json", text);
  Read out = ReadFileBlocks(path, options);
  std::string message = out.error();
  if (const size_t at = message.find(dir.path() + "/"); at != std::string::npos) {
    message.erase(at, dir.path().size() + 1);
    out.status = absl::Status(out.status.code(), message);
  }
  return out;
}

std::string BlockWith(const std::string& account) {
  return "{\"number\": 1, \"changes\": {\"" + std::string(kAddress) + "\": " + account + "}}";
}

TEST(ChangesJsonTest, ReadsEveryFieldOfABlock) {
  const Read read = ReadText(R"({"number": "0x11", "hash": ")" + std::string(kHashA) + R"(", "parent_hash": ")" +
                             kHashB + R"(", "state_root": ")" + kHashA + R"(", "parent_root": ")" + kHashB +
                             R"(", "reorganize": true, "keep_empty_accounts": true, "changes": {")" + kAddress +
                             R"(": {"balance": "1000", "nonce": 7, "code": "0x6001", "reset_storage": true,
                                 "storage": {"0x1": "0x02", "0x3": "0x"}}}})");
  ASSERT_TRUE(read.status.ok()) << read.status;
  ASSERT_EQ(read.blocks.size(), 1U);
  const v1::ApplyStateChangesRequest& block = read.blocks[0].request;
  EXPECT_EQ(block.number(), 17U);
  EXPECT_EQ(block.hash(), Raw(kHashA));
  EXPECT_EQ(block.parent_hash(), Raw(kHashB));
  EXPECT_EQ(block.expected_root(), Raw(kHashA));
  EXPECT_EQ(block.parent_root(), Raw(kHashB));
  EXPECT_TRUE(block.reorganize());
  EXPECT_TRUE(block.keep_empty_accounts());
  ASSERT_EQ(block.changes_size(), 1);
  const v1::AccountChange& account = block.changes(0);
  EXPECT_EQ(account.address(), Raw(kAddress));
  EXPECT_EQ(account.nonce(), 7U);
  EXPECT_EQ(account.balance(), "\x03\xe8");
  EXPECT_EQ(account.code(), "\x60\x01");
  EXPECT_TRUE(account.reset_storage());
  EXPECT_FALSE(account.delete_());
  ASSERT_EQ(account.slots_size(), 2);
  EXPECT_EQ(account.slots(0).key(), SlotBytes("1").value());
  EXPECT_EQ(account.slots(0).value(), "\x02");
  EXPECT_EQ(account.slots(1).value(), "") << "0x clears";
}

TEST(ChangesJsonTest, TakesArraysAsTheInterfaceHasThem) {
  const auto in_array = [](const std::string& account) {
    return ReadText(R"({"number": 1, "changes": [)" + account + "]}");
  };
  const Read read =
      in_array(R"({"address": ")" + std::string(kAddress) +
               R"(", "nonce": 7, "slots": [{"key": "0x1", "value": "0x02"}, {"key": "0x3", "value": 0}]})");
  ASSERT_TRUE(read.status.ok()) << read.status;
  const v1::AccountChange& account = read.blocks.at(0).request.changes(0);
  EXPECT_EQ(account.address(), Raw(kAddress));
  EXPECT_EQ(account.nonce(), 7U);
  ASSERT_EQ(account.slots_size(), 2);
  EXPECT_EQ(account.slots(0).key(), SlotBytes("1").value());
  EXPECT_EQ(account.slots(0).value(), "\x02");
  EXPECT_EQ(account.slots(1).value(), "");

  const std::string start = R"({"address": ")" + std::string(kAddress) + R"(")";
  EXPECT_THAT(in_array("{}").status.message(), HasSubstr("changes[0]: an object with the address"));
  EXPECT_THAT(in_array("7").status.message(), HasSubstr("changes[0]: an object with the address"));
  EXPECT_THAT(in_array(start + "}, " + start + "}").status.message(),
              HasSubstr("changes[1]: this address comes twice"));
  EXPECT_THAT(in_array(start + R"(, "slots": [{"key": "0x1"}]})").status.message(),
              HasSubstr("changes[0].slots[0]: an object with key and value"));
  EXPECT_THAT(
      in_array(start + R"(, "slots": [{"key": "1", "value": 1}, {"key": "0x01", "value": 2}]})").status.message(),
      HasSubstr("changes[0].slots[1]: this slot comes twice"));
  EXPECT_THAT(in_array(start + R"(, "slots": {"0x1": 1}, "storage": {"0x2": 1}})").status.message(),
              HasSubstr("storage and slots are the same"));
}

TEST(ChangesJsonTest, WhatIsAbsentStaysAbsent) {
  const Read read = ReadText(BlockWith("{}"));
  ASSERT_TRUE(read.status.ok()) << read.status;
  const v1::ApplyStateChangesRequest& block = read.blocks[0].request;
  EXPECT_FALSE(block.has_expected_root() || block.has_parent_root() || block.reorganize() ||
               block.keep_empty_accounts());
  const v1::AccountChange& touched = block.changes(0);
  EXPECT_FALSE(touched.has_nonce() || touched.has_balance() || touched.has_code() || touched.delete_());
  const Read emptied = ReadText(BlockWith(R"({"code": "0x", "balance": 0, "nonce": "0"})"));
  ASSERT_TRUE(emptied.status.ok());
  const v1::AccountChange& zero = emptied.blocks[0].request.changes(0);
  EXPECT_TRUE(zero.has_nonce() && zero.has_balance() && zero.has_code()) << "set, to nothing";
}

TEST(ChangesJsonTest, NumbersKeepAllTheirDigits) {
  const Read read = ReadText(BlockWith(R"({"balance": 123456789012345678901234567890})"));
  ASSERT_TRUE(read.status.ok()) << read.status;
  EXPECT_EQ(ToDecimal(read.blocks[0].request.changes(0).balance()), "123456789012345678901234567890");
}

TEST(ChangesJsonTest, TakesOneBlockAnArrayAnObjectWithBlocksAndLines) {
  const std::string one = R"({"number": 1, "changes": {}})";
  const std::string two = R"({"number": 2, "changes": {}})";
  for (const std::string& text :
       {"[" + one + "," + two + "]", "{\"client\": \"x\", \"blocks\": [" + one + "," + two + "]}",
        one + "\n" + two + "\n", one + two, "[" + one + "]\n[" + two + "]", "\n " + one + " \n\n" + two}) {
    const Read read = ReadText(text);
    ASSERT_TRUE(read.status.ok()) << text << read.status;
    ASSERT_EQ(read.blocks.size(), 2U) << text;
    EXPECT_EQ(read.blocks[1].request.number(), 2U);
  }
  EXPECT_EQ(ReadText(one).blocks.size(), 1U);
  for (const char* nothing : {"", " \n", "[]", "{\"blocks\": []}"}) {
    const Read read = ReadText(nothing);
    EXPECT_TRUE(read.status.ok()) << read.status;
    EXPECT_THAT(read.blocks, IsEmpty());
  }
}

TEST(ChangesJsonTest, OptionsOverrideTheInput) {
  const std::string text = R"({"number": 1, "state_root": ")" + std::string(kHashA) + R"(", "changes": {}})";
  EXPECT_TRUE(ReadText(text).blocks[0].request.has_expected_root());
  const BlockOptions options{.check_roots = false, .reorganize = true, .keep_empty_accounts = true, .genesis_hash = {}};
  const v1::ApplyStateChangesRequest block = ReadText(text, options).blocks[0].request;
  EXPECT_FALSE(block.has_expected_root());
  EXPECT_TRUE(block.reorganize());
  EXPECT_TRUE(block.keep_empty_accounts());
}

TEST(ChangesJsonTest, UnknownMembersOfABlockAreToldOnce) {
  const Read read = ReadText(R"([{"number": 1, "expeted_root": "x", "proofs": [], "changes": {}},
                                 {"number": 2, "expeted_root": "x", "changes": {}}])");
  ASSERT_TRUE(read.status.ok()) << read.status;
  ASSERT_EQ(read.warnings.size(), 1U);
  EXPECT_THAT(read.warnings[0], HasSubstr("[0]: \"expeted_root\" is not a member of a block"));
}

TEST(ChangesJsonTest, GenesisOfBothForms) {
  const std::string ours = R"({"name": "x", "state_root": ")" + std::string(kHashA) + R"(", "accounts": {")" +
                           kAddress + R"(": {"balance": "0x1", "nonce": "0x0", "code": "0x", "storage": {}}}})";
  BlockOptions options;
  options.genesis_hash = Raw(kHashB);
  const Read read = ReadText(ours, options);
  ASSERT_TRUE(read.status.ok()) << read.status;
  const v1::ApplyStateChangesRequest& block = read.blocks[0].request;
  EXPECT_EQ(block.number(), 0U);
  EXPECT_EQ(block.hash(), Raw(kHashB));
  EXPECT_EQ(block.expected_root(), Raw(kHashA));
  EXPECT_TRUE(block.keep_empty_accounts());
  const Read geth = ReadText(
      R"({"config": {"chainId": 1}, "number": "0x5", "alloc": {"00000000219ab540356cbb839cbe05303d7705fa": {"balance": "10"}}})");
  ASSERT_TRUE(geth.status.ok()) << geth.status;
  EXPECT_EQ(geth.blocks[0].request.number(), 5U);
  EXPECT_EQ(geth.blocks[0].request.changes(0).balance(), "\x0a");
  EXPECT_TRUE(geth.blocks[0].request.changes(0).has_nonce());
  EXPECT_THAT(geth.warnings, IsEmpty());
}

TEST(ChangesJsonTest, ErrorsNameTheLineAndThePath) {
  const std::string in_list = "[\n" + BlockWith("{}") + ",\n" + BlockWith(R"({"nonce": "x"})") + "]";
  EXPECT_THAT(ReadText(in_list).error(), HasSubstr("in.json:3: [1].changes." + std::string(kAddress) +
                                                   ".nonce: \"x\" is not a number of 64 bits"));
  const std::string lines = BlockWith("{}") + "\n\n" + BlockWith(R"({"storage": {"0x1": true}})");
  EXPECT_EQ(ReadText(lines).error(), "in.json:3: changes." + std::string(kAddress) +
                                         ".storage.0x1: a string or a number is wanted here, not boolean");
  const std::string blocks = R"({"blocks": [{"number": 1, "changes": {"0x12": {}}}]})";
  EXPECT_THAT(ReadText(blocks).error(), HasSubstr("in.json:1: blocks[0].changes.0x12: \"0x12\" is not an address"));
}

TEST(ChangesJsonTest, RefusesWhatItDoesNotUnderstand) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"changes": {}})", "number: missing"},
      {R"({"number": 1})", "changes: missing"},
      {R"({"number": -1, "changes": {}})", "number: \"-1\" is not a number of 64 bits"},
      {R"({"number": 1.5, "changes": {}})", "number: \"1.5\""},
      {R"({"number": 1, "hash": "0x12", "changes": {}})", "hash: \"0x12\" is not a hash"},
      {R"({"number": 1, "reorganize": 1, "changes": {}})", "reorganize: true or false"},
      {R"({"number": 1, "changes": 7})", "changes: an object of addresses"},
      {R"({"number": 1, "changes": {}, "state_root": ")" + std::string(kHashA) + R"(", "expected_root": ")" + kHashB +
           "\"}",
       "expected_root: differs from state_root"},
      {"[1]", "holds something that is not an object"},
      {"[[]]", "holds something that is not an object"},
      {R"("text")", "a block (an object with number and changes) is wanted here"},
      {BlockWith("7"), "an object with an account's changes is wanted here"},
      {BlockWith(R"({"balnce": 1})"), "balnce: unknown; an account has balance, nonce"},
      {BlockWith(R"({"balance": null})"), "balance: a string or a number is wanted here, not null"},
      {BlockWith(R"({"balance": "1e18"})"), "balance: \"1e18\" is not a quantity"},
      {BlockWith(R"({"nonce": "18446744073709551616"})"), "nonce: "},
      {BlockWith(R"({"code": "0x123"})"), "code: not hex"},
      {BlockWith(R"({"storage": 7})"), "storage: an object of slots"},
      {BlockWith(R"({"storage": {"0x1": "1", "0x01": "2"}})"), "this slot comes twice"},
      {BlockWith(R"({"delete": true, "nonce": 1})"), "delete: nothing else may stand beside it"},
      {BlockWith(R"({"nonce": 1, "nonce": 2})"), "\"nonce\" comes twice in one object"},
      {R"({"number": 1, "changes": {"0x00000000219AB540356cbb839cbe05303d7705fa": {}, "0x00000000219ab540356cbb839cbe05303d7705fa": {}}})",
       "this address comes twice"},
  };
  for (const auto& [text, message] : cases) {
    const Read read = ReadText(text);
    EXPECT_TRUE(absl::IsInvalidArgument(read.status)) << text << read.status;
    EXPECT_THAT(read.error(), HasSubstr(message)) << text;
    EXPECT_THAT(read.error(), HasSubstr("in.json:1: ")) << text;
  }
}

TEST(ChangesJsonTest, BrokenJsonNamesTheLine) {
  const std::string block = BlockWith("{}");
  EXPECT_THAT(ReadText(block + "\n{\"number\": 2,,").error(), HasSubstr("in.json:2: not valid JSON here: "));
  EXPECT_THAT(ReadText("[\n" + block + ",\n" + block + "\n").error(), HasSubstr("not valid JSON here"));
  EXPECT_EQ(ReadText(block + "\n{\"number\": 2,,").blocks.size(), 1U) << "blocks before the error are handed out";
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "{\"a\":";
  EXPECT_THAT(ReadText(deep).error(), HasSubstr("nested deeper"));
}

TEST(ChangesJsonTest, StopsWhenTheSinkDoes) {
  const TempDir dir;
  const auto input = InputFile::Open(dir.Write("in", "[" + BlockWith("{}") + "," + BlockWith("{}") + "]")).value();
  int calls = 0;
  const absl::Status status = ReadBlocks(
      *input, {}, [&](const InputBlock&) { return ++calls, absl::AbortedError("enough"); }, [](const std::string&) {});
  EXPECT_TRUE(absl::IsAborted(status));
  EXPECT_EQ(calls, 1);
}

TEST(ChangesJsonTest, ReadsTheChainThatGethMade) {
  const Read read = ReadFileBlocks(TestDataPath("geth_chain.json.gz"));
  ASSERT_TRUE(read.status.ok()) << read.status;
  EXPECT_THAT(read.warnings, IsEmpty());
  ASSERT_EQ(read.blocks.size(), 152U);  // README.md of the vectors
  int changes = 0;
  for (size_t i = 0; i < read.blocks.size(); ++i) {
    EXPECT_EQ(read.blocks[i].request.number(), i);
    EXPECT_TRUE(read.blocks[i].request.has_expected_root());
    changes += read.blocks[i].request.changes_size();
  }
  EXPECT_EQ(changes, 17824);
}

TEST(ChangesJsonTest, ReadsTheGenesisFiles) {
  const std::vector<std::pair<std::string, int>> files = {
      {"mainnet", 8893}, {"sepolia", 15}, {"holesky", 317}, {"hoodi", 335}};
  for (const auto& [name, accounts] : files) {
    const Read read = ReadFileBlocks(TestDataPath("genesis_" + name + ".json.gz"));
    ASSERT_TRUE(read.status.ok()) << name << read.status;
    ASSERT_EQ(read.blocks.size(), 1U) << name;
    EXPECT_EQ(read.blocks[0].request.changes_size(), accounts) << name;
  }
}

TEST(ChangeSetTest, TakesABlockBareChangesOrAGenesis) {
  const TempDir dir;
  const auto parse = [&](const std::string& text) {
    return ReadChangeSet(*InputFile::Open(dir.Write("in", text)).value());
  };
  const std::string bare = "{\"" + std::string(kAddress) + "\": {\"nonce\": 1}}";
  for (const std::string& text :
       {bare, R"({"changes": )" + bare + "}", R"({"number": 7, "changes": )" + bare + "}",
        R"({"blocks": [{"number": 7, "changes": )" + bare + "}]}", R"({"accounts": )" + bare + "}"}) {
    const auto set = parse(text);
    ASSERT_TRUE(set.ok()) << text << set.status();
    ASSERT_EQ(set->changes.size(), 1) << text;
    EXPECT_EQ(set->changes[0].nonce(), 1U);
    EXPECT_FALSE(set->expected_root.has_value());
  }
  const auto expected = parse(R"({"state_root": ")" + std::string(kHashA) + R"(", "changes": {}})");
  ASSERT_TRUE(expected.ok()) << expected.status();
  EXPECT_EQ(expected->expected_root, Raw(kHashA));
  EXPECT_EQ(parse("{}")->changes.size(), 0);
  EXPECT_THAT(std::string(parse("").status().message()), HasSubstr("no changes in it"));
  EXPECT_THAT(std::string(parse(bare + bare).status().message()), HasSubstr("one block is wanted here"));
}

TEST(InputFileTest, PlainAndGzippedReadAlike) {
  const TempDir dir;
  const std::string text = "line 1\nline 2\n" + std::string(1'000'000, 'x');
  const std::string plain = dir.Write("plain", text);
  const std::string packed = dir.path() + "/packed.gz";
  const gzFile file = gzopen(packed.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  for (const std::string& path : {plain, packed}) {
    const auto input = InputFile::Open(path).value();
    EXPECT_EQ(input->ReadAll().value(), text);
    EXPECT_GT(input->FractionRead().value(), 0.9);
  }
}

TEST(InputFileTest, SaysWhyAFileCannotBeRead) {
  const TempDir dir;
  EXPECT_THAT(std::string(InputFile::Open(dir.path() + "/none").status().message()), HasSubstr("No such file"));
  EXPECT_THAT(std::string(InputFile::Open(dir.path()).status().message()), HasSubstr("it is a folder"));
  const std::string whole = ReadFile(TestDataPath("genesis_mainnet.json.gz"));
  const Read cut = ReadFileBlocks(dir.Write("cut.gz", whole.substr(0, whole.size() / 2)));
  EXPECT_THAT(cut.error(), HasSubstr("cut.gz: the gzip data is cut off"));
  std::string damaged = whole;
  damaged[whole.size() / 2] = static_cast<char>(~damaged[whole.size() / 2]);
  EXPECT_FALSE(ReadFileBlocks(dir.Write("damaged.gz", damaged)).status.ok());
}

TEST(StrictJsonTest, RefusesWhatReadersDisagreeAbout) {
  EXPECT_EQ(ParseStrictJson(R"({"a": [1, "b"]})").value(), json::parse(R"({"a": [1, "b"]})"));
  for (const char* text : {"", "{", R"({"a": 1, "a": 2})", "{} {}", "[1,]"})
    EXPECT_FALSE(ParseStrictJson(text).ok()) << text;
}

}  // namespace
}  // namespace mptd::cli
