// Tries from sorted keys, and branches as bytes: records, undo entries and their damage.
#include "core/trie/trie_builder.h"

#include <gtest/gtest.h>

#include "core/keccak.h"
#include "core/trie/branch_record.h"
#include "tests/core/trie_testing.h"
#include "tests/model/testdata.h"

namespace mptd::testing {
namespace {

Leaves RandomLeaves(uint64_t seed, uint64_t deep, size_t size) {
  KeyMaker keys(seed, deep);
  Leaves leaves;
  while (leaves.size() < size) leaves[keys.Key()] = keys.Value();
  return leaves;
}

TEST(TrieBuilder, RootsAreTheModels) {
  EXPECT_EQ(TrieBuilder(nullptr).Finish(), kEmptyRoot);
  for (uint64_t seed = 0; seed < 60; ++seed) {
    for (const size_t size : {1, 2, 3, 5, 17, 40}) {
      for (const uint64_t deep : {0, 8, 60}) {
        const Leaves leaves = RandomLeaves(seed, deep, size);
        const Built built = BuildTrie(leaves);
        ASSERT_EQ(built.root, ModelRoot(leaves)) << "seed " << seed << " size " << size << " deep " << deep;
        ASSERT_EQ(built.rows.empty(), size == 1);
      }
    }
  }
  Leaves many;
  for (uint64_t i = 0; i < 20000; ++i) {
    const std::string name = std::to_string(i);
    many[Keccak256(name)].value = Bytes(1, static_cast<char>(1 + i % 100));
  }
  EXPECT_EQ(BuildTrie(many).root, ModelRoot(many));
}

// The secure tries of ethereum/tests: keys hashed, as the state's are.
TEST(TrieBuilder, PublishedRoots) {
  int tries = 0;
  for (const std::string_view file : {"trie/hex_encoded_securetrie_test.json", "trie/trieanyorder_secureTrie.json",
                                      "trie/trietest_secureTrie.json"}) {
    const nlohmann::json tests = model::LoadJson(file);
    for (const auto& [name, test] : tests.items()) {
      Leaves leaves;
      const auto bytes = [](const nlohmann::json& text) {
        return text.get<std::string>().starts_with("0x") ? model::BytesOf(text) : text.get<std::string>();
      };
      const auto put = [&](const nlohmann::json& key, const nlohmann::json& value) {
        const Hash hashed = Keccak256(bytes(key));
        if (value.is_null()) {
          leaves.erase(hashed);
        } else {
          leaves[hashed].value = bytes(value);
        }
      };
      if (test["in"].is_array()) {
        for (const nlohmann::json& pair : test["in"]) put(pair[0], pair[1]);
      } else {
        for (const auto& [key, value] : test["in"].items()) put(nlohmann::json(key), value);
      }
      EXPECT_EQ(BuildTrie(leaves).root, model::HashOf(test["root"])) << file << " " << name;
      ++tries;
    }
  }
  EXPECT_GE(tries, 10);
}

// As one builder after the other, so one builder again.
TEST(TrieBuilder, IsAsNewAfterFinish) {
  Rows rows;
  TrieBuilder builder(
      [&](const NibblePath& path, const BranchValue& branch) { rows[RowKeyOf(path)] = RecordOf(branch); });
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Leaves leaves = RandomLeaves(seed, 30, seed * 3);
    rows.clear();
    for (const auto& [key, leaf] : leaves) builder.Add(key, leaf.value, leaf.has_storage);
    EXPECT_EQ(builder.Finish(), ModelRoot(leaves));
    ExpectSameRows(rows, BuildTrie(leaves).rows);
  }
}

// Many tries whose nodes are hashed together: reported in order, each as if it were alone.
TEST(TrieBuilder, TriesOneAfterTheOther) {
  std::vector<Built> built(1);
  TrieBuilder builder(
      [&](const NibblePath& path, const BranchValue& branch) { built.back().rows[RowKeyOf(path)] = RecordOf(branch); },
      [&](const Hash& root) {
        built.back().root = root;
        built.emplace_back();
      });
  constexpr uint64_t kTries = 300;
  for (uint64_t seed = 0; seed < kTries; ++seed) {
    for (const auto& [key, leaf] : RandomLeaves(seed, seed % 64, seed % 23)) {
      builder.Add(key, leaf.value, leaf.has_storage);
    }
    builder.End();
  }
  EXPECT_LT(built.size(), kTries);
  builder.Flush();
  ASSERT_EQ(built.size(), kTries + 1);
  for (uint64_t seed = 0; seed < kTries; ++seed) {
    const Built alone = BuildTrie(RandomLeaves(seed, seed % 64, seed % 23));
    ASSERT_EQ(built[seed].root, alone.root) << seed;
    ExpectSameRows(built[seed].rows, alone.rows);
  }
}

// The records of one trie say all of it: walked from the root they give every branch's place and what its children are.
TEST(TrieBuilder, RowsDescribeTheTrie) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const Leaves leaves = RandomLeaves(seed, seed % 64, 2 + seed);
    const Built built = BuildTrie(leaves);
    size_t branches = 0;
    size_t found = 0;
    std::vector<Bytes> waiting = {Bytes()};
    while (!waiting.empty()) {
      const Bytes path = waiting.back();
      waiting.pop_back();
      ASSERT_TRUE(built.rows.contains(path)) << ShowPath(path);
      ++branches;
      const BranchValue branch = *DecodeBranchRecord(built.rows.at(path));
      for (int i = 0; i < 16; ++i) {
        if ((branch.shape.children >> i & 1) == 0) continue;
        const Bytes child = path + branch.extension + static_cast<char>(i);
        if ((branch.shape.branches >> i & 1) != 0) {
          waiting.push_back(child);
          continue;
        }
        // One leaf begins with this path, and its node is the reference.
        NibblePath begin;
        begin.Append(child);
        const auto leaf = leaves.lower_bound(begin.packed);
        ASSERT_TRUE(leaf != leaves.end() && begin.IsPrefixOf(leaf->first));
        ASSERT_TRUE(std::next(leaf) == leaves.end() || !begin.IsPrefixOf(std::next(leaf)->first));
        Bytes node;
        AppendLeafRlp(node, leaf->first, child.size(), leaf->second.value);
        ASSERT_EQ((branch.shape.embedded >> i & 1) != 0, node.size() < 32);
        ASSERT_EQ(branch.ref(i), node.size() < 32 ? BytesView(node) : Keccak256(node).view());
        ASSERT_EQ((branch.shape.storage >> i & 1) != 0, leaf->second.has_storage);
        ++found;
      }
    }
    EXPECT_EQ(branches, built.rows.size());
    EXPECT_EQ(found, leaves.size());
  }
}

// Records
// ------------------------------------------------------------------------------------------------------------------

std::vector<Bytes> SomeRecords() {
  std::vector<Bytes> records;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    for (const auto& [path, record] : BuildTrie(RandomLeaves(seed, seed * 8, 12)).rows) records.push_back(record);
  }
  return records;
}

TEST(BranchRecord, ComesBack) {
  for (const Bytes& record : SomeRecords()) {
    absl::StatusOr<BranchValue> value = DecodeBranchRecord(record);
    ASSERT_TRUE(value.ok()) << value.status();
    EXPECT_EQ(RecordOf(*value), record);
    absl::StatusOr<OwnedBranch> node = DecodeBranchNode(record);
    ASSERT_TRUE(node.ok()) << node.status();
    EXPECT_EQ(RecordOf(**node), record);
    EXPECT_EQ((*node)->sequence, 0u);
    EXPECT_EQ((*node)->pointers, value->shape.branches | value->shape.storage);
    EXPECT_EQ(RecordOf(ToValue(**node)), record);
    EXPECT_EQ(RecordOf(*ToNode(*value)), record);
    Bytes rlp;
    Bytes same;
    AppendBranchRlp(rlp, *value);
    AppendBranchRlp(same, **node);
    EXPECT_EQ(rlp, same);
    EXPECT_TRUE(rlp::Validate(rlp).ok());
  }
}

// Never beyond the end, never a crash; both decoders agree, and what they take is a canonical record.
void ExpectGoodOrDamaged(const std::vector<char>& bytes) {
  const BytesView record(bytes.data(), bytes.size());
  const absl::StatusOr<BranchValue> value = DecodeBranchRecord(record);
  const absl::StatusOr<OwnedBranch> node = DecodeBranchNode(record);
  ASSERT_EQ(value.ok(), node.ok());
  if (!value.ok()) {
    EXPECT_EQ(value.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(node.status().code(), absl::StatusCode::kDataLoss);
    return;
  }
  EXPECT_EQ(RecordOf(*value), RecordOf(**node));
  Bytes rlp;
  AppendBranchRlp(rlp, *value);
  BranchRebuilder rebuilder;
  EXPECT_TRUE(rebuilder.AddCurrent(&*value).ok());
}

TEST(BranchRecord, DamageIsFound) {
  std::mt19937_64 random(1);
  for (const Bytes& record : SomeRecords()) {
    for (size_t size = 0; size < record.size(); ++size) {
      ASSERT_FALSE(DecodeBranchRecord(record.substr(0, size)).ok()) << size;
      ASSERT_NO_FATAL_FAILURE(ExpectGoodOrDamaged({record.begin(), record.begin() + static_cast<ptrdiff_t>(size)}));
    }
    ASSERT_FALSE(DecodeBranchRecord(record + '\0').ok());
    for (int i = 0; i < 200; ++i) {
      std::vector<char> damaged(record.begin(), record.end());
      for (uint64_t n = 1 + random() % 3; n > 0; --n) {
        damaged[random() % std::min<size_t>(damaged.size(), i % 2 == 0 ? 12 : SIZE_MAX)] = static_cast<char>(random());
      }
      ASSERT_NO_FATAL_FAILURE(ExpectGoodOrDamaged(damaged));
    }
  }
  for (int i = 0; i < 2000; ++i) {
    std::vector<char> noise(random() % 80);
    for (char& c : noise) c = static_cast<char>(random() % 4 == 0 ? random() : random() % 8);
    ASSERT_NO_FATAL_FAILURE(ExpectGoodOrDamaged(noise));
  }
}

// Undo entries of unlike branches, whole, cut and changed.
TEST(BranchUndo, DamageIsFound) {
  std::mt19937_64 random(2);
  std::vector<OwnedBranch> nodes;
  for (const Bytes& record : SomeRecords()) nodes.push_back(*DecodeBranchNode(record));
  for (int i = 0; i < 300; ++i) {
    const BranchNode& before = *nodes[random() % nodes.size()];
    const BranchNode* after = random() % 4 == 0 ? nullptr : nodes[random() % nodes.size()].get();
    Bytes undo;
    AppendBranchUndo(undo, &before, after);
    {
      BranchRebuilder rebuilder;
      absl::StatusOr<bool> complete = rebuilder.Add(undo);
      ASSERT_TRUE(complete.ok()) << complete.status();
      EXPECT_TRUE(rebuilder.started());
      if (after == nullptr) {
        EXPECT_TRUE(*complete);
      }
      std::optional<BranchValue> now;
      if (after != nullptr) now = ToValue(*after);
      ASSERT_TRUE(rebuilder.AddCurrent(now ? &*now : nullptr).ok());
      ASSERT_NE(rebuilder.result(), nullptr);
      EXPECT_EQ(RecordOf(*rebuilder.result()), RecordOf(before));
    }
    for (size_t size = 0; size < undo.size(); ++size) {
      const std::vector<char> exact(undo.begin(), undo.begin() + static_cast<ptrdiff_t>(size));
      EXPECT_EQ(BranchRebuilder().Add({exact.data(), size}).status().code(), absl::StatusCode::kDataLoss);
    }
    EXPECT_FALSE(BranchRebuilder().Add(undo + '\0').ok());
    for (int k = 0; k < 50; ++k) {
      std::vector<char> damaged(undo.begin(), undo.end());
      damaged[random() % std::min<size_t>(damaged.size(), 14)] = static_cast<char>(random());
      BranchRebuilder rebuilder;
      const BranchValue now = ToValue(before);
      if (!rebuilder.Add({damaged.data(), damaged.size()}).ok() || !rebuilder.AddCurrent(&now).ok()) continue;
      if (rebuilder.result() != nullptr) (void)RecordOf(*rebuilder.result());
    }
  }
}

TEST(BranchUndo, RowsThatCameAndWent) {
  const std::vector<Bytes> records = SomeRecords();
  const OwnedBranch node = *DecodeBranchNode(records.front());
  const BranchValue value = ToValue(*node);
  Bytes made;
  AppendBranchUndo(made, nullptr, node.get());
  BranchRebuilder rebuilder;
  EXPECT_TRUE(*rebuilder.Add(made));
  EXPECT_TRUE(rebuilder.complete());
  EXPECT_TRUE(rebuilder.AddCurrent(&value).ok());
  EXPECT_EQ(rebuilder.result(), nullptr);

  BranchRebuilder none;
  EXPECT_FALSE(none.complete());
  EXPECT_TRUE(none.AddCurrent(nullptr).ok());
  EXPECT_EQ(none.result(), nullptr);

  // A branch cannot have been made later than something was kept of it.
  Bytes kept;
  AppendBranchUndo(kept, node.get(), node.get());
  BranchRebuilder wrong;
  EXPECT_FALSE(*wrong.Add(kept));
  EXPECT_EQ(wrong.Add(made).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(wrong.AddCurrent(nullptr).code(), absl::StatusCode::kDataLoss);
}

TEST(BranchUndo, ChildrenThatStayAreNotWrittenAgain) {
  for (const Bytes& record : SomeRecords()) {
    const OwnedBranch node = *DecodeBranchNode(record);
    Bytes undo;
    AppendBranchUndo(undo, node.get(), node.get());
    EXPECT_EQ(undo.substr(1, 2), Bytes(2, '\0')) << "the children that are in it";
  }
}

// A hash taken for an embedded node would be read past its end.
TEST(BranchUndo, EntriesThatDoNotBelongTogether) {
  BranchValue hashed;
  hashed.shape.children = 3;
  for (auto& ref : hashed.refs) ref.fill(0x11);
  BranchValue embedded = hashed;
  embedded.shape.embedded = 1;
  embedded.refs[0] = {0xc2, 0x01, 0x02};
  const OwnedBranch hashed_node = ToNode(hashed);
  const OwnedBranch embedded_node = ToNode(embedded);
  Bytes nothing_replaced;
  AppendReplaced(nothing_replaced, *embedded_node, 0);
  Bytes hash_replaced;
  AppendReplaced(hash_replaced, *hashed_node, 1);

  BranchRebuilder rebuilder;
  ASSERT_FALSE(*rebuilder.Add(nothing_replaced));
  EXPECT_EQ(rebuilder.Add(hash_replaced).status().code(), absl::StatusCode::kDataLoss);
  BranchRebuilder other;
  ASSERT_FALSE(*other.Add(nothing_replaced));
  EXPECT_EQ(other.AddCurrent(&hashed).code(), absl::StatusCode::kDataLoss);
  // A reference of a child that is not there.
  hash_replaced[1] = 4;
  EXPECT_EQ(BranchRebuilder().Add(hash_replaced).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace mptd::testing
