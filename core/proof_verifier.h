// A strict verifier of Merkle Patricia proofs and of EIP-1186 answers (eth_getProof). It needs neither the engine nor a
// database and can be linked alone (target mptd_proof). Pure functions; safe from any thread; no input makes it abort.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/types.h"

namespace mptd {

struct StorageProof {
  Hash key;                  // the slot, not hashed
  U256 value;                // zero when absent
  std::vector<Bytes> proof;  // RLP nodes, root first
};

// What eth_getProof answers for one account (EIP-1186).
struct AccountProof {
  Address address;
  Account account;
  std::vector<Bytes> proof;  // RLP nodes of the account trie, root first
  std::vector<StorageProof> storage;
};

// Follows `key` (32 bytes, already hashed) from `root` through `nodes`, each of which must be used exactly once, in
// order, root first. Returns the value at the key, or nullopt when the last node shows that there is none. The empty
// trie is shown by no nodes at all or by the single node 0x80. INVALID_ARGUMENT names the node and what is wrong: a
// hash that does not match its parent's reference, a node that is not canonical RLP or not a trie node, a child of less
// than 32 bytes that is not embedded, a node after the end.
absl::StatusOr<std::optional<Bytes>> VerifyTrieProof(const Hash& root, BytesView key, std::span<const Bytes> nodes);

// The nodes of many proofs, each once and in any order, as GetMultiProof answers them. Not thread-safe; the nodes must
// outlive it and not change.
class ProofNodes {
 public:
  explicit ProofNodes(std::span<const Bytes> nodes);

  // Follows `key` from `root` as VerifyTrieProof does. INVALID_ARGUMENT also when a node on the way is not among them.
  absl::StatusOr<std::optional<Bytes>> Find(const Hash& root, BytesView key);
  // INVALID_ARGUMENT, with its place, when there is a node that no Find has needed.
  absl::Status AllUsed() const;

 private:
  struct Place {
    size_t index = 0;
    bool used = false;
  };

  const std::span<const Bytes> nodes_;
  std::map<Hash, Place> places_;
};

// Checks every statement of `proof` against `state_root`: the account's four fields or its absence, and each slot's
// value or absence under the account's own storage root. An absent account has nonce 0, balance 0 and the empty (or, as
// some clients write them, all-zero) storage root and code hash, and every slot of it is zero with an empty proof.
absl::Status VerifyAccountProof(const Hash& state_root, const AccountProof& proof);

}  // namespace mptd
