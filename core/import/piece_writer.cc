#include "core/import/piece_writer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "storage/thread_name.h"

namespace mptd {
namespace {

using storage::Row;
using storage::Table;

constexpr size_t kMaxWaiting = 4;

std::vector<Row> SortedRows(RowPiece& piece) {
  if (!piece.sorted) {
    std::sort(piece.places.begin(), piece.places.end(),
              [&piece](const RowPiece::Place& a, const RowPiece::Place& b) { return piece.key(a) < piece.key(b); });
  }
  std::vector<Row> rows;
  rows.reserve(piece.places.size());
  for (const RowPiece::Place& place : piece.places) rows.push_back({piece.key(place), piece.value(place)});
  return rows;
}

}  // namespace

PieceWriter::PieceWriter(storage::KeyValueStore& store)
    : store_(store), load_(store.NewBulkLoad()), thread_([this] {
        storage::NameThisThread("mptd-import");
        Run();
      }) {}

PieceWriter::~PieceWriter() { Stop(); }

void PieceWriter::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

bool PieceWriter::HasRoom() const { return waiting_.size() < kMaxWaiting || !status_.ok(); }

absl::Status PieceWriter::Write(RowPiece piece) {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(this, &PieceWriter::HasRoom));
  if (status_.ok()) waiting_.push_back(std::move(piece));
  return status_;
}

RowPiece PieceWriter::Take(Table table) {
  RowPiece piece;
  {
    absl::MutexLock lock(&mutex_);
    if (!used_.empty()) {
      piece = std::move(used_.back());
      used_.pop_back();
    }
  }
  piece.table = table;
  piece.sorted = true;
  piece.bytes.clear();
  piece.places.clear();
  return piece;
}

absl::Status PieceWriter::Put(RowPiece& piece) {
  std::vector<Row> rows = SortedRows(piece);
  if (piece.table != Table::kCode) return load_->Add(piece.table, rows);
  storage::TableBatch batch{Table::kCode, std::move(rows), {}};
  return store_.Ingest({&batch, 1});
}

void PieceWriter::Run() {
  while (true) {
    RowPiece piece;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &PieceWriter::HasWork));
      if (waiting_.empty()) return;
      piece = std::move(waiting_.front());
      waiting_.pop_front();
      if (!status_.ok()) continue;
    }
    const absl::Status status = Put(piece);
    absl::MutexLock lock(&mutex_);
    status_.Update(status);
    used_.push_back(std::move(piece));
  }
}

absl::Status PieceWriter::Finish() {
  Stop();
  {
    absl::MutexLock lock(&mutex_);
    if (!status_.ok()) return status_;
  }
  return load_->Finish();
}

}  // namespace mptd
