#include "core/import/row_collector.h"

#include <algorithm>

namespace mptd {

absl::Status RowCollector::EndRow() {
  const RowPiece::Place place{static_cast<uint32_t>(begin_), static_cast<uint32_t>(key_size_),
                              static_cast<uint32_t>(piece_.bytes.size() - begin_ - key_size_)};
  ++rows_;
  if (order_ == Order::kChildrenFirst && has_written_ && piece_.key(place) < last_written_) {
    late_.emplace_back(piece_.key(place), piece_.value(place));
    piece_.bytes.resize(begin_);
    return absl::OkStatus();
  }
  piece_.places.push_back(place);
  begin_ = piece_.bytes.size();
  return begin_ >= piece_bytes_ ? Cut() : absl::OkStatus();
}

absl::Status RowCollector::Cut() {
  if (piece_.places.empty()) return absl::OkStatus();
  if (order_ == Order::kChildrenFirst) {
    piece_.sorted = false;
    const auto highest = std::max_element(
        piece_.places.begin(), piece_.places.end(),
        [this](const RowPiece::Place& a, const RowPiece::Place& b) { return piece_.key(a) < piece_.key(b); });
    last_written_.assign(piece_.key(*highest));
    has_written_ = true;
  }
  absl::Status status = writer_.Write(std::move(piece_));
  piece_ = writer_.Take(table_);
  begin_ = 0;
  return status;
}

std::vector<storage::Row> RowCollector::LateRows() {
  std::sort(late_.begin(), late_.end());
  std::vector<storage::Row> rows;
  rows.reserve(late_.size());
  for (const auto& [key, value] : late_) rows.push_back({key, value});
  return rows;
}

}  // namespace mptd
