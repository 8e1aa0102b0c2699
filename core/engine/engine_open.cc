// Opening and closing: what the tables hold, what a crash left in the change log, and the threads.
#include <algorithm>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/engine/engine_impl.h"
#include "core/engine/history_reader.h"
#include "core/engine/store_options.h"
#include "core/engine/stored_state.h"
#include "core/engine/undo_record.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "core/trie/branch_record.h"
#include "storage/data_keys.h"
#include "storage/rocksdb_store.h"
#include "storage/thread_name.h"

namespace mptd {
namespace {

using storage::Table;

constexpr size_t kBucketsPerByteOfCache = 160;
// What an undo record takes in memory, in sizes of its row.
constexpr size_t kMemoryOfUndoRow = 3;
// The change log stops growing while less is free; the tables keep twice as much free (RocksDbOptions). So a disk that
// fills up stops flushes, then blocks, and never a write of RocksDB that it could not do without.
constexpr uint64_t kLogReserveBytes = 32u << 20;

// What the root's row hashes to; where there is none, the row of the only account.
absl::StatusOr<Hash> RootInTables(const storage::KeyValueStore& kv, const BranchNode* root) {
  Bytes node;
  if (root == nullptr) {
    const std::unique_ptr<storage::Iterator> row = kv.NewIterator(Table::kAccounts);
    row->Seek("");
    if (!row->Valid()) return row->status().ok() ? absl::StatusOr<Hash>(kEmptyRoot) : row->status();
    absl::StatusOr<Bytes> leaf = LeafValueOf(nullptr, row->value());
    if (!leaf.ok()) return absl::DataLossError(absl::StrCat("table accounts, row ", ToHex(row->key()), " is damaged"));
    AppendLeafRlp(node, Hash::FromView(row->key()), 0, *leaf);
    return Keccak256(node);
  }
  AppendBranchRlp(node, *root);
  if (root->extension_size == 0) return Keccak256(node);
  // Leaves of accounts have more than 32 bytes, so no branch of them is embedded.
  Bytes extension;
  AppendExtensionRlp(extension, root->extension(), Keccak256(node).view(), false);
  return Keccak256(extension);
}

}  // namespace

StateStore::~StateStore() {
  absl::MutexLock lock(&mutex);
  if (!tries.empty()) NodeCache::FreeAll(tries.back()->root);
  tries.clear();
}

absl::StatusOr<std::unique_ptr<StateEngine>> StateEngine::Open(EngineOptions options) {
  absl::StatusOr<storage::DataDirLock> lock = storage::LockDataDir(options.data_dir);
  if (!lock.ok()) return lock.status();
  auto engine = std::make_unique<EngineImpl>(std::move(options), *std::move(lock));
  if (absl::Status s = engine->Start(); !s.ok()) return s;
  return engine;
}

EngineImpl::EngineImpl(EngineOptions options, storage::DataDirLock lock)
    : options_(std::move(options)), lock_(std::move(lock)), limits_(options_) {}

EngineImpl::~EngineImpl() {
  warmer_.reset();
  if (store_ != nullptr) {
    store_->offers.OnHalfFull(nullptr);
    store_->damage.SetListener(nullptr);
  }
  {
    absl::MutexLock lock(&task_mutex_);
    stopping_ = true;
  }
  if (writer_.joinable()) writer_.join();
  {
    absl::MutexLock lock(&sync_mutex_);
    sync_stopping_ = true;
  }
  if (syncer_.joinable()) syncer_.join();
  if (history_ != nullptr && log_ != nullptr && ReadOnlyError().ok()) {
    if (absl::StatusOr<BlockInfo> flushed = Flush(); !flushed.ok()) {
      Emit({EngineEvent::Kind::kFlushFailed, flusher_->queued_nodes(), 0, {}, std::string(flushed.status().message())});
    } else {
      const uint64_t flushed_lsn = store_->flushed_sequence / 2;
      (void)(log_->last_lsn() <= flushed_lsn ? log_->RemoveAll() : log_->TruncateThrough(flushed_lsn));
    }
  }
  history_.reset();
  flusher_.reset();
  absl::MutexLock lock(&head_mutex_);
  head_.reset();
}

absl::Status EngineImpl::OpenTables() {
  absl::StatusOr<std::shared_ptr<storage::DataKeys>> keys = storage::OpenDataKeys(lock_.dir(), options_.encryption_key);
  if (!keys.ok()) return keys.status();
  keys_ = *std::move(keys);
  storage::RocksDbOptions rocks = StoreOptions(options_, lock_.db_dir());
  rocks.keys = keys_;
  const auto floor = std::make_shared<std::atomic<uint64_t>>(0);
  rocks.expired = [floor](std::string_view key) { return IsExpired(key, floor->load(std::memory_order_relaxed)); };
  absl::StatusOr<std::unique_ptr<storage::KeyValueStore>> kv = storage::OpenRocksDb(rocks);
  if (!kv.ok()) return kv.status();
  if (absl::Status s = RefuseUnfinishedImport(**kv, lock_.dir()); !s.ok()) return s;
  store_ = std::make_shared<StateStore>(
      *std::move(kv), (options_.row_cache_bytes + options_.history_memory_bytes) / kBucketsPerByteOfCache,
      static_cast<int64_t>(options_.node_cache_bytes), floor);
  return absl::OkStatus();
}

absl::Status EngineImpl::OpenLog(uint64_t flushed_lsn) {
  replaying_ = true;
  storage::ChangeLogOptions log;
  log.dir = lock_.log_dir();
  log.segment_bytes = options_.log_segment_bytes;
  log.reserved_disk_bytes = kLogReserveBytes;
  log.files = options_.log_files;
  log.keys = keys_;
  absl::StatusOr<std::unique_ptr<storage::ChangeLog>> opened = storage::ChangeLog::Open(
      log, flushed_lsn, [this](uint64_t lsn, std::string_view payload) { return ReplayRecord(lsn, payload); });
  if (!opened.ok()) return opened.status();
  log_ = *std::move(opened);
  replaying_ = false;
  return keys_ != nullptr && keys_->numbers().size() > 1 ? DropOldKeys(flushed_lsn) : absl::OkStatus();
}

// Now RocksDB has written anew what it writes once at each opening, and of the log no more than what was replayed is
// needed.
absl::Status EngineImpl::DropOldKeys(uint64_t flushed_lsn) {
  if (absl::Status s = log_->TruncateThrough(flushed_lsn); !s.ok()) return s;
  absl::StatusOr<std::set<uint32_t>> used = store_->kv->KeysInUse();
  if (!used.ok()) return used.status();
  used->merge(log_->KeysInUse());
  return keys_->KeepOnly(*used);
}

absl::Status EngineImpl::Start() {
  if (absl::Status s = OpenTables(); !s.ok()) return s;
  store_->offers.OnHalfFull([this] {
    absl::MutexLock lock(&task_mutex_);
    rows_offered_ = true;
  });
  store_->damage.SetListener([this](const absl::Status& status) { (void)DamageFound(status); });
  nodes_ = std::make_unique<NodeCache>(store_->trie_epochs, store_->node_bytes);
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  pool_ = std::make_unique<WorkerPool>(options_.worker_threads > 0 ? options_.worker_threads : std::max(1, cores));

  FlushedState flushed;
  if (absl::Status s = LoadTables(flushed); !s.ok()) return s;
  Flusher::Options flush;
  flush.flush_blocks = options_.flush_blocks;
  flush.flush_bytes = options_.queue_bytes / 2;
  flush.interval = options_.flush_interval;
  flush.retry = options_.flush_retry;
  flush.prune_interval = options_.prune_interval_blocks;
  flush.max_prune_blocks = options_.max_prune_blocks;
  flush.on_event = [this](const EngineEvent& event) { Emit(event); };
  flush.on_failure = [this](const absl::Status& status, uint64_t waiting) {
    Emit({EngineEvent::Kind::kFlushFailed, waiting, 0, {}, std::string(status.message())});
    (void)DamageFound(status);
  };
  flusher_ = std::make_unique<Flusher>(store_, std::move(flush), flushed);
  history_ = std::make_unique<HistoryWorker>(store_, *flusher_);
  if (absl::Status s = LoadHistory(flushed); !s.ok()) return s;

  const absl::Time start = absl::Now();
  if (absl::Status s = OpenLog(flushed.sequence / 2); !s.ok()) return s;
  if (!options_.archive) {
    keep_blocks_ = options_.keep_blocks;
    absl::MutexLock lock(&store_->mutex);
    flusher_->SetOldest(ServeNewest(options_.keep_blocks), false);
  }
  if (replayed_ > 0) {
    Emit({EngineEvent::Kind::kRecovered, replayed_, Head()->block().number, absl::Now() - start, {}});
  }
  writer_ = std::thread([this] {
    storage::NameThisThread("mptd-writer");
    WriterLoop();
  });
  if (options_.durability == Durability::kBatched) {
    syncer_ = std::thread([this] {
      storage::NameThisThread("mptd-sync");
      SyncLoop();
    });
  }
  if (options_.warm_up) warmer_ = std::make_unique<CacheWarmer>(store_, *flusher_, [this] { return Head(); });
  return absl::OkStatus();
}

absl::StatusOr<StateCounts> EngineImpl::LoadCounts(uint64_t sequence) const {
  absl::StatusOr<storage::Value> row = store_->kv->Get(Table::kMeta, kCountsKey);
  if (!row.ok()) return row.status();
  if (row->has_value()) {
    if (std::optional<StateCounts> counts = DecodeCounts(**row, sequence)) return *counts;
  }
  const auto rows = [&](Table table) { return store_->kv->EstimateRows(table); };
  StateCounts guess;
  guess.accounts = rows(Table::kAccounts);
  guess.slots = rows(Table::kSlots);
  guess.branches = rows(Table::kAccountNodes) + rows(Table::kSlotNodes);
  guess.estimated = true;
  return guess;
}

absl::Status EngineImpl::LoadTables(FlushedState& flushed) {
  absl::StatusOr<storage::Value> row = store_->kv->Get(Table::kMeta, kStateKey);
  if (!row.ok()) return row.status();
  if (row->has_value()) {
    absl::StatusOr<FlushedState> decoded = DecodeFlushedState(**row);
    if (!decoded.ok()) return decoded.status();
    flushed = *std::move(decoded);
    absl::StatusOr<StateCounts> counts = LoadCounts(flushed.sequence);
    if (!counts.ok()) return counts.status();
    flushed.counts = *counts;
    absl::MutexLock lock(&state_mutex_);
    genesis_root_ = flushed.genesis_root;
  }
  store_->flushed_sequence = flushed.sequence;
  store_->index_floor->store(flushed.oldest, std::memory_order_relaxed);
  TrieRoot root;
  if (flushed.sequence != 0 && flushed.head.state_root != kEmptyRoot) {
    absl::StatusOr<storage::Value> branch = store_->kv->Get(Table::kAccountNodes, "");
    if (!branch.ok()) return branch.status();
    OwnedBranch node;
    if (branch->has_value()) {
      absl::StatusOr<OwnedBranch> decoded = DecodeBranchNode(**branch);
      if (!decoded.ok()) return absl::DataLossError("table account_nodes, the root's row is damaged");
      node = *std::move(decoded);
    }
    // A root's row that is missing would be taken for a trie of one account.
    const absl::StatusOr<Hash> found = RootInTables(*store_->kv, node.get());
    if (!found.ok()) return found.status();
    if (*found != flushed.head.state_root) {
      return absl::DataLossError(
          absl::StrFormat("table account_nodes, the root's row: it gives root %s, block %d has %s", ToHex(*found),
                          flushed.head.number, ToHex(flushed.head.state_root)));
    }
    root.kind = node != nullptr ? TrieRoot::Kind::kBranch : TrieRoot::Kind::kLeaf;
    root.node = node.release();
  }
  auto trie = std::make_shared<TrieSnapshot>(store_->trie_epochs, flushed.sequence, root);
  {
    absl::MutexLock lock(&store_->mutex);
    store_->window = std::make_shared<BlockWindow>();
    store_->transitions = std::make_shared<TransitionList>();
    store_->tries.push_back(trie);
    store_->live_views.insert(flushed.sequence);
    if (flushed.sequence != 0) store_->applied.Add(flushed.sequence, flushed.head.number, false, flushed.sequence);
  }
  absl::MutexLock lock(&head_mutex_);
  head_ = std::make_shared<ViewImpl>(
      store_, ViewImpl::Parts{flushed.sequence, flushed.head, std::move(trie), nullptr, nullptr});
  has_blocks_ = flushed.sequence != 0;
  return absl::OkStatus();
}

absl::Status EngineImpl::LoadUndoRecord(uint64_t number, BytesView row) {
  absl::StatusOr<UndoRecord> undo = DecodeUndo(row);
  if (!undo.ok() || undo->header.block.number != number) {
    return absl::DataLossError(absl::StrCat("table history, the row of block ", number, " is damaged"));
  }
  auto record = std::make_shared<const BlockRecord>(undo->header);
  auto rows = std::make_shared<TransitionRows>();
  rows->sequence = record->sequence;
  bool first;
  {
    absl::MutexLock lock(&store_->mutex);
    first = store_->window->empty();
  }
  // What the oldest served block replaced is not asked for.
  if (!first) {
    for (const UndoRow& r : undo->accounts) {
      rows->accounts.push_back(store_->rows.PutReplaced(TableId(Table::kAccounts), r.key, r.value, rows->sequence));
    }
    for (const UndoRow& r : undo->slots) {
      rows->slots.push_back(store_->rows.PutReplaced(TableId(Table::kSlots), r.key, r.value, rows->sequence));
    }
    for (BytesView hash : undo->new_code) {
      rows->code.push_back(store_->rows.PutReplaced(TableId(Table::kCode), hash, std::nullopt, rows->sequence));
    }
    history_->Load(rows->sequence, undo->account_nodes, undo->slot_nodes);
  }
  absl::MutexLock lock(&store_->mutex);
  auto window = std::make_shared<BlockWindow>(*store_->window);
  window->push_back(std::move(record));
  store_->window = std::move(window);
  if (!first) {
    auto transitions = std::make_shared<TransitionList>(*store_->transitions);
    transitions->push_back(std::move(rows));
    store_->transitions = std::move(transitions);
  }
  return absl::OkStatus();
}

absl::Status EngineImpl::LoadHistory(const FlushedState& flushed) {
  history_->SetIndexed(flushed.sequence);
  if (flushed.sequence == 0) return absl::OkStatus();
  const uint64_t keep = keep_blocks_;
  uint64_t oldest = flushed.head.number > keep ? flushed.head.number - keep : 0;
  oldest = std::max(oldest, flushed.oldest);
  // What the tables have indexed need not be in memory, and what does not fit is indexed when it is asked for.
  std::deque<Bytes> rows;
  uint64_t first = flushed.head.number + 1;
  for (size_t bytes = 0; first > std::max(oldest, flushed.indexed_through);) {
    absl::StatusOr<storage::Value> row = store_->kv->Get(Table::kHistory, BlockKey(first - 1));
    if (!row.ok()) return row.status();
    if (!row->has_value()) return absl::DataLossError(absl::StrCat("table history has no row for block ", first - 1));
    bytes += kMemoryOfUndoRow * (*row)->size();
    if (!rows.empty() && bytes > options_.history_memory_bytes) break;
    rows.push_front(**std::move(row));
    --first;
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (absl::Status s = LoadUndoRecord(first + i, rows[i]); !s.ok()) return s;
  }
  absl::MutexLock lock(&store_->mutex);
  const BlockRecord& head = *store_->window->back();
  if (head.block != flushed.head) {
    return absl::DataLossError(absl::StrFormat("table history says that block %d has root %s, table meta says %s",
                                               head.block.number, ToHex(head.block.state_root),
                                               ToHex(flushed.head.state_root)));
  }
  store_->oldest_served = oldest;
  return absl::OkStatus();
}

absl::Status EngineImpl::ReplayRecord(uint64_t lsn, BytesView payload) {
  absl::StatusOr<LogRecord> record = DecodeLogRecord(payload);
  if (!record.ok()) return record.status();
  replaying_lsn_ = lsn;
  ++replayed_;
  absl::Status status;
  if (auto* rollback = std::get_if<LoggedRollback>(&*record)) {
    status = RollbackNow(rollback->number).status();
  } else {
    LoggedBlock& logged = std::get<LoggedBlock>(*record);
    logged.block.expected_root = logged.state_root;
    const Bytes encoded = EncodeChanges(logged.block);
    absl::StatusOr<ApplyResult> applied =
        ApplyNow(logged.block, DigestOf(logged.block, encoded), encoded, absl::InfiniteFuture());
    status = applied.status();
    if (applied.ok() && applied->already_applied) status = absl::DataLossError("the block is there already");
  }
  if (!status.ok()) {
    // What was accepted once is accepted again, so a refusal means damage; a disk that is full or fails does not.
    const bool disk = absl::IsResourceExhausted(status) || absl::IsUnavailable(status);
    return absl::Status(disk ? status.code() : absl::StatusCode::kDataLoss,
                        absl::StrCat("replaying record ", lsn, " of the change log failed: ", status.message()));
  }
  Housekeeping();
  return absl::OkStatus();
}

void EngineImpl::SyncLoop() {
  absl::MutexLock lock(&sync_mutex_);
  while (true) {
    const auto wanted = [this]() ABSL_SHARED_LOCKS_REQUIRED(sync_mutex_) { return sync_wanted_ || sync_stopping_; };
    const auto now = [this]() ABSL_SHARED_LOCKS_REQUIRED(sync_mutex_) { return sync_now_ || sync_stopping_; };
    sync_mutex_.Await(absl::Condition(&wanted));
    sync_mutex_.AwaitWithTimeout(absl::Condition(&now), options_.batch_timeout);
    const bool stopping = sync_stopping_;
    sync_wanted_ = sync_now_ = false;
    sync_mutex_.Unlock();
    if (ReadOnlyError().ok()) (void)SyncLog();
    sync_mutex_.Lock();
    if (stopping) return;
  }
}

}  // namespace mptd
