#include "core/proof_verifier.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/account.h"
#include "core/eip1186_json.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "core/nibbles.h"
#include "core/rlp.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/testdata.h"

namespace mptd {
namespace {

using ::testing::HasSubstr;

// ---- Vectors ----

TEST(ProofVectorsTest, GoodProofsAreAccepted) {
  const nlohmann::json proofs = model::LoadJson("proofs.json.gz");
  EXPECT_EQ(proofs.size(), 108);
  for (const nlohmann::json& test : proofs) {
    const absl::StatusOr<AccountProof> proof = ParseEip1186(test["result"].dump());
    ASSERT_TRUE(proof.ok()) << test["name"] << proof.status();
    const absl::Status status = VerifyAccountProof(model::HashOf(test["state_root"]), *proof);
    EXPECT_TRUE(status.ok()) << test["name"] << status;
    // Present or absent is what the trie says, not only what the answer does.
    const auto leaf =
        VerifyTrieProof(model::HashOf(test["state_root"]), Keccak256(proof->address.view()).view(), proof->proof);
    ASSERT_TRUE(leaf.ok()) << test["name"];
    EXPECT_EQ(leaf->has_value(), test["present"].get<bool>()) << test["name"];
  }
}

TEST(ProofVectorsTest, BadProofsAreRefused) {
  const nlohmann::json proofs = model::LoadJson("bad_proofs.json.gz");
  EXPECT_EQ(proofs.size(), 680);
  std::set<std::string> categories;
  std::set<std::string> unreadable;
  for (const nlohmann::json& test : proofs) {
    categories.insert(test["category"].get<std::string>());
    const absl::StatusOr<AccountProof> proof = ParseEip1186(test["result"].dump());
    if (!proof.ok()) {
      unreadable.insert(test["category"].get<std::string>());
      continue;
    }
    const absl::Status status = VerifyAccountProof(model::HashOf(test["state_root"]), *proof);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << test["name"] << test["why"];
  }
  EXPECT_EQ(categories.size(), 26);
  // Only some of these are refused for their JSON alone: a bad length, a number that is too large.
  EXPECT_EQ(unreadable, (std::set<std::string>{"bad-hex", "key-length", "wrong-field"}));
}

TEST(ProofVectorsTest, GethChainIsAccepted) {
  size_t accepted = 0;
  const nlohmann::json chain = model::LoadJson("geth_chain.json.gz");
  for (const nlohmann::json& block : chain["blocks"]) {
    for (const nlohmann::json& answer : block["proofs"]) {
      const absl::Status status =
          VerifyAccountProof(model::HashOf(block["state_root"]), ParseEip1186(answer.dump()).value());
      ASSERT_TRUE(status.ok()) << block["number"] << status;
      ++accepted;
    }
  }
  EXPECT_EQ(accepted, 611);
}

// ---- Nodes made by hand, for what no honest trie holds ----

Bytes Item(BytesView payload) {
  Bytes out;
  rlp::AppendString(out, payload);
  return out;
}

Bytes List(BytesView payload) {
  Bytes out;
  rlp::AppendListHeader(out, payload.size());
  return out.append(payload);
}

Bytes Path(BytesView nibbles, bool leaf) {
  Bytes out;
  AppendHexPrefix(out, nibbles, leaf);
  return Item(out);
}

// As an honest parent refers to a node.
Bytes Ref(const Bytes& node) { return node.size() < 32 ? node : Item(Keccak256(node).view()); }

Bytes Leaf(BytesView nibbles, BytesView value) { return List(Path(nibbles, true) + Item(value)); }
Bytes Extension(BytesView nibbles, const Bytes& child) { return List(Path(nibbles, false) + child); }
Bytes Branch(const std::map<int, Bytes>& children, BytesView value = "") {
  Bytes payload;
  for (int i = 0; i < 16; ++i) payload += children.contains(i) ? children.at(i) : Item("");
  return List(payload + Item(value));
}

// The key whose nibbles the tests below follow: 1, 2, … 15, 0, 1, …
const Bytes& Key() {
  static const Bytes key = FromHex("123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0").value();
  return key;
}
// Its nibbles from `from` on.
Bytes Rest(size_t from, size_t count = 64) { return UnpackNibbles(Key()).substr(from, count); }

// A value long enough that its leaf is always hashed.
const Bytes kLong(40, 'v');
const Bytes kSomeHash = Item(Bytes(32, 'h'));

using Answer = absl::StatusOr<std::optional<Bytes>>;

Answer Verify(const std::vector<Bytes>& nodes) {
  return VerifyTrieProof(nodes.empty() ? kEmptyRoot : Keccak256(nodes[0]), Key(), nodes);
}

void ExpectRefused(const std::vector<Bytes>& nodes, const std::string& why) {
  const Answer answer = Verify(nodes);
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kInvalidArgument) << why;
  EXPECT_THAT(answer.status().message(), HasSubstr(why));
}

void ExpectAnswer(const std::vector<Bytes>& nodes, const std::optional<Bytes>& expected) {
  const Answer answer = Verify(nodes);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(*answer, expected);
}

// A branch at `depth` on the key's path with another hashed child in slot `other`.
Bytes BranchTo(size_t depth, const Bytes& child) {
  const int slot = Rest(depth)[0];
  return Branch({{slot, child}, {(slot + 1) % 16, kSomeHash}});
}

TEST(TrieProofTest, HonestShapes) {
  ExpectAnswer({Leaf(Rest(0), "v")}, "v");
  const Bytes leaf = Leaf(Rest(1), kLong);
  ExpectAnswer({BranchTo(0, Ref(leaf)), leaf}, kLong);
  const Bytes deep = Leaf(Rest(11), kLong);
  const Bytes branch = BranchTo(10, Ref(deep));
  ExpectAnswer({Extension(Rest(0, 10), Ref(branch)), branch, deep}, kLong);
  // The last nibble alone tells two keys apart: leaves with empty paths.
  const Bytes last = Branch({{0, Leaf("", "v")}, {1, Leaf("", "w")}});
  ExpectAnswer({Extension(Rest(0, 63), Ref(last))}, "v");
}

TEST(TrieProofTest, Absence) {
  ExpectAnswer({Branch({{3, kSomeHash}, {4, kSomeHash}})}, std::nullopt);
  const Bytes other = Leaf(Rest(2) + "\x05", kLong);
  ExpectAnswer({BranchTo(0, Ref(other)), other}, std::nullopt);
  ExpectAnswer({Extension(Bytes(3, '\x07'), kSomeHash)}, std::nullopt);
  // The key's own path ends in an embedded leaf that differs.
  const Bytes last = Branch({{15, Leaf("\x05", "v")}, {1, Leaf("\x05", "w")}});
  ExpectAnswer({Extension(Rest(0, 62), Ref(last))}, std::nullopt);
}

TEST(TrieProofTest, EmptyTrie) {
  const std::vector<Bytes> none;
  const std::vector<Bytes> one = {"\x80"};
  const std::vector<Bytes> two = {"\x80", "\x80"};
  EXPECT_EQ(VerifyTrieProof(kEmptyRoot, Key(), none).value(), std::nullopt);
  EXPECT_EQ(VerifyTrieProof(kEmptyRoot, Key(), one).value(), std::nullopt);
  EXPECT_FALSE(VerifyTrieProof(kEmptyRoot, Key(), two).ok());
  const std::vector<Bytes> leaf = {Leaf(Rest(0), "v")};
  EXPECT_FALSE(VerifyTrieProof(kEmptyRoot, Key(), leaf).ok());
  EXPECT_FALSE(VerifyTrieProof(Keccak256(leaf[0]), Key(), none).ok());
  EXPECT_FALSE(VerifyTrieProof(Keccak256(leaf[0]), Key(), one).ok());
  EXPECT_FALSE(VerifyTrieProof(Hash{}, Key(), none).ok());
  ExpectRefused({Bytes()}, "no item");
  ExpectRefused({"\xc0"}, "0 items");
}

TEST(TrieProofTest, KeysHave32Bytes) {
  for (const size_t size : {0, 20, 31, 33}) {
    EXPECT_THAT(VerifyTrieProof(kEmptyRoot, Bytes(size, 'k'), {}).status().message(), HasSubstr("instead of 32"));
  }
}

TEST(TrieProofTest, HashesMustMatch) {
  const Bytes leaf = Leaf(Rest(1), kLong);
  const Bytes branch = BranchTo(0, Ref(leaf));
  ExpectRefused({branch, Leaf(Rest(1), Bytes(40, 'w'))}, "node 1: the hash");
  ExpectRefused({branch, branch, leaf}, "node 1: the hash");
  ExpectRefused({branch}, "ends after 1 nodes");
  const std::vector<Bytes> nodes = {branch, leaf};
  EXPECT_THAT(VerifyTrieProof(Keccak256(leaf), Key(), nodes).status().message(), HasSubstr("node 0: the hash"));
}

TEST(TrieProofTest, NodesAfterTheEnd) {
  const Bytes leaf = Leaf(Rest(1), kLong);
  const Bytes branch = BranchTo(0, Ref(leaf));
  ExpectRefused({branch, leaf, leaf}, "node 2 comes after the end");
  ExpectRefused({branch, leaf, Bytes()}, "node 2 comes after the end");
  const Bytes absent = Branch({{3, Ref(leaf)}, {4, kSomeHash}});
  ExpectRefused({absent, leaf}, "node 1 comes after the end");
  // Embedded nodes are part of their parent, not listed again.
  const Bytes tiny = Leaf("", "v");
  const Bytes last = Branch({{0, tiny}, {1, Leaf("", "w")}});
  const Bytes root = Extension(Rest(0, 63), Ref(last));
  ExpectRefused({root, last}, "node 1 comes after the end");
  ExpectRefused({root, last, tiny}, "node 1 comes after the end");
}

TEST(TrieProofTest, Leaves) {
  ExpectRefused({Leaf(Rest(0), "")}, "empty value");
  ExpectRefused({List(Path(Rest(0), true) + "\xc1\x01")}, "value is a list");
  ExpectRefused({Leaf(Rest(0, 63), "v")}, "ends at nibble 63");
  ExpectRefused({Leaf(Rest(0) + "\x01", "v")}, "ends at nibble 65");
  ExpectRefused({Leaf(Rest(1), "v")}, "ends at nibble 63");
  // Too short, and off the path: it shows nothing.
  const Bytes other = Leaf(Bytes(60, '\x05'), kLong);
  ExpectRefused({BranchTo(0, Ref(other)), other}, "node 1: a leaf that ends at nibble 61");
}

TEST(TrieProofTest, Extensions) {
  const Bytes leaf = Leaf(Rest(1), kLong);
  const Bytes branch = BranchTo(0, Ref(leaf));
  ExpectRefused({Extension("", Ref(branch)), branch, leaf}, "node 0: an extension with an empty path");
  const Bytes deep_leaf = Leaf(Rest(4), kLong);
  ExpectRefused({Extension(Rest(0, 4), Ref(deep_leaf)), deep_leaf}, "node 1: an extension whose child is not a branch");
  const Bytes inner_branch = BranchTo(8, kSomeHash);
  const Bytes inner = Extension(Rest(4, 4), Ref(inner_branch));
  ExpectRefused({Extension(Rest(0, 4), Ref(inner)), inner, inner_branch}, "whose child is not a branch");
  ExpectRefused({Extension(Rest(0, 60), Leaf(Rest(60), "v"))}, "whose child is not a branch");
  const Bytes tiny = Branch({{15, Leaf(Rest(63), "v")}, {1, Leaf(Rest(63), "w")}});
  ExpectRefused({Extension(Rest(0, 61), Extension(Rest(61, 1), tiny))}, "whose child is not a branch");
  ExpectRefused({Extension(Rest(0), kSomeHash)}, "reaches the end of the key");
  ExpectRefused({Extension(Rest(0, 4), Item(""))}, "without a child");
  ExpectRefused({Extension(Bytes(4, '\x09'), Item(""))}, "without a child");
  ExpectRefused({Extension(Bytes(64, '\x09'), kSomeHash)}, "reaches the end");
}

TEST(TrieProofTest, Branches) {
  const Bytes leaf = Leaf(Rest(1), kLong);
  ExpectRefused({Branch({{1, Ref(leaf)}}), leaf}, "1 children");
  ExpectRefused({Branch({{3, Ref(leaf)}})}, "1 children");
  ExpectRefused({Branch({})}, "0 children");
  ExpectRefused({Branch({{1, Ref(leaf)}, {2, kSomeHash}}, "value"), leaf}, "with a value");
  ExpectRefused({Branch({{3, kSomeHash}, {2, kSomeHash}}, "value")}, "with a value");
  // One child and a value: honest only where keys differ in length.
  ExpectRefused({Branch({{1, Ref(leaf)}}, "value"), leaf}, "with a value");
  const Bytes below = Branch({{0, Leaf("", "v")}, {1, Leaf("", "w")}});
  const Bytes last = Branch({{0, below}, {1, below}});
  ExpectRefused({Extension(Rest(0, 63), Ref(last)), last}, "below the end of the key");
}

TEST(TrieProofTest, ChildReferences) {
  for (const size_t size : {1, 20, 31, 33, 40}) {
    ExpectRefused({BranchTo(0, Item(Bytes(size, '\xee')))}, "instead of 32");
    ExpectRefused({Branch({{3, Item(Bytes(size, '\xee'))}, {4, kSomeHash}})}, "branch slot 3");
    ExpectRefused({Extension(Rest(0, 4), Item(Bytes(size, '\xee')))}, "instead of 32");
  }
  const Bytes leaf = Leaf(Rest(1), kLong);
  ExpectRefused({BranchTo(0, leaf)}, "which must be hashed");
  ExpectRefused({BranchTo(0, leaf), leaf}, "which must be hashed");
  ExpectRefused({BranchTo(0, List(Ref(leaf))), leaf}, "which must be hashed");
  ExpectRefused({BranchTo(0, "\xc0")}, "0 items");
  // A node of 31 bytes is embedded, one of 32 is hashed.
  for (const size_t value : {24, 25}) {
    const Bytes small = Leaf(Rest(58), Bytes(value, 'v'));
    ASSERT_EQ(small.size(), value + 7);
    const Bytes branch = BranchTo(57, Ref(small));
    const Bytes root = Extension(Rest(0, 57), Ref(branch));
    const Bytes wrong = BranchTo(57, small.size() < 32 ? Item(Keccak256(small).view()) : small);
    const Bytes wrong_root = Extension(Rest(0, 57), Ref(wrong));
    if (small.size() < 32) {
      ExpectAnswer({root, branch}, Bytes(value, 'v'));
      ExpectRefused({wrong_root, wrong, small}, "node 2: 31 bytes, which must be embedded");
    } else {
      ExpectAnswer({root, branch, small}, Bytes(value, 'v'));
      ExpectRefused({wrong_root, wrong}, "node 1: branch slot 10: an embedded child of 32 bytes");
    }
  }
}

// An embedded node is checked even where the key does not pass.
TEST(TrieProofTest, EmbeddedNodesOffThePath) {
  const auto root = [](const Bytes& off_path) {
    const Bytes last = Branch({{15, Leaf(Rest(63), "v")}, {1, off_path}});
    return std::vector<Bytes>{Extension(Rest(0, 62), Ref(last))};
  };
  ExpectAnswer(root(Leaf(Rest(63), "w")), "v");
  ExpectRefused(root(Leaf(Rest(63), "")), "branch slot 1: embedded child: a leaf with an empty value");
  ExpectRefused(root(Leaf(Rest(62), "w")), "ends at nibble 65");
  ExpectRefused(root(Leaf("", "w")), "ends at nibble 63");
  ExpectRefused(root(List("\x01")), "1 items");
  ExpectRefused(root(List("\x45"
                          "w")),
                "unknown flag");
  ExpectRefused(root(List(Item("\x21\x10") + "w")), "padding nibble");
  ExpectRefused(root(List(Item("\x35") + "\x81w")), "single byte");
  ExpectRefused(root(List("\xc1\x35"
                          "w")),
                "a list where the path is expected");
}

TEST(TrieProofTest, NodesMustBeCanonicalRlp) {
  const Bytes leaf = Leaf(Rest(0), kLong);
  ASSERT_EQ(ToHex(leaf.substr(0, 2)), "0xf84b");
  ExpectRefused({"\xf9" + Bytes(1, '\0') + leaf.substr(1)}, "leading zero");
  ExpectRefused({leaf + Bytes(1, '\0')}, "1 bytes after the item");
  ExpectRefused({leaf.substr(0, leaf.size() - 1)}, "are left");
  ExpectRefused({Item(leaf)}, "a string where a node is expected");
  const Bytes path = Path(Rest(0), true);
  ExpectRefused({List(path + "\xb8\x28" + kLong)}, "long form");
  ExpectRefused({List(path + "\x81v")}, "single byte");
  for (const int count : {1, 3, 4, 15, 16, 18, 40}) {
    Bytes payload;
    for (int i = 0; i < count; ++i) payload += kSomeHash;
    ExpectRefused({List(payload)}, count < 17 ? absl::StrFormat("%d items", count) : "more than 17");
  }
}

TEST(TrieProofTest, PathsMustBeCanonicalHexPrefixes) {
  const auto leaf = [](const Bytes& path) { return std::vector<Bytes>{List(Item(path) + Item("v"))}; };
  ExpectAnswer(leaf("\x20" + Key()), "v");
  ExpectRefused(leaf("\x21" + Key()), "padding");
  ExpectRefused(leaf("\x2f" + Key()), "padding");
  ExpectRefused(leaf("\x60" + Key()), "unknown flag");
  ExpectRefused(leaf("\xe0" + Key()), "unknown flag");
  ExpectRefused(leaf("\x30" + Key()), "ends at nibble 65");
  ExpectRefused(leaf(Bytes(1, '\0') + Key()), "reaches the end");
  ExpectRefused(leaf(""), "hex prefix: empty");
}

// ---- Honest tries, at random ----

// Keys that share long prefixes, so that deep branches and embedded nodes occur, with values of all sizes.
TEST(TrieProofTest, EveryKeyOfRandomTries) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  size_t embedded = 0;
  for (int round = 0; round < 150; ++round) {
    const auto random_key = [&random] {
      Bytes key = Key();
      for (uint64_t changes = random() % 4; changes > 0; --changes) {
        const size_t place = random() % 3 == 0 ? random() % 32 : 31 - random() % 3;
        key[place] = static_cast<char>(random() % 3 * 0x11);
      }
      return key;
    };
    model::NaiveTrie trie;
    for (uint64_t i = random() % 40; i > 0; --i)
      trie.Put(random_key(), Bytes(1 + random() % (round % 2 == 0 ? 4 : 50), 'v'));
    for (int i = 0; i < 60; ++i) {
      const Bytes key = random_key();
      const std::vector<Bytes> proof = trie.Proof(key);
      const Answer answer = VerifyTrieProof(trie.Root(), key, proof);
      ASSERT_TRUE(answer.ok()) << answer.status() << ToHex(key);
      ASSERT_EQ(*answer, trie.Get(key));
      if (answer->has_value() && (proof.back().size() > 100 || proof.size() == 1)) ++embedded;
    }
  }
  EXPECT_GT(embedded, 100);
}

TEST(ProofNodesTest, AnswerEveryKeyOfATrieFromNodesInAnyOrder) {
  std::mt19937_64 random(7);
  model::NaiveTrie trie;
  std::vector<Bytes> keys;
  for (int i = 0; i < 200; ++i) {
    keys.push_back(Bytes(Keccak256(absl::StrCat(i)).view()));
    if (i % 2 == 0) trie.Put(keys.back(), Bytes(1 + random() % 50, 'v'));
  }
  std::set<Bytes> distinct;
  for (const Bytes& key : keys) {
    for (const Bytes& node : trie.Proof(key)) distinct.insert(node);
  }
  std::vector<Bytes> pool(distinct.begin(), distinct.end());
  std::shuffle(pool.begin(), pool.end(), random);
  ProofNodes nodes(pool);
  for (const Bytes& key : keys) {
    const Answer answer = nodes.Find(trie.Root(), key);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(*answer, trie.Get(key));
  }
  EXPECT_TRUE(nodes.AllUsed().ok()) << nodes.AllUsed();
  EXPECT_EQ(nodes.Find(kEmptyRoot, keys[0]).value(), std::nullopt);
  EXPECT_FALSE(nodes.Find(trie.Root(), "short").ok());
}

TEST(ProofNodesTest, RefuseWhatIsMissingAndWhatIsNotNeeded) {
  model::NaiveTrie trie;
  const Bytes key(Keccak256("1").view());
  for (int i = 0; i < 50; ++i) trie.Put(Bytes(Keccak256(absl::StrCat(i)).view()), Bytes(40, 'v'));
  const std::vector<Bytes> proof = trie.Proof(key);
  ASSERT_GE(proof.size(), 2u);
  for (size_t missing = 0; missing < proof.size(); ++missing) {
    std::vector<Bytes> rest = proof;
    rest.erase(rest.begin() + static_cast<ptrdiff_t>(missing));
    EXPECT_FALSE(ProofNodes(rest).Find(trie.Root(), key).ok());
  }
  std::vector<Bytes> twice = proof;
  twice.push_back(proof.front());
  ProofNodes nodes(twice);
  EXPECT_TRUE(nodes.Find(trie.Root(), key).ok());
  EXPECT_EQ(nodes.AllUsed().message(), absl::StrFormat("node %d is not needed, or is there twice", twice.size() - 1));
}

// ---- Statements about accounts and slots ----

// One contract with two slots, one account without code, and room for absent ones.
model::NaiveState SmallState() {
  model::NaiveState state;
  for (uint8_t i = 1; i <= 20; ++i) {
    Address address;
    address.bytes[0] = i;
    state.accounts[address] = {i, U256::FromUint64(i * 1000U), "", {}};
  }
  model::NaiveAccount& contract = state.accounts.begin()->second;
  contract.code = "code";
  contract.storage[Hash{}] = U256::FromUint64(7);
  contract.storage[Hash{U256::FromUint64(1).be}] = U256::FromPadded(Bytes(32, '\xff'));
  return state;
}

TEST(AccountProofTest, PresentAbsentAndSlots) {
  const model::NaiveState state = SmallState();
  const Address contract = state.accounts.begin()->first;
  const std::vector<Hash> slots = {Hash{}, Hash{U256::FromUint64(1).be}, Hash{U256::FromUint64(2).be}};
  const AccountProof present = state.Proof(contract, slots);
  EXPECT_EQ(VerifyAccountProof(state.Root(), present), absl::OkStatus());
  const AccountProof absent = state.Proof(Address{}, slots);
  EXPECT_EQ(VerifyAccountProof(state.Root(), absent), absl::OkStatus());

  AccountProof wrong = present;
  wrong.storage[2].value = U256::FromUint64(1);
  EXPECT_THAT(VerifyAccountProof(state.Root(), wrong).message(), HasSubstr("0x1 but proved as 0x0"));
  wrong = present;
  wrong.storage[0].value = U256{};
  EXPECT_THAT(VerifyAccountProof(state.Root(), wrong).message(), HasSubstr("0x0 but proved as 0x7"));
  wrong = present;
  wrong.account.nonce = 9;
  EXPECT_THAT(VerifyAccountProof(state.Root(), wrong).message(), HasSubstr("nonce is stated as 9 but proved as 1"));
}

TEST(AccountProofTest, AbsentAccounts) {
  const model::NaiveState state = SmallState();
  const AccountProof good = state.Proof(Address{}, {Hash{}});
  AccountProof proof = good;
  proof.account.storage_root = Hash{};
  proof.account.code_hash = Hash{};
  EXPECT_EQ(VerifyAccountProof(state.Root(), proof), absl::OkStatus());
  proof.account.code_hash = kEmptyCodeHash;  // half and half is neither
  EXPECT_FALSE(VerifyAccountProof(state.Root(), proof).ok());
  for (const auto& spoil : std::vector<void (*)(AccountProof&)>{
           [](AccountProof& p) { p.account.nonce = 1; },
           [](AccountProof& p) { p.account.balance = U256::FromUint64(1); },
           [](AccountProof& p) { p.account.storage_root.bytes[0] ^= 1; },
           [](AccountProof& p) { p.account.code_hash.bytes[0] ^= 1; },
           [](AccountProof& p) { p.storage[0].value = U256::FromUint64(1); },
           [](AccountProof& p) { p.storage[0].proof = {"\x80"}; },
       }) {
    proof = good;
    spoil(proof);
    EXPECT_THAT(VerifyAccountProof(state.Root(), proof).message(), HasSubstr("absent"));
  }
  // Zero hashes are for absent accounts alone.
  const Address without_code = std::next(state.accounts.begin())->first;
  proof = state.Proof(without_code);
  ASSERT_EQ(VerifyAccountProof(state.Root(), proof), absl::OkStatus());
  proof.account.storage_root = Hash{};
  proof.account.code_hash = Hash{};
  EXPECT_FALSE(VerifyAccountProof(state.Root(), proof).ok());
}

TEST(AccountProofTest, EmptyStateAndEmptyStorage) {
  AccountProof proof = model::NaiveState{}.Proof(Address{}, {Hash{}});
  EXPECT_TRUE(proof.proof.empty());
  EXPECT_EQ(VerifyAccountProof(kEmptyRoot, proof), absl::OkStatus());
  proof.proof = {"\x80"};
  EXPECT_EQ(VerifyAccountProof(kEmptyRoot, proof), absl::OkStatus());

  const model::NaiveState state = SmallState();
  proof = state.Proof(std::next(state.accounts.begin())->first, {Hash{}});
  EXPECT_EQ(VerifyAccountProof(state.Root(), proof), absl::OkStatus());
  proof.storage[0].proof = {"\x80"};
  EXPECT_EQ(VerifyAccountProof(state.Root(), proof), absl::OkStatus());
  proof.storage[0].value = U256::FromUint64(1);
  EXPECT_FALSE(VerifyAccountProof(state.Root(), proof).ok());
}

// A storage trie of one leaf that holds `leaf_value`, in a state of one account; the answer claims `value`.
absl::Status VerifySlotLeaf(const Bytes& leaf_value, const U256& value) {
  AccountProof proof;
  const StorageProof slot{Hash{}, value, {Leaf(UnpackNibbles(Keccak256(Hash{}.view()).view()), leaf_value)}};
  proof.account.storage_root = Keccak256(slot.proof[0]);
  proof.storage = {slot};
  Bytes account;
  AppendAccountRlp(account, proof.account);
  proof.proof = {Leaf(UnpackNibbles(Keccak256(proof.address.view()).view()), account)};
  return VerifyAccountProof(Keccak256(proof.proof[0]), proof);
}

TEST(AccountProofTest, SlotValuesAreCanonical) {
  const U256 value = U256::FromUint64(0x1c00);
  EXPECT_EQ(VerifySlotLeaf(Item("\x1c" + Bytes(1, '\0')), value), absl::OkStatus());
  EXPECT_THAT(VerifySlotLeaf("\x1c" + Bytes(1, '\0'), value).message(), HasSubstr("after the item"));
  EXPECT_THAT(VerifySlotLeaf("\xb8\x02\x1c" + Bytes(1, '\0'), value).message(), HasSubstr("long form"));
  EXPECT_THAT(VerifySlotLeaf("\x83" + Bytes(1, '\0') + "\x1c" + Bytes(1, '\0'), value).message(),
              HasSubstr("leading zero"));
  EXPECT_THAT(VerifySlotLeaf(List(Item("\x1c" + Bytes(1, '\0'))), value).message(), HasSubstr("is a list"));
  EXPECT_THAT(VerifySlotLeaf("\x80", U256{}).message(), HasSubstr("zero value"));
  EXPECT_THAT(VerifySlotLeaf(Bytes(1, '\0'), U256{}).message(), HasSubstr("leading zero"));
  EXPECT_THAT(VerifySlotLeaf("\xa1\x01" + Bytes(32, '\0'), U256{}).message(), HasSubstr("at most 32"));
  EXPECT_EQ(VerifySlotLeaf(Item(Bytes(32, '\xff')), U256::FromPadded(Bytes(32, '\xff'))), absl::OkStatus());
}

}  // namespace
}  // namespace mptd
