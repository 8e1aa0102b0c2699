// What the tests of tries share: keys that meet in every way, rows as the tables hold them, and the model's answers.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "core/hex.h"
#include "core/rlp.h"
#include "core/trie/trie_builder.h"
#include "core/trie/trie_update.h"
#include "tests/model/naive_trie.h"

namespace mptd::testing {

struct Leaf {
  Bytes value;  // RLP
  bool has_storage = false;
  friend bool operator==(const Leaf&, const Leaf&) = default;
};
using Leaves = std::map<Hash, Leaf>;
using Rows = std::map<Bytes, Bytes>;  // by path, one byte a nibble; the values are records

inline std::string ShowPath(BytesView path) {
  std::string out;
  for (const char n : path) out.push_back("0123456789abcdef"[static_cast<size_t>(n)]);
  return "'" + out + "'";
}

inline Bytes RowKeyOf(const NibblePath& path) {
  Bytes key;
  path.AppendRowKey(key);
  return key;
}

template <typename Branch>
Bytes RecordOf(const Branch& branch) {
  Bytes record;
  AppendBranchRecord(record, branch);
  return record;
}

inline Hash ModelRoot(const Leaves& leaves) {
  model::NaiveTrie trie;
  for (const auto& [key, leaf] : leaves) trie.Put(key.view(), leaf.value);
  return trie.Root();
}

struct Built {
  Hash root;
  Rows rows;
};

inline Built BuildTrie(const Leaves& leaves) {
  Built built;
  TrieBuilder builder([&](const NibblePath& path, const BranchValue& branch) {
    const bool fresh = built.rows.emplace(RowKeyOf(path), RecordOf(branch)).second;
    EXPECT_TRUE(fresh) << "two branches at " << ShowPath(RowKeyOf(path));
  });
  for (const auto& [key, leaf] : leaves) builder.Add(key, leaf.value, leaf.has_storage);
  built.root = builder.Finish();
  return built;
}

// Names the first rows that differ.
inline void ExpectSameRows(const Rows& actual, const Rows& expected) {
  for (const auto& [path, record] : expected) {
    const auto it = actual.find(path);
    ASSERT_TRUE(it != actual.end()) << "no row at " << ShowPath(path);
    ASSERT_EQ(ToHex(it->second), ToHex(record)) << "row at " << ShowPath(path);
  }
  for (const auto& [path, record] : actual) ASSERT_TRUE(expected.contains(path)) << "extra row at " << ShowPath(path);
}

// Keys that share 0 to 63 nibbles with each other, and values that embed and that do not.
class KeyMaker {
 public:
  // `deep` of 64 keys stand next to one another in their last two nibbles.
  KeyMaker(uint64_t seed, uint64_t deep) : random_(seed), deep_(deep) {
    for (Hash& base : bases_) base = Random();
    // The first two bases part at their last nibbles too.
    bases_[1] = With(bases_[0], 61, static_cast<uint8_t>(NibbleAt(bases_[0].view(), 61) ^ 1));
  }

  uint64_t Below(uint64_t n) { return random_() % n; }
  std::mt19937_64& random() { return random_; }

  Hash Random() {
    Hash key;
    for (uint8_t& b : key.bytes) b = static_cast<uint8_t>(random_());
    return key;
  }
  static Hash With(Hash key, size_t at, uint8_t nibble) {
    uint8_t& byte = key.bytes[at / 2];
    byte = static_cast<uint8_t>(at % 2 == 0 ? (byte & 0x0f) | nibble << 4 : (byte & 0xf0) | nibble);
    return key;
  }

  Hash Key() {
    if (Below(16) == 0) return Random();
    const Hash base = bases_[Below(bases_.size())];
    if (Below(64) < deep_) {
      const Hash key = With(base, 63, static_cast<uint8_t>(Below(16)));
      return Below(2) == 0 ? key : With(key, 62, static_cast<uint8_t>(Below(4)));
    }
    return With(base, Below(64), static_cast<uint8_t>(Below(16)));
  }

  Leaf Value() {
    Leaf leaf;
    Bytes payload(1, static_cast<char>(1 + Below(120)));
    if (Below(3) == 0) {
      payload.resize(1 + Below(60));
      for (char& c : payload) c = static_cast<char>(random_());
    }
    rlp::AppendString(leaf.value, payload);
    leaf.has_storage = Below(4) == 0;
    return leaf;
  }

 private:
  std::mt19937_64 random_;
  const uint64_t deep_;
  std::array<Hash, 4> bases_;
};

}  // namespace mptd::testing
