#include "bench/workload.h"

#include <algorithm>
#include <array>
#include <bit>

#include "absl/container/flat_hash_map.h"

namespace mptd::bench {
namespace {

constexpr uint64_t kOneEther = 1'000'000'000'000'000'000;

// Values under keys, in the order in which the keys came first; a later value of the same key wins.
template <typename T>
class LastWins {
 public:
  explicit LastWins(size_t expected) { at_.reserve(expected); }

  void Put(uint64_t key, T value) {
    const auto [found, fresh] = at_.try_emplace(key, items_.size());
    if (fresh) {
      items_.push_back(std::move(value));
    } else {
      items_[found->second] = std::move(value);
    }
  }
  std::vector<T> Take() { return std::move(items_); }

 private:
  absl::flat_hash_map<uint64_t, size_t> at_;
  std::vector<T> items_;
};

AccountChange FundedAccount(uint64_t index, uint64_t nonce, uint64_t x) {
  AccountChange change;
  change.address = AddressOf(index);
  change.nonce = nonce;
  change.balance = BalanceOf(x);
  return change;
}

}  // namespace

Address AddressOf(uint64_t i) {
  Rng rng(i);
  std::array<uint8_t, 24> bytes;
  for (size_t k = 0; k < 24; k += 8) {
    const uint64_t draw = rng.Next();
    for (size_t b = 0; b < 8; ++b) bytes[k + b] = static_cast<uint8_t>(draw >> (8 * b));
  }
  return Address::FromView({reinterpret_cast<const char*>(bytes.data()), 20});
}

Address ContractAddress() { return Address::FromView(BytesView("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xc0\xff\xee\0", 20)); }

U256 BalanceOf(uint64_t x) {
  const uint64_t low = kOneEther + x;
  U256 out = U256::FromUint64(low);
  if (low < kOneEther) out.be[23] = 1;
  return out;
}

Hash SlotKey(uint64_t i) { return Hash{U256::FromUint64(i).be}; }

uint64_t Workload::preload_items() const {
  switch (spec_.profile) {
    case Profile::kAccounts:
      return spec_.accounts;
    case Profile::kOneContract:
      return spec_.slots;
    case Profile::kManyContracts:
      return spec_.contracts;
  }
  return 0;
}

uint64_t Workload::preload_items_a_block() const {
  const uint64_t leaves = spec_.profile == Profile::kManyContracts ? spec_.contract_slots + 1 : 1;
  return std::max<uint64_t>(1, spec_.preload_block / leaves);
}

uint64_t Workload::preload_blocks() const {
  return (preload_items() + preload_items_a_block() - 1) / preload_items_a_block();
}

std::vector<AccountChange> Workload::Preload(uint64_t block) const {
  const uint64_t begin = block * preload_items_a_block();
  const uint64_t end = std::min(preload_items(), begin + preload_items_a_block());
  std::vector<AccountChange> out;
  if (spec_.profile == Profile::kOneContract) {
    AccountChange change;
    change.address = ContractAddress();
    change.nonce = 1;
    for (uint64_t i = begin; i < end; ++i) change.slots.push_back({SlotKey(i), U256::FromUint64(i + 1)});
    out.push_back(std::move(change));
    return out;
  }
  out.reserve(end - begin);
  for (uint64_t i = begin; i < end; ++i) {
    out.push_back(FundedAccount(i, 1, i));
    if (spec_.profile != Profile::kManyContracts) continue;
    for (uint64_t s = 0; s < spec_.contract_slots; ++s)
      out.back().slots.push_back({SlotKey(s), U256::FromUint64(s + 1)});
  }
  return out;
}

uint64_t Workload::updates_per_block() const {
  return spec_.profile == Profile::kManyContracts ? 2 * spec_.updates : spec_.updates;
}

Address Workload::Target(uint64_t random) const {
  switch (spec_.profile) {
    case Profile::kAccounts:
      return AddressOf(random % spec_.accounts);
    case Profile::kOneContract:
      return ContractAddress();
    case Profile::kManyContracts:
      return AddressOf(random % spec_.contracts);
  }
  return {};
}

std::optional<Hash> Workload::TargetSlot(uint64_t random) const {
  switch (spec_.profile) {
    case Profile::kAccounts:
      return std::nullopt;
    case Profile::kOneContract:
      return SlotKey(random % spec_.slots);
    case Profile::kManyContracts:
      return SlotKey(random / spec_.contracts % spec_.contract_slots);
  }
  return std::nullopt;
}

std::vector<ProofTargetSpec> Workload::Touched(const std::vector<AccountChange>& changes) {
  std::vector<ProofTargetSpec> out;
  out.reserve(changes.size());
  for (const AccountChange& change : changes) {
    ProofTargetSpec& target = out.emplace_back();
    target.address = change.address;
    for (const SlotChange& slot : change.slots) target.slots.push_back(slot.key);
  }
  return out;
}

uint64_t Workload::ChangeBytes(const std::vector<AccountChange>& changes) {
  uint64_t bytes = 0;
  for (const AccountChange& change : changes) {
    bytes += Address::kSize;
    if (change.nonce) bytes += static_cast<uint64_t>(std::bit_width(*change.nonce) + 7) / 8;
    if (change.balance) bytes += change.balance->minimal().size();
    for (const SlotChange& slot : change.slots) bytes += Hash::kSize + slot.value.minimal().size();
  }
  return bytes;
}

std::vector<AccountChange> BlockDraws::Next() {
  std::vector<AccountChange> out;
  switch (workload_.spec().profile) {
    case Profile::kAccounts:
      out = Accounts();
      break;
    case Profile::kOneContract:
      out = OneContract();
      break;
    case Profile::kManyContracts:
      out = ManyContracts();
      break;
  }
  ++block_;
  return out;
}

std::vector<AccountChange> BlockDraws::Accounts() {
  const WorkloadSpec& spec = workload_.spec();
  LastWins<AccountChange> changes(spec.updates);
  for (uint64_t k = 0; k < spec.updates; ++k) {
    const uint64_t index = rng_.Next() % spec.accounts;
    const uint64_t x = rng_.Next();
    changes.Put(index, values_ == Values::kNew ? FundedAccount(index, block_ + 2, x) : FundedAccount(index, 1, index));
  }
  return changes.Take();
}

// As bench/peers/go does with -u 0 -s updates -sn slots.
std::vector<AccountChange> BlockDraws::OneContract() {
  const WorkloadSpec& spec = workload_.spec();
  LastWins<SlotChange> slots(spec.updates);
  for (uint64_t k = 0; k < spec.updates; ++k) {
    const uint64_t index = rng_.Next() % spec.slots;
    slots.Put(index, {SlotKey(index), U256::FromUint64(values_ == Values::kNew ? block_ + 7 : index + 1)});
  }
  std::vector<AccountChange> out(1);
  out[0].address = ContractAddress();
  out[0].slots = slots.Take();
  return out;
}

std::vector<AccountChange> BlockDraws::ManyContracts() {
  const WorkloadSpec& spec = workload_.spec();
  absl::flat_hash_map<uint64_t, size_t> at;
  std::vector<std::pair<Address, LastWins<SlotChange>>> contracts;
  for (uint64_t k = 0; k < spec.updates; ++k) {
    const uint64_t index = rng_.Next() % spec.contracts;
    const auto [found, fresh] = at.try_emplace(index, contracts.size());
    if (fresh) contracts.emplace_back(AddressOf(index), LastWins<SlotChange>(2));
    for (int two = 0; two < 2; ++two) {
      const uint64_t slot = rng_.Next() % spec.contract_slots;
      const uint64_t x = rng_.Next();
      contracts[found->second].second.Put(
          slot, {SlotKey(slot), U256::FromUint64(values_ == Values::kNew ? x | 1 : slot + 1)});
    }
  }
  std::vector<AccountChange> out(contracts.size());
  for (size_t i = 0; i < contracts.size(); ++i) {
    out[i].address = contracts[i].first;
    out[i].slots = contracts[i].second.Take();
  }
  return out;
}

std::optional<std::string_view> PublishedPreloadRoot(const WorkloadSpec& spec) {
  if (spec.profile != Profile::kAccounts) return std::nullopt;
  if (spec.accounts == 1'000'000) return "0d41d656797dfb2f9755e5f3f07aaf843db179d6ea336071831319dc518ef820";
  if (spec.accounts == 10'000'000) return "53eb0f9d05e631dfb54392ef9b228836d67f103d24935bf737e19f23896a0f77";
  return std::nullopt;
}

std::optional<std::string_view> PublishedRoot(const WorkloadSpec& spec, uint64_t blocks) {
  struct Known {
    uint64_t accounts, updates, blocks;
    std::string_view root;
  };
  static constexpr Known kKnown[] = {
      {1'000'000, 1000, 300, "0215b0cf66107fcb11143b5b1e8bc2eeff2df49ede581d2b9bdc80fca2bc7464"},
      {10'000'000, 1000, 150, "63165f71816427b0dad335e5e6a4e12a9fbcf31f8c90667d4bf7003ef19ac261"},
      {1'000'000, 10'000, 50, "dedca9f35228fa11e1e861718ab90b8ff611e0606646c5aeda2d4e217b0ee036"},
  };
  if (spec.profile != Profile::kAccounts) return std::nullopt;
  for (const Known& known : kKnown) {
    if (known.accounts == spec.accounts && known.updates == spec.updates && known.blocks == blocks) return known.root;
  }
  return std::nullopt;
}

}  // namespace mptd::bench
