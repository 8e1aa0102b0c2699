// The rows of one table as they are made, cut into pieces for the writer. Belongs to one thread.
//
// Branches are finished children first, but their rows stand parents first. So pieces are sorted, and a branch that has
// rows below it in a piece that was written before is late: there are at most as many of these a piece as a trie is
// deep, and they are kept until the end.
#pragma once

#include <utility>
#include <vector>

#include "core/import/piece_writer.h"
#include "core/import/row_piece.h"

namespace mptd {

class RowCollector {
 public:
  enum class Order { kAscending, kChildrenFirst };

  static constexpr size_t kPieceBytes = 4u << 20;

  // A piece is handed over when it has `piece_bytes`.
  RowCollector(storage::Table table, Order order, PieceWriter& writer, size_t piece_bytes = kPieceBytes)
      : table_(table), order_(order), writer_(writer), piece_bytes_(piece_bytes), piece_(writer.Take(table)) {}

  // A row is made in this order: append its key to bytes(), EndKey(), append its value, EndRow().
  Bytes& bytes() { return piece_.bytes; }
  void EndKey() { key_size_ = piece_.bytes.size() - begin_; }
  // The writer's error, if any.
  absl::Status EndRow();

  // Hands over what is there.
  absl::Status Cut();
  storage::Table table() const { return table_; }
  // Rows that could not be written in order, sorted. Valid until the collector is destroyed.
  std::vector<storage::Row> LateRows();
  uint64_t rows() const { return rows_; }

 private:
  const storage::Table table_;
  const Order order_;
  PieceWriter& writer_;
  const size_t piece_bytes_;
  RowPiece piece_;
  size_t begin_ = 0;  // of the row that is being made
  size_t key_size_ = 0;
  Bytes last_written_;  // the highest key handed over
  bool has_written_ = false;
  std::vector<std::pair<Bytes, Bytes>> late_;
  uint64_t rows_ = 0;
};

}  // namespace mptd
