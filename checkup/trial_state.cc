// The trials of what the state engine answers: accounts, roots, proofs, and the caches behind them.
#include <algorithm>
#include <array>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "checkup/trial.h"
#include "core/hex.h"
#include "core/proof_verifier.h"

namespace mptd::checkup {
namespace {

using Shown = absl::StatusOr<std::string>;

constexpr uint64_t kAccounts = 100;

absl::Status ExpectAccount(const StateView& view, const AccountChange& set) {
  const absl::StatusOr<std::optional<Account>> found = view.GetAccount(set.address);
  if (!found.ok()) return found.status();
  const Account wanted{.nonce = *set.nonce, .balance = *set.balance};
  if (*found == wanted) return absl::OkStatus();
  return Wrong(absl::StrFormat("account %s is %s", ToHex(set.address),
                               found->has_value() ? "not what was set" : "not found after it was set"));
}

absl::Status ExpectAbsent(const StateView& view, const Address& address) {
  const absl::StatusOr<std::optional<Account>> found = view.GetAccount(address);
  if (!found.ok()) return found.status();
  if (!found->has_value()) return absl::OkStatus();
  return Wrong(absl::StrFormat("account %s is there, though nobody set it or it was removed", ToHex(address)));
}

Shown ShowTrie(const TrialOptions& options) {
  const absl::StatusOr<std::unique_ptr<Trial>> trial = Trial::Open(options, "trie");
  if (!trial.ok()) return trial.status();
  std::vector<AccountChange> all = {TrialAccount(0, 1)};
  if (absl::Status status = (*trial)->Apply(all).status(); !status.ok()) return status;
  absl::StatusOr<StateViewPtr> view = (*trial)->Head();
  if (!view.ok()) return view.status();
  if (absl::Status status = ExpectAccount(**view, all[0]); !status.ok()) return status;

  all.clear();
  for (uint64_t i = 0; i < kAccounts; ++i) all.push_back(TrialAccount(i, 2));
  if (absl::Status status = (*trial)->Apply(all).status(); !status.ok()) return status;
  AccountChange removal;
  removal.address = all.back().address;
  removal.remove = true;
  if (absl::Status status = (*trial)->Apply({removal}).status(); !status.ok()) return status;
  all.pop_back();
  view = (*trial)->Head();
  if (!view.ok()) return view.status();
  for (const AccountChange& set : all) {
    if (absl::Status status = ExpectAccount(**view, set); !status.ok()) return status;
  }
  for (const Address& absent : {removal.address, TrialAddress(kAccounts)}) {
    if (absl::Status status = ExpectAbsent(**view, absent); !status.ok()) return status;
  }
  return absl::StrFormat("%d accounts set, read back and one removed", kAccounts);
}

absl::Status ExpectRoot(const absl::StatusOr<Hash>& root, const Hash& wanted, std::string_view of) {
  if (!root.ok()) return root.status();
  if (*root == wanted) return absl::OkStatus();
  return Wrong(absl::StrFormat("the root of %s is %s, it must be %s", of, ToHex(*root), ToHex(wanted)));
}

Shown ShowRoots(const TrialOptions& options) {
  const absl::StatusOr<std::unique_ptr<Trial>> trial = Trial::Open(options, "root");
  if (!trial.ok()) return trial.status();
  const absl::StatusOr<StateViewPtr> empty = (*trial)->Head();
  if (!empty.ok()) return empty.status();
  absl::Status status = ExpectRoot((*empty)->block().state_root, kEmptyRoot, "the empty state");
  if (!status.ok()) return status;
  std::vector<AccountChange> changes = options.known_state;
  status = ExpectRoot((*empty)->ComputeRoot(changes, true), options.known_root, "a known state");
  if (!status.ok()) return status;
  std::reverse(changes.begin(), changes.end());
  status = ExpectRoot((*empty)->ComputeRoot(changes, true), options.known_root, "a known state, in another order,");
  if (!status.ok()) return status;

  const std::vector<AccountChange> one = {TrialAccount(0)};
  const absl::StatusOr<Hash> computed = (*empty)->ComputeRoot(one, false);
  if (!computed.ok()) return computed.status();
  if (*computed == kEmptyRoot) return Wrong("the root did not change with an account");
  const absl::StatusOr<BlockInfo> applied = (*trial)->Apply(one);
  if (!applied.ok()) return applied.status();
  status = ExpectRoot(applied->state_root, *computed, "the same account, applied,");
  if (!status.ok()) return status;
  return absl::StrFormat("empty state %s; %d accounts of a known one %s, in any order", ToHex(kEmptyRoot),
                         changes.size(), ToHex(options.known_root));
}

// Every proof that differs from a right one in one bit must be refused.
absl::Status ExpectForgeriesRefused(const Hash& root, const AccountProof& proof, uint64_t& forgeries) {
  const auto refused = [&](const Hash& under, const AccountProof& forged) {
    ++forgeries;
    return VerifyAccountProof(under, forged).ok() ? Wrong("a forged proof was taken for a right one")
                                                  : absl::OkStatus();
  };
  Hash other = root;
  other.bytes[0] ^= 1;
  if (absl::Status status = refused(other, proof); !status.ok()) return status;
  for (size_t node = 0; node < proof.proof.size(); ++node) {
    AccountProof forged = proof;
    Bytes& bytes = forged.proof[node];
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
    if (absl::Status status = refused(root, forged); !status.ok()) return status;
  }
  AccountProof richer = proof;
  richer.account.balance = U256::FromUint64(7);
  return refused(root, richer);
}

Shown ShowProofs(const TrialOptions& options) {
  const absl::StatusOr<std::unique_ptr<Trial>> trial = Trial::Open(options, "proofs");
  if (!trial.ok()) return trial.status();
  std::vector<AccountChange> changes;
  for (uint64_t i = 0; i < kAccounts; ++i) {
    changes.push_back(TrialAccount(i));
    changes.back().slots = {{.key = TrialSlot(1), .value = U256::FromUint64(i + 1)}};
  }
  if (absl::Status status = (*trial)->Apply(changes).status(); !status.ok()) return status;
  const absl::StatusOr<StateViewPtr> view = (*trial)->Head();
  if (!view.ok()) return view.status();
  const Hash& root = (*view)->block().state_root;
  const std::array<Hash, 2> slots = {TrialSlot(1), TrialSlot(2)};
  uint64_t forgeries = 0;
  for (uint64_t i = 0; i < 2 * kAccounts; ++i) {
    const absl::StatusOr<AccountProof> proof = (*view)->GetProof(TrialAddress(i), slots);
    if (!proof.ok()) return proof.status();
    if (absl::Status status = VerifyAccountProof(root, *proof); !status.ok()) {
      return Wrong(absl::StrCat("a proof does not verify: ", status.message()));
    }
    const bool there = i < kAccounts;
    const Account& account = proof->account;
    if ((there ? account.balance != *changes[i].balance || proof->storage[0].value != U256::FromUint64(i + 1)
               : !account.IsEmpty()) ||
        !proof->storage[1].value.IsZero()) {
      return Wrong("a proof that verifies shows another state than what was set");
    }
    if (absl::Status status = ExpectForgeriesRefused(root, *proof, forgeries); !status.ok()) return status;
  }
  return absl::StrFormat("%d proofs of accounts with slots and %d of absence verify; %d forgeries are refused",
                         kAccounts, kAccounts, forgeries);
}

// Waits for what the engine does behind its answers.
bool Comes(absl::Duration patience, const std::function<bool()>& condition) {
  const absl::Time end = absl::Now() + patience;
  while (!condition()) {
    if (absl::Now() > end) return false;
    absl::SleepFor(absl::Milliseconds(5));
  }
  return true;
}

Shown ShowCache(const TrialOptions& options) {
  constexpr uint64_t kSmall = uint64_t{512} << 10;
  constexpr uint64_t kRows = 20 * kAccounts;
  constexpr uint64_t kRounds = 5;
  constexpr uint64_t kOften = 50;  // accounts that are asked for again and again
  const absl::StatusOr<std::unique_ptr<Trial>> trial = Trial::Open(options, "cache", [](EngineOptions& engine) {
    engine.row_cache_bytes = kSmall;
    engine.history_memory_bytes = kSmall;
    engine.node_cache_bytes = kSmall;
    engine.keep_blocks = 1;
  });
  if (!trial.ok()) return trial.status();
  StateEngine& engine = (*trial)->engine();
  for (uint64_t round = 0; round < kRounds; ++round) {
    std::vector<AccountChange> changes;
    for (uint64_t i = 0; i < kRows; ++i) changes.push_back(TrialAccount(round * kRows + i));
    if (absl::Status status = (*trial)->Apply(std::move(changes)).status(); !status.ok()) return status;
    if (absl::Status status = (*trial)->Flush(); !status.ok()) return status;
  }
  if (!Comes(options.patience, [&] { return engine.Statistics().evicted_rows > 0; })) {
    return Wrong("nothing was evicted from a cache that is too small");
  }
  const auto hits = [&] { return engine.Statistics().lookups[static_cast<size_t>(CacheKind::kAccounts)].hits; };
  const uint64_t before = hits();
  absl::Status failed;
  const bool hit = Comes(options.patience, [&] {
    const absl::StatusOr<StateViewPtr> view = (*trial)->Head();
    failed = view.status();
    for (uint64_t i = 0; i < kOften && failed.ok(); ++i) failed = ExpectAccount(**view, TrialAccount(i));
    return !failed.ok() || hits() >= before + kOften;
  });
  if (!failed.ok()) return failed;
  if (!hit) return Wrong("accounts that are read again and again are not answered from the cache");
  if (!Comes(options.patience, [&] { return engine.Status().row_cache_bytes <= 2 * kSmall; })) {
    return Wrong(absl::StrFormat("the cache holds %s, more than its %s", SizeText(engine.Status().row_cache_bytes),
                                 SizeText(2 * kSmall)));
  }
  const EngineStatistics statistics = engine.Statistics();
  return absl::StrFormat("%d rows evicted, %d hits, %s held of at most %s", statistics.evicted_rows, hits() - before,
                         SizeText(engine.Status().row_cache_bytes), SizeText(2 * kSmall));
}

}  // namespace

Finding TryTrieImplementation(const TrialOptions& options) {
  return ToFinding("trie_implementation", "accounts read as they were set, removed ones absent", ShowTrie(options));
}

Finding TryStateRoot(const TrialOptions& options) {
  return ToFinding("state_root", "the roots of the empty state and of a known one, in any order", ShowRoots(options));
}

Finding TryMerkleProofs(const TrialOptions& options) {
  return ToFinding("merkle_proofs", "proofs of accounts, slots and absence verify, forged ones do not",
                   ShowProofs(options));
}

Finding TryCache(const TrialOptions& options) {
  return ToFinding("cache", "a small cache keeps its limit, and answers what is asked often", ShowCache(options));
}

}  // namespace mptd::checkup
