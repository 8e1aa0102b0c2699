// A whole state imported at once: the same tables as a first block leaves, what is refused, and what an interrupted
// import leaves behind.
#include "core/import/state_import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/account.h"
#include "core/engine/stored_state.h"
#include "core/hex.h"
#include "core/import/row_collector.h"
#include "core/keccak.h"
#include "core/rlp.h"
#include "core/trie/trie_builder.h"
#include "storage/memory_store.h"
#include "tests/engine/engine_testing.h"

namespace mptd::testing {
namespace {

using model::NaiveAccount;
using model::NaiveState;
using storage::Table;
using ::testing::AllOf;
using ::testing::HasSubstr;

EngineOptions OptionsFor(const std::string& dir) {
  EngineOptions options;
  options.data_dir = dir;
  return options;
}

std::unique_ptr<StateImport> MustBegin(const std::string& dir) {
  absl::StatusOr<std::unique_ptr<StateImport>> import = StateImport::Begin(OptionsFor(dir));
  EXPECT_TRUE(import.ok()) << import.status();
  return *std::move(import);
}

ImportedAccount Plain(const Hash& key, uint64_t nonce = 1) {
  ImportedAccount account;
  account.key = key;
  account.nonce = nonce;
  return account;
}

Hash KeyOf(uint64_t i) { return SlotOf(i); }

ImportedBlock Expecting(const Hash& root) {
  ImportedBlock block;
  block.expected_root = root;
  return block;
}

BlockChanges EmptyBlock() {
  BlockChanges block;
  block.number = 1;
  return block;
}

// All of a model's accounts, in their order.
absl::Status AddAll(StateImport& import, const NaiveState& state) {
  std::map<Hash, const NaiveAccount*> sorted;
  for (const auto& [address, account] : state.accounts) sorted.emplace(Keccak256(address.view()), &account);
  for (const auto& [key, account] : sorted) {
    const Account committed = model::Commit(*account);
    const ImportedAccount imported{key, committed.nonce, committed.balance, committed.code_hash,
                                   committed.storage_root};
    if (absl::Status s = import.AddAccount(imported, account->code); !s.ok()) return s;
    std::map<Hash, U256> slots;
    for (const auto& [slot, value] : account->storage) slots.emplace(Keccak256(slot.view()), value);
    for (const auto& [slot, value] : slots) {
      if (absl::Status s = import.AddSlot(slot, value); !s.ok()) return s;
    }
  }
  return absl::OkStatus();
}

ImportReport MustImport(const std::string& dir, const NaiveState& state, ImportedBlock block) {
  const std::unique_ptr<StateImport> import = MustBegin(dir);
  EXPECT_EQ(AddAll(*import, state), absl::OkStatus());
  block.expected_root = state.Root();
  absl::StatusOr<ImportReport> report = import->Finish(block);
  EXPECT_TRUE(report.ok()) << report.status();
  return report.value_or(ImportReport{});
}

BlockChanges AsBlock(const NaiveState& state, const ImportedBlock& block) {
  BlockChanges out;
  out.number = block.number;
  out.hash = block.hash;
  out.parent_hash = block.parent_hash;
  out.keep_empty_accounts = true;
  for (const auto& [address, account] : state.accounts) {
    AccountChange& change = out.changes.emplace_back();
    change.address = address;
    change.nonce = account.nonce;
    change.balance = account.balance;
    if (!account.code.empty()) change.code = account.code;
    for (const auto& [slot, value] : account.storage) change.slots.push_back({slot, value});
  }
  return out;
}

// Everything but the records of the block itself: what a first block replaced, and its changes.
AllTables StateTables(const std::string& dir) {
  AllTables tables = ReadTables(dir);
  tables[static_cast<size_t>(Table::kHistory)].clear();
  tables[static_cast<size_t>(Table::kChangeLog)].clear();
  return tables;
}

NaiveState RandomState(uint64_t seed, size_t accounts) {
  std::mt19937_64 random(seed);
  NaiveState state;
  while (state.accounts.size() < accounts) {
    NaiveAccount& account = state.accounts[AddressOf(random() % 100'000)];
    account.nonce = random() % 3 == 0 ? 0 : random() >> random() % 64;
    if (random() % 4 != 0) account.balance = U256::FromUint64(random());
    if (random() % 5 == 0) account.code = Bytes(1 + random() % 300, static_cast<char>('a' + random() % 3));
    if (random() % 3 != 0) continue;
    for (uint64_t n = random() % (random() % 10 == 0 ? 300 : 4) + 1; n > 0; --n) {
      account.storage[SlotOf(random() % 1000)] = U256::FromUint64(1 + (random() >> random() % 60));
    }
  }
  return state;
}

void ExpectVerified(StateEngine& engine) {
  const absl::StatusOr<VerifyReport> report = engine.Verify({});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->difference, "");
}

TEST(StateImport, LeavesTheTablesOfAFirstBlock) {
  for (const size_t accounts : {0, 1, 2, 3, 17, 700}) {
    SCOPED_TRACE(::testing::Message() << accounts << " accounts");
    const TempDir scratch;
    const NaiveState state = RandomState(accounts, accounts);
    ImportedBlock block;
    block.number = accounts % 2 == 0 ? 0 : 20'000'000;
    block.hash = Keccak256("block");
    if (accounts % 3 == 0) block.parent_hash = Keccak256("parent");
    {
      absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(OptionsFor(scratch.path() + "/applied"));
      ASSERT_TRUE(engine.ok()) << engine.status();
      ASSERT_TRUE((*engine)->Apply(AsBlock(state, block)).ok());
    }
    const ImportReport report = MustImport(scratch.path() + "/imported", state, block);
    EXPECT_EQ(report.block, (BlockInfo{block.number, block.hash, block.parent_hash, state.Root()}));
    EXPECT_EQ(report.accounts, accounts);
    const AllTables imported = StateTables(scratch.path() + "/imported");
    ExpectSameTables(imported, StateTables(scratch.path() + "/applied"), /*with_meta=*/true);
    EXPECT_EQ(report.slots, imported[static_cast<size_t>(Table::kSlots)].size());
    EXPECT_EQ(report.codes, imported[static_cast<size_t>(Table::kCode)].size());
    EXPECT_EQ(report.branches, imported[static_cast<size_t>(Table::kAccountNodes)].size() +
                                   imported[static_cast<size_t>(Table::kSlotNodes)].size());
  }
}

// Reads, proofs, blocks on top, restarts; and history that begins with the import.
TEST(StateImport, TheEngineGoesOnFromIt) {
  for (const size_t accounts : {0, 1, 400}) {
    SCOPED_TRACE(::testing::Message() << accounts << " accounts");
    const TempDir scratch;
    const std::string dir = scratch.path() + "/data";
    ImportedBlock block;
    block.number = 70;
    block.hash = Keccak256("block 70");
    NaiveState state = RandomState(accounts + 1, accounts);
    MustImport(dir, state, block);

    absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(OptionsFor(dir));
    ASSERT_TRUE(engine.ok()) << engine.status();
    EXPECT_EQ((*engine)->Status().oldest_served_number, 70u);
    ASSERT_NO_FATAL_FAILURE(ExpectState(**(*engine)->View(LatestBlock{}), state));
    ExpectVerified(**engine);

    BlockMaker blocks(accounts);
    std::vector<NaiveState> states = {state};
    BlockInfo head = (*engine)->Status().head;
    for (int i = 0; i < 6; ++i) {
      const BlockChanges next = blocks.Make(head);
      const absl::StatusOr<ApplyResult> applied = (*engine)->Apply(next);
      ASSERT_TRUE(applied.ok()) << applied.status();
      ApplyToModel(state, next);
      states.push_back(state);
      head = applied->block;
      ASSERT_EQ(head.state_root, state.Root());
      if (i % 2 == 0) continue;
      engine->reset();
      engine = StateEngine::Open(OptionsFor(dir));
      ASSERT_TRUE(engine.ok()) << engine.status();
    }
    for (uint64_t i = 0; i < states.size(); ++i) {
      ASSERT_NO_FATAL_FAILURE(ExpectState(**(*engine)->View(70 + i), states[i]));
    }
    EXPECT_EQ((*engine)->View(uint64_t{69}).status().code(), absl::StatusCode::kOutOfRange);
    EXPECT_EQ((*engine)->RollbackTo(uint64_t{69}).status().code(), absl::StatusCode::kOutOfRange);
    ASSERT_TRUE((*engine)->RollbackTo(uint64_t{70}).ok());
    ASSERT_NO_FATAL_FAILURE(ExpectState(**(*engine)->View(LatestBlock{}), states[0]));
    ExpectVerified(**engine);
  }
}

// Slots whose nodes are embedded in their parents, as their keys share all but the last nibbles. No addresses of ours
// hash to such keys, so only the importer can be given them.
TEST(StateImport, EmbeddedNodesOfStorage) {
  const TempDir scratch;
  const std::string dir = scratch.path() + "/data";
  const Hash account = Keccak256("account");
  model::NaiveTrie storage;
  std::unique_ptr<StateImport> import = MustBegin(dir);
  ASSERT_EQ(import->AddAccount(Plain(account), {}), absl::OkStatus());
  for (uint64_t i = 1; i < 600; i += i % 5 + 1) {
    const U256 value = U256::FromUint64(i % 7 == 0 ? UINT64_MAX : i);
    ASSERT_EQ(import->AddSlot(KeyOf(i), value), absl::OkStatus());
    Bytes leaf;
    rlp::AppendString(leaf, value.minimal());
    storage.Put(KeyOf(i).view(), leaf);
  }
  model::NaiveTrie accounts;
  Bytes leaf;
  AppendAccountRlp(leaf, {1, {}, storage.Root(), kEmptyCodeHash});
  accounts.Put(account.view(), leaf);
  const absl::StatusOr<ImportReport> report = import->Finish(Expecting(accounts.Root()));
  ASSERT_TRUE(report.ok()) << report.status();
  import.reset();
  const absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(OptionsFor(dir));
  ASSERT_TRUE(engine.ok()) << engine.status();
  ExpectVerified(**engine);
}

// Refusals
// -------------------------------------------------------------------------------------------------------------

std::string Text(const absl::Status& status) { return std::string(status.message()); }

// Neither an engine nor an import takes the folder, and they say what to do.
void ExpectRefusedAsUnfinished(const std::string& dir) {
  for (const absl::Status& status :
       {StateEngine::Open(OptionsFor(dir)).status(), StateImport::Begin(OptionsFor(dir)).status(),
        ReadStoredState(dir, nullptr).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(Text(status), AllOf(HasSubstr(dir), HasSubstr("did not finish"), HasSubstr("remove the folder")));
  }
}

TEST(StateImport, AccountsAndSlotsComeInOrder) {
  for (const uint64_t second : {5, 4}) {
    const TempDir scratch;
    std::unique_ptr<StateImport> import = MustBegin(scratch.path() + "/data");
    ASSERT_EQ(import->AddAccount(Plain(KeyOf(5)), {}), absl::OkStatus());
    const absl::Status refused = import->AddAccount(Plain(KeyOf(second)), {});
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(Text(refused), AllOf(HasSubstr("account " + ToHex(KeyOf(second))), HasSubstr(ToHex(KeyOf(5)))));
    EXPECT_EQ(import->Finish({}).status(), refused);
    import.reset();
    ExpectRefusedAsUnfinished(scratch.path() + "/data");
  }
  for (const uint64_t second : {5, 4}) {
    const TempDir scratch;
    const std::unique_ptr<StateImport> import = MustBegin(scratch.path() + "/data");
    ASSERT_EQ(import->AddAccount(Plain(KeyOf(9)), {}), absl::OkStatus());
    ASSERT_EQ(import->AddSlot(KeyOf(5), U256::FromUint64(1)), absl::OkStatus());
    const absl::Status refused = import->AddSlot(KeyOf(second), U256::FromUint64(1));
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(Text(refused), AllOf(HasSubstr(ToHex(KeyOf(9))), HasSubstr("slot " + ToHex(KeyOf(second))),
                                     HasSubstr(ToHex(KeyOf(5)))));
    EXPECT_EQ(import->AddAccount(Plain(KeyOf(10)), {}), refused);
  }
}

TEST(StateImport, SlotsHaveAnAccountAndAValue) {
  const TempDir scratch;
  EXPECT_EQ(MustBegin(scratch.path() + "/a")->AddSlot(KeyOf(1), U256::FromUint64(1)).code(),
            absl::StatusCode::kInvalidArgument);
  const std::unique_ptr<StateImport> import = MustBegin(scratch.path() + "/b");
  ASSERT_EQ(import->AddAccount(Plain(KeyOf(9)), {}), absl::OkStatus());
  EXPECT_THAT(Text(import->AddSlot(KeyOf(1), U256{})), HasSubstr(ToHex(KeyOf(1))));
}

TEST(StateImport, CodeHasItsHash) {
  const TempDir scratch;
  ImportedAccount account = Plain(KeyOf(3));
  account.code_hash = Keccak256("code");
  for (const Bytes& code : {Bytes(), Bytes("other")}) {
    const absl::Status refused = MustBegin(scratch.path() + "/" + code)->AddAccount(account, code);
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(Text(refused), AllOf(HasSubstr(ToHex(KeyOf(3))), HasSubstr(ToHex(account.code_hash)),
                                     HasSubstr(ToHex(Keccak256(code)))));
    std::filesystem::remove_all(scratch.path());
    std::filesystem::create_directory(scratch.path());
  }
  // Code that was taken before is compared, not hashed again.
  const std::unique_ptr<StateImport> import = MustBegin(scratch.path() + "/data");
  ASSERT_EQ(import->AddAccount(account, "code"), absl::OkStatus());
  account.key = KeyOf(4);
  ASSERT_EQ(import->AddAccount(account, "code"), absl::OkStatus());
  account.key = KeyOf(5);
  EXPECT_EQ(import->AddAccount(account, "kode").code(), absl::StatusCode::kInvalidArgument);
}

TEST(StateImport, RootsAreCompared) {
  const TempDir scratch;
  std::unique_ptr<StateImport> import = MustBegin(scratch.path() + "/storage");
  ImportedAccount account = Plain(KeyOf(3));
  account.storage_root = Keccak256("root");
  ASSERT_EQ(import->AddAccount(account, {}), absl::OkStatus());
  ASSERT_EQ(import->AddSlot(KeyOf(1), U256::FromUint64(1)), absl::OkStatus());
  absl::Status refused = import->Finish({}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Text(refused), AllOf(HasSubstr(ToHex(KeyOf(3))), HasSubstr(ToHex(*account.storage_root))));
  import.reset();
  ExpectRefusedAsUnfinished(scratch.path() + "/storage");

  import = MustBegin(scratch.path() + "/state");
  const NaiveState state = RandomState(1, 20);
  ASSERT_EQ(AddAll(*import, state), absl::OkStatus());
  refused = import->Finish(Expecting(Keccak256("root"))).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Text(refused), AllOf(HasSubstr(ToHex(state.Root())), HasSubstr(ToHex(Keccak256("root")))));
  import.reset();
  ExpectRefusedAsUnfinished(scratch.path() + "/state");
  AllTables tables = ReadTables(scratch.path() + "/state");
  EXPECT_TRUE(tables[static_cast<size_t>(Table::kAccounts)].empty());
}

TEST(StateImport, AnInterruptedImportIsRecognised) {
  const TempDir scratch;
  const std::string dir = scratch.path() + "/data";
  const std::string copy = scratch.path() + "/copy";
  std::unique_ptr<StateImport> import = MustBegin(dir);
  ASSERT_EQ(AddAll(*import, RandomState(1, 300)), absl::OkStatus());
  CopyFolder(dir, copy);  // as a crash would leave it
  ExpectRefusedAsUnfinished(copy);
  import.reset();
  ExpectRefusedAsUnfinished(dir);
  std::filesystem::remove_all(dir);
  MustImport(dir, RandomState(1, 300), {});
}

TEST(StateImport, OnlyIntoAFolderWithoutBlocks) {
  const TempDir scratch;
  const std::string dir = scratch.path() + "/data";
  // An engine that was opened and given nothing.
  ASSERT_TRUE(StateEngine::Open(OptionsFor(dir)).ok());
  MustImport(dir, RandomState(3, 5), {});
  const absl::Status again = StateImport::Begin(OptionsFor(dir)).status();
  EXPECT_EQ(again.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Text(again), AllOf(HasSubstr(dir), HasSubstr("holds blocks")));
  absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(OptionsFor(dir));
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_THAT(Text(StateImport::Begin(OptionsFor(dir)).status()), HasSubstr("in use"));
  EXPECT_TRUE((*engine)->Apply(EmptyBlock()).ok());

  // Blocks that are in the change log alone.
  const std::string logged = scratch.path() + "/logged";
  EngineOptions options = OptionsFor(logged);
  options.durability = Durability::kSync;
  absl::StatusOr<std::unique_ptr<StateEngine>> other = StateEngine::Open(options);
  ASSERT_TRUE(other.ok()) << other.status();
  ASSERT_TRUE((*other)->Apply(EmptyBlock()).ok());
  CopyFolder(logged, scratch.path() + "/copy");
  EXPECT_THAT(Text(StateImport::Begin(OptionsFor(scratch.path() + "/copy")).status()), HasSubstr("holds blocks"));
}

// Pieces
// ---------------------------------------------------------------------------------------------------------------

// Pieces of all sizes: whatever is late or not, each row is there once.
TEST(RowCollector, RowsOfATrieInPieces) {
  for (const size_t piece_bytes : {1, 300, 5000, 1 << 20}) {
    const std::unique_ptr<storage::KeyValueStore> store = storage::NewMemoryStore();
    PieceWriter writer(*store);
    RowCollector rows(Table::kAccountNodes, RowCollector::Order::kChildrenFirst, writer, piece_bytes);
    std::map<Bytes, Bytes> expected;
    TrieBuilder builder([&](const NibblePath& path, const BranchValue& branch) {
      Bytes key;
      path.AppendRowKey(key);
      Bytes record;
      AppendBranchRecord(record, branch);
      rows.bytes().append(key);
      rows.EndKey();
      rows.bytes().append(record);
      ASSERT_EQ(rows.EndRow(), absl::OkStatus());
      ASSERT_TRUE(expected.emplace(key, record).second);
    });
    std::map<Hash, Bytes> leaves;
    for (int i = 0; i < 3000; ++i) leaves[Keccak256(std::to_string(i))] = std::to_string(i);
    for (const auto& [key, value] : leaves) builder.Add(key, value, false);
    builder.Finish();
    ASSERT_EQ(rows.Cut(), absl::OkStatus());
    ASSERT_EQ(writer.Finish(), absl::OkStatus());
    std::vector<storage::Row> late = rows.LateRows();
    EXPECT_EQ(late.empty(), piece_bytes == 1 << 20);
    EXPECT_LT(late.size(), expected.size());
    storage::TableBatch batch{Table::kAccountNodes, std::move(late), {}};
    ASSERT_EQ(store->Ingest({&batch, 1}), absl::OkStatus());
    std::map<Bytes, Bytes> actual;
    const std::unique_ptr<storage::Iterator> it = store->NewIterator(Table::kAccountNodes);
    for (it->Seek(""); it->Valid(); it->Next()) actual.emplace(it->key(), it->value());
    EXPECT_EQ(actual, expected);
    EXPECT_EQ(rows.rows(), expected.size());
  }
}

}  // namespace
}  // namespace mptd::testing
