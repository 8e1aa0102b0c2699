#include "tests/server/fake_engine.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/errors.h"
#include "core/hex.h"
#include "core/keccak.h"

namespace mptd::testing {
namespace {

Hash ContentRoot(const FakeState& state) {
  if (state.empty()) return kEmptyRoot;
  Bytes all;
  for (const auto& [address, account] : state) {
    all += address.view();
    all += std::to_string(account.account.nonce);
    all += account.account.balance.minimal();
    all += account.account.code_hash.view();
    for (const auto& [key, value] : account.slots) (all += key.view()) += value.minimal();
  }
  return Keccak256(all);
}

Hash StorageRoot(const std::map<Hash, U256>& slots) {
  if (slots.empty()) return kEmptyRoot;
  Bytes all;
  for (const auto& [key, value] : slots) (all += key.view()) += value.minimal();
  return Keccak256(all);
}

void ApplyOne(const AccountChange& change, bool keep_empty, FakeState& state) {
  if (change.remove) {
    state.erase(change.address);
    return;
  }
  FakeAccount& account = state[change.address];
  if (change.nonce.has_value()) account.account.nonce = *change.nonce;
  if (change.balance.has_value()) account.account.balance = *change.balance;
  if (change.code.has_value()) {
    account.code = *change.code;
    account.account.code_hash = Keccak256(account.code);
  }
  if (change.reset_storage) account.slots.clear();
  for (const SlotChange& slot : change.slots) {
    if (slot.value.IsZero()) {
      account.slots.erase(slot.key);
    } else {
      account.slots[slot.key] = slot.value;
    }
  }
  account.account.storage_root = StorageRoot(account.slots);
  if (account.account.IsEmpty() && !keep_empty) state.erase(change.address);
}

absl::StatusOr<FakeState> Changed(FakeState state, std::span<const AccountChange> changes, bool keep_empty) {
  std::set<Address> seen;
  for (size_t i = 0; i < changes.size(); ++i) {
    if (!seen.insert(changes[i].address).second) {
      return InvalidField(absl::StrFormat("changes[%d].address", i), "occurs twice in the block");
    }
    ApplyOne(changes[i], keep_empty, state);
  }
  return state;
}

bool SameBlock(const BlockChanges& a, const FakeEngine::Block& b) {
  return a.number == b.info.number && a.hash == b.info.hash && a.changes.size() == b.changes.changes.size();
}

}  // namespace

class FakeEngine::View_ final : public StateView {
 public:
  View_(const FakeEngine& engine, std::shared_ptr<const Block> block) : engine_(engine), block_(std::move(block)) {
    ++engine_.live_views_;
  }
  ~View_() override { --engine_.live_views_; }

  const BlockInfo& block() const override { return block_->info; }

  absl::StatusOr<std::optional<Account>> GetAccount(const Address& address) const override {
    const auto it = block_->state.find(address);
    if (it == block_->state.end()) return std::nullopt;
    return it->second.account;
  }
  absl::StatusOr<std::vector<std::optional<Account>>> GetAccounts(std::span<const Address> addresses) const override {
    std::vector<std::optional<Account>> out;
    for (const Address& address : addresses) out.push_back(*GetAccount(address));
    return out;
  }
  absl::StatusOr<std::vector<U256>> GetStorage(const Address& address, std::span<const Hash> slots) const override {
    std::vector<U256> out(slots.size());
    const auto it = block_->state.find(address);
    if (it == block_->state.end()) return out;
    for (size_t i = 0; i < slots.size(); ++i) {
      const auto slot = it->second.slots.find(slots[i]);
      if (slot != it->second.slots.end()) out[i] = slot->second;
    }
    return out;
  }
  absl::StatusOr<std::optional<Bytes>> GetCode(const Hash& code_hash) const override {
    for (const auto& [address, account] : block_->state) {
      if (account.account.code_hash == code_hash) return account.code;
    }
    return std::nullopt;
  }
  absl::StatusOr<AccountProof> GetProof(const Address& address, std::span<const Hash> slots) const override {
    AccountProof out{.address = address, .account = {}, .proof = {"root node", "leaf"}, .storage = {}};
    if (const auto account = *GetAccount(address); account.has_value()) out.account = *account;
    const std::vector<U256> values = *GetStorage(address, slots);
    for (size_t i = 0; i < slots.size(); ++i) {
      out.storage.push_back({.key = slots[i], .value = values[i], .proof = {}});
      if (!values[i].IsZero()) out.storage.back().proof = {"slot node"};
    }
    return out;
  }
  absl::StatusOr<MultiProof> GetMultiProof(std::span<const ProofTargetSpec> targets) const override {
    MultiProof out{.nodes = {"root node"}, .entries = {}};
    for (const ProofTargetSpec& target : targets) {
      out.nodes.push_back("leaf " + ToHex(target.address));
      out.entries.push_back({.address = target.address,
                             .account = *GetAccount(target.address),
                             .values = *GetStorage(target.address, target.slots)});
    }
    return out;
  }
  absl::StatusOr<Page<HashedAccount>> ScanAccounts(const Hash& start, size_t limit) const override {
    std::map<Hash, Account> rows;
    for (const auto& [address, account] : block_->state) rows[Keccak256(address.view())] = account.account;
    return Scan<HashedAccount>(rows, start, limit);
  }
  absl::StatusOr<Page<HashedSlot>> ScanStorage(const Address& address, const Hash& start, size_t limit) const override {
    std::map<Hash, U256> rows;
    if (const auto it = block_->state.find(address); it != block_->state.end()) {
      for (const auto& [key, value] : it->second.slots) rows[Keccak256(key.view())] = value;
    }
    return Scan<HashedSlot>(rows, start, limit);
  }
  absl::StatusOr<Hash> ComputeRoot(std::span<const AccountChange> changes, bool keep_empty_accounts) const override {
    const absl::StatusOr<FakeState> state = Changed(block_->state, changes, keep_empty_accounts);
    if (!state.ok()) return state.status();
    return ContentRoot(*state);
  }

 private:
  template <typename Row, typename Map>
  Page<Row> Scan(const Map& rows, const Hash& start, size_t limit) const {
    {
      std::unique_lock lock(engine_.mutex_);
      engine_.changed_.wait(lock, [this] { return !engine_.hold_scans_; });
    }
    Page<Row> page;
    auto it = rows.lower_bound(start);
    for (; it != rows.end() && page.items.size() < limit; ++it) page.items.push_back({it->first, it->second});
    if (it != rows.end()) page.next = it->first;
    ++engine_.scans_done_;
    return page;
  }

  const FakeEngine& engine_;
  const std::shared_ptr<const Block> block_;
};

std::string FakeEngine::Window() const {
  if (blocks_.empty()) return "nothing is served yet";
  return absl::StrFormat("blocks %d to %d are served", blocks_.begin()->first, blocks_.rbegin()->first);
}

absl::StatusOr<std::shared_ptr<const FakeEngine::Block>> FakeEngine::BlockAt(uint64_t number) const {
  const auto it = blocks_.find(number);
  if (it != blocks_.end()) return it->second;
  return WithReason(absl::OutOfRangeError(absl::StrFormat("block %d is not served; %s", number, Window())),
                    "BLOCK_NOT_SERVED");
}

absl::StatusOr<std::shared_ptr<const FakeEngine::Block>> FakeEngine::Find(const BlockSelector& block) const {
  if (const auto* number = std::get_if<uint64_t>(&block)) return BlockAt(*number);
  if (std::holds_alternative<LatestBlock>(block)) {
    return blocks_.empty() ? std::make_shared<const Block>() : blocks_.rbegin()->second;
  }
  for (auto it = blocks_.rbegin(); it != blocks_.rend(); ++it) {
    const BlockInfo& info = it->second->info;
    if (const auto* hash = std::get_if<BlockByHash>(&block); hash != nullptr && info.hash == hash->hash)
      return it->second;
    if (const auto* root = std::get_if<BlockByRoot>(&block); root != nullptr && info.state_root == root->root) {
      return it->second;
    }
  }
  if (std::holds_alternative<BlockByRoot>(block)) return absl::OutOfRangeError("the root is not served; " + Window());
  return WithReason(absl::NotFoundError("no block has this hash"), "UNKNOWN_HASH");
}

void FakeEngine::Announce(const BlockInfo& block, bool rolled_back) {
  events_.push_back({.block = block, .rolled_back = rolled_back});
  changed_.notify_all();
}

bool FakeEngine::IsDurableLocked(uint64_t number) const {
  return !blocks_.empty() && number + durable_lag_ <= blocks_.rbegin()->first;
}

ApplyResult FakeEngine::ResultOf(const BlockInfo& block) const {
  const uint64_t head = blocks_.rbegin()->first;
  return {.block = block,
          .durable = IsDurableLocked(block.number),
          .durable_number = head >= durable_lag_ ? head - durable_lag_ : 0,
          .already_applied = false,
          .accounts_changed = 1,
          .slots_changed = 2,
          .nodes_hashed = 3,
          .times = {}};
}

absl::Status FakeEngine::CheckExtends(const BlockChanges& block, uint64_t parent) const {
  const auto mismatch = [](const char* what) {
    return WithReason(absl::FailedPreconditionError(absl::StrFormat("%s: expected one thing, got another", what)),
                      "PARENT_MISMATCH");
  };
  if (block.number != parent + 1) return mismatch("the block does not extend the head");
  const BlockInfo& info = blocks_.at(parent)->info;
  if (info.hash.has_value() && block.parent_hash != info.hash) return mismatch("parent_hash differs");
  if (block.parent_root.has_value() && block.parent_root != info.state_root) return mismatch("parent_root differs");
  return absl::OkStatus();
}

absl::StatusOr<ApplyResult> FakeEngine::ApplyLocked(BlockChanges block) {
  if (!read_only_.empty()) return absl::UnavailableError("read-only: " + read_only_);
  if (const auto it = blocks_.find(block.number); it != blocks_.end() && SameBlock(block, *it->second)) {
    ApplyResult result = ResultOf(it->second->info);
    result.already_applied = true;
    return result;
  }
  FakeState state;
  if (!blocks_.empty()) {
    uint64_t parent = blocks_.rbegin()->first;
    if (block.reorganize && block.number <= parent && block.number > 0 && blocks_.count(block.number - 1) != 0) {
      parent = block.number - 1;
    }
    if (absl::Status status = CheckExtends(block, parent); !status.ok()) return status;
    state = blocks_.at(parent)->state;
  }
  absl::StatusOr<FakeState> after = Changed(std::move(state), block.changes, block.keep_empty_accounts);
  if (!after.ok()) return after.status();
  const Hash root = ContentRoot(*after);
  if (block.expected_root.has_value() && block.expected_root != root) {
    return WithReason(absl::FailedPreconditionError("the root differs from expected_root"), "ROOT_MISMATCH");
  }
  if (!blocks_.empty() && blocks_.rbegin()->first >= block.number) {
    blocks_.erase(blocks_.lower_bound(block.number), blocks_.end());
    Announce(blocks_.rbegin()->second->info, /*rolled_back=*/true);
  }
  if (blocks_.empty() && block.number == 0) genesis_root_ = root;
  const BlockInfo info{
      .number = block.number, .hash = block.hash, .parent_hash = block.parent_hash, .state_root = root};
  blocks_[block.number] = std::make_shared<const Block>(Block{info, *std::move(after), std::move(block)});
  Announce(info, /*rolled_back=*/false);
  return ResultOf(info);
}

absl::StatusOr<ApplyResult> FakeEngine::Apply(BlockChanges block, absl::Time deadline,
                                              const std::function<bool()>& cancelled) {
  std::unique_lock lock(mutex_);
  ++applies_waiting_;
  apply_deadline_ = deadline;
  changed_.notify_all();
  const uint64_t give_ups = give_ups_;
  while (hold_applies_ && give_ups == give_ups_ && absl::Now() < deadline && !(cancelled && cancelled())) {
    changed_.wait_for(lock, std::chrono::milliseconds(5));
  }
  --applies_waiting_;
  if (cancelled && cancelled()) return absl::CancelledError("cancelled before work began");
  if (hold_applies_) return RetryLater("the queue is full", absl::Milliseconds(250));
  return ApplyLocked(std::move(block));
}

absl::StatusOr<BlockInfo> FakeEngine::RollbackTo(const BlockSelector& block) {
  const std::unique_lock lock(mutex_);
  const auto found = Find(block);
  if (!found.ok()) return found.status();
  const BlockInfo info = (*found)->info;
  blocks_.erase(blocks_.upper_bound(info.number), blocks_.end());
  Announce(info, /*rolled_back=*/true);
  return info;
}

absl::StatusOr<StateViewPtr> FakeEngine::View(const BlockSelector& block) const {
  std::function<void()> hook;
  std::shared_ptr<const View_> view;
  {
    const std::unique_lock lock(mutex_);
    const auto found = Find(block);
    if (!found.ok()) return found.status();
    view = std::make_shared<const View_>(*this, *found);
    if (std::holds_alternative<uint64_t>(block)) hook = view_hook_;
  }
  if (hook) hook();
  return view;
}

bool FakeEngine::IsDurable(uint64_t number) const {
  const std::unique_lock lock(mutex_);
  return IsDurableLocked(number);
}

absl::StatusOr<std::optional<HeadEvent>> FakeEngine::WaitForHead(uint64_t index, absl::Time deadline) const {
  std::unique_lock lock(mutex_);
  while (events_.size() < index) {
    if (absl::Now() >= deadline) return std::nullopt;
    changed_.wait_for(lock, std::chrono::milliseconds(5));
  }
  if (index + events_kept_ <= events_.size()) return absl::OutOfRangeError("the event is forgotten");
  return events_[index - 1];
}

uint64_t FakeEngine::NextHeadIndex() const {
  const std::unique_lock lock(mutex_);
  return events_.size() + 1;
}

absl::StatusOr<BlockInfo> FakeEngine::Flush() {
  const std::unique_lock lock(mutex_);
  ++flushes_;
  return blocks_.empty() ? BlockInfo{} : blocks_.rbegin()->second->info;
}

absl::StatusOr<BlockInfo> FakeEngine::Checkpoint(const std::string& dir) {
  absl::StatusOr<BlockInfo> head = Flush();
  std::filesystem::create_directories(dir + "/db");
  std::ofstream(dir + "/db/000001.sst") << "rows of block " << head->number;
  const std::unique_lock lock(mutex_);
  if (!checkpoint_error_.ok()) return checkpoint_error_;
  std::ofstream(dir + "/FORMAT") << "mptd data format 1\n";
  return head;
}

absl::StatusOr<KeyReport> FakeEngine::RotateKeys(const KeyRotation& rotation) {
  if (rotation.rewrite_tables) return absl::FailedPreconditionError("the data is not encrypted");
  return rotation.new_data_key ? KeyReport{"0123456789abcdef", 2, {1, 2}} : KeyReport{"0123456789abcdef", 1, {1}};
}

absl::Status FakeEngine::CheckKey() const {
  const std::unique_lock lock(mutex_);
  return key_error_;
}

absl::StatusOr<uint64_t> FakeEngine::Prune(uint64_t keep_blocks) {
  const std::unique_lock lock(mutex_);
  uint64_t pruned = 0;
  while (blocks_.size() > keep_blocks + 1) {
    blocks_.erase(blocks_.begin());
    ++pruned;
  }
  return pruned;
}

absl::StatusOr<VerifyReport> FakeEngine::Verify(const std::function<bool(const VerifyProgress&)>& progress) {
  VerifyProgress done;
  for (int i = 0; i < verify_steps_; ++i) {
    done = {.accounts = done.accounts + 10, .slots = done.slots + 20, .nodes = done.nodes + 30};
    if (!progress(done)) return absl::CancelledError("stopped");
    if (verify_steps_ > 10) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const std::unique_lock lock(mutex_);
  return VerifyReport{.block = blocks_.rbegin()->second->info, .checked = done, .difference = ""};
}

void FakeEngine::SetLimits(const EngineLimits& limits) {
  const std::lock_guard lock(limits_mutex_);
  limits_ = limits;
}

EngineLimits FakeEngine::limits() const {
  const std::lock_guard lock(limits_mutex_);
  return limits_;
}

EngineStatus FakeEngine::Status() const {
  const std::unique_lock lock(mutex_);
  EngineStatus out;
  out.has_blocks = !blocks_.empty();
  if (out.has_blocks) {
    out.head = blocks_.rbegin()->second->info;
    out.durable_number = out.head.number >= durable_lag_ ? out.head.number - durable_lag_ : 0;
    out.flushed_number = out.durable_number;
    out.oldest_served_number = blocks_.begin()->first;
  }
  out.read_only = !read_only_.empty();
  out.read_only_reason = read_only_;
  out.queue_blocks = 4;
  out.queue_bytes = 5;
  out.disk_bytes = 6;
  out.node_cache_bytes = 7;
  out.row_cache_bytes = 8;
  out.history_bytes = 9;
  out.change_log_bytes = 10;
  out.format_version = 1;
  out.genesis_root = genesis_root_;
  return out;
}

EngineStatistics FakeEngine::Statistics() const {
  EngineStatistics out;
  out.counts = {.accounts = 11, .slots = 12, .branches = 13, .extensions = 14, .estimated = false};
  out.dirty_nodes = 15;
  out.lookups = {CacheLookups{.hits = 3, .misses = 1}, CacheLookups{.hits = 16, .misses = 17},
                 CacheLookups{.hits = 9, .misses = 1}};
  out.cached_rows = 18;
  out.evicted_rows = 19;
  out.evicted_nodes = 20;
  out.tables = {{"accounts", 21}};
  out.trie_disk_bytes = 22;
  out.store_memory_bytes = 23;
  out.running_compactions = 24;
  out.pending_compaction_bytes = 25;
  out.store_counters = {{"rocksdb.block.cache.hit", 26}, {"rocksdb.stall.micros", 2'500'000}, {"rocksdb.other", 1}};
  return out;
}

void FakeEngine::HoldApplies(bool hold) {
  const std::unique_lock lock(mutex_);
  hold_applies_ = hold;
  changed_.notify_all();
}

void FakeEngine::GiveUpApplies() {
  const std::unique_lock lock(mutex_);
  ++give_ups_;
  changed_.notify_all();
}

absl::Time FakeEngine::apply_deadline() const {
  const std::unique_lock lock(mutex_);
  return apply_deadline_;
}

int FakeEngine::applies_waiting() const {
  const std::unique_lock lock(mutex_);
  return applies_waiting_;
}

void FakeEngine::HoldScans(bool hold) {
  const std::unique_lock lock(mutex_);
  hold_scans_ = hold;
  changed_.notify_all();
}

void FakeEngine::set_read_only(std::string reason) {
  const std::unique_lock lock(mutex_);
  read_only_ = std::move(reason);
}

void FakeEngine::set_durable_lag(uint64_t blocks) {
  const std::unique_lock lock(mutex_);
  durable_lag_ = blocks;
}

void FakeEngine::set_key_error(absl::Status status) {
  const std::unique_lock lock(mutex_);
  key_error_ = std::move(status);
}

void FakeEngine::set_checkpoint_error(absl::Status status) {
  const std::unique_lock lock(mutex_);
  checkpoint_error_ = std::move(status);
}

void FakeEngine::set_events_kept(size_t count) {
  const std::unique_lock lock(mutex_);
  events_kept_ = count;
}

void FakeEngine::set_view_hook(std::function<void()> hook) {
  const std::unique_lock lock(mutex_);
  view_hook_ = std::move(hook);
}

}  // namespace mptd::testing
