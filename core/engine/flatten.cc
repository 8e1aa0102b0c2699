// From the changes that a client sends to the flat rows that they change.
#include <algorithm>
#include <map>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/account.h"
#include "core/engine/transition.h"
#include "core/errors.h"
#include "core/hex.h"
#include "core/keccak.h"

namespace mptd {
namespace {

using storage::Table;

absl::Status CheckChange(const AccountChange& change, size_t index) {
  if (change.remove &&
      (change.nonce || change.balance || change.code || change.reset_storage || !change.slots.empty())) {
    return InvalidField(absl::StrCat("changes[", index, "].delete"),
                        "an account that is deleted takes no other changes; leave them out, or use "
                        "reset_storage to create it again in the same block");
  }
  return absl::OkStatus();
}

// One change with its hashed address.
struct Keyed {
  Hash key;
  size_t index;  // in the order sent
};

absl::StatusOr<std::vector<Keyed>> SortByKey(std::span<const AccountChange> changes, const TransitionRules& rules) {
  if (absl::Status s = CheckChangeLimits(changes, rules.limits); !s.ok()) return s;
  std::vector<Keyed> keyed(changes.size());
  std::vector<KeccakJob> jobs(changes.size());
  for (size_t i = 0; i < changes.size(); ++i) {
    if (absl::Status s = CheckChange(changes[i], i); !s.ok()) return s;
    keyed[i].index = i;
    jobs[i] = {changes[i].address.view(), keyed[i].key.bytes.data()};
  }
  Keccak256Batch(jobs);
  std::sort(keyed.begin(), keyed.end(), [](const Keyed& a, const Keyed& b) { return a.key < b.key; });
  for (size_t i = 1; i < keyed.size(); ++i) {
    if (keyed[i].key == keyed[i - 1].key) {
      const size_t later = std::max(keyed[i].index, keyed[i - 1].index);
      return InvalidField(absl::StrCat("changes[", later, "].address"),
                          absl::StrFormat("account %s appears twice in one block; send all its changes in one entry",
                                          ToHex(changes[later].address)));
    }
  }
  return keyed;
}

absl::Status ReadAccounts(const ViewImpl& view, TrieUpdate::Purpose purpose, WorkerPool* pool, Transition& transition) {
  std::vector<BytesView> keys;
  keys.reserve(transition.accounts.size());
  for (const FlatAccount& account : transition.accounts) keys.push_back(account.key.view());
  std::vector<std::optional<Bytes>> rows(keys.size());
  std::vector<const storage::VersionIndex::Entry*> entries(keys.size());
  auto* const places = purpose == TrieUpdate::Purpose::kPublish ? &entries : nullptr;
  if (absl::Status s = view.RowsAt(Table::kAccounts, keys, rows, places, pool); !s.ok()) return s;
  for (size_t i = 0; i < rows.size(); ++i) {
    transition.accounts[i].entry = entries[i];
    if (!rows[i]) continue;
    absl::StatusOr<Account> account = DecodeSlimAccount(*rows[i]);
    if (!account.ok()) {
      return absl::DataLossError(
          absl::StrCat("table accounts, row ", ToHex(keys[i]), ": ", account.status().message()));
    }
    transition.accounts[i].before = *account;
  }
  return absl::OkStatus();
}

// Hashes and sorts the slots of one change; refuses duplicates.
absl::Status TakeSlots(const AccountChange& change, size_t index, FlatAccount& account) {
  account.slots.resize(change.slots.size());
  std::vector<KeccakJob> jobs(change.slots.size());
  for (size_t i = 0; i < change.slots.size(); ++i) {
    account.slots[i].after = change.slots[i].value;
    jobs[i] = {change.slots[i].key.view(), account.slots[i].key.bytes.data()};
  }
  Keccak256Batch(jobs);
  std::sort(account.slots.begin(), account.slots.end(),
            [](const FlatSlot& a, const FlatSlot& b) { return a.key < b.key; });
  const auto twice = std::adjacent_find(account.slots.begin(), account.slots.end(),
                                        [](const FlatSlot& a, const FlatSlot& b) { return a.key == b.key; });
  if (twice == account.slots.end()) return absl::OkStatus();
  for (size_t i = change.slots.size(); i-- > 0;) {
    if (Keccak256(change.slots[i].key.view()) == twice->key) {
      return InvalidField(absl::StrFormat("changes[%d].slots[%d].key", index, i),
                          absl::StrFormat("slot %s appears twice", ToHex(change.slots[i].key)));
    }
  }
  return absl::InternalError("a duplicate slot was not found again");
}

// The old values of the slots that the block sets, for all accounts together.
absl::Status ReadSlots(const ViewImpl& view, TrieUpdate::Purpose purpose, WorkerPool* pool,
                       std::span<FlatAccount*> accounts) {
  std::vector<Bytes> keys;
  for (const FlatAccount* account : accounts) {
    for (const FlatSlot& slot : account->slots) keys.push_back(Bytes(account->key.view()) + Bytes(slot.key.view()));
  }
  const std::vector<BytesView> views(keys.begin(), keys.end());
  std::vector<std::optional<Bytes>> rows(keys.size());
  std::vector<const storage::VersionIndex::Entry*> entries(keys.size());
  auto* const places = purpose == TrieUpdate::Purpose::kPublish ? &entries : nullptr;
  if (absl::Status s = view.RowsAt(Table::kSlots, views, rows, places, pool); !s.ok()) return s;
  size_t next = 0;
  for (FlatAccount* account : accounts) {
    for (FlatSlot& slot : account->slots) {
      slot.entry = entries[next];
      const std::optional<Bytes>& row = rows[next++];
      if (!row) continue;
      absl::StatusOr<U256> value = U256::FromMinimal(*row);
      if (!value.ok()) return absl::DataLossError(absl::StrCat("table slots, row ", ToHex(views[next - 1])));
      slot.before = *value;
    }
  }
  return absl::OkStatus();
}

// All slots that the account has go, but for what `account.slots` sets.
absl::Status AddWholeStorage(const ViewImpl& view, FlatAccount& account) {
  std::vector<FlatSlot> all;
  Hash last;
  last.bytes.fill(0xff);
  const Bytes prefix(account.key.view());
  bool damaged = false;
  absl::Status s = view.ScanRows(Table::kSlots, prefix + Bytes(Hash{}.view()), prefix + Bytes(last.view()),
                                 [&](BytesView key, BytesView row) {
                                   absl::StatusOr<U256> value = U256::FromMinimal(row);
                                   damaged = !value.ok();
                                   if (!damaged)
                                     all.push_back({Hash::FromView(key.substr(32)), *value, U256{}, nullptr});
                                   return !damaged;
                                 });
  if (!s.ok()) return s;
  if (damaged) return absl::DataLossError(absl::StrCat("table slots, account ", ToHex(account.key)));
  std::vector<FlatSlot> merged;
  merged.reserve(all.size() + account.slots.size());
  auto set = account.slots.begin();
  for (const FlatSlot& old : all) {
    while (set != account.slots.end() && set->key < old.key) merged.push_back(*set++);
    if (set != account.slots.end() && set->key == old.key) {
      merged.push_back({old.key, old.before, (set++)->after, nullptr});
    } else {
      merged.push_back(old);
    }
  }
  merged.insert(merged.end(), set, account.slots.end());
  account.slots = std::move(merged);
  return absl::OkStatus();
}

// The account after the change, without its storage root.
std::optional<Account> ChangedAccount(const FlatAccount& account, const AccountChange& change,
                                      const TransitionRules& rules) {
  if (change.remove) return std::nullopt;
  Account after = account.before.value_or(Account{});
  if (change.nonce) after.nonce = *change.nonce;
  if (change.balance) after.balance = *change.balance;
  if (change.code) after.code_hash = change.code->empty() ? kEmptyCodeHash : Keccak256(*change.code);
  if (after.IsEmpty() && !rules.keep_empty_accounts) return std::nullopt;
  return after;
}

absl::Status AddNewCode(const ViewImpl& view, std::span<const AccountChange> changes, const std::vector<Keyed>& keyed,
                        Transition& transition) {
  std::map<Hash, BytesView> wanted;
  for (size_t i = 0; i < keyed.size(); ++i) {
    const AccountChange& change = changes[keyed[i].index];
    const FlatAccount& account = transition.accounts[i];
    if (!change.code || change.code->empty() || !account.after) continue;
    if (account.before && account.before->code_hash == account.after->code_hash) continue;
    wanted.emplace(account.after->code_hash, *change.code);
  }
  for (const auto& [hash, code] : wanted) {
    absl::StatusOr<std::optional<Bytes>> present = view.RowAt(Table::kCode, hash.view());
    if (!present.ok()) return present.status();
    if (!present->has_value()) transition.new_code.emplace_back(hash, Bytes(code));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transition>> FlattenChanges(const ViewImpl& view, std::span<const AccountChange> changes,
                                                           const TransitionRules& rules, TrieUpdate::Purpose purpose,
                                                           WorkerPool* pool) {
  absl::StatusOr<std::vector<Keyed>> keyed = SortByKey(changes, rules);
  if (!keyed.ok()) return keyed.status();
  auto transition = std::make_unique<Transition>();
  transition->accounts.resize(keyed->size());
  for (size_t i = 0; i < keyed->size(); ++i) {
    FlatAccount& account = transition->accounts[i];
    account.key = (*keyed)[i].key;
    if (changes[(*keyed)[i].index].slots.empty()) continue;
    if (absl::Status s = TakeSlots(changes[(*keyed)[i].index], (*keyed)[i].index, account); !s.ok()) return s;
  }
  if (absl::Status s = ReadAccounts(view, purpose, pool, *transition); !s.ok()) return s;

  std::vector<FlatAccount*> with_slots;
  for (size_t i = 0; i < keyed->size(); ++i) {
    FlatAccount& account = transition->accounts[i];
    const AccountChange& change = changes[(*keyed)[i].index];
    account.after = ChangedAccount(account, change, rules);
    const bool had_storage = account.before && account.before->storage_root != kEmptyRoot;
    if (!account.after) account.slots.clear();
    if (had_storage && (!account.after || change.reset_storage)) {
      if (absl::Status s = AddWholeStorage(view, account); !s.ok()) return s;
    } else if (had_storage && !account.slots.empty()) {
      with_slots.push_back(&account);
    }
  }
  if (absl::Status s = ReadSlots(view, purpose, pool, with_slots); !s.ok()) return s;
  if (absl::Status s = AddNewCode(view, changes, *keyed, *transition); !s.ok()) return s;

  for (FlatAccount& account : transition->accounts) {
    std::erase_if(account.slots, [](const FlatSlot& slot) { return slot.before == slot.after; });
    transition->slots_changed += account.slots.size();
  }
  std::erase_if(transition->accounts, [](const FlatAccount& a) { return a.slots.empty() && a.before == a.after; });
  return transition;
}

}  // namespace mptd
