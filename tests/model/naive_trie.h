// The model that the engine is tested against: Merkle Patricia Tries and Ethereum state, written as the Yellow Paper
// (appendix D) defines them and rebuilt from sorted maps at every question. It shares no trie code with core/.
// Not thread-safe. Errors in its use abort; it is for tests only.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/proof_verifier.h"
#include "core/types.h"

namespace mptd::model {

// One trie over keys of any length, which may be prefixes of each other.
class NaiveTrie {
 public:
  NaiveTrie();
  ~NaiveTrie();
  NaiveTrie(NaiveTrie&&) noexcept;
  NaiveTrie& operator=(NaiveTrie&&) noexcept;

  // An empty value deletes the key, as in Ethereum.
  void Put(BytesView key, BytesView value);
  void Delete(BytesView key);
  // nullopt when absent.
  std::optional<Bytes> Get(BytesView key) const;
  size_t size() const { return entries_.size(); }

  Hash Root() const;
  // The hashed nodes on the key's path, root first, down to its value or to the node that shows its absence; nodes that
  // are embedded in their parent are not listed. The empty trie has no nodes.
  std::vector<Bytes> Proof(BytesView key) const;
  // All keys and values in order, read back from the built nodes.
  std::vector<std::pair<Bytes, Bytes>> Walk() const;

 private:
  struct Node;
  using Entry = std::pair<Bytes, Bytes>;  // the key's nibbles, the value

  static std::unique_ptr<Node> Build(const Entry* begin, const Entry* end, size_t depth);
  static void WalkNode(const Node& node, Bytes& path, std::vector<std::pair<Bytes, Bytes>>& out);
  const Node* Built() const;  // null when empty

  std::map<Bytes, Bytes> entries_;
  mutable std::unique_ptr<Node> root_;  // null when it has to be built again
};

struct NaiveAccount {
  uint64_t nonce = 0;
  U256 balance;
  Bytes code;
  std::map<Hash, U256> storage;  // by slot, not hashed; zero values do not count

  friend bool operator==(const NaiveAccount&, const NaiveAccount&) = default;
};

// All accounts, hashed the way Ethereum does: keccak256(address) and keccak256(slot) are the tries' keys. Every account
// in the map is in the trie, empty or not.
struct NaiveState {
  std::map<Address, NaiveAccount> accounts;

  Hash Root() const;
  // nullopt when absent.
  std::optional<Account> Get(const Address& address) const;
  // As eth_getProof answers; an absent account has the empty hashes. Builds the account trie: for many proofs of one
  // state, call Proofs.
  AccountProof Proof(const Address& address, const std::vector<Hash>& slots = {}) const;
  std::vector<AccountProof> Proofs(const std::vector<std::pair<Address, std::vector<Hash>>>& wanted) const;
};

// The storage root alone, and the account as the trie commits to it.
Hash StorageRoot(const NaiveAccount& account);
Account Commit(const NaiveAccount& account);

}  // namespace mptd::model
