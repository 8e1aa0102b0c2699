#include "bench/snapshot.h"

#include <algorithm>

#include "bench/measure.h"
#include "core/account.h"
#include "core/keccak.h"
#include "core/rlp.h"
#include "core/trie/trie_builder.h"

namespace mptd::bench {
namespace {

Bytes AddressBytes(uint64_t i) { return Bytes(AddressOf(i).view()); }
Bytes ContractBytes(uint64_t /*i*/) { return Bytes(ContractAddress().view()); }
Bytes SlotBytes(uint64_t i) { return Bytes(SlotKey(i).view()); }

// Hashes what it is given in batches, and counts only the time of that.
class TimedHashes {
 public:
  TimedHashes() : hashes_(kBatch) {}

  // Append an input to bytes(), then End().
  Bytes& bytes() { return bytes_; }
  void End() {
    ends_.push_back(bytes_.size());
    if (ends_.size() == kBatch) Hash();
  }
  double Seconds() {
    Hash();
    return seconds_;
  }

 private:
  static constexpr size_t kBatch = 2048;

  void Hash() {
    std::vector<KeccakJob> jobs;
    for (size_t i = 0, begin = 0; i < ends_.size(); begin = ends_[i++]) {
      jobs.push_back({BytesView(bytes_).substr(begin, ends_[i] - begin), hashes_[i].bytes.data()});
    }
    const Stopwatch watch;
    Keccak256Batch(jobs);
    seconds_ += watch.Seconds();
    bytes_.clear();
    ends_.clear();
  }

  Bytes bytes_;
  std::vector<size_t> ends_;
  std::vector<mptd::Hash> hashes_;
  double seconds_ = 0;
};

}  // namespace

Snapshot::Snapshot(const Workload& workload) : spec_(workload.spec()) {
  switch (spec_.profile) {
    case Profile::kAccounts:
      accounts_ = Sorted(spec_.accounts, AddressBytes);
      break;
    case Profile::kOneContract:
      accounts_ = Sorted(1, ContractBytes);
      slots_ = Sorted(spec_.slots, SlotBytes);
      break;
    case Profile::kManyContracts:
      accounts_ = Sorted(spec_.contracts, AddressBytes);
      slots_ = Sorted(spec_.contract_slots, SlotBytes);
      break;
  }
}

std::vector<Snapshot::Keyed> Snapshot::Sorted(uint64_t count, Bytes (*key_of)(uint64_t)) {
  std::vector<Keyed> out;
  out.reserve(count);
  for (uint64_t i = 0; i < count; ++i) out.emplace_back(Keccak256(key_of(i)), i);
  std::sort(out.begin(), out.end());
  return out;
}

ImportedAccount Snapshot::AccountAt(size_t i) const {
  ImportedAccount account;
  account.key = accounts_[i].first;
  account.nonce = 1;
  if (spec_.profile != Profile::kOneContract) account.balance = BalanceOf(accounts_[i].second);
  return account;
}

absl::StatusOr<ImportReport> Snapshot::Import(const EngineOptions& options, const ImportedBlock& block) const {
  absl::StatusOr<std::unique_ptr<StateImport>> import = StateImport::Begin(options);
  if (!import.ok()) return import.status();
  for (size_t i = 0; i < accounts_.size(); ++i) {
    if (absl::Status s = (*import)->AddAccount(AccountAt(i), {}); !s.ok()) return s;
    for (const auto& [key, number] : slots_) {
      if (absl::Status s = (*import)->AddSlot(key, U256::FromUint64(number + 1)); !s.ok()) return s;
    }
  }
  return (*import)->Finish(block);
}

double Snapshot::HashFloorSeconds() const {
  TimedHashes hashes;
  TrieBuilder builder([&hashes](const NibblePath&, const BranchValue& branch) {
    AppendBranchRlp(hashes.bytes(), branch);
    hashes.End();
  });
  // A leaf's node begins where its key parts from its neighbours'.
  const auto add = [&](const std::vector<Keyed>& keys, size_t i, const Bytes& value) {
    size_t shared = i == 0 ? 0 : CommonNibbles(keys[i - 1].first, keys[i].first);
    if (i + 1 < keys.size()) shared = std::max(shared, CommonNibbles(keys[i].first, keys[i + 1].first));
    AppendLeafRlp(hashes.bytes(), keys[i].first, keys.size() == 1 ? 0 : shared + 1, value);
    hashes.End();
    builder.Add(keys[i].first, value, false);
  };
  for (size_t i = 0; i < accounts_.size(); ++i) {
    for (size_t k = 0; k < slots_.size(); ++k) {
      Bytes value;
      rlp::AppendString(value, U256::FromUint64(slots_[k].second + 1).minimal());
      add(slots_, k, value);
    }
    if (!slots_.empty()) builder.End();
  }
  for (size_t i = 0; i < accounts_.size(); ++i) {
    const ImportedAccount account = AccountAt(i);
    Bytes value;
    AppendAccountRlp(value, {account.nonce, account.balance, kEmptyRoot, kEmptyCodeHash});
    add(accounts_, i, value);
  }
  builder.Finish();
  return hashes.Seconds();
}

}  // namespace mptd::bench
