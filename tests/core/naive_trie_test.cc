// The model that other tests trust, against vectors that it had no part in.
#include "tests/model/naive_trie.h"

#include <random>

#include "core/hex.h"
#include "core/keccak.h"
#include "gtest/gtest.h"
#include "tests/model/testdata.h"

namespace mptd::model {
namespace {

// A key or a value of ethereum/tests: hex when it starts with 0x, text otherwise.
Bytes TextOrHex(const std::string& text) { return text.starts_with("0x") ? FromHex(text).value() : text; }

void PutPair(NaiveTrie& trie, const std::string& key, const nlohmann::json& value, bool secure) {
  const Bytes raw = TextOrHex(key);
  trie.Put(secure ? Bytes(Keccak256(raw).view()) : raw,
           value.is_null() ? Bytes() : TextOrHex(value.get<std::string>()));
}

struct Suite {
  std::string file;
  size_t cases;
  bool secure;
};

class TrieVectorsTest : public testing::TestWithParam<Suite> {};

TEST_P(TrieVectorsTest, Roots) {
  const nlohmann::json suite = LoadJson("trie/" + GetParam().file);
  EXPECT_EQ(suite.size(), GetParam().cases);
  for (const auto& [name, test] : suite.items()) {
    NaiveTrie trie;
    if (test["in"].is_array()) {
      for (const nlohmann::json& pair : test["in"]) {
        PutPair(trie, pair[0].get<std::string>(), pair[1], GetParam().secure);
      }
    } else {
      for (const auto& [key, value] : test["in"].items()) PutPair(trie, key, value, GetParam().secure);
    }
    EXPECT_EQ(ToHex(trie.Root()), test["root"].get<std::string>()) << name;
    // The nodes hold exactly the keys.
    const auto entries = trie.Walk();
    EXPECT_EQ(entries.size(), trie.size()) << name;
    for (const auto& [key, value] : entries) EXPECT_EQ(trie.Get(key), value) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(EthereumTests, TrieVectorsTest,
                         testing::Values(Suite{"trietest.json", 5, false}, Suite{"trieanyorder.json", 7, false},
                                         Suite{"trietest_secureTrie.json", 3, true},
                                         Suite{"trieanyorder_secureTrie.json", 7, true},
                                         Suite{"hex_encoded_securetrie_test.json", 3, true}),
                         [](const auto& param) { return param.param.file.substr(0, param.param.file.find('.')); });

TEST(NaiveTrieTest, Empty) {
  NaiveTrie trie;
  EXPECT_EQ(trie.Root(), kEmptyRoot);
  EXPECT_TRUE(trie.Proof("any").empty());
  EXPECT_TRUE(trie.Walk().empty());
  trie.Put("key", "value");
  EXPECT_NE(trie.Root(), kEmptyRoot);
  trie.Delete("key");
  EXPECT_EQ(trie.Root(), kEmptyRoot);
  EXPECT_EQ(trie.Get("key"), std::nullopt);
}

// The suite asks for neighbours of keys; the trie answers when its nodes, walked in order, hold the keys in order.
TEST(NaiveTrieTest, NextAndPrevious) {
  const nlohmann::json suite = LoadJson("trie/trietestnextprev.json");
  for (const auto& [name, test] : suite.items()) {
    NaiveTrie trie;
    for (const nlohmann::json& key : test["in"]) trie.Put(key.get<std::string>(), "value");
    const auto entries = trie.Walk();
    for (const nlohmann::json& ask : test["tests"]) {
      const auto key = ask[0].get<std::string>();
      Bytes previous;
      Bytes next;
      for (const auto& [found, value] : entries) {
        if (found < key) previous = found;
        if (found > key && next.empty()) next = found;
      }
      EXPECT_EQ(previous, ask[1].get<std::string>()) << name << " " << key;
      EXPECT_EQ(next, ask[2].get<std::string>()) << name << " " << key;
    }
  }
}

TEST(NaiveTrieTest, ConstantsOfTheEmptyTrieAndCode) {
  EXPECT_EQ(Keccak256("\x80"), kEmptyRoot);
  EXPECT_EQ(Keccak256(""), kEmptyCodeHash);
  EXPECT_EQ(StorageRoot({}), kEmptyRoot);
  EXPECT_EQ(StorageRoot({0, {}, "", {{Hash{}, U256{}}}}), kEmptyRoot);
}

TEST(NaiveTrieTest, OrderDoesNotMatter) {
  std::mt19937_64 random(7);
  std::vector<std::pair<Bytes, Bytes>> pairs;
  for (int i = 0; i < 300; ++i) {
    Bytes key(1 + random() % 4, '\0');
    for (char& c : key) c = static_cast<char>(random() % 4 * 0x11);
    pairs.emplace_back(key, Bytes(1 + random() % 40, 'v'));
  }
  std::map<Bytes, Bytes> expected;
  NaiveTrie forward;
  for (const auto& [key, value] : pairs) {
    forward.Put(key, value);
    expected[key] = value;
  }
  NaiveTrie sorted;
  for (const auto& [key, value] : expected) sorted.Put(key, value);
  EXPECT_EQ(forward.Root(), sorted.Root());
  EXPECT_EQ(forward.Walk(), (std::vector<std::pair<Bytes, Bytes>>(expected.begin(), expected.end())));
}

// Each node of a proof is the root of its own subtrie: its hash stands in the node before.
TEST(NaiveTrieTest, ProofsAreHashChains) {
  NaiveTrie trie;
  for (uint64_t i = 0; i < 500; ++i) {
    const U256 key = U256::FromUint64(i);
    trie.Put(Keccak256(Hash{key.be}.view()).view(), Bytes(1 + i % 40, 'v'));
  }
  for (uint64_t i = 0; i < 1000; ++i) {  // the second half is absent
    const U256 key = U256::FromUint64(i);
    const std::vector<Bytes> proof = trie.Proof(Keccak256(Hash{key.be}.view()).view());
    ASSERT_FALSE(proof.empty());
    EXPECT_EQ(Keccak256(proof[0]), trie.Root());
    for (size_t n = 1; n < proof.size(); ++n) {
      EXPECT_NE(proof[n - 1].find(Keccak256(proof[n]).view()), Bytes::npos);
    }
  }
}

TEST(NaiveStateTest, Genesis) {
  for (const auto& [name, accounts] :
       std::map<std::string, size_t>{{"mainnet", 8893}, {"sepolia", 15}, {"holesky", 317}, {"hoodi", 335}}) {
    const nlohmann::json genesis = LoadJson("genesis_" + name + ".json.gz");
    const NaiveState state = StateOf(genesis["accounts"]);
    EXPECT_EQ(state.accounts.size(), accounts) << name;
    EXPECT_EQ(state.Root(), HashOf(genesis["state_root"])) << name;
  }
}

TEST(NaiveStateTest, BlockchainStates) {
  const nlohmann::json states = LoadJson("blockchain_states.json.gz");
  EXPECT_EQ(states.size(), 1340);
  for (const nlohmann::json& test : states) {
    EXPECT_EQ(StateOf(test["pre"]).Root(), HashOf(test["pre_root"])) << test["name"];
    EXPECT_EQ(StateOf(test["post"]).Root(), HashOf(test["post_root"])) << test["name"];
  }
}

// Roots and proofs of a chain that go-ethereum made, node by node. Every block is applied; every fifth is compared, the
// one with the most proofs, as the model hashes all accounts each time.
TEST(NaiveStateTest, GethChain) {
  const nlohmann::json chain = LoadJson("geth_chain.json.gz");
  NaiveState state;
  size_t proofs = 0;
  size_t slots = 0;
  for (const nlohmann::json& block : chain["blocks"]) {
    for (const auto& [text, fields] : block["changes"].items()) {
      const Address address = AddressFromHex(text).value();
      if (fields.value("delete", false)) {
        state.accounts.erase(address);
        continue;
      }
      NaiveAccount& account = state.accounts[address];
      NaiveAccount change = StateOf({{text, fields}}).accounts.at(address);
      if (fields.contains("nonce")) account.nonce = change.nonce;
      if (fields.contains("balance")) account.balance = change.balance;
      if (fields.contains("code")) account.code = change.code;
      for (const auto& [slot, value] : change.storage) account.storage[slot] = value;
    }
    if (block["number"].get<uint64_t>() % 5 != 0) continue;
    std::vector<std::pair<Address, std::vector<Hash>>> wanted;
    for (const nlohmann::json& answer : block["proofs"]) {
      auto& want =
          wanted.emplace_back(AddressFromHex(answer["address"].get<std::string>()).value(), std::vector<Hash>());
      for (const nlohmann::json& slot : answer["storageProof"]) want.second.push_back(HashOf(slot["key"]));
    }
    const std::vector<AccountProof> ours = state.Proofs(wanted);
    ASSERT_FALSE(ours.empty());  // every block has proofs, and a proof starts at the root
    ASSERT_EQ(Keccak256(ours[0].proof.at(0)), HashOf(block["state_root"])) << block["number"];
    for (size_t i = 0; i < ours.size(); ++i, ++proofs) {
      const nlohmann::json& answer = block["proofs"][i];
      std::vector<Bytes> nodes;
      for (const nlohmann::json& node : answer["accountProof"]) nodes.push_back(BytesOf(node));
      ASSERT_EQ(ours[i].proof, nodes) << block["number"] << " " << answer["address"];
      for (size_t s = 0; s < ours[i].storage.size(); ++s, ++slots) {
        const nlohmann::json& slot = answer["storageProof"][s];
        nodes.clear();
        for (const nlohmann::json& node : slot["proof"]) nodes.push_back(BytesOf(node));
        ASSERT_EQ(ours[i].storage[s].proof, nodes) << block["number"] << " " << slot["key"];
        ASSERT_EQ(ours[i].storage[s].value, QuantityOf(slot["value"]));
      }
    }
  }
  EXPECT_EQ(chain["blocks"].size(), 152);
  EXPECT_EQ(proofs, 248);
  EXPECT_EQ(slots, 141);
}

}  // namespace
}  // namespace mptd::model
