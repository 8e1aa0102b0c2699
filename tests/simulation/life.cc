#include "tests/simulation/life.h"

#include <gtest/gtest.h>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "core/hex.h"
#include "tests/engine/disk_twin.h"

namespace mptd::simulation {
namespace {

using storage::PowerCut;
using testing::BlockMaker;
using testing::DiskTwin;

constexpr uint64_t kMostReaders = 3;

// Every block that the engine was ever given, whether it has taken it or not.
class KnownBlocks {
 public:
  struct Known {
    BlockInfo info;
    std::shared_ptr<const model::NaiveState> state;
  };

  void Add(const BlockInfo& info, std::shared_ptr<const model::NaiveState> state) {
    absl::MutexLock lock(&mutex_);
    blocks_[*info.hash] = {info, std::move(state)};
  }
  // The state of a block that the engine has shown, which must be one of these.
  std::shared_ptr<const model::NaiveState> Find(const BlockInfo& shown) {
    if (shown.number == 0) return std::make_shared<const model::NaiveState>();
    absl::MutexLock lock(&mutex_);
    const auto found = shown.hash ? blocks_.find(*shown.hash) : blocks_.end();
    if (found == blocks_.end()) {
      ADD_FAILURE() << "nobody has made block " << shown.number;
      return nullptr;
    }
    EXPECT_EQ(found->second.info, shown) << "block " << shown.number << ", root " << ToHex(shown.state_root);
    return found->second.state;
  }

 private:
  absl::Mutex mutex_;
  std::map<Hash, Known> blocks_ ABSL_GUARDED_BY(mutex_);
};

class Life {
 public:
  Life(Scheduler& scheduler, Defect defect)
      : scheduler_(scheduler),
        durability_(static_cast<Durability>(scheduler.Below(3))),
        twin_(scheduler.Below(UINT64_MAX), durability_, scheduler.OneIn(2)),
        machine_(scheduler, twin_.disk(), defect) {
    Tell(absl::StrCat("durability ", static_cast<int>(durability_)));
    twin_.OnOptions([this](EngineOptions& options) { DrawOptions(options); });
    twin_.SetPatience(absl::Milliseconds(50));
    twin_.OnEachBlock([this](const BlockInfo& info, std::shared_ptr<const model::NaiveState> state) {
      known_.Add(info, std::move(state));
    });
  }

  // The engine goes before its machine.
  ~Life() { Stop(); }
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;

  void Run();

 private:
  // What happened, for the output of a seed that fails.
  void Tell(std::string_view what) {
    std::printf("step %" PRIu64 ": %.*s\n", scheduler_.progress().steps, static_cast<int>(what.size()), what.data());
  }
  void Add(Count count, uint64_t n = 1) { scheduler_.progress().counts[static_cast<size_t>(count)] += n; }
  // From one that a block fills to one that is never full.
  uint64_t DrawQueueBytes() { return uint64_t{4096} << scheduler_.Below(10); }
  uint64_t DrawCacheBytes() { return uint64_t{1024} << scheduler_.Below(8); }
  void DrawOptions(EngineOptions& options);
  bool Open();
  void Work();
  void DoOne();
  void Stop();

  void Read(BlockMaker& random);
  void ReadView(const StateView& view, BlockMaker& random);
  void ExpectAccounts(const StateView& view, const model::NaiveState& state, BlockMaker& random);
  void ExpectProof(const StateView& view, const model::NaiveState& state, BlockMaker& random);
  void ExpectDryRun(const StateView& view, const model::NaiveState& state, BlockMaker& random);
  void Follow();
  void Maintain();
  // False for an answer that is one of the disk; wrong for any that is not.
  bool Answered(const absl::Status& status);
  void Pause() { scheduler_.SleepFor(absl::Microseconds(scheduler_.Below(3000))); }
  bool stopped() {
    absl::MutexLock lock(&mutex_);
    return stopped_;
  }
  void SetStopped(bool stopped) {
    absl::MutexLock lock(&mutex_);
    stopped_ = stopped;
  }

  Scheduler& scheduler_;
  const Durability durability_;
  KnownBlocks known_;
  DiskTwin twin_;
  Machine machine_;
  absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

void Life::DrawOptions(EngineOptions& options) {
  machine_.Install(options);
  options.worker_threads = 1 + static_cast<int>(scheduler_.Below(3));
  options.flush_blocks = 1 + scheduler_.Below(8);
  options.prune_interval_blocks = 1 + scheduler_.Below(4);
  options.warm_up = scheduler_.OneIn(2);
  options.row_cache_bytes = DrawCacheBytes();
  options.node_cache_bytes = DrawCacheBytes();
  // What nobody uses is dropped at once, or never.
  options.cache_ttl = absl::Milliseconds(scheduler_.OneIn(3) ? 0 : 1 + scheduler_.Below(30));
  if (scheduler_.OneIn(3)) options.queue_bytes = DrawQueueBytes();
}

bool Life::Answered(const absl::Status& status) {
  if (status.ok()) return true;
  const bool full = machine_.IngestsFail() && absl::IsResourceExhausted(status);
  EXPECT_TRUE(full || ((machine_.PowerIsOut() || machine_.ReadsFail()) && absl::IsUnavailable(status))) << status;
  return false;
}

void Life::ExpectAccounts(const StateView& view, const model::NaiveState& state, BlockMaker& random) {
  std::vector<Address> addresses;
  for (uint64_t n = 1 + random.Below(4); n > 0; --n) addresses.push_back(testing::AddressOf(random.Below(12)));
  const auto accounts = view.GetAccounts(addresses);
  if (!Answered(accounts.status())) return;
  for (size_t i = 0; i < addresses.size(); ++i) EXPECT_EQ((*accounts)[i], state.Get(addresses[i]));
  const Address& address = addresses.front();
  std::vector<Hash> slots;
  for (uint64_t n = 1 + random.Below(4); n > 0; --n) slots.push_back(testing::SlotOf(random.Below(30)));
  const auto values = view.GetStorage(address, slots);
  if (!Answered(values.status())) return;
  const auto account = state.accounts.find(address);
  for (size_t i = 0; i < slots.size(); ++i) {
    U256 expected;
    if (account != state.accounts.end() && account->second.storage.contains(slots[i])) {
      expected = account->second.storage.at(slots[i]);
    }
    EXPECT_EQ((*values)[i], expected) << ToHex(address) << " " << ToHex(slots[i]);
  }
}

void Life::ExpectProof(const StateView& view, const model::NaiveState& state, BlockMaker& random) {
  const Address address = testing::AddressOf(random.Below(12));
  const Hash slot = testing::SlotOf(random.Below(30));
  const absl::StatusOr<AccountProof> proof = view.GetProof(address, {&slot, 1});
  if (!Answered(proof.status())) return;
  const AccountProof expected = state.Proof(address, {slot});
  EXPECT_EQ(proof->account, expected.account) << ToHex(address);
  EXPECT_EQ(proof->proof, expected.proof) << ToHex(address);
  ASSERT_EQ(proof->storage.size(), 1U);
  EXPECT_EQ(proof->storage[0].value, expected.storage[0].value);
  EXPECT_EQ(proof->storage[0].proof, expected.storage[0].proof);
}

void Life::ExpectDryRun(const StateView& view, const model::NaiveState& state, BlockMaker& random) {
  const BlockChanges block = random.Make(view.block());
  const absl::StatusOr<Hash> root = view.ComputeRoot(block.changes, block.keep_empty_accounts);
  if (!Answered(root.status())) return;
  model::NaiveState after = state;
  testing::ApplyToModel(after, block);
  EXPECT_EQ(ToHex(*root), ToHex(after.Root()));
}

void Life::ReadView(const StateView& view, BlockMaker& random) {
  const std::shared_ptr<const model::NaiveState> state = known_.Find(view.block());
  if (state == nullptr) return;
  SCOPED_TRACE(::testing::Message() << "a reader, block " << view.block().number);
  // One view for a while: flushes, reorganisations and pruning go past it.
  for (uint64_t n = 1 + random.Below(4); n > 0; --n) {
    const uint64_t kind = random.Below(8);
    if (kind < 4) ExpectAccounts(view, *state, random);
    if (kind >= 4 && kind < 7) ExpectProof(view, *state, random);
    if (kind == 7) ExpectDryRun(view, *state, random);
    if (random.Below(3) == 0) Pause();
  }
  Add(Count::kViews);
}

void Life::Read(BlockMaker& random) {
  while (!stopped()) {
    BlockSelector selector = LatestBlock{};
    const EngineStatus status = twin_.engine().Status();
    const bool older = random.Below(2) == 0 && status.head.number > status.oldest_served_number;
    if (older) {
      selector = status.head.number - random.Below(status.head.number - status.oldest_served_number + 1);
    }
    const absl::StatusOr<StateViewPtr> view = twin_.engine().View(selector);
    // An older block may not be served any more, or be rolled back.
    if (!view.ok() && older && absl::IsOutOfRange(view.status())) continue;
    if (Answered(view.status())) {
      if (older) Add(Count::kHistoric);
      ReadView(**view, random);
    }
    Pause();
  }
}

void Life::Follow() {
  uint64_t next = twin_.engine().NextHeadIndex();
  while (!stopped()) {
    const absl::StatusOr<std::optional<HeadEvent>> event =
        twin_.engine().WaitForHead(next, absl::Now() + absl::Milliseconds(2));
    ASSERT_TRUE(event.ok()) << event.status();
    if (!event->has_value()) continue;
    ++next;
    (void)known_.Find((*event)->block);
    Add(Count::kHeads);
  }
}

void Life::Maintain() {
  while (!stopped()) {
    scheduler_.SleepFor(absl::Milliseconds(scheduler_.Below(30)));
    switch (scheduler_.Below(6)) {
      case 0:
        if (twin_.engine().Flush().ok()) Add(Count::kFlushes);
        break;
      case 1: {
        const absl::StatusOr<VerifyReport> report = twin_.engine().Verify({});
        if (!Answered(report.status())) break;
        EXPECT_EQ(report->difference, "");
        break;
      }
      case 2: {
        EngineLimits limits = twin_.engine().limits();
        limits.node_cache_bytes = DrawCacheBytes();
        limits.row_cache_bytes = DrawCacheBytes();
        limits.queue_bytes = DrawQueueBytes();
        twin_.engine().SetLimits(limits);
        break;
      }
      default:
        (void)twin_.engine().Statistics();
    }
  }
}

void Life::DoOne() {
  using enum DiskTwin::Kind;
  static constexpr DiskTwin::Kind kKinds[] = {kApply, kApply,      kApply,      kApply,    kApply, kApply,
                                              kApply, kReorganize, kReorganize, kRollback, kFlush, kPrune};
  static constexpr std::array<const char*, 6> kNames = {"apply", "reorganize", "rollback", "flush", "prune", "copy"};
  const DiskTwin::Kind kind = kKinds[scheduler_.Below(std::size(kKinds))];
  const absl::Status status = twin_.Do(kind);
  Tell(absl::StrFormat("%s: %s; head %d", kNames[static_cast<size_t>(kind)], status.ToString(), twin_.blocks()));
  Add(status.ok() ? Count::kAcknowledged : Count::kFailed);
}

// The writer's work, with company, until the power is out or it has done enough.
void Life::Work() {
  SetStopped(false);
  std::vector<std::thread> company;
  for (uint64_t n = 1 + scheduler_.Below(kMostReaders); n > 0; --n) {
    company.emplace_back([this, seed = scheduler_.Below(UINT64_MAX)] {
      BlockMaker random(seed);
      Read(random);
    });
  }
  company.emplace_back([this] { Follow(); });
  company.emplace_back([this] { Maintain(); });
  for (uint64_t n = 3 + scheduler_.Below(scheduler_.OneIn(4) ? 40 : 12); n > 0 && !::testing::Test::HasFailure(); --n) {
    DoOne();
    if (scheduler_.OneIn(4)) Pause();
    if (machine_.PowerIsOut() && scheduler_.OneIn(2)) break;
  }
  SetStopped(true);
  for (std::thread& thread : company) thread.join();
}

bool Life::Open() {
  constexpr uint64_t kStepsOfOpening = 400;
  while (scheduler_.OneIn(4)) {
    machine_.CutPowerAfter(scheduler_.Below(kStepsOfOpening));
    const absl::Status opened = twin_.TryOpen();
    Tell(absl::StrCat("opened, to be cut short: ", opened.ToString()));
    EXPECT_NE(opened.code(), absl::StatusCode::kDataLoss) << opened;
    Stop();
  }
  const absl::Status opened = twin_.Open();
  Tell(absl::StrFormat("opened: %s; head %d", opened.ToString(), twin_.blocks()));
  EXPECT_TRUE(opened.ok()) << opened;
  Add(Count::kOpened);
  return opened.ok() && !::testing::Test::HasFailure();
}

void Life::Stop() {
  const bool cut = machine_.PowerIsOut();
  if (cut) Add(Count::kCuts);
  const PowerCut left = !cut ? PowerCut::kKeepAll : scheduler_.OneIn(3) ? PowerCut::kDropAll : PowerCut::kRandom;
  twin_.Restart(left);
  static constexpr std::array<const char*, 3> kLeft = {"", ", the power went out: what was synced is left",
                                                       ", the power went out: any part of the rest is left, too"};
  Tell(absl::StrCat("closed", kLeft[static_cast<size_t>(left)]));
  machine_.PowerOn();
}

void Life::Run() {
  constexpr uint64_t kMostSteps = 30'000;
  for (uint64_t starts = 1 + scheduler_.Below(4); starts > 0; --starts) {
    if (!Open()) return;
    if (!scheduler_.OneIn(4)) machine_.CutPowerAfter(scheduler_.Below(scheduler_.OneIn(3) ? 1'000 : kMostSteps));
    machine_.FailIngests(scheduler_.OneIn(4) ? 2 + scheduler_.Below(8) : 0);
    machine_.FailReads(scheduler_.OneIn(5) ? 20 + scheduler_.Below(500) : 0);
    Work();
    machine_.FailIngests(0);
    machine_.FailReads(0);
    Stop();
    if (::testing::Test::HasFailure()) return;
  }
  if (Open()) twin_.ExpectHead();
}

}  // namespace

void LiveALife(Scheduler& scheduler, Defect defect) {
  Life life(scheduler, defect);
  life.Run();
}

}  // namespace mptd::simulation
