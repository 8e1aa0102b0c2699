#include "core/engine/history_worker.h"

#include <algorithm>

#include "core/engine/undo_record.h"

namespace mptd {
namespace {

using storage::RowBlob;
using storage::Table;
using storage::VersionIndex;

// What transition `sequence` replaced in a row.
std::optional<BytesView> ReplacedBy(const VersionIndex::Entry& entry, uint64_t sequence) {
  const RowBlob* before = VersionIndex::ValueAt(entry, sequence - 1);
  if (before->absent()) return std::nullopt;
  return before->view();
}

}  // namespace

HistoryWorker::HistoryWorker(std::shared_ptr<StateStore> store, Flusher& flusher)
    : store_(std::move(store)), flusher_(flusher) {
  thread_ = std::thread([this] { Run(); });
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
      mutex_.Await(absl::Condition(&ready));
      if (queue_.empty()) return;
      published = std::move(queue_.front());
      queue_.pop_front();
    }
    const uint64_t sequence = published.rows->sequence;
    flusher_.Add(Process(published));
    published = {};
    SetIndexed(sequence);
    Trim();
  }
}

FlushItem HistoryWorker::Process(PublishedTransition& published) {
  FlushItem item;
  item.rows = published.rows;
  item.trie = std::move(published.trie);
  item.rolled_back_to = published.rolled_back_to;
  item.first_half = published.first_half;
  item.change_row = std::move(published.change_row);
  const uint64_t sequence = published.rows->sequence;

  struct NodeUndo {
    Bytes key;
    Bytes undo;
  };
  std::vector<NodeUndo> account_nodes;
  std::vector<NodeUndo> slot_nodes;
  for (const NodeChange& change : published.transition->trie.nodes) {
    NodeUndo& undo = (change.account == nullptr ? account_nodes : slot_nodes).emplace_back();
    AppendNodeKey(undo.key, change.account, change.path);
    AppendBranchUndo(undo.undo, change.before, change.after);
    if (change.after == nullptr) {
      (change.account == nullptr ? item.removed_account_nodes : item.removed_slot_nodes).push_back(undo.key);
    }
  }
  std::vector<VersionIndex::Entry*> entries;
  entries.reserve(account_nodes.size() + slot_nodes.size());
  UndoRecord record;
  const auto index = [&](std::vector<NodeUndo>& undos, Table table, std::vector<UndoRow>& rows) {
    std::sort(undos.begin(), undos.end(), [](const NodeUndo& a, const NodeUndo& b) { return a.key < b.key; });
    for (const NodeUndo& undo : undos) {
      entries.push_back(store_->nodes.PutReplaced(TableId(table), undo.key, undo.undo, sequence));
      rows.push_back({undo.key, BytesView(undo.undo)});
    }
  };
  index(account_nodes, Table::kAccountNodes, record.account_nodes);
  index(slot_nodes, Table::kSlotNodes, record.slot_nodes);
  entries_.emplace_back(sequence, std::move(entries));

  if (published.record != nullptr) {
    item.block = published.record->block;
    record.header = {sequence, published.record->block, published.record->parent_root, published.record->digest};
    const storage::EpochPin pin(store_->row_epochs);
    for (const auto* entry : published.rows->accounts) {
      record.accounts.push_back({entry->key(), ReplacedBy(*entry, sequence)});
    }
    for (const auto* entry : published.rows->slots)
      record.slots.push_back({entry->key(), ReplacedBy(*entry, sequence)});
    for (const auto* entry : published.rows->code) record.new_code.push_back(entry->key());
    item.undo_row = EncodeUndo(record);
  }
  return item;
}

void HistoryWorker::Load(uint64_t sequence, const std::vector<UndoRow>& account_nodes,
                         const std::vector<UndoRow>& slot_nodes) {
  std::vector<VersionIndex::Entry*> entries;
  entries.reserve(account_nodes.size() + slot_nodes.size());
  for (const UndoRow& row : account_nodes) {
    entries.push_back(store_->nodes.PutReplaced(TableId(Table::kAccountNodes), row.key, row.value, sequence));
  }
  for (const UndoRow& row : slot_nodes) {
    entries.push_back(store_->nodes.PutReplaced(TableId(Table::kSlotNodes), row.key, row.value, sequence));
  }
  entries_.emplace_back(sequence, std::move(entries));
}

void HistoryWorker::Trim() {
  const uint64_t through = trim_.load(std::memory_order_acquire);
  while (!entries_.empty() && entries_.front().first <= through) {
    for (VersionIndex::Entry* entry : entries_.front().second) store_->nodes.Trim(entry, through);
    entries_.pop_front();
  }
  store_->node_epochs.Collect();
}

}  // namespace mptd
