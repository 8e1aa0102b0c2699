// The trials of the engine at work: what outlives a restart, how fast it is, and many things at the same time.
#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "checkup/folder_check.h"
#include "checkup/trial.h"
#include "core/hex.h"
#include "core/proof_verifier.h"
#include "metrics/metrics.h"

namespace mptd::checkup {
namespace {

using Shown = absl::StatusOr<std::string>;

// What the checklist asks for.
constexpr double kFewestLookups = 5000;  // a second
constexpr double kFewestUpdates = 1000;

constexpr uint64_t kCacheForSpeed = uint64_t{1} << 30;

absl::Status ExpectWhole(StateEngine& engine) {
  const absl::StatusOr<VerifyReport> report = engine.Verify([](const VerifyProgress&) { return true; });
  if (!report.ok()) return report.status();
  if (report->difference.empty()) return absl::OkStatus();
  return Wrong(absl::StrCat("the recomputed trie differs: ", report->difference));
}

// `count` changes of accounts below `of`, as a block of a busy chain.
std::vector<AccountChange> SomeChanges(std::mt19937_64& random, uint64_t count, uint64_t of) {
  std::vector<AccountChange> changes;
  for (const uint64_t first = random() % of; changes.size() < std::min(count, of);) {
    changes.push_back(TrialAccount((first + 7 * changes.size()) % (7 * of), random() % 1000));
    changes.back().slots = {{.key = TrialSlot(random() % 8), .value = U256::FromUint64(random() % 5)}};
  }
  return changes;
}

Shown ShowPersistence(const TrialOptions& options) {
  constexpr uint64_t kBlocks = 10;
  const absl::StatusOr<std::unique_ptr<Trial>> trial = Trial::Open(options, "persistence");
  if (!trial.ok()) return trial.status();
  std::mt19937_64 random(1);
  absl::StatusOr<BlockInfo> head = absl::UnknownError("");
  for (uint64_t i = 0; i < kBlocks; ++i) {
    head = (*trial)->Apply(SomeChanges(random, 100, 1000));
    if (!head.ok()) return head.status();
  }
  if (absl::Status status = (*trial)->Flush(); !status.ok()) return status;
  if (absl::Status status = (*trial)->Reopen(); !status.ok()) return status;
  const EngineStatus status = (*trial)->engine().Status();
  if (!status.has_blocks || status.head != *head) {
    return Wrong(absl::StrFormat("after a restart the state is block %d with root %s, it was block %d with %s",
                                 status.head.number, ToHex(status.head.state_root), head->number,
                                 ToHex(head->state_root)));
  }
  if (absl::Status whole = ExpectWhole((*trial)->engine()); !whole.ok()) return whole;
  (*trial)->Close();
  const absl::StatusOr<FolderReport> report = CheckFolder((*trial)->options().data_dir, options.engine.encryption_key);
  if (!report.ok()) return report.status();
  if (!report->damage.empty()) return Wrong(report->damage.front().file + " " + report->damage.front().what);
  return absl::StrFormat("%d blocks read back after a restart with their root; %s in %d tables whole", kBlocks,
                         SizeText(report->table_bytes), report->table_files);
}

// Calls a second.
absl::StatusOr<double> MeasureLookups(const Trial& trial, uint64_t accounts) {
  constexpr int kLookups = 10'000;
  const absl::StatusOr<StateViewPtr> view = trial.Head();
  if (!view.ok()) return view.status();
  std::mt19937_64 random(2);
  const absl::Time begin = absl::Now();
  for (int i = 0; i < kLookups; ++i) {
    const absl::StatusOr<std::optional<Account>> found = (*view)->GetAccount(TrialAddress(random() % accounts));
    if (!found.ok()) return found.status();
    if (!found->has_value()) return Wrong("an account is not found after it was set");
  }
  return kLookups / absl::ToDoubleSeconds(absl::Now() - begin);
}

absl::StatusOr<double> MeasureUpdates(Trial& trial, uint64_t accounts) {
  constexpr int kBlocks = 10;
  constexpr int kUpdates = 100;  // a block
  std::mt19937_64 random(3);
  const absl::Time begin = absl::Now();
  for (uint64_t block = 1; block <= kBlocks; ++block) {
    std::vector<AccountChange> changes;
    const uint64_t first = random() % accounts;
    for (uint64_t i = 0; i < kUpdates; ++i) changes.push_back(TrialAccount((first + i) % accounts, block));
    if (absl::Status status = trial.Apply(std::move(changes)).status(); !status.ok()) return status;
  }
  return kBlocks * kUpdates / absl::ToDoubleSeconds(absl::Now() - begin);
}

absl::Status Prefill(Trial& trial, uint64_t accounts) {
  constexpr uint64_t kABlock = 10'000;
  for (uint64_t first = 0; first < accounts; first += kABlock) {
    std::vector<AccountChange> changes;
    for (uint64_t i = first; i < std::min(accounts, first + kABlock); ++i) changes.push_back(TrialAccount(i));
    if (absl::Status status = trial.Apply(std::move(changes)).status(); !status.ok()) return status;
  }
  return trial.Flush();
}

// What writer and readers of the stress test share.
struct Stress {
  Trial& trial;
  const uint64_t accounts;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> reads{0};
  std::atomic<uint64_t> proofs{0};
  absl::Mutex mutex;
  absl::Status failed ABSL_GUARDED_BY(mutex);

  void Fail(const absl::Status& status) {
    const absl::MutexLock lock(&mutex);
    failed.Update(status);
    stop = true;
  }
};

// Reads one block at a time, with proofs against its root, while the next ones are applied.
void ReadUntilStopped(Stress& stress, uint64_t seed) {
  std::mt19937_64 random(seed);
  while (!stress.stop) {
    const absl::StatusOr<StateViewPtr> view = stress.trial.Head();
    if (!view.ok()) return stress.Fail(view.status());
    for (int i = 0; i < 16 && !stress.stop; ++i) {
      const Address address = TrialAddress(random() % stress.accounts);
      const absl::StatusOr<std::optional<Account>> found = (*view)->GetAccount(address);
      const absl::StatusOr<AccountProof> proof = (*view)->GetProof(address, {});
      if (!found.ok() || !proof.ok()) return stress.Fail(found.ok() ? proof.status() : found.status());
      if (!VerifyAccountProof((*view)->block().state_root, *proof).ok() ||
          proof->account != found->value_or(Account())) {
        return stress.Fail(Wrong("a reader saw an account that does not fit its block's root"));
      }
      stress.reads.fetch_add(1, std::memory_order_relaxed);
      stress.proofs.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

// Blocks, and now and then the way back, until something was read beside them; returns how many blocks were applied.
absl::StatusOr<uint64_t> WriteUntil(Stress& stress, absl::Time end) {
  constexpr uint64_t kRollbackEvery = 50;
  std::mt19937_64 random(4);
  std::vector<Hash> roots;  // of blocks 0 on
  uint64_t blocks = 0;
  while (!stress.stop && (absl::Now() < end || blocks == 0 || stress.reads == 0)) {
    const absl::StatusOr<BlockInfo> head = stress.trial.Apply(SomeChanges(random, 100, stress.accounts));
    if (!head.ok()) return head.status();
    ++blocks;
    roots.resize(head->number);
    roots.push_back(head->state_root);
    if (blocks % kRollbackEvery != 0) continue;
    const uint64_t back = head->number - 3;
    const absl::StatusOr<BlockInfo> earlier = stress.trial.engine().RollbackTo(back);
    if (!earlier.ok()) return earlier.status();
    if (earlier->state_root != roots[back]) return Wrong("a rollback gave another root than the block had");
  }
  return blocks;
}

Shown ShowStress(const TrialOptions& options) {
  // What the process may grow by beside caches and queue.
  constexpr uint64_t kAllowance = uint64_t{256} << 20;
  constexpr uint64_t kReaders = 2;
  const absl::StatusOr<std::unique_ptr<Trial>> trial =
      Trial::Open(options, "stress", [](EngineOptions& engine) { engine.flush_interval = absl::Seconds(1); });
  if (!trial.ok()) return trial.status();
  const EngineOptions& with = (*trial)->options();
  const uint64_t limit = with.node_cache_bytes + with.row_cache_bytes + with.block_cache_bytes +
                         with.history_memory_bytes + with.queue_bytes + kAllowance;
  const uint64_t before = ResidentMemoryBytes();
  Stress stress{.trial = **trial, .accounts = 2000, .mutex = {}, .failed = {}};
  std::vector<std::thread> readers;
  // Views need a first block.
  if (absl::Status status = (*trial)->Apply({TrialAccount(0)}).status(); !status.ok()) return status;
  for (uint64_t i = 0; i < kReaders; ++i) readers.emplace_back([&stress, i] { ReadUntilStopped(stress, 100 + i); });
  const absl::StatusOr<uint64_t> blocks = WriteUntil(stress, absl::Now() + options.stress);
  stress.stop = true;
  for (std::thread& reader : readers) reader.join();
  {
    const absl::MutexLock lock(&stress.mutex);
    if (!stress.failed.ok()) return stress.failed;
  }
  if (!blocks.ok()) return blocks.status();
  if (absl::Status status = ExpectWhole((*trial)->engine()); !status.ok()) return status;
  const uint64_t after = ResidentMemoryBytes();
  const uint64_t grown = after > before ? after - before : 0;
  if (grown > limit) {
    return Wrong(absl::StrFormat("the process grew by %s, caches and queue allow %s", SizeText(grown),
                                 SizeText(limit)));
  }
  return absl::StrFormat("%s with %d blocks beside %d reads with proofs; the root recomputed; memory grew by %s",
                         absl::FormatDuration(options.stress), *blocks, stress.proofs.load(), SizeText(grown));
}

}  // namespace

Finding TryPersistence(const TrialOptions& options) {
  return ToFinding("persistence", "blocks, accounts and root are the same after a restart", ShowPersistence(options));
}

Finding TryPerformance(const TrialOptions& options) {
  const std::string expected =
      absl::StrFormat("at least %.0f lookups and %.0f updates a second", kFewestLookups, kFewestUpdates);
  const auto told = [&](const absl::Status& status) { return ToFinding("performance", expected, status); };
  // With the caches of these settings, as far as a machine that is only looked at should give memory for them.
  const absl::StatusOr<std::unique_ptr<Trial>> trial = Trial::Open(options, "performance", [&](EngineOptions& engine) {
    engine.node_cache_bytes = std::min(options.engine.node_cache_bytes, kCacheForSpeed);
    engine.row_cache_bytes = std::min(options.engine.row_cache_bytes, kCacheForSpeed);
  });
  if (!trial.ok()) return told(trial.status());
  if (absl::Status status = Prefill(**trial, options.accounts); !status.ok()) return told(status);
  const absl::StatusOr<double> lookups = MeasureLookups(**trial, options.accounts);
  if (!lookups.ok()) return told(lookups.status());
  const absl::StatusOr<double> updates = MeasureUpdates(**trial, options.accounts);
  if (!updates.ok()) return told(updates.status());
  Finding out = ToFinding("performance", expected,
                          absl::StrFormat("%.0f lookups and %.0f updates a second among %d accounts", *lookups,
                                          *updates, options.accounts));
  if (*lookups < kFewestLookups || *updates < kFewestUpdates) {
    out.outcome = Outcome::kFailed;
    out.advice =
        "look for what else uses processor and disk (top, iostat), see disk_speed and cpu, or use a faster machine";
  }
  return out;
}

Finding TryStressTest(const TrialOptions& options) {
  return ToFinding("stress_test",
                   "blocks, rollbacks and reads beside each other: every proof fits its block, the root is right at "
                   "the end, memory stays within caches and queue",
                   ShowStress(options));
}

}  // namespace mptd::checkup
