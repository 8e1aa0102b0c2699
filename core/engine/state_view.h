// A StateView is an immutable handle on the state after one block. Any number of threads may read through it without
// locking, while blocks are applied, flushed, rolled back and pruned. It keeps what it needs alive: hold it for as long
// as a call or a page takes, not longer. All addresses and slot keys are plain (not hashed) unless a name says
// otherwise.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/engine/block.h"
#include "core/proof_verifier.h"
#include "core/types.h"

namespace mptd {

struct ProofTargetSpec {
  Address address;
  std::vector<Hash> slots;
};

struct MultiProof {
  struct Entry {
    Address address;
    std::optional<Account> account;
    std::vector<U256> values;  // in the order of the target's slots
  };
  std::vector<Bytes> nodes;    // each once; the state trie's first, its root before all
  std::vector<Entry> entries;  // in the order of the targets
};

struct HashedAccount {
  Hash key;  // keccak256(address)
  Account account;
};

struct HashedSlot {
  Hash key;  // keccak256(slot key)
  U256 value;
};

// A page of a range. `next` is where the following page starts; absent when this one is the last.
template <typename T>
struct Page {
  std::vector<T> items;
  std::optional<Hash> next;
};

class StateView {
 public:
  virtual ~StateView() = default;

  virtual const BlockInfo& block() const = 0;

  // All reads: DATA_LOSS when a row on disk does not check out, UNAVAILABLE when the disk cannot be read.
  // nullopt means that the account does not exist.
  virtual absl::StatusOr<std::optional<Account>> GetAccount(const Address& address) const = 0;
  // result[i] belongs to addresses[i].
  virtual absl::StatusOr<std::vector<std::optional<Account>>> GetAccounts(std::span<const Address> addresses) const = 0;
  // result[i] belongs to slots[i]; zero when not set.
  virtual absl::StatusOr<std::vector<U256>> GetStorage(const Address& address, std::span<const Hash> slots) const = 0;
  // nullopt when no account of this or an earlier state has had such code.
  virtual absl::StatusOr<std::optional<Bytes>> GetCode(const Hash& code_hash) const = 0;

  // EIP-1186. An absent account comes with the proof of its absence, and its slots with empty proofs.
  virtual absl::StatusOr<AccountProof> GetProof(const Address& address, std::span<const Hash> slots) const = 0;
  virtual absl::StatusOr<MultiProof> GetMultiProof(std::span<const ProofTargetSpec> targets) const = 0;

  // At most `limit` rows with key >= `start`.
  virtual absl::StatusOr<Page<HashedAccount>> ScanAccounts(const Hash& start, size_t limit) const = 0;
  virtual absl::StatusOr<Page<HashedSlot>> ScanStorage(const Address& address, const Hash& start,
                                                       size_t limit) const = 0;

  // The root that `changes` would give on top of this block (the same rules as StateEngine::Apply). Changes nothing.
  // INVALID_ARGUMENT with the field's path when a change is malformed.
  virtual absl::StatusOr<Hash> ComputeRoot(std::span<const AccountChange> changes, bool keep_empty_accounts) const = 0;
};

using StateViewPtr = std::shared_ptr<const StateView>;

}  // namespace mptd
