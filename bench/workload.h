// What is applied and asked: the workload that bench/peers/README.md describes, and two of contracts with storage.
// Everything is a function of the WorkloadSpec. The const methods may be called from any thread; a BlockDraws belongs
// to one.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "bench/rng.h"
#include "core/engine/block.h"
#include "core/engine/state_view.h"
#include "core/types.h"

namespace mptd::bench {

enum class Profile {
  kAccounts,       // `accounts` accounts, `updates` of them changed in a block
  kOneContract,    // a contract of `slots` slots, `updates` of them changed in a block
  kManyContracts,  // `contracts` contracts of `contract_slots` slots each, two slots of each of `updates` changed in a
                   // block
};

struct WorkloadSpec {
  Profile profile = Profile::kAccounts;
  uint64_t accounts = 1'000'000;
  uint64_t updates = 1000;
  uint64_t slots = 1'000'000;
  uint64_t contracts = 100'000;
  uint64_t contract_slots = 10;
  uint64_t preload_block = 10'000;  // accounts or slots in a block of the preload
};

// The first 20 bytes of the outputs 1, 2, 3 of Rng(i), little-endian.
Address AddressOf(uint64_t i);
// 10^18 + x.
U256 BalanceOf(uint64_t x);
// The one contract of Profile::kOneContract.
Address ContractAddress();
// The slot's number as a key, as Solidity numbers them.
Hash SlotKey(uint64_t i);

class Workload {
 public:
  explicit Workload(const WorkloadSpec& spec) : spec_(spec) {}

  const WorkloadSpec& spec() const { return spec_; }

  uint64_t preload_blocks() const;
  // Block 0 to preload_blocks() - 1 of the preload.
  std::vector<AccountChange> Preload(uint64_t block) const;
  // How many accounts or slots a block changes, each counted as often as it is drawn.
  uint64_t updates_per_block() const;

  // One of the accounts or contracts that exist after the preload.
  Address Target(uint64_t random) const;
  // What a read of a target asks for besides the account: the slot that `random` chooses, if the profile has slots.
  std::optional<Hash> TargetSlot(uint64_t random) const;

  // Every key that `changes` touch.
  static std::vector<ProofTargetSpec> Touched(const std::vector<AccountChange>& changes);
  // The bytes of change that a caller states: addresses, nonces, balances, slot keys and values, without leading zeros.
  static uint64_t ChangeBytes(const std::vector<AccountChange>& changes);

 private:
  std::vector<AccountChange> PreloadAccounts(uint64_t begin, uint64_t end) const;
  uint64_t preload_items() const;  // accounts, slots or contracts
  uint64_t preload_items_a_block() const;

  const WorkloadSpec spec_;
};

// Blocks after the preload, one after the other, drawn from one Rng.
class BlockDraws {
 public:
  enum class Values {
    kNew,
    kPreload,  // the same accounts and slots get the values back that the preload gave them
  };

  // `workload` must outlive this.
  BlockDraws(const Workload& workload, uint64_t seed, Values values = Values::kNew)
      : workload_(workload), rng_(seed), values_(values) {}

  std::vector<AccountChange> Next();

 private:
  std::vector<AccountChange> Accounts();
  std::vector<AccountChange> OneContract();
  std::vector<AccountChange> ManyContracts();

  const Workload& workload_;
  Rng rng_;
  const Values values_;
  uint64_t block_ = 0;
};

// Roots that other implementations computed for the same workload (bench/peers/README.md); nullopt where there is none.
std::optional<std::string_view> PublishedPreloadRoot(const WorkloadSpec& spec);
std::optional<std::string_view> PublishedRoot(const WorkloadSpec& spec, uint64_t blocks);

}  // namespace mptd::bench
