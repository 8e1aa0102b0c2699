#include "tests/engine/questions.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/hex.h"
#include "core/keccak.h"

namespace mptd::testing {
namespace {

const Bytes kCode = "some code that accounts run";

void Append(std::string& text, const Account& account) {
  absl::StrAppend(&text, account.nonce, " ", ToHex(account.balance.minimal()), " ", ToHex(account.storage_root), " ",
                  ToHex(account.code_hash), "\n");
}

void Append(std::string& text, std::span<const Bytes> nodes) {
  for (const Bytes& node : nodes) absl::StrAppend(&text, ToHex(node), "\n");
}

std::vector<Address> SomeAddresses() {
  std::vector<Address> addresses;
  for (uint64_t i = 0; i < 60; i += 7) addresses.push_back(AddressOf(i));
  addresses.push_back(AddressOf(1000));
  return addresses;
}

const std::vector<Hash> kSlots = {SlotOf(3), SlotOf(7), SlotOf(19), SlotOf(999)};

Answer Accounts(const StateView& view) {
  absl::StatusOr<std::vector<std::optional<Account>>> accounts = view.GetAccounts(SomeAddresses());
  if (!accounts.ok()) return accounts.status();
  std::string text;
  for (const std::optional<Account>& account : *accounts) Append(text, account.value_or(Account{}));
  return text;
}

Answer OneAccount(const StateView& view) {
  absl::StatusOr<std::optional<Account>> account = view.GetAccount(AddressOf(50));
  if (!account.ok()) return account.status();
  std::string text;
  Append(text, account->value_or(Account{}));
  return text;
}

Answer Storage(const StateView& view) {
  absl::StatusOr<std::vector<U256>> values = view.GetStorage(AddressOf(50), kSlots);
  if (!values.ok()) return values.status();
  std::string text;
  for (const U256& value : *values) absl::StrAppend(&text, ToHex(value.minimal()), " ");
  return text;
}

Answer Code(const StateView& view) {
  absl::StatusOr<std::optional<Bytes>> code = view.GetCode(Keccak256(kCode));
  if (!code.ok()) return code.status();
  return code->value_or("none");
}

Answer Proof(const StateView& view) {
  absl::StatusOr<AccountProof> proof = view.GetProof(AddressOf(50), kSlots);
  if (!proof.ok()) return proof.status();
  std::string text;
  Append(text, proof->account);
  Append(text, proof->proof);
  for (const StorageProof& slot : proof->storage) Append(text, slot.proof);
  return text;
}

Answer Proofs(const StateView& view) {
  const std::vector<ProofTargetSpec> targets = {
      {AddressOf(50), kSlots}, {AddressOf(1), {}}, {AddressOf(1000), {SlotOf(1)}}, {AddressOf(51), kSlots}};
  absl::StatusOr<MultiProof> proof = view.GetMultiProof(targets);
  if (!proof.ok()) return proof.status();
  std::string text;
  Append(text, proof->nodes);
  return text;
}

Answer AccountPages(const StateView& view) {
  std::string text;
  std::optional<Hash> next = Hash{};
  while (next) {
    absl::StatusOr<Page<HashedAccount>> page = view.ScanAccounts(*next, 5);
    if (!page.ok()) return page.status();
    for (const HashedAccount& item : page->items) Append(text, item.account);
    next = page->next;
  }
  return text;
}

Answer StoragePages(const StateView& view) {
  std::string text;
  std::optional<Hash> next = Hash{};
  while (next) {
    absl::StatusOr<Page<HashedSlot>> page = view.ScanStorage(AddressOf(50), *next, 5);
    if (!page.ok()) return page.status();
    for (const HashedSlot& item : page->items) {
      absl::StrAppend(&text, ToHex(item.key), ToHex(item.value.minimal()), "\n");
    }
    next = page->next;
  }
  return text;
}

Answer DryRun(const StateView& view) {
  absl::StatusOr<Hash> root = view.ComputeRoot(QuestionedChanges(99), false);
  if (!root.ok()) return root.status();
  return ToHex(*root);
}

}  // namespace

std::vector<AccountChange> QuestionedChanges(uint64_t salt) {
  std::vector<AccountChange> changes = {SetBalance(1, salt + 5000),
                                        SetBalance(2000 + salt, 1),
                                        Remove(8 + salt % 3),
                                        SetSlots(50, {{3, salt + 1}, {7, 0}, {100 + salt, 1}}),
                                        Reset(SetSlots(51, {{5, salt + 1}})),
                                        SetCode(52, absl::StrCat("code ", salt))};
  if (salt % 4 == 3) changes.push_back(Remove(53));
  return changes;
}

void ApplyQuestioned(TwinChain& chain) {
  std::vector<AccountChange> changes;
  for (uint64_t i = 0; i < 50; ++i) changes.push_back(SetBalance(i, i + 1));
  for (uint64_t i = 50; i < 54; ++i) {
    AccountChange change = SetCode(i, kCode);
    for (uint64_t slot = 0; slot < 20; ++slot) change.slots.push_back({SlotOf(slot), U256::FromUint64(slot + i)});
    changes.push_back(std::move(change));
  }
  chain.Apply(std::move(changes));
  for (uint64_t i = 2; i <= kQuestionedBlocks; ++i) chain.Apply(QuestionedChanges(i));
}

std::span<const Question> Questions() {
  static constexpr Question kAll[] = {{"Accounts", Accounts},
                                      {"OneAccount", OneAccount},
                                      {"Storage", Storage},
                                      {"Code", Code},
                                      {"Proof", Proof},
                                      {"Proofs", Proofs},
                                      {"DryRun", DryRun},
                                      {"AccountPages", AccountPages},
                                      {"StoragePages", StoragePages}};
  return kAll;
}

Answer Ask(const StateEngine& engine, const BlockSelector& block, const Question& question) {
  absl::StatusOr<StateViewPtr> view = engine.View(block);
  if (!view.ok()) return view.status();
  return question.ask(**view);
}

EngineOptions WithoutCaches(const std::string& data_dir) {
  EngineOptions options;
  options.data_dir = data_dir;
  options.flush_interval = absl::Hours(1);
  options.flush_retry = absl::Milliseconds(1);
  options.log_segment_bytes = 64u << 10;
  options.block_cache_bytes = 1;
  options.row_cache_bytes = 0;
  options.node_cache_bytes = 0;
  options.history_memory_bytes = 1;
  options.worker_threads = 1;
  return options;
}

}  // namespace mptd::testing
