// The contents of one flush: the merged rows of many transitions, ready for the store. Belongs to the flusher's thread.
// Internal to core/engine.
#pragma once

#include <deque>
#include <vector>

#include "core/engine/flusher.h"

namespace mptd {

class FlushBatch {
 public:
  // Adds to `table` in any order; the last of equal keys counts.
  void Put(storage::Table table, BytesView key, std::optional<BytesView> value);
  // The same, but the value is not copied: the caller keeps it until the batch is in the store.
  void PutLarge(storage::Table table, BytesView key, BytesView value);
  void DeleteRange(storage::Table table, Bytes first, Bytes end);

  // The rows of accounts, slots and code as they are after transition `sequence`. The caller holds a pin on the rows.
  void AddFlatRows(std::span<const FlushItem> items, uint64_t sequence);
  // The rows of branches that were made after transition `flushed`, and those that are gone.
  void AddBranches(const TrieRoot& root, uint64_t flushed, std::span<const FlushItem> items);

  std::vector<storage::TableBatch> Finish();
  uint64_t rows() const { return rows_; }

 private:
  struct TableRows {
    std::vector<storage::Row> rows;
    std::vector<std::pair<std::string, std::string>> delete_ranges;
    bool sorted = true;
  };

  // Memory for so many bytes, which are appended there.
  Bytes& Room(size_t bytes);
  BytesView Keep(BytesView bytes);
  void Add(storage::Table table, const storage::Row& row);
  TableRows& of(storage::Table table) { return tables_[static_cast<size_t>(table)]; }
  void AddTrie(const BranchNode* node, Bytes& key, uint64_t flushed, storage::Table table);
  void AddStorage(const LeafNode* leaf, uint64_t flushed);

  std::array<TableRows, storage::kTableCount> tables_;
  std::deque<Bytes> arena_;  // blocks of kept bytes, never moved
  uint64_t rows_ = 0;
};

}  // namespace mptd
