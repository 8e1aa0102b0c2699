#include "core/engine/flush_batch.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "core/trie/branch_record.h"
#include "core/trie/prefetch.h"

namespace mptd {
namespace {

using storage::Row;
using storage::RowBlob;
using storage::Table;
using storage::VersionIndex;

constexpr size_t kArenaBlock = 1u << 20;

bool KeyLess(const Row& a, const Row& b) { return a.key < b.key; }

// An entry and the first eight bytes of its key, which nearly always decide the order without a look at the entry.
using SortedEntry = std::pair<uint64_t, const VersionIndex::Entry*>;

uint64_t HeadOf(BytesView key) {
  uint64_t head = 0;
  std::memcpy(&head, key.data(), std::min<size_t>(8, key.size()));
  return __builtin_bswap64(head);
}

// The entries that the items changed, each once, in the order of their keys.
std::vector<SortedEntry> SortEntries(std::span<const FlushItem> items, Table table) {
  constexpr size_t kAhead = 8;
  std::vector<SortedEntry> entries;
  for (const FlushItem& item : items) {
    const auto& changed = item.rows->of(table);
    for (size_t i = 0; i < changed.size(); ++i) {
      if (i + kAhead < changed.size()) __builtin_prefetch(changed[i + kAhead]->key().data());
      entries.emplace_back(HeadOf(changed[i]->key()), changed[i]);
    }
  }
  std::sort(entries.begin(), entries.end(), [](const SortedEntry& a, const SortedEntry& b) {
    return a.first != b.first ? a.first < b.first : a.second != b.second && a.second->key() < b.second->key();
  });
  entries.erase(std::unique(entries.begin(), entries.end()), entries.end());
  return entries;
}

void PrefetchChangedChildren(const BranchNode& node, uint64_t flushed) {
  std::array<const BranchNode*, 16> children;
  size_t count = 0;
  for (unsigned rest = node.shape.branches; rest != 0; rest &= rest - 1) {
    const BranchNode* child = node.child_branch(std::countr_zero(rest));
    if (child == nullptr) continue;
    PrefetchHead(child);
    children[count++] = child;
  }
  for (size_t i = 0; i < count; ++i) {
    if (children[i]->sequence > flushed) PrefetchBody(children[i]);
  }
}

}  // namespace

Bytes& FlushBatch::Room(size_t bytes) {
  if (arena_.empty() || arena_.back().size() + bytes > arena_.back().capacity()) {
    arena_.emplace_back().reserve(std::max(kArenaBlock, bytes));
  }
  return arena_.back();
}

BytesView FlushBatch::Keep(BytesView bytes) {
  Bytes& block = Room(bytes.size());
  const size_t begin = block.size();
  block.append(bytes);
  return BytesView(block).substr(begin);
}

void FlushBatch::Put(Table table, BytesView key, std::optional<BytesView> value) {
  Row row{Keep(key), std::nullopt};
  if (value) row.value = Keep(*value);
  Add(table, row);
}

void FlushBatch::Add(Table table, const Row& row) {
  TableRows& rows = of(table);
  if (!rows.rows.empty() && !(rows.rows.back().key < row.key)) rows.sorted = false;
  rows.rows.push_back(row);
}

void FlushBatch::PutLarge(Table table, BytesView key, BytesView value) {
  Put(table, key, BytesView());
  of(table).rows.back().value = value;
}

void FlushBatch::DeleteRange(Table table, Bytes first, Bytes end) {
  of(table).delete_ranges.emplace_back(std::move(first), std::move(end));
}

void FlushBatch::AddFlatRows(std::span<const FlushItem> items, uint64_t sequence) {
  for (Table table : {Table::kAccounts, Table::kSlots, Table::kCode}) {
    const std::vector<SortedEntry> entries = SortEntries(items, table);
    TableRows& rows = of(table);
    rows.rows.reserve(entries.size());
    for (const auto& [head, entry] : entries) {
      const RowBlob* value = VersionIndex::ValueAt(*entry, sequence);
      Row row{entry->key(), std::nullopt};
      if (!value->absent()) row.value = value->view();
      rows.rows.push_back(row);
    }
  }
}

void FlushBatch::AddStorage(const LeafNode* leaf, uint64_t flushed) {
  const BranchNode* root = leaf->storage_root;
  if (root == nullptr || root->sequence <= flushed) return;
  Bytes key(leaf->key.view());
  AddTrie(root, key, flushed, Table::kSlotNodes);
}

void FlushBatch::AddTrie(const BranchNode* node, Bytes& key, uint64_t flushed, Table table) {
  PrefetchChangedChildren(*node, flushed);
  Bytes& block = Room(key.size() + kMaxRecordBytes);
  const size_t begin = block.size();
  block.append(key);
  const size_t end_of_key = block.size();
  AppendBranchRecord(block, *node);
  Add(table, {BytesView(block).substr(begin, end_of_key - begin), BytesView(block).substr(end_of_key)});
  const size_t size = key.size();
  key.append(node->extension());
  for (int i = 0; i < 16; ++i) {
    if (!node->has_pointer(i)) continue;
    if (!node->is_branch(i)) {
      const LeafNode* leaf = node->has_storage(i) ? node->child_leaf(i) : nullptr;
      if (leaf != nullptr) AddStorage(leaf, flushed);
      continue;
    }
    const BranchNode* child = node->child_branch(i);
    if (child == nullptr || child->sequence <= flushed) continue;
    key.push_back(static_cast<char>(i));
    AddTrie(child, key, flushed, table);
    key.pop_back();
  }
  key.resize(size);
}

void FlushBatch::AddBranches(const TrieRoot& root, uint64_t flushed, std::span<const FlushItem> items) {
  if (root.kind == TrieRoot::Kind::kBranch && root.node != nullptr && root.node->sequence > flushed) {
    Bytes key;
    AddTrie(root.node, key, flushed, Table::kAccountNodes);
  }
  if (root.kind == TrieRoot::Kind::kLeaf && root.leaf != nullptr) AddStorage(root.leaf, flushed);
  for (const bool of_accounts : {true, false}) {
    TableRows& rows = of(of_accounts ? Table::kAccountNodes : Table::kSlotNodes);
    std::vector<BytesView> removed;
    for (const FlushItem& item : items) {
      const auto& keys = of_accounts ? item.removed_account_nodes : item.removed_slot_nodes;
      removed.insert(removed.end(), keys.begin(), keys.end());
    }
    if (removed.empty()) continue;
    std::sort(removed.begin(), removed.end());
    removed.erase(std::unique(removed.begin(), removed.end()), removed.end());
    // A row that went and came again is among the new ones.
    std::vector<Row> merged;
    merged.reserve(rows.rows.size() + removed.size());
    auto next = rows.rows.begin();
    for (BytesView key : removed) {
      while (next != rows.rows.end() && next->key < key) merged.push_back(*next++);
      if (next != rows.rows.end() && next->key == key) continue;
      merged.push_back({key, std::nullopt});
    }
    merged.insert(merged.end(), next, rows.rows.end());
    rows.rows = std::move(merged);
  }
}

std::vector<storage::TableBatch> FlushBatch::Finish() {
  std::vector<storage::TableBatch> batches;
  for (size_t i = 0; i < tables_.size(); ++i) {
    TableRows& rows = tables_[i];
    if (rows.rows.empty() && rows.delete_ranges.empty()) continue;
    if (!rows.sorted) {
      std::stable_sort(rows.rows.begin(), rows.rows.end(), KeyLess);
      std::vector<Row> last;
      for (size_t j = 0; j < rows.rows.size(); ++j) {
        if (j + 1 < rows.rows.size() && rows.rows[j].key == rows.rows[j + 1].key) continue;
        last.push_back(rows.rows[j]);
      }
      rows.rows = std::move(last);
    }
    rows_ += rows.rows.size();
    storage::TableBatch& batch = batches.emplace_back();
    batch.table = static_cast<Table>(i);
    batch.rows = std::move(rows.rows);
    batch.delete_ranges = std::move(rows.delete_ranges);
  }
  return batches;
}

}  // namespace mptd
