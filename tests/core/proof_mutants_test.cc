// Proofs of real chains, changed at random: none may be accepted for what it does not show.
#include <algorithm>
#include <array>
#include <random>
#include <set>
#include <vector>

#include "core/eip1186_json.h"
#include "core/keccak.h"
#include "core/proof_verifier.h"
#include "core/rlp.h"
#include "gtest/gtest.h"
#include "tests/model/testdata.h"

namespace mptd {
namespace {

struct Statement {
  Hash root;
  AccountProof proof;
};

const std::vector<Statement>& GoodStatements() {
  static const std::vector<Statement> all = [] {
    std::vector<Statement> out;
    for (const nlohmann::json& test : model::LoadJson("proofs.json.gz")) {
      out.push_back({model::HashOf(test["state_root"]), ParseEip1186(test["result"].dump()).value()});
    }
    return out;
  }();
  return all;
}

bool Accepted(const Statement& s) { return VerifyAccountProof(s.root, s.proof).ok(); }

void FlipByte(std::mt19937_64& random, char& byte) { byte = static_cast<char>(byte ^ (1 + random() % 255)); }

template <size_t N>
void FlipByte(std::mt19937_64& random, std::array<uint8_t, N>& bytes) {
  bytes[random() % N] ^= static_cast<uint8_t>(1 + random() % 255);
}

// Changes a list of nodes in one way; false when it left it as it was.
bool MutateNodes(std::mt19937_64& random, std::vector<Bytes>& nodes) {
  const std::vector<Bytes> before = nodes;
  if (nodes.empty()) {
    nodes.push_back(Bytes(random() % 40, '\xc0'));
    return nodes[0] != "\x80";
  }
  const size_t at = random() % nodes.size();
  Bytes& node = nodes[at];
  const size_t place = random() % node.size();
  switch (random() % 9) {
    case 0:
      node.erase(place, 1);
      break;
    case 1:
      node.insert(place, 1, static_cast<char>(random()));
      break;
    case 2:
      node.resize(place);
      break;
    case 3:
      node += static_cast<char>(random());
      break;
    case 4:
      nodes.erase(nodes.begin() + static_cast<ptrdiff_t>(at));
      break;
    case 5:
      nodes.insert(nodes.begin() + static_cast<ptrdiff_t>(at), Bytes(node));
      break;
    case 6:
      std::swap(node, nodes[random() % nodes.size()]);
      break;
    default:
      FlipByte(random, node[place]);
      break;
  }
  // Both mean the empty trie.
  return nodes != before && !(nodes.empty() && before[0] == "\x80");
}

bool Mutate(std::mt19937_64& random, Statement& s) {
  AccountProof& proof = s.proof;
  if (!proof.storage.empty() && random() % 3 == 0) {
    StorageProof& slot = proof.storage[random() % proof.storage.size()];
    switch (random() % 4) {
      case 0:
        FlipByte(random, slot.value.be);
        return true;
      // Another key may be absent too, by the same proof: then it is no lie.
      case 1:
        if (slot.value.IsZero()) return false;
        FlipByte(random, slot.key.bytes);
        return true;
      default:
        return MutateNodes(random, slot.proof);
    }
  }
  switch (random() % 10) {
    case 0:
      FlipByte(random, s.root.bytes);
      return true;
    case 1:
      proof.account.nonce ^= uint64_t{1} << random() % 64;
      return true;
    case 2:
      FlipByte(random, proof.account.balance.be);
      return true;
    case 3:
      FlipByte(random, proof.account.storage_root.bytes);
      return true;
    case 4:
      FlipByte(random, proof.account.code_hash.bytes);
      return true;
    case 5:
      if (proof.account == Account{} || proof.account.code_hash.IsZero()) return false;
      FlipByte(random, proof.address.bytes);
      return true;
    default:
      return MutateNodes(random, proof.proof);
  }
}

TEST(ProofMutantsTest, NoneIsAccepted) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  int tried = 0;
  while (tried < 30'000) {
    const Statement& good = GoodStatements()[random() % GoodStatements().size()];
    Statement bad = good;
    if (!Mutate(random, bad)) continue;
    ++tried;
    ASSERT_FALSE(Accepted(bad)) << WriteEip1186(good.proof) << "\nbecame\n" << WriteEip1186(bad.proof);
  }
}

// The bytes of a branch that a proof of one key says nothing about: the hashes of children off the path.
std::set<size_t> FreeBytes(const Bytes& node, BytesView next_hash) {
  std::vector<rlp::Item> items;
  BytesView rest = rlp::ReadOnly(node)->payload;
  while (!rest.empty()) items.push_back(rlp::Read(rest).value());
  std::set<size_t> out;
  if (items.size() != 17) return out;
  for (const rlp::Item& item : items) {
    if (item.payload.size() != 32 || item.payload == next_hash) continue;
    for (size_t i = 0; i < 32; ++i) out.insert(static_cast<size_t>(item.payload.data() - node.data()) + i);
  }
  return out;
}

// Here the attacker chooses the root too: after a byte is changed, every hash above it is made right again. What is
// left to refuse are structure and statement. The only bytes that may change are other children's hashes.
TEST(ProofMutantsTest, RebuiltOnesAreAcceptedOnlyWhereTheySayTheSame) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  int refused = 0;
  int accepted = 0;
  while (refused < 20'000) {
    const Statement& good = GoodStatements()[random() % GoodStatements().size()];
    if (good.proof.account == Account{} || good.proof.account.code_hash.IsZero()) continue;
    Statement s = good;
    std::vector<Bytes>& nodes = s.proof.proof;
    const size_t at = random() % nodes.size();
    const Hash next = at + 1 < nodes.size() ? Keccak256(nodes[at + 1]) : Hash{};
    // The first and last bytes carry the structure; look at them as often as at the rest.
    const size_t place =
        random() % 2 == 0 ? random() % std::min<size_t>(nodes[at].size(), 8) : random() % nodes[at].size();
    const bool free = FreeBytes(nodes[at], next.view()).contains(place);
    Hash old = Keccak256(nodes[at]);
    FlipByte(random, nodes[at][place]);
    for (size_t i = at; i-- > 0;) {
      const size_t reference = nodes[i].find(old.view());
      ASSERT_NE(reference, Bytes::npos);
      old = Keccak256(nodes[i]);
      nodes[i].replace(reference, 32, Keccak256(nodes[i + 1]).view());
    }
    s.root = Keccak256(nodes[0]);
    ASSERT_EQ(Accepted(s), free) << "node " << at << " byte " << place << " of " << WriteEip1186(good.proof);
    ++(free ? accepted : refused);
  }
  EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace mptd
