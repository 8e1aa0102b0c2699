#include "core/engine/history_indexer.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/engine/history_reader.h"
#include "core/engine/undo_record.h"

namespace mptd {
namespace {

using storage::Table;

// Undo records are taken in while they are smaller than this together.
constexpr size_t kBytesAtOnce = 16u << 20;

struct ReadRecord {
  Bytes bytes;
  UndoRecord undo;
};

absl::StatusOr<std::unique_ptr<ReadRecord>> ReadUndo(const storage::KeyValueStore& kv, uint64_t number) {
  absl::StatusOr<storage::Value> row = kv.Get(Table::kHistory, BlockKey(number));
  if (!row.ok()) return row.status();
  if (!row->has_value()) return absl::DataLossError(absl::StrCat("table history has no row for block ", number));
  auto record = std::make_unique<ReadRecord>();
  record->bytes = **std::move(row);
  absl::StatusOr<UndoRecord> undo = DecodeUndo(record->bytes);
  if (!undo.ok()) return absl::DataLossError(absl::StrCat("table history, the row of block ", number, " is damaged"));
  record->undo = *std::move(undo);
  return record;
}

template <typename F>
void ForEachRow(const UndoRecord& undo, const F& each) {
  for (const UndoRow& row : undo.accounts) each(Table::kAccounts, row);
  for (const UndoRow& row : undo.slots) each(Table::kSlots, row);
  for (const UndoRow& row : undo.account_nodes) each(Table::kAccountNodes, row);
  for (const UndoRow& row : undo.slot_nodes) each(Table::kSlotNodes, row);
}

struct Change {
  Bytes prefix;  // of the index key
  uint64_t number;
  std::optional<BytesView> value;
};

// The prefixes of all rows that the undo records of blocks [first, last] name.
absl::StatusOr<std::set<Bytes>> PrefixesOf(const storage::KeyValueStore& kv, uint64_t first, uint64_t last) {
  std::set<Bytes> prefixes;
  for (uint64_t number = first; number <= last; ++number) {
    absl::StatusOr<std::unique_ptr<ReadRecord>> record = ReadUndo(kv, number);
    if (!record.ok()) return record.status();
    ForEachRow((*record)->undo,
               [&](Table table, const UndoRow& row) { prefixes.insert(HistoryIndexPrefix(table, row.key)); });
  }
  return prefixes;
}

std::vector<Bytes> NamesOf(const BlockInfo& block) {
  std::vector<Bytes> names = {RootName(block.state_root)};
  if (block.hash) names.push_back(HashName(*block.hash));
  return names;
}

// Adds the rows of `meta` that find the block, or with `drop` takes them away; nothing when the block has no row.
absl::Status PutNames(const storage::KeyValueStore& kv, uint64_t number, bool drop, FlushBatch& batch) {
  absl::StatusOr<std::optional<BlockRecord>> record = ReadBlockRecord(kv, number);
  if (!record.ok()) return record.status();
  if (!record->has_value()) return absl::OkStatus();
  const std::optional<BytesView> value = drop ? std::nullopt : std::optional(BytesView());
  for (const Bytes& name : NamesOf((*record)->block)) batch.Put(Table::kMeta, name + BlockKey(number), value);
  return absl::OkStatus();
}

absl::Status DropNames(const storage::KeyValueStore& kv, uint64_t first, uint64_t last, FlushBatch& batch) {
  for (uint64_t number = first; number <= last; ++number) {
    if (absl::Status s = PutNames(kv, number, /*drop=*/true, batch); !s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace

Bytes HashName(const Hash& block_hash) { return "hash/" + Bytes(block_hash.view()); }
Bytes RootName(const Hash& state_root) { return "root/" + Bytes(state_root.view()); }

absl::StatusOr<uint64_t> IndexBlocks(const storage::KeyValueStore& kv, uint64_t after, uint64_t through,
                                     FlushBatch& batch) {
  // The block below, too, is served from the tables from now on. When it is the oldest, no earlier call has named it.
  if (absl::Status s = PutNames(kv, after, /*drop=*/false, batch); !s.ok()) return s;
  std::deque<std::unique_ptr<ReadRecord>> records;
  std::vector<Change> changes;
  size_t bytes = 0;
  uint64_t number = after;
  while (number < through && bytes < kBytesAtOnce) {
    ++number;
    absl::StatusOr<std::unique_ptr<ReadRecord>> record = ReadUndo(kv, number);
    if (!record.ok()) return record.status();
    records.push_back(*std::move(record));
    const UndoRecord& undo = records.back()->undo;
    bytes += records.back()->bytes.size();
    ForEachRow(undo, [&](Table table, const UndoRow& row) {
      changes.push_back({HistoryIndexPrefix(table, row.key), number, row.value});
    });
    for (const Bytes& name : NamesOf(undo.header.block)) batch.Put(Table::kMeta, name + BlockKey(number), BytesView());
  }
  std::stable_sort(changes.begin(), changes.end(),
                   [](const Change& a, const Change& b) { return a.prefix < b.prefix; });
  Bytes row;
  for (size_t i = 0; i < changes.size();) {
    row.clear();
    size_t j = i;
    for (; j < changes.size() && changes[j].prefix == changes[i].prefix; ++j) {
      AppendHistoryEntry(row, {changes[j].number, changes[j].value});
    }
    batch.Put(Table::kHistoryIndex, changes[i].prefix + BlockKey(changes[j - 1].number), row);
    i = j;
  }
  return number;
}

absl::Status CutIndex(const storage::KeyValueStore& kv, uint64_t number, uint64_t indexed_through, FlushBatch& batch) {
  absl::StatusOr<std::set<Bytes>> prefixes = PrefixesOf(kv, number + 1, indexed_through);
  if (!prefixes.ok()) return prefixes.status();
  const std::unique_ptr<storage::Iterator> it = kv.NewIterator(Table::kHistoryIndex);
  for (const Bytes& prefix : *prefixes) {
    for (it->Seek(prefix + BlockKey(number + 1)); it->Valid() && it->key().starts_with(prefix); it->Next()) {
      absl::StatusOr<std::vector<HistoryEntry>> entries = DecodeHistoryEntries(it->value());
      if (!entries.ok()) return entries.status();
      batch.Put(Table::kHistoryIndex, it->key(), std::nullopt);
      Bytes kept;
      uint64_t last = 0;
      for (const HistoryEntry& entry : *entries) {
        if (entry.number > number) break;
        AppendHistoryEntry(kept, entry);
        last = entry.number;
      }
      if (!kept.empty()) batch.Put(Table::kHistoryIndex, prefix + BlockKey(last), kept);
    }
    if (!it->status().ok()) return it->status();
  }
  return DropNames(kv, number + 1, indexed_through, batch);
}

absl::Status PruneIndex(const storage::KeyValueStore& kv, const IndexedBlocks& indexed, uint64_t oldest,
                        FlushBatch& batch) {
  if (oldest >= indexed.through) {
    batch.DeleteRange(Table::kHistoryIndex, Bytes(), Bytes(1, '\xff'));
  }
  const uint64_t end = std::min(oldest, indexed.through + 1);
  return indexed.oldest < end ? DropNames(kv, indexed.oldest, end - 1, batch) : absl::OkStatus();
}

}  // namespace mptd
