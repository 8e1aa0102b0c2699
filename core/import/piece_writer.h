// The thread that writes pieces of rows into the files of a load, while the caller makes the next ones.
// Used by one thread.
#pragma once

#include <deque>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "core/import/row_piece.h"
#include "storage/kv_store.h"

namespace mptd {

class PieceWriter {
 public:
  // Of one table, the pieces come in order, and none of their keys overlap; except for `code`, whose pieces go straight
  // into the table. Nobody else ingests into `store` until Finish has returned.
  explicit PieceWriter(storage::KeyValueStore& store);
  ~PieceWriter();
  PieceWriter(const PieceWriter&) = delete;
  PieceWriter& operator=(const PieceWriter&) = delete;

  // Waits while too much is waiting to be written. The error of an earlier piece, as BulkLoad gives it; nothing more is
  // written after one.
  absl::Status Write(RowPiece piece) ABSL_LOCKS_EXCLUDED(mutex_);
  // An empty piece with memory that is in use already, if there is one.
  RowPiece Take(storage::Table table) ABSL_LOCKS_EXCLUDED(mutex_);
  // Adds everything to the tables in one step.
  absl::Status Finish() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Put(RowPiece& piece);
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);
  bool HasRoom() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  bool HasWork() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopping_ || !waiting_.empty(); }

  storage::KeyValueStore& store_;
  const std::unique_ptr<storage::BulkLoad> load_;  // the thread's, then Finish's

  absl::Mutex mutex_;
  std::deque<RowPiece> waiting_ ABSL_GUARDED_BY(mutex_);
  std::vector<RowPiece> used_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace mptd
