#include "core/import/state_import.h"

#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "core/account.h"
#include "core/engine/flusher.h"
#include "core/engine/state_counts.h"
#include "core/engine/store_options.h"
#include "core/engine/stored_state.h"
#include "core/engine/undo_record.h"
#include "core/hex.h"
#include "core/import/code_rows.h"
#include "core/import/row_collector.h"
#include "core/rlp.h"
#include "core/trie/trie_builder.h"
#include "storage/change_log.h"
#include "storage/data_dir.h"
#include "storage/data_keys.h"

namespace mptd {
namespace {

using storage::Table;

// Accounts wait for the roots of their storage, so that the nodes of many small tries are hashed together.
constexpr size_t kMaxPending = 512;
// As the first block of an engine: the sequence of the log's first record.
constexpr uint64_t kSequence = 3;

absl::Status OutOfOrder(std::string_view what, const Hash& key, const Hash& last) {
  return absl::InvalidArgumentError(
      absl::StrFormat("%s %s does not come after %s; they are taken in ascending order of their hashed keys, each once",
                      what, ToHex(key), ToHex(last)));
}

absl::Status RefuseBlocks(const storage::KeyValueStore& tables, const storage::DataDirLock& lock) {
  const absl::StatusOr<storage::Value> state = tables.Get(Table::kMeta, kStateKey);
  if (!state.ok()) return state.status();
  const absl::StatusOr<storage::ChangeLogSummary> log = storage::CheckChangeLog(lock.log_dir());
  if (!log.ok() && !absl::IsNotFound(log.status())) return log.status();
  if (!state->has_value() && (!log.ok() || log->records == 0)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrFormat(
      "the data folder %s holds blocks; a state is imported into a new folder: name another, or remove this one",
      lock.dir()));
}

class StateImportImpl final : public StateImport {
 public:
  StateImportImpl(storage::DataDirLock lock, std::unique_ptr<storage::KeyValueStore> tables);

  absl::Status AddAccount(const ImportedAccount& account, BytesView code) override;
  absl::Status AddSlot(const Hash& key, const U256& value) override;
  absl::StatusOr<ImportReport> Finish(const ImportedBlock& block) override;

 private:
  struct Pending {
    Hash key;
    Account account;
    std::optional<Hash> storage_root;
  };

  absl::Status Fail(absl::Status status);
  absl::Status TakeAccount(const ImportedAccount& account, BytesView code);
  absl::Status TakeSlot(const Hash& key, const U256& value);
  absl::Status TakeFinish(const ImportedBlock& block);
  void OnBranch(RowCollector& rows, const Hash* account, const NibblePath& path, const BranchValue& branch);
  void EndStorage();
  absl::Status Settle();
  absl::Status SettleOne(const Pending& pending);
  absl::Status MakeHead(const ImportedBlock& block);

  const storage::DataDirLock lock_;
  const std::unique_ptr<storage::KeyValueStore> tables_;
  PieceWriter writer_;
  RowCollector accounts_;
  RowCollector slots_;
  uint64_t extensions_ = 0;
  RowCollector account_nodes_;
  RowCollector slot_nodes_;
  CodeRows code_;
  TrieBuilder account_trie_;
  TrieBuilder storage_tries_;

  std::vector<Pending> pending_;
  std::vector<size_t> with_storage_;  // places in pending_
  size_t storage_done_ = 0;           // of with_storage_: tries that have their roots
  bool storage_open_ = false;         // the last account has slots
  std::optional<Hash> last_account_;
  Hash last_slot_;
  Bytes leaf_;
  Bytes slot_leaf_;
  absl::Status failed_;
  ImportReport report_;
};

StateImportImpl::StateImportImpl(storage::DataDirLock lock, std::unique_ptr<storage::KeyValueStore> tables)
    : lock_(std::move(lock)),
      tables_(std::move(tables)),
      writer_(*tables_),
      accounts_(Table::kAccounts, RowCollector::Order::kAscending, writer_),
      slots_(Table::kSlots, RowCollector::Order::kAscending, writer_),
      account_nodes_(Table::kAccountNodes, RowCollector::Order::kChildrenFirst, writer_),
      slot_nodes_(Table::kSlotNodes, RowCollector::Order::kChildrenFirst, writer_),
      code_(writer_),
      account_trie_([this](const NibblePath& path, const BranchValue& branch) {
        OnBranch(account_nodes_, nullptr, path, branch);
      }),
      storage_tries_(
          [this](const NibblePath& path, const BranchValue& branch) {
            OnBranch(slot_nodes_, &pending_[with_storage_[storage_done_]].key, path, branch);
          },
          [this](const Hash& root) { pending_[with_storage_[storage_done_++]].account.storage_root = root; }) {}

absl::Status StateImportImpl::Fail(absl::Status status) {
  failed_.Update(status);
  return status;
}

void StateImportImpl::OnBranch(RowCollector& rows, const Hash* account, const NibblePath& path,
                               const BranchValue& branch) {
  if (account != nullptr) rows.bytes().append(account->view());
  path.AppendRowKey(rows.bytes());
  rows.EndKey();
  AppendBranchRecord(rows.bytes(), branch);
  if (!branch.extension.empty()) ++extensions_;
  failed_.Update(rows.EndRow());
}

void StateImportImpl::EndStorage() {
  if (storage_open_) storage_tries_.End();
  storage_open_ = false;
}

absl::Status StateImportImpl::SettleOne(const Pending& pending) {
  const Account& account = pending.account;
  if (pending.storage_root && *pending.storage_root != account.storage_root) {
    return absl::FailedPreconditionError(absl::StrFormat("account %s: its slots give storage root %s, it says %s",
                                                         ToHex(pending.key), ToHex(account.storage_root),
                                                         ToHex(*pending.storage_root)));
  }
  leaf_.clear();
  AppendAccountRlp(leaf_, account);
  account_trie_.Add(pending.key, leaf_, account.storage_root != kEmptyRoot);
  accounts_.bytes().append(pending.key.view());
  accounts_.EndKey();
  AppendSlimAccount(accounts_.bytes(), account);
  return accounts_.EndRow();
}

// All accounts so far, whose storage has ended, go into the account trie.
absl::Status StateImportImpl::Settle() {
  storage_tries_.Flush();
  for (const Pending& pending : pending_) {
    if (absl::Status s = SettleOne(pending); !s.ok()) return s;
  }
  pending_.clear();
  with_storage_.clear();
  storage_done_ = 0;
  return failed_;
}

absl::Status StateImportImpl::TakeAccount(const ImportedAccount& account, BytesView code) {
  if (last_account_ && account.key <= *last_account_) return OutOfOrder("account", account.key, *last_account_);
  EndStorage();
  if (pending_.size() >= kMaxPending) {
    if (absl::Status s = Settle(); !s.ok()) return s;
  }
  if (account.code_hash != kEmptyCodeHash || !code.empty()) {
    if (absl::Status s = code_.Add(account.code_hash, code); !s.ok()) {
      return absl::Status(s.code(), absl::StrFormat("account %s: %s", ToHex(account.key), s.message()));
    }
  }
  pending_.push_back(
      {account.key, {account.nonce, account.balance, kEmptyRoot, account.code_hash}, account.storage_root});
  last_account_ = account.key;
  ++report_.accounts;
  return absl::OkStatus();
}

absl::Status StateImportImpl::TakeSlot(const Hash& key, const U256& value) {
  if (!last_account_) return absl::InvalidArgumentError("a slot comes after its account, and there is none yet");
  if (value.IsZero()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("account %s: slot %s has no value; leave it out", ToHex(*last_account_), ToHex(key)));
  }
  if (storage_open_ && key <= last_slot_) {
    absl::Status s = OutOfOrder("slot", key, last_slot_);
    return absl::Status(s.code(), absl::StrFormat("account %s: %s", ToHex(*last_account_), s.message()));
  }
  if (!storage_open_) with_storage_.push_back(pending_.size() - 1);
  storage_open_ = true;
  last_slot_ = key;
  const BytesView minimal = value.minimal();
  slot_leaf_.clear();
  rlp::AppendString(slot_leaf_, minimal);
  storage_tries_.Add(key, slot_leaf_, false);
  slots_.bytes().append(last_account_->view()).append(key.view());
  slots_.EndKey();
  slots_.bytes().append(minimal);
  ++report_.slots;
  failed_.Update(slots_.EndRow());
  return failed_;
}

// What makes the rows a state: the block that they are of, its empty undo record, and no mark of an import any more.
absl::Status StateImportImpl::MakeHead(const ImportedBlock& block) {
  FlushedState state;
  state.sequence = kSequence;
  state.head = report_.block;
  state.oldest = block.number;
  if (block.number == 0) state.genesis_root = report_.block.state_root;
  const Bytes state_row = EncodeFlushedState(state);
  const Bytes counts_row = EncodeCounts(
      kSequence,
      {.accounts = report_.accounts, .slots = report_.slots, .branches = report_.branches, .extensions = extensions_});
  UndoRecord undo;
  undo.header = {kSequence, report_.block, kEmptyRoot, {}};
  const Bytes undo_row = EncodeUndo(undo);
  const Bytes number = BlockKey(block.number);
  std::vector<storage::TableBatch> batches;
  for (RowCollector* nodes : {&account_nodes_, &slot_nodes_}) {
    std::vector<storage::Row> late = nodes->LateRows();
    if (!late.empty()) batches.push_back({nodes->table(), std::move(late), {}});
  }
  batches.push_back({Table::kHistory, {{number, undo_row}}, {}});
  static_assert(kCountsKey < kUnfinishedKey && kUnfinishedKey < kStateKey);
  batches.push_back(
      {Table::kMeta, {{kCountsKey, counts_row}, {kUnfinishedKey, std::nullopt}, {kStateKey, state_row}}, {}});
  return tables_->Ingest(batches);
}

absl::Status StateImportImpl::TakeFinish(const ImportedBlock& block) {
  EndStorage();
  if (absl::Status s = Settle(); !s.ok()) return s;
  report_.block = {block.number, block.hash, block.parent_hash, account_trie_.Finish()};
  if (!failed_.ok()) return failed_;
  const Hash& root = report_.block.state_root;
  if (block.expected_root && *block.expected_root != root) {
    return absl::FailedPreconditionError(
        absl::StrFormat("the accounts give state root %s, expected is %s; nothing has been made of them", ToHex(root),
                        ToHex(*block.expected_root)));
  }
  for (RowCollector* rows : {&accounts_, &slots_, &account_nodes_, &slot_nodes_}) {
    if (absl::Status s = rows->Cut(); !s.ok()) return s;
  }
  if (absl::Status s = code_.Cut(); !s.ok()) return s;
  if (absl::Status s = writer_.Finish(); !s.ok()) return s;
  report_.codes = code_.rows();
  report_.branches = account_nodes_.rows() + slot_nodes_.rows();
  return MakeHead(block);
}

absl::Status StateImportImpl::AddAccount(const ImportedAccount& account, BytesView code) {
  return failed_.ok() ? Fail(TakeAccount(account, code)) : failed_;
}

absl::Status StateImportImpl::AddSlot(const Hash& key, const U256& value) {
  return failed_.ok() ? Fail(TakeSlot(key, value)) : failed_;
}

absl::StatusOr<ImportReport> StateImportImpl::Finish(const ImportedBlock& block) {
  if (failed_.ok()) failed_ = TakeFinish(block);
  if (!failed_.ok()) return failed_;
  failed_ = absl::FailedPreconditionError("the import has finished");
  return report_;
}

}  // namespace

absl::StatusOr<std::unique_ptr<StateImport>> StateImport::Begin(const EngineOptions& options) {
  absl::StatusOr<storage::DataDirLock> lock = storage::LockDataDir(options.data_dir);
  if (!lock.ok()) return lock.status();
  absl::StatusOr<std::shared_ptr<storage::DataKeys>> keys = storage::OpenDataKeys(lock->dir(), options.encryption_key);
  if (!keys.ok()) return keys.status();
  storage::RocksDbOptions rocks = StoreOptions(options, lock->db_dir());
  rocks.keys = *keys;
  absl::StatusOr<std::unique_ptr<storage::KeyValueStore>> tables = storage::OpenRocksDb(rocks);
  if (!tables.ok()) return tables.status();
  if (absl::Status s = RefuseUnfinishedImport(**tables, lock->dir()); !s.ok()) return s;
  if (absl::Status s = RefuseBlocks(**tables, *lock); !s.ok()) return s;
  storage::TableBatch mark{Table::kMeta, {{kUnfinishedKey, "1"}}, {}};
  if (absl::Status s = (*tables)->Ingest({&mark, 1}); !s.ok()) return s;
  return std::make_unique<StateImportImpl>(*std::move(lock), *std::move(tables));
}

}  // namespace mptd
