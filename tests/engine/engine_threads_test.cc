// Readers of every kind beside a writer that applies, reorganises, rolls back, flushes and prunes, while limits change.
// Each block's root and a sample of its accounts are recorded when it is made; whatever a reader is told must be what
// was recorded.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <mutex>
#include <thread>

#include "core/engine/engine.h"
#include "core/errors.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "tests/engine/engine_testing.h"
#include "tests/engine/watchdog.h"

namespace mptd::testing {
namespace {

constexpr uint64_t kAccounts = 300;

// Account i has balance f(i, block of its last change) and slots likewise, so a state is told by when each was changed
// last.
class Recorded {
 public:
  struct Block {
    BlockInfo info;
    std::array<uint32_t, kAccounts> changed{};  // the salt of the change that account i has; 0: absent
    Hash next_root;                             // that the fixed changes give on top
  };

  void Add(std::shared_ptr<const Block> block) {
    const std::lock_guard lock(mutex_);
    blocks_[block->info.state_root] = std::move(block);
  }
  // By root: a number may have been replaced since.
  std::shared_ptr<const Block> Find(const Hash& root) const {
    const std::lock_guard lock(mutex_);
    const auto it = blocks_.find(root);
    return it == blocks_.end() ? nullptr : it->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<Hash, std::shared_ptr<const Block>> blocks_;
};

AccountChange ChangeOf(uint64_t account, uint32_t salt) {
  if (salt % 11 == 10) return Remove(account);
  AccountChange change = SetBalance(account, uint64_t{salt} * 1000 + account);
  change.nonce = salt;
  if (account % 10 == 0) {
    change.reset_storage = true;
    for (uint64_t slot = 0; slot < 1 + salt % 25; ++slot) {
      change.slots.push_back({SlotOf(slot), U256::FromUint64(salt + slot)});
    }
  }
  return change;
}
bool Absent(uint32_t salt) { return salt == 0 || salt % 11 == 10; }

// What somebody might want to know the root of, on any block.
std::vector<AccountChange> FixedChanges() {
  std::vector<AccountChange> changes;
  for (uint64_t i = 0; i < 20; ++i) changes.push_back(ChangeOf(i * 10, 7));
  for (uint64_t i = 500; i < 505; ++i) changes.push_back(SetBalance(i, i));
  return changes;
}

class Crowd {
 public:
  explicit Crowd(EngineOptions options, uint64_t seed) : random_(seed), seed_(seed), limits_(options) {
    options.data_dir = dir_.path() + "/data";
    absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(options);
    EXPECT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }

  void Run(int operations) {
    for (int i = 0; i < 3; ++i) Extend(chain_.size(), false);
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back([this, i] { Read(seed_ + static_cast<uint64_t>(i) + 1); });
    threads.emplace_back([this] { Follow(); });
    threads.emplace_back([this] { Administer(); });
    // Few operations on a busy machine may be over before anybody has read.
    for (int i = 0; (i < operations || reads_ == 0) && !::testing::Test::HasFailure(); ++i) Operate();
    stop_ = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_GT(reads_, 0u);
    absl::StatusOr<VerifyReport> report = engine_->Verify({});
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->difference, "");
    engine_.reset();
  }

 private:
  // The writer's side
  // ------------------------------------------------------------------------------------------------------

  void Operate() {
    const uint64_t roll = random_.Below(20);
    if (roll == 0) {
      const size_t keep = NotPruned(chain_.size() - random_.Below(std::min<size_t>(chain_.size(), 8)));
      absl::StatusOr<BlockInfo> info = engine_->RollbackTo(chain_[keep - 1]->info.number);
      ASSERT_TRUE(info.ok()) << info.status();
      chain_.resize(keep);
    } else if (roll <= 3 && chain_.size() > 1) {
      Extend(NotPruned(chain_.size() - random_.Below(std::min<size_t>(chain_.size() - 1, 6))), true);
    } else if (roll == 4) {
      ASSERT_TRUE(engine_->Flush().ok());
    } else {
      Extend(chain_.size(), false);
    }
  }

  // A prune that comes meanwhile leaves more than any operation goes back.
  size_t NotPruned(size_t number) const { return std::max<size_t>(number, engine_->Status().oldest_served_number); }

  // A block on the first `keep` ones. The root that the fixed changes give on it is asked for before anybody else reads
  // it.
  void Extend(size_t keep, bool reorganize) {
    auto block = std::make_shared<Recorded::Block>();
    if (keep > 0) *block = *chain_[keep - 1];
    BlockChanges changes;
    changes.number = keep + 1;
    changes.reorganize = reorganize;
    changes.hash = Keccak256("block " + std::to_string(++salt_));
    if (keep > 0) changes.parent_hash = chain_[keep - 1]->info.hash;
    const uint64_t step = 1 + random_.Below(40);
    for (uint64_t account = random_.Below(step); account < kAccounts; account += 1 + random_.Below(step)) {
      changes.changes.push_back(ChangeOf(account, salt_));
      block->changed[account] = salt_;
    }
    if (keep > 0) {
      // What is about to come, worked out beside it.
      absl::StatusOr<StateViewPtr> parent = engine_->View(keep);
      ASSERT_TRUE(parent.ok()) << parent.status();
      absl::StatusOr<Hash> root = (*parent)->ComputeRoot(changes.changes, false);
      ASSERT_TRUE(root.ok()) << root.status();
      changes.expected_root = *root;
      std::vector<AccountChange> both = changes.changes;
      std::map<Address, AccountChange> merged;
      for (AccountChange& change : both) merged[change.address] = change;
      for (AccountChange& change : FixedChanges()) merged[change.address] = change;
      both.clear();
      for (auto& [address, change] : merged) both.push_back(change);
      root = (*parent)->ComputeRoot(both, false);
      ASSERT_TRUE(root.ok()) << root.status();
      block->next_root = *root;
      block->info = {changes.number, changes.hash, changes.parent_hash, *changes.expected_root};
      recorded_.Add(block);
    }
    absl::StatusOr<ApplyResult> result = engine_->Apply(changes);
    ASSERT_TRUE(result.ok()) << result.status();
    if (keep == 0) {
      block->info = result->block;
      block->next_root = *(*engine_->View(LatestBlock{}))->ComputeRoot(FixedChanges(), false);
      recorded_.Add(block);
    }
    ASSERT_EQ(result->block, block->info);
    chain_.resize(keep);
    chain_.push_back(std::move(block));
  }

  // The readers
  // ------------------------------------------------------------------------------------------------------------

  StateViewPtr SomeView(BlockMaker& random) {
    const EngineStatus status = engine_->Status();
    BlockSelector selector = LatestBlock{};
    if (random.Below(3) != 0) {
      selector = status.oldest_served_number + random.Below(status.head.number - status.oldest_served_number + 1);
    }
    if (random.Below(10) == 0) selector = BlockByRoot{status.head.state_root};
    absl::StatusOr<StateViewPtr> view = engine_->View(selector);
    if (!view.ok()) {
      EXPECT_EQ(view.status().code(), absl::StatusCode::kOutOfRange) << view.status();
      return nullptr;
    }
    return *std::move(view);
  }

  void Read(uint64_t seed) {
    BlockMaker random(seed);
    while (!stop_ && !::testing::Test::HasFailure()) {
      const StateViewPtr view = SomeView(random);
      if (view == nullptr) continue;
      std::shared_ptr<const Recorded::Block> block = recorded_.Find(view->block().state_root);
      // The first block is recorded once it is applied.
      if (block == nullptr) continue;
      const int questions = 1 + static_cast<int>(random.Below(6));
      for (int i = 0; i < questions; ++i) ASSERT_NO_FATAL_FAILURE(Ask(*view, *block, random)) << view->block().number;
      ++reads_;
    }
  }

  void Ask(const StateView& view, const Recorded::Block& block, BlockMaker& random) {
    const uint64_t account =
        random.Below(kAccounts) / (random.Below(2) == 0 ? 1 : 10) * (random.Below(2) == 0 ? 1 : 10) % kAccounts;
    const uint32_t salt = block.changed[account];
    switch (random.Below(6)) {
      case 0: {
        absl::StatusOr<Hash> root = view.ComputeRoot(FixedChanges(), false);
        ASSERT_TRUE(root.ok()) << root.status();
        ASSERT_EQ(*root, block.next_root);
        break;
      }
      case 1:
        Scan(view, block);
        break;
      case 2:
        Multi(view, block, random);
        break;
      default:
        One(view, account, salt);
    }
  }

  void One(const StateView& view, uint64_t account, uint32_t salt) {
    const AccountChange change = ChangeOf(account, salt);
    std::vector<Hash> slots = {SlotOf(0), SlotOf(3), SlotOf(1000)};
    absl::StatusOr<AccountProof> proof = view.GetProof(AddressOf(account), slots);
    ASSERT_TRUE(proof.ok()) << proof.status();
    absl::StatusOr<std::optional<Account>> found = view.GetAccount(AddressOf(account));
    ASSERT_TRUE(found.ok()) << found.status();
    ASSERT_EQ(found->has_value(), !Absent(salt)) << "account " << account << " with salt " << salt;
    absl::StatusOr<std::vector<U256>> values = view.GetStorage(AddressOf(account), slots);
    ASSERT_TRUE(values.ok()) << values.status();
    if (!Absent(salt)) {
      ASSERT_EQ((*found)->nonce, salt);
      ASSERT_EQ((*found)->balance, *change.balance);
      ASSERT_EQ(proof->account, **found);
    }
    for (size_t i = 0; i < slots.size(); ++i) {
      U256 expected;
      for (const SlotChange& slot : change.slots) {
        if (!Absent(salt) && slot.key == slots[i]) expected = slot.value;
      }
      ASSERT_EQ((*values)[i], expected);
      ASSERT_EQ(proof->storage[i].value, expected);
    }
    const absl::Status verified = VerifyAccountProof(view.block().state_root, *proof);
    ASSERT_TRUE(verified.ok()) << verified;
  }

  void Scan(const StateView& view, const Recorded::Block& block) {
    std::map<Hash, uint64_t> accounts;
    for (uint64_t i = 0; i < kAccounts; ++i) {
      if (!Absent(block.changed[i])) accounts[Keccak256(AddressOf(i).view())] = i;
    }
    Hash start;
    auto next = accounts.begin();
    while (true) {
      absl::StatusOr<Page<HashedAccount>> page = view.ScanAccounts(start, 70);
      ASSERT_TRUE(page.ok()) << page.status();
      for (const HashedAccount& item : page->items) {
        ASSERT_TRUE(next != accounts.end());
        ASSERT_EQ(item.key, next->first);
        ASSERT_EQ(item.account.nonce, block.changed[next->second]);
        ++next;
      }
      if (!page->next) break;
      start = *page->next;
    }
    ASSERT_TRUE(next == accounts.end());
    absl::StatusOr<Page<HashedSlot>> slots = view.ScanStorage(AddressOf(20), Hash{}, 1000);
    ASSERT_TRUE(slots.ok()) << slots.status();
    const uint32_t salt = block.changed[20];
    ASSERT_EQ(slots->items.size(), Absent(salt) ? 0 : 1 + salt % 25);
  }

  void Multi(const StateView& view, const Recorded::Block& block, BlockMaker& random) {
    std::vector<ProofTargetSpec> targets;
    for (int i = 0; i < 5; ++i) {
      targets.push_back({AddressOf(random.Below(kAccounts)), {SlotOf(0), SlotOf(random.Below(25))}});
    }
    absl::StatusOr<MultiProof> proof = view.GetMultiProof(targets);
    ASSERT_TRUE(proof.ok()) << proof.status();
    ASSERT_EQ(proof->entries.size(), targets.size());
    // An empty trie has no nodes to show.
    ASSERT_EQ(proof->nodes.empty(), block.info.state_root == kEmptyRoot);
    if (!proof->nodes.empty()) {
      ASSERT_EQ(Keccak256(proof->nodes.front()), block.info.state_root);
    }
  }

  // Others
  // -----------------------------------------------------------------------------------------------------------------

  void Follow() {
    uint64_t next = 1;
    uint64_t number = 0;
    while (!stop_) {
      absl::StatusOr<std::optional<HeadEvent>> event = engine_->WaitForHead(next, absl::Now() + absl::Milliseconds(50));
      ASSERT_TRUE(event.ok()) << event.status();
      if (!event->has_value()) continue;
      const HeadEvent& head = **event;
      ASSERT_TRUE(head.rolled_back ? head.block.number <= number : head.block.number == number + 1)
          << head.block.number;
      number = head.block.number;
      ++next;
    }
  }

  // Caches between nothing and more than is needed, and a window that the writer's rollbacks fit in.
  void ChangeLimits(BlockMaker& random) {
    EngineLimits limits = limits_;
    if (random.Below(3) != 0) {
      limits.node_cache_bytes = random.Below(200'000);
      limits.row_cache_bytes = random.Below(200'000);
      limits.history_memory_bytes = random.Below(500'000);
      limits.queue_bytes = 100'000 + random.Below(500'000);
      limits.keep_blocks = 10 + random.Below(20);
    }
    engine_->SetLimits(limits);
  }

  void Administer() {
    BlockMaker random(seed_ + 99);
    while (!stop_) {
      absl::SleepFor(absl::Milliseconds(random.Below(60)));
      const EngineStatus status = engine_->Status();
      ASSERT_LE(status.durable_number, status.head.number + 40);
      ASSERT_FALSE(status.read_only) << status.read_only_reason;
      if (random.Below(3) == 0) {
        ASSERT_TRUE(engine_->Flush().ok());
      }
      if (random.Below(8) == 0) {
        ASSERT_TRUE(engine_->Prune(9 + random.Below(10)).ok());
      }
      if (random.Below(4) == 0) ChangeLimits(random);
      if (random.Below(10) == 0) {
        const std::string copy = dir_.path() + "/copy";
        ASSERT_TRUE(engine_->Checkpoint(copy).ok());
        std::filesystem::remove_all(copy);
      }
      if (random.Below(8) == 0) {
        absl::StatusOr<VerifyReport> report = engine_->Verify([this](const VerifyProgress&) { return !stop_.load(); });
        ASSERT_TRUE(report.ok() || absl::IsCancelled(report.status())) << report.status();
        if (report.ok()) {
          ASSERT_EQ(report->difference, "");
        }
      }
    }
  }

  TempDir dir_;
  BlockMaker random_;
  const uint64_t seed_;
  const EngineLimits limits_;
  std::unique_ptr<StateEngine> engine_;
  std::vector<std::shared_ptr<const Recorded::Block>> chain_;  // the writer's
  uint32_t salt_ = 0;
  Recorded recorded_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> reads_{0};
};

void RunCrowd(EngineOptions options) {
  const char* given = std::getenv("MPTD_TEST_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE(::testing::Message() << "MPTD_TEST_SEED=" << seed);
  options.keep_blocks = 20;
  options.prune_interval_blocks = 3;
  options.block_cache_bytes = 8u << 20;
  options.worker_threads = 2;
  const Watchdog watchdog(absl::Minutes(8));
  Crowd(options, seed).Run(Scaled(700));
}

TEST(EngineThreads, EverythingInMemory) { RunCrowd({}); }

TEST(EngineThreads, SmallCachesAndManyFlushes) {
  EngineOptions options;
  options.durability = Durability::kAsync;
  options.flush_blocks = 3;
  options.row_cache_bytes = 100'000;
  options.node_cache_bytes = 100'000;
  RunCrowd(options);
}

TEST(EngineThreads, HistoryOnDisk) {
  EngineOptions options;
  options.flush_blocks = 4;
  options.row_cache_bytes = options.node_cache_bytes = 0;
  options.history_memory_bytes = 1;
  RunCrowd(options);
}

}  // namespace
}  // namespace mptd::testing
