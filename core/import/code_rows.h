// Code on its way into its table: each once as long as it is remembered, which is until there are many. Belongs to one
// thread.
#pragma once

#include <map>

#include "core/import/piece_writer.h"

namespace mptd {

class CodeRows {
 public:
  explicit CodeRows(PieceWriter& writer) : writer_(writer) {}

  // INVALID_ARGUMENT when `code` has another hash; else the writer's error, if any.
  absl::Status Add(const Hash& hash, BytesView code);
  absl::Status Cut();
  uint64_t rows() const { return rows_; }

 private:
  PieceWriter& writer_;
  std::map<Hash, Bytes> code_;
  size_t bytes_ = 0;
  uint64_t rows_ = 0;
};

}  // namespace mptd
