#include "tests/engine/engine_testing.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "core/hex.h"
#include "core/keccak.h"
#include "storage/rocksdb_store.h"

namespace mptd::testing {

TempDir::TempDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "mptd-test-XXXXXX").string();
  path_ = ::mkdtemp(pattern.data());
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

EngineOptions QuietOptions(const TempDir& dir) {
  EngineOptions options;
  options.data_dir = dir.path() + "/data";
  options.block_cache_bytes = 8u << 20;
  options.flush_interval = absl::Hours(1);
  return options;
}

Address AddressOf(uint64_t i) {
  Address address;
  for (size_t b = 0; b < 8; ++b) address.bytes[19 - b] = static_cast<uint8_t>(i >> (8 * b));
  return address;
}

Hash SlotOf(uint64_t i) {
  Hash slot;
  for (size_t b = 0; b < 8; ++b) slot.bytes[31 - b] = static_cast<uint8_t>(i >> (8 * b));
  return slot;
}

void ApplyToModel(model::NaiveState& state, const BlockChanges& block) {
  for (const AccountChange& change : block.changes) {
    if (change.remove) {
      state.accounts.erase(change.address);
      continue;
    }
    model::NaiveAccount account;
    const auto it = state.accounts.find(change.address);
    if (it != state.accounts.end()) account = it->second;
    if (change.nonce) account.nonce = *change.nonce;
    if (change.balance) account.balance = *change.balance;
    if (change.code) account.code = *change.code;
    if (change.reset_storage) account.storage.clear();
    for (const SlotChange& slot : change.slots) {
      if (slot.value.IsZero()) {
        account.storage.erase(slot.key);
      } else {
        account.storage[slot.key] = slot.value;
      }
    }
    const bool empty = account.nonce == 0 && account.balance.IsZero() && account.code.empty();
    if (empty && !block.keep_empty_accounts) {
      state.accounts.erase(change.address);
    } else {
      state.accounts[change.address] = std::move(account);
    }
  }
}

namespace {

void ExpectAccounts(const StateView& view, const model::NaiveState& expected) {
  std::map<Hash, Account> wanted;
  std::vector<Address> addresses;
  for (const auto& [address, account] : expected.accounts) {
    wanted.emplace(Keccak256(address.view()), model::Commit(account));
    addresses.push_back(address);
  }
  absl::StatusOr<Page<HashedAccount>> page = view.ScanAccounts(Hash{}, SIZE_MAX);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_FALSE(page->next.has_value());
  ASSERT_EQ(page->items.size(), wanted.size());
  auto next = wanted.begin();
  for (const HashedAccount& item : page->items) {
    ASSERT_EQ(item.key, next->first);
    ASSERT_EQ(item.account, next->second) << ToHex(item.key);
    ++next;
  }
  for (uint64_t i = 0; i < 3; ++i) addresses.push_back(AddressOf(1'000'000 + i));
  absl::StatusOr<std::vector<std::optional<Account>>> accounts = view.GetAccounts(addresses);
  ASSERT_TRUE(accounts.ok()) << accounts.status();
  for (size_t i = 0; i < addresses.size(); ++i) ASSERT_EQ((*accounts)[i], expected.Get(addresses[i]));
}

void ExpectCodeAndSlots(const StateView& view, const Address& address, const model::NaiveAccount& account) {
  absl::StatusOr<std::optional<Bytes>> code = view.GetCode(model::Commit(account).code_hash);
  ASSERT_TRUE(code.ok()) << code.status();
  ASSERT_EQ(*code, account.code) << ToHex(address);
  absl::StatusOr<Page<HashedSlot>> slots = view.ScanStorage(address, Hash{}, SIZE_MAX);
  ASSERT_TRUE(slots.ok()) << slots.status();
  std::map<Hash, U256> wanted;
  for (const auto& [slot, value] : account.storage) wanted.emplace(Keccak256(slot.view()), value);
  ASSERT_EQ(slots->items.size(), wanted.size()) << ToHex(address);
  for (const HashedSlot& slot : slots->items) ASSERT_EQ(slot.value, wanted.at(slot.key)) << ToHex(address);
}

}  // namespace

void ExpectState(const StateView& view, const model::NaiveState& expected) {
  ASSERT_EQ(view.block().state_root, expected.Root());
  ASSERT_NO_FATAL_FAILURE(ExpectAccounts(view, expected));
  std::vector<std::pair<Address, std::vector<Hash>>> targets = {{AddressOf(1'000'000), {SlotOf(1)}}};
  for (const auto& [address, account] : expected.accounts) {
    ASSERT_NO_FATAL_FAILURE(ExpectCodeAndSlots(view, address, account));
    auto& slots = targets.emplace_back(address, std::vector<Hash>()).second;
    for (const auto& [slot, value] : account.storage) slots.push_back(slot);
    slots.push_back(SlotOf(1'000'000));
  }
  for (const AccountProof& wanted : expected.Proofs(targets)) {
    std::vector<Hash> slots;
    for (const StorageProof& slot : wanted.storage) slots.push_back(slot.key);
    absl::StatusOr<AccountProof> proof = view.GetProof(wanted.address, slots);
    ASSERT_TRUE(proof.ok()) << proof.status();
    ASSERT_EQ(proof->account, wanted.account) << ToHex(wanted.address);
    ASSERT_EQ(proof->proof, wanted.proof) << ToHex(wanted.address);
    for (size_t i = 0; i < slots.size(); ++i) {
      ASSERT_EQ(proof->storage[i].value, wanted.storage[i].value) << ToHex(wanted.address) << " " << ToHex(slots[i]);
      ASSERT_EQ(proof->storage[i].proof, wanted.storage[i].proof) << ToHex(wanted.address) << " " << ToHex(slots[i]);
    }
    ASSERT_TRUE(VerifyAccountProof(view.block().state_root, *proof).ok());
  }
}

// TwinChain
// ---------------------------------------------------------------------------------------------------------------

void TwinChain::Open() {
  absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(options_);
  ASSERT_TRUE(engine.ok()) << engine.status();
  engine_ = *std::move(engine);
  if (entries_.empty()) return;
  absl::StatusOr<StateViewPtr> view = engine_->View(LatestBlock{});
  ASSERT_TRUE(view.ok()) << view.status();
  ASSERT_EQ((*view)->block(), head().info);
}

BlockChanges TwinChain::Next(std::vector<AccountChange> changes) const {
  BlockChanges block;
  block.number = entries_.empty() ? first_number_ : head().info.number + 1;
  if (!entries_.empty()) {
    block.parent_hash = head().info.hash;
    block.parent_root = head().info.state_root;
  }
  block.hash = Keccak256("block " + std::to_string(block.number) + " " + std::to_string(made_));
  block.changes = std::move(changes);
  return block;
}

BlockChanges TwinChain::Replacing(uint64_t number, std::vector<AccountChange> changes) {
  BlockChanges block = Next(std::move(changes));
  block.number = number;
  block.parent_hash = at(number - 1).info.hash;
  block.parent_root = at(number - 1).info.state_root;
  block.hash = Keccak256("other block " + std::to_string(number) + " " + std::to_string(++made_));
  block.reorganize = true;
  return block;
}

void TwinChain::Apply(const BlockChanges& block) {
  ++made_;
  absl::StatusOr<ApplyResult> result = engine_->Apply(block);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->already_applied);
  Adopt(block);
  ASSERT_EQ(result->block, head().info);
}

void TwinChain::Adopt(const BlockChanges& block) {
  if (block.reorganize) {
    while (!entries_.empty() && entries_.back().info.number >= block.number) entries_.pop_back();
  }
  model::NaiveState state = entries_.empty() ? model::NaiveState{} : head().state;
  ApplyToModel(state, block);
  entries_.push_back({{block.number, block.hash, block.parent_hash, state.Root()}, std::move(state)});
}

void TwinChain::Rollback(uint64_t number) {
  absl::StatusOr<BlockInfo> info = engine_->RollbackTo(number);
  ASSERT_TRUE(info.ok()) << info.status();
  while (entries_.back().info.number > number) entries_.pop_back();
  ASSERT_EQ(*info, head().info);
}

void TwinChain::ExpectHead() {
  absl::StatusOr<StateViewPtr> view = engine_->View(LatestBlock{});
  ASSERT_TRUE(view.ok()) << view.status();
  ASSERT_EQ((*view)->block(), head().info);
  ExpectState(**view, head().state);
}

void TwinChain::ExpectAt(uint64_t number) {
  SCOPED_TRACE(::testing::Message() << "block " << number);
  absl::StatusOr<StateViewPtr> view = engine_->View(number);
  ASSERT_TRUE(view.ok()) << view.status();
  ASSERT_EQ((*view)->block(), at(number).info);
  ExpectState(**view, at(number).state);
}

void TwinChain::ExpectAll() {
  for (uint64_t number = engine_->Status().oldest_served_number; number <= head().info.number; ++number) {
    ASSERT_NO_FATAL_FAILURE(ExpectAt(number));
  }
}

AccountChange Touch(uint64_t address) {
  AccountChange change;
  change.address = AddressOf(address);
  return change;
}

AccountChange Remove(uint64_t address) {
  AccountChange change = Touch(address);
  change.remove = true;
  return change;
}

AccountChange SetBalance(uint64_t address, uint64_t balance) {
  AccountChange change = Touch(address);
  change.balance = U256::FromUint64(balance);
  return change;
}

AccountChange SetSlots(uint64_t address, std::vector<std::pair<uint64_t, uint64_t>> slots) {
  AccountChange change = Touch(address);
  change.nonce = 1;
  for (const auto& [slot, value] : slots) change.slots.push_back({SlotOf(slot), U256::FromUint64(value)});
  return change;
}

AccountChange SetCode(uint64_t address, Bytes code) {
  AccountChange change = Touch(address);
  change.nonce = 1;
  change.code = std::move(code);
  return change;
}

AccountChange Reset(AccountChange change) {
  change.reset_storage = true;
  return change;
}

namespace {

std::unique_ptr<storage::KeyValueStore> OpenStore(const std::string& data_dir) {
  storage::RocksDbOptions options;
  options.dir = data_dir + "/db";
  options.create_if_missing = false;
  absl::StatusOr<std::unique_ptr<storage::KeyValueStore>> store = storage::OpenRocksDb(options);
  if (!store.ok()) throw std::runtime_error(store.status().ToString());
  return *std::move(store);
}

}  // namespace

AllTables ReadTables(const std::string& data_dir) {
  AllTables tables;
  const std::unique_ptr<storage::KeyValueStore> store = OpenStore(data_dir);
  for (size_t i = 0; i < tables.size(); ++i) {
    const std::unique_ptr<storage::Iterator> it = store->NewIterator(static_cast<storage::Table>(i));
    for (it->Seek(""); it->Valid(); it->Next()) tables[i].emplace(it->key(), it->value());
    EXPECT_TRUE(it->status().ok()) << it->status();
  }
  return tables;
}

void ExpectSameTables(const AllTables& actual, const AllTables& expected, bool with_meta) {
  for (size_t i = 0; i < actual.size(); ++i) {
    const auto table = static_cast<storage::Table>(i);
    if (table == storage::Table::kMeta && !with_meta) continue;
    for (const auto& [key, value] : expected[i]) {
      const auto it = actual[i].find(key);
      ASSERT_TRUE(it != actual[i].end()) << storage::TableName(table) << " has no row " << ToHex(key);
      ASSERT_EQ(ToHex(it->second), ToHex(value)) << storage::TableName(table) << " row " << ToHex(key);
    }
    for (const auto& [key, value] : actual[i]) {
      ASSERT_TRUE(expected[i].contains(key)) << storage::TableName(table) << " has the extra row " << ToHex(key);
    }
  }
}

void EditRow(const std::string& data_dir, storage::Table table, const std::string& key,
             std::optional<std::string> value) {
  storage::TableBatch batch{table, {{key, std::nullopt}}, {}};
  if (value) batch.rows[0].value = *value;
  const absl::Status status = OpenStore(data_dir)->Ingest({&batch, 1});
  ASSERT_TRUE(status.ok()) << status;
}

void CopyFolder(const std::string& from, const std::string& to) {
  std::filesystem::copy(from, to, std::filesystem::copy_options::recursive);
}

AccountChange BlockMaker::MakeChange(const Address& address) {
  AccountChange change;
  change.address = address;
  const uint64_t kind = Below(20);
  if (kind == 0) {
    change.remove = true;
    return change;
  }
  if (kind == 1) return change;  // touched
  if (kind == 2) {               // left empty
    change.nonce = 0;
    change.balance = U256{};
    change.code = Bytes();
    return change;
  }
  if (Below(2) == 0) change.nonce = Below(3) == 0 ? 0 : random_() >> Below(64);
  if (Below(2) == 0) change.balance = U256::FromUint64(Below(4) == 0 ? 0 : random_());
  if (Below(8) == 0) change.code = Bytes(Below(3) == 0 ? 0 : 1 + Below(40), static_cast<char>('a' + Below(4)));
  if (Below(10) == 0) change.reset_storage = true;
  if (Below(3) == 0) {
    std::set<uint64_t> slots;
    for (uint64_t n = Below(Below(5) == 0 ? 40 : 4) + 1; n > 0; --n) slots.insert(Below(30));
    for (uint64_t slot : slots) {
      const uint64_t value = Below(3) == 0 ? 0 : random_() >> Below(64);
      change.slots.push_back({SlotOf(slot), U256::FromUint64(value)});
    }
  }
  return change;
}

BlockChanges BlockMaker::Make(const std::optional<BlockInfo>& parent) {
  BlockChanges block;
  block.number = parent ? parent->number + 1 : 1;
  block.keep_empty_accounts = Below(10) == 0;
  Hash hash;
  for (uint8_t& b : hash.bytes) b = static_cast<uint8_t>(random_());
  block.hash = hash;
  if (parent) block.parent_hash = parent->hash;
  std::set<uint64_t> accounts;
  const uint64_t span = Below(3) == 0 ? 6 : 120;
  for (uint64_t n = Below(Below(6) == 0 ? 100 : 12); n > 0; --n) accounts.insert(Below(span));
  std::vector<uint64_t> order(accounts.begin(), accounts.end());
  std::shuffle(order.begin(), order.end(), random_);
  for (uint64_t account : order) block.changes.push_back(MakeChange(AddressOf(account)));
  return block;
}

uint64_t FirstSeed() {
  const char* seed = std::getenv("MPTD_TEST_SEED");
  return seed != nullptr ? std::strtoull(seed, nullptr, 10) : std::random_device{}();
}

int Scaled(int full) {
  const char* scale = std::getenv("MPTD_TEST_SCALE");
  return scale != nullptr && std::string_view(scale) == "short" ? std::max(1, full / 5) : full;
}

}  // namespace mptd::testing
