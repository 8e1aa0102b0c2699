#include "core/engine/history_worker.h"

#include <algorithm>

#include "core/engine/undo_record.h"
#include "core/trie/branch_record.h"
#include "storage/thread_name.h"

namespace mptd {
namespace {

// Without blocks, history that is not asked for any more goes at least so often: a smaller limit of memory must show
// also while no block is let in.
constexpr absl::Duration kIdleTurn = absl::Milliseconds(250);

using storage::RowBlob;
using storage::Table;
using storage::VersionIndex;

// What transition `sequence` replaced in a row.
std::optional<BytesView> ReplacedBy(const VersionIndex::Entry& entry, uint64_t sequence) {
  const RowBlob* before = VersionIndex::ValueAt(entry, sequence - 1);
  if (before->absent()) return std::nullopt;
  return before->view();
}

// The order of row keys: of storage tries, those of one account together.
bool RowKeyLess(const NodeChange* a, const NodeChange* b) {
  if (a->account != b->account && a->account != nullptr && *a->account != *b->account) return *a->account < *b->account;
  if (a->path.packed != b->path.packed) return a->path.packed < b->path.packed;
  return a->path.size < b->path.size;
}

// How much longer the undo entry of a branch can be than the branch in memory.
constexpr size_t kUndoHead = 16;

// The undo entries of a transition's branches, those of accounts first, in the order of their keys; and to `item`,
// which rows are gone.
std::shared_ptr<const NodeUndoPage> MakePage(const TrieChanges& trie, uint64_t sequence, FlushItem& item) {
  auto page = std::make_shared<NodeUndoPage>(sequence);
  size_t entries = 0;
  size_t bytes = 0;
  trie.ForEachNode([&](const NodeChange& change) {
    ++entries;
    bytes += (change.account == nullptr ? 0 : Hash::kSize) + change.path.size;
    bytes += change.undo.empty() ? kUndoHead + change.before_bytes : change.undo.size();
  });
  page->Reserve(entries, bytes);
  for (const bool of_accounts : {true, false}) {
    std::vector<const NodeChange*> changes;
    trie.ForEachNode([&](const NodeChange& change) {
      if ((change.account == nullptr) == of_accounts) changes.push_back(&change);
    });
    if (!std::is_sorted(changes.begin(), changes.end(), RowKeyLess)) {
      std::sort(changes.begin(), changes.end(), RowKeyLess);
    }
    for (const NodeChange* change : changes) {
      page->Begin(NodeTable(change->account));
      AppendNodeKey(page->bytes(), change->account, change->path);
      page->EndKey();
      if (change->undo.empty()) {
        AppendBranchUndo(page->bytes(), change->before, change->after, change->changed);
      } else {
        page->bytes().append(change->undo);
      }
      page->End();
      if (change->after != nullptr) continue;
      auto& removed = of_accounts ? item.removed_account_nodes : item.removed_slot_nodes;
      removed.emplace_back(page->key(page->size() - 1));
    }
  }
  page->Shrink();
  return page;
}

}  // namespace

HistoryWorker::HistoryWorker(std::shared_ptr<StateStore> store, Flusher& flusher)
    : store_(std::move(store)), flusher_(flusher) {
  thread_ = std::thread([this] {
    storage::NameThisThread("mptd-history");
    storage::LetOthersGoFirst();
    Run();
  });
}

HistoryWorker::~HistoryWorker() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void HistoryWorker::Submit(PublishedTransition published) {
  absl::MutexLock lock(&mutex_);
  queue_.push_back(std::move(published));
}

size_t HistoryWorker::pending() const {
  absl::MutexLock lock(&mutex_);
  return queue_.size();
}

void HistoryWorker::WaitFor(uint64_t sequence) const {
  absl::MutexLock lock(&mutex_);
  const auto done = [&] { return indexed_.load(std::memory_order_acquire) >= sequence; };
  mutex_.Await(absl::Condition(&done));
}

void HistoryWorker::SetIndexed(uint64_t sequence) {
  absl::MutexLock lock(&mutex_);
  indexed_.store(sequence, std::memory_order_release);
}

void HistoryWorker::Run() {
  while (true) {
    PublishedTransition published;
    {
      absl::MutexLock lock(&mutex_);
      const auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopping_ || !queue_.empty(); };
      mutex_.AwaitWithTimeout(absl::Condition(&ready), kIdleTurn);
      if (queue_.empty() && stopping_) return;
      if (!queue_.empty()) {
        published = std::move(queue_.front());
        queue_.pop_front();
      }
    }
    const uint64_t trim = trim_.load(std::memory_order_acquire);
    // Until the first block, or the first request to trim, another thread may be loading the history.
    if (published.rows == nullptr && trim == 0) continue;
    store_->nodes.CatchUp();
    if (published.rows != nullptr) {
      const uint64_t sequence = published.rows->sequence;
      flusher_.Add(Process(published));
      published = {};
      SetIndexed(sequence);
    }
    store_->nodes.TrimThrough(trim);
    store_->node_epochs.Collect();
  }
}

FlushItem HistoryWorker::Process(PublishedTransition& published) {
  FlushItem item;
  item.rows = published.rows;
  item.trie = std::move(published.trie);
  item.rolled_back_to = published.rolled_back_to;
  item.first_half = published.first_half;
  item.change_row = std::move(published.change_row);
  item.counts = CountChanges(*published.transition);
  const uint64_t sequence = published.rows->sequence;
  const std::shared_ptr<const NodeUndoPage> page = MakePage(published.transition->trie, sequence, item);
  store_->nodes.Add(page);

  if (published.record != nullptr) {
    UndoRecord record;
    item.block = published.record->block;
    record.header = *published.record;
    record.header.sequence = sequence;
    const storage::EpochPin pin(store_->row_epochs);
    for (const auto* entry : published.rows->accounts) {
      record.accounts.push_back({entry->key(), ReplacedBy(*entry, sequence)});
    }
    for (const auto* entry : published.rows->slots) {
      record.slots.push_back({entry->key(), ReplacedBy(*entry, sequence)});
    }
    for (const auto* entry : published.rows->code) record.new_code.push_back(entry->key());
    record.account_nodes.reserve(page->size());
    for (size_t i = 0; i < page->size(); ++i) {
      auto& rows = page->table(i) == Table::kAccountNodes ? record.account_nodes : record.slot_nodes;
      rows.push_back({page->key(i), page->undo(i)});
    }
    item.undo_row = EncodeUndo(record);
  }
  return item;
}

void HistoryWorker::Load(uint64_t sequence, const std::vector<UndoRow>& account_nodes,
                         const std::vector<UndoRow>& slot_nodes) {
  auto page = std::make_shared<NodeUndoPage>(sequence);
  for (const auto& [table, rows] :
       {std::pair(Table::kAccountNodes, &account_nodes), std::pair(Table::kSlotNodes, &slot_nodes)}) {
    for (const UndoRow& row : *rows) {
      page->Begin(table);
      page->bytes().append(row.key);
      page->EndKey();
      page->bytes().append(row.value.value_or(BytesView()));
      page->End();
    }
  }
  page->Shrink();
  // Whoever starts a daemon may be about to ask it, and nothing waits for this yet.
  store_->nodes.ExpectQuestions();
  store_->nodes.Add(std::move(page));
}

}  // namespace mptd
