// The genesis of the networks that come with the project, and what files are taken and refused.
#include "core/genesis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "core/errors.h"
#include "core/hex.h"
#include "tests/model/naive_trie.h"

namespace mptd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Hash H(std::string_view hex) { return HashFromHex(hex).value(); }
Address A(std::string_view hex) { return AddressFromHex(hex).value(); }

std::string Gzip(std::string_view text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

// A folder that goes away with the test.
class GenesisFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "mptd-genesis-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string Write(std::string_view name, std::string_view content) {
    const std::string path = (dir_ / name).string();
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  std::filesystem::path dir_;
};

// One network as the test vectors' README and go-ethereum's params/config.go describe it.
struct KnownNetwork {
  std::string_view name;
  size_t accounts;
  size_t slots;
  size_t codes;
  std::string_view root;
  std::string_view hash;
};

const std::array<KnownNetwork, 4> kKnownNetworks = {{
    {"mainnet", 8893, 0, 0, "0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544",
     "0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"},
    {"sepolia", 15, 0, 0, "0x5eb6e371a698b8d68f665192350ffcecbbbf322916f4b51bd79bb6887da3f494",
     "0x25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9"},
    {"holesky", 317, 31, 1, "0x69d8c9d72f6fa4ad42d4702b433707212f90db395eb54dc20bc85de253788783",
     "0xb5f7f912443c940f21fd611f12828d75b534364ed9e95ca4e307729a4661bde4"},
    {"hoodi", 335, 33, 5, "0xda87d7f5f91c51508791bbcbd4aa5baf04917830b86985eeb9ad3d5bfb657576",
     "0xbbe312868b376a3001692a646dd2d7d1e4406380dfd86b98aa8a34d1557c971b"},
}};

TEST(GenesisTest, NetworksComeWithTheirAccountsRootsAndHashes) {
  for (const KnownNetwork& known : kKnownNetworks) {
    SCOPED_TRACE(known.name);
    const absl::StatusOr<Genesis> genesis = LoadGenesis(known.name);
    ASSERT_TRUE(genesis.ok()) << genesis.status();
    EXPECT_EQ(genesis->name, known.name);
    EXPECT_EQ(genesis->number, 0u);
    EXPECT_EQ(genesis->state_root, H(known.root));
    EXPECT_EQ(genesis->hash, H(known.hash));
    EXPECT_EQ(genesis->changes.size(), known.accounts);
    size_t slots = 0;
    size_t codes = 0;
    for (const AccountChange& change : genesis->changes) {
      EXPECT_TRUE(change.nonce && change.balance && !change.remove && !change.reset_storage);
      slots += change.slots.size();
      codes += change.code.has_value();
    }
    EXPECT_EQ(slots, known.slots);
    EXPECT_EQ(codes, known.codes);
    EXPECT_TRUE(std::ranges::is_sorted(genesis->changes, {}, &AccountChange::address));
  }
  std::vector<std::string> names;
  for (const std::string_view name : GenesisNetworks()) names.emplace_back(name);
  EXPECT_THAT(names, ElementsAre("mainnet", "sepolia", "holesky", "hoodi"));
}

TEST(GenesisTest, NetworksGiveTheirRoots) {
  for (const KnownNetwork& known : kKnownNetworks) {
    const Genesis genesis = LoadGenesis(known.name).value();
    model::NaiveState state;
    for (const AccountChange& change : genesis.changes) {
      model::NaiveAccount& account = state.accounts[change.address];
      account.nonce = *change.nonce;
      account.balance = *change.balance;
      account.code = change.code.value_or(Bytes());
      for (const SlotChange& slot : change.slots) account.storage[slot.key] = slot.value;
    }
    EXPECT_EQ(state.Root(), H(known.root)) << known.name;
  }
}

TEST(GenesisTest, ABlockOfItExpectsTheRootAndKeepsEmptyAccounts) {
  const BlockChanges block = GenesisBlock(LoadGenesis("sepolia").value());
  EXPECT_EQ(block.number, 0u);
  EXPECT_EQ(block.hash, H(kKnownNetworks[1].hash));
  EXPECT_EQ(block.parent_hash, Hash{});
  EXPECT_EQ(block.expected_root, H(kKnownNetworks[1].root));
  EXPECT_TRUE(block.keep_empty_accounts);
  EXPECT_FALSE(block.reorganize);
  EXPECT_EQ(block.changes.size(), 15u);

  const BlockChanges bare = GenesisBlock(ParseGenesis("bare", R"({"alloc": {}, "number": "0x10"})").value());
  EXPECT_EQ(bare.number, 16u);
  EXPECT_FALSE(bare.hash || bare.parent_hash || bare.expected_root);
  EXPECT_TRUE(bare.keep_empty_accounts);
}

// The shape of go-ethereum's core/genesis.go and core/types/account.go.
constexpr std::string_view kGeth = R"({
  "config": {"chainId": 1337, "homesteadBlock": 0},
  "nonce": "0x42", "timestamp": "0x0", "extraData": "0x", "gasLimit": "0x47e7c4", "difficulty": "0x1",
  "mixHash": "0x00", "coinbase": "0x00", "parentHash": "0x00", "gasUsed": "0x0", "baseFeePerGas": null,
  "Number": "7",
  "Alloc": {
    "0xFFfFfFffFFfffFFfFFfFFFFFffFFFffffFfFFFfF": {"balance": "1000000000000000000000"},
    "0000000000000000000000000000000000000001": {
      "Balance": 5, "NONCE": "0x2", "code": "0x6001", "secretKey": "0x01",
      "storage": {
        "0x2": "0x0102",
        "0000000000000000000000000000000000000000000000000000000000000001": "ff",
        "0x03": "0x00",
        "0x4": "0x0000000000000000000000000000000000000000000000000000000000000a00"
      }
    },
    "0x0000000000000000000000000000000000000002": {}
  }
})";

TEST(GenesisTest, TakesGoEthereumsForm) {
  const absl::StatusOr<Genesis> genesis = ParseGenesis("dev", kGeth);
  ASSERT_TRUE(genesis.ok()) << genesis.status();
  EXPECT_EQ(genesis->name, "dev");
  EXPECT_EQ(genesis->number, 7u);
  EXPECT_FALSE(genesis->hash || genesis->state_root);
  ASSERT_EQ(genesis->changes.size(), 3u);

  const AccountChange& contract = genesis->changes[0];
  EXPECT_EQ(contract.address, A("0x0000000000000000000000000000000000000001"));
  EXPECT_EQ(contract.nonce, 2u);
  EXPECT_EQ(contract.balance, U256::FromUint64(5));
  EXPECT_EQ(contract.code, Bytes("\x60\x01"));
  ASSERT_EQ(contract.slots.size(), 3u) << "a zero slot is an unset one";
  EXPECT_EQ(contract.slots[0].key, Hash{U256::FromUint64(1).be});
  EXPECT_EQ(contract.slots[0].value, U256::FromUint64(0xff));
  EXPECT_EQ(contract.slots[1].key, Hash{U256::FromUint64(2).be});
  EXPECT_EQ(contract.slots[1].value, U256::FromUint64(0x0102));
  EXPECT_EQ(contract.slots[2].value, U256::FromUint64(0x0a00));

  const AccountChange& empty = genesis->changes[1];
  EXPECT_EQ(empty.nonce, 0u);
  EXPECT_EQ(empty.balance, U256{});
  EXPECT_FALSE(empty.code.has_value());
  EXPECT_EQ(genesis->changes[2].balance, ParseQuantity("0x3635c9adc5dea00000").value());
}

TEST(GenesisTest, TakesTheProjectsForm) {
  const std::string root = "0x" + std::string(64, 'a');
  const std::string hash = std::string(64, 'b');
  const absl::StatusOr<Genesis> genesis =
      ParseGenesis("file", R"({"name": "mine", "number": 3, "state_root": ")" + root + R"(", "hash": ")" + hash +
                               R"(", "accounts": {"0x00000000000000000000000000000000000000aa":
                      {"balance": "0x0", "nonce": "0xffffffffffffffff", "code": "0x", "storage": {}}}})");
  ASSERT_TRUE(genesis.ok()) << genesis.status();
  EXPECT_EQ(genesis->name, "mine");
  EXPECT_EQ(genesis->number, 3u);
  EXPECT_EQ(genesis->state_root, H(root));
  EXPECT_EQ(genesis->hash, H(hash));
  ASSERT_EQ(genesis->changes.size(), 1u);
  EXPECT_EQ(genesis->changes[0].nonce, ~uint64_t{0});
  EXPECT_FALSE(genesis->changes[0].code.has_value());
  EXPECT_FALSE(GenesisBlock(*genesis).parent_hash.has_value()) << "only block 0 is known to have no parent";
}

TEST(GenesisTest, RefusesWhatIsWrongAndSaysWhere) {
  const std::string account = "0x0000000000000000000000000000000000000001";
  const auto with = [&account](const std::string& fields) {
    return R"({"alloc": {")" + account + R"(": {)" + fields + "}}}";
  };
  struct Case {
    std::string json;
    std::string path;
    std::string message;
  };
  const std::string digits65(65, '1');
  const std::vector<Case> cases = {
      {R"({"alloc": {"0x01": {}}})", "alloc.0x01", "1 bytes where 20"},
      {R"({"alloc": {"0xzz00000000000000000000000000000000000000": {}}})",
       "alloc.0xzz00000000000000000000000000000000000000", "hexadecimal"},
      {R"({"alloc": {"0x00000000000000000000000000000000000000aa": {},
                     "00000000000000000000000000000000000000AA": {}}})",
       "alloc.0x00000000000000000000000000000000000000aa", "twice"},
      {R"({"alloc": {")" + account + R"(": {}, ")" + account + R"(": {}}})", "alloc." + account, "twice"},
      {R"({"alloc": []})", "alloc", "object of accounts"},
      {R"({"alloc": {}, "accounts": {}})", "alloc", "already stand in accounts"},
      {R"({"alloc": {}, "alloc": {}})", "alloc", "twice"},
      {R"({"alloc": {")" + account + R"(": 1}})", "alloc." + account, "object is expected"},
      {with(R"("balanse": "0x1")"), "alloc." + account + ".balanse", "no such field"},
      {with(R"("balance": "0x1", "Balance": "0x1")"), "alloc." + account + ".balance", "twice"},
      {with(R"("balance": "0x1", "balance": "0x1")"), "alloc." + account + ".balance", "twice"},
      {with(R"("balance": ")" + ("0x1" + std::string(64, '0')) + "\""), "alloc." + account + ".balance", "256 bits"},
      {with(R"("balance": "")"), "alloc." + account + ".balance", "without digits"},
      {with(R"("balance": "ten")"), "alloc." + account + ".balance", "decimal"},
      {with(R"("balance": 1e20)"), "alloc." + account + ".balance", "as text"},
      {with(R"("balance": 99999999999999999999)"), "alloc." + account + ".balance", "as text"},
      {with(R"("balance": -1)"), "alloc." + account + ".balance", "whole number"},
      {with(R"("balance": null)"), "alloc." + account + ".balance", "a number is expected"},
      {with(R"("nonce": "0x10000000000000000")"), "alloc." + account + ".nonce", "64 bits"},
      {with(R"("code": "0x1")"), "alloc." + account + ".code", "odd number"},
      {with(R"("code": 1)"), "alloc." + account + ".code", "hexadecimal text"},
      {with(R"("storage": [])"), "alloc." + account + ".storage", "object of slots"},
      {with(R"("storage": {"0x1": 1})"), "alloc." + account + ".storage.0x1", "hexadecimal text"},
      {with(R"("storage": {"0x1": "0x)" + digits65 + "\"}"), "alloc." + account + ".storage.0x1", "33 bytes"},
      {with(R"("storage": {")" + digits65 + R"(": "0x1"})"), "alloc." + account + ".storage." + digits65, "33 bytes"},
      {with(R"("storage": {"0x01": "0x1", "0x1": "0x0"})"), "alloc." + account + ".storage.0x1", "twice"},
      {R"({"alloc": {}, "number": "many"})", "number", "decimal"},
      {R"({"alloc": {}, "number": true})", "number", "a number is expected"},
      {R"({"alloc": {}, "state_root": "0x00"})", "state_root", "1 bytes where 32"},
      {R"({"alloc": {}, "hash": 5})", "hash", "hexadecimal text"},
      {R"({"alloc": {}, "name": 5})", "name", "text"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.json);
    const absl::Status status = ParseGenesis("x", c.json).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(InvalidFieldPath(status), c.path);
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
  }
}

TEST(GenesisTest, RefusesWhatIsNoGenesisAtAll) {
  for (const std::string text : {"", "{", "[1]", "{}", "{\"alloc\": {}} x", "\x1f\x8b", "\xff", "1e5505"}) {
    EXPECT_EQ(ParseGenesis("x", text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_THAT(std::string(ParseGenesis("x", "{").status().message()),
              HasSubstr("not JSON: parse error at line 1, column 2"));
  EXPECT_FALSE(ParseGenesis("x", std::string(100'000, '[')).ok());
}

TEST(GenesisTest, CompressedContentIsTakenWholeOrNotAtAll) {
  const std::string packed = Gzip(kGeth);
  EXPECT_EQ(ParseGenesis("dev", packed)->changes.size(), 3u);
  for (size_t size = 2; size < packed.size(); ++size) {
    EXPECT_FALSE(ParseGenesis("dev", std::string_view(packed).substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(ParseGenesis("dev", packed + "x").ok());
  std::string damaged = packed;
  damaged[packed.size() - 5] = static_cast<char>(damaged[packed.size() - 5] ^ 1);  // its checksum
  EXPECT_FALSE(ParseGenesis("dev", damaged).ok());
}

TEST_F(GenesisFileTest, FilesAreReadPlainAndCompressed) {
  const std::string plain = Write("dev.json", kGeth);
  EXPECT_EQ(LoadGenesis(plain)->name, "dev");
  EXPECT_EQ(LoadGenesis(plain)->changes.size(), 3u);
  const std::string packed = Write("devnet.json.gz", Gzip(kGeth));
  EXPECT_EQ(LoadGenesis(packed)->name, "devnet");
  EXPECT_EQ(LoadGenesis(packed)->changes.size(), 3u);
}

TEST_F(GenesisFileTest, ErrorsNameTheFile) {
  const absl::Status missing = LoadGenesis("mainet").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("\"mainet\""));
  EXPECT_THAT(std::string(missing.message()), HasSubstr("mainnet, sepolia, holesky, hoodi"));

  EXPECT_EQ(LoadGenesis(dir_.string()).status().code(), absl::StatusCode::kInvalidArgument);

  const std::string path = Write("bad.json", R"({"alloc": {"0x01": {}}})");
  const absl::Status bad = LoadGenesis(path).status();
  EXPECT_EQ(bad.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(bad.message()), StartsWith(path + ": alloc.0x01: "));
}

}  // namespace
}  // namespace mptd
