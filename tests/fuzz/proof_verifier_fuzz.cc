// Any bytes through the proof verifier and the JSON reader. The first byte chooses: JSON, or trie nodes that are
// chained by right hashes, so that what is tried is what stands behind the hash checks.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "core/eip1186_json.h"
#include "core/keccak.h"
#include "core/proof_verifier.h"

namespace {

using mptd::Bytes;
using mptd::BytesView;

void Require(bool holds) {
  if (!holds) std::abort();
}

// Two bytes, big-endian, off the front.
size_t TakeSize(BytesView& input) {
  const size_t out = static_cast<size_t>(static_cast<uint8_t>(input[0])) << 8 | static_cast<uint8_t>(input[1]);
  input.remove_prefix(2);
  return out;
}

// Each node is its size, the place of the next node's hash in it, and its bytes.
std::vector<Bytes> Nodes(BytesView input) {
  std::vector<Bytes> nodes;
  std::vector<size_t> places;
  while (input.size() > 4 && nodes.size() < 70) {
    const size_t size = TakeSize(input);
    places.push_back(TakeSize(input));
    nodes.emplace_back(input.substr(0, size));
    input.remove_prefix(nodes.back().size());
  }
  for (size_t i = nodes.size(); i-- > 1;) {
    if (places[i - 1] + 32 > nodes[i - 1].size()) continue;
    nodes[i - 1].replace(places[i - 1], 32, mptd::Keccak256(nodes[i]).view());
  }
  return nodes;
}

void TryNodes(BytesView input) {
  if (input.size() < 32) return;
  const BytesView key = input.substr(0, 32);
  std::vector<Bytes> nodes = Nodes(input.substr(32));
  if (nodes.empty()) return;
  const mptd::Hash root = mptd::Keccak256(nodes[0]);
  const auto answer = mptd::VerifyTrieProof(root, key, nodes);
  if (!answer.ok()) return;
  Require(!answer->has_value() || !(*answer)->empty());
  // Nothing can be added to a proof, and its last node cannot be left out.
  nodes.push_back(nodes.back());
  Require(!mptd::VerifyTrieProof(root, key, nodes).ok());
  nodes.resize(nodes.size() - 2);
  Require(!mptd::VerifyTrieProof(root, key, nodes).ok() || root == mptd::kEmptyRoot);
}

void TryJson(BytesView input) {
  const auto proof = mptd::ParseEip1186(input);
  if (!proof.ok()) return;
  const std::string written = mptd::WriteEip1186(*proof);
  const auto again = mptd::ParseEip1186(written);
  Require(again.ok() && mptd::WriteEip1186(*again) == written);
  const mptd::Hash root = proof->proof.empty() ? mptd::kEmptyRoot : mptd::Keccak256(proof->proof[0]);
  (void)mptd::VerifyAccountProof(root, *proof).ok();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const Bytes input(data + 1, data + size);
  if (data[0] == '{') {
    TryJson("{" + input);
  } else {
    TryNodes(input);
  }
  return 0;
}
