// Reads what blocks replaced from the `history_index` table, for blocks whose undo records are not in memory any more.
// Belongs to one view; safe from any thread. Internal to core/engine.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/engine/undo_record.h"
#include "core/types.h"
#include "storage/kv_store.h"

namespace mptd {

// Which block it is whose undo record is in the tables; nullopt when there is none of this number.
absl::StatusOr<std::optional<BlockRecord>> ReadBlockRecord(const storage::KeyValueStore& kv, uint64_t number);

// The records of the blocks that were asked for last: who proves one of last week's blocks asks for it again and again,
// and its undo record may have megabytes. Any thread.
class BlockRecords {
 public:
  // As ReadBlockRecord. `rollbacks`: how often the chain had gone back when the caller saw that `number` is in the
  // tables; what others have read of another chain is not given out.
  absl::StatusOr<std::optional<BlockRecord>> Of(const storage::KeyValueStore& kv, uint64_t number, uint64_t rollbacks);

 private:
  absl::Mutex mutex_;
  uint64_t rollbacks_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<uint64_t, BlockRecord> kept_ ABSL_GUARDED_BY(mutex_);
};

// One row's changes in a run of blocks.
struct HistoryEntry {
  uint64_t number = 0;             // of the block that replaced it
  std::optional<BytesView> value;  // flat tables: the row before; branches: the undo entry
};

// On disk, never change. The key: the table's number, the row's key (with its length in front where it varies), the
// number of the last block in the list, big-endian. So the first row at or after (key, b + 1) holds what was replaced
// first after b.
Bytes HistoryIndexKey(storage::Table table, BytesView key, uint64_t last_number);
Bytes HistoryIndexPrefix(storage::Table table, BytesView key);
// True when a row of the index speaks only of what was before block `oldest`.
bool IsExpired(BytesView index_key, uint64_t oldest);
void AppendHistoryEntry(Bytes& out, const HistoryEntry& entry);
// DATA_LOSS when it is not such a list. The views point into `row`.
absl::StatusOr<std::vector<HistoryEntry>> DecodeHistoryEntries(BytesView row);

// The index as it was when the reader was made, whatever is pruned or rolled back since. Safe from any thread; they
// take turns.
class HistoryReader {
 public:
  // The state after block `number`.
  HistoryReader(const storage::KeyValueStore& kv, uint64_t number)
      : number_(number), rows_(kv.NewIterator(storage::Table::kHistoryIndex)) {}

  // The row of a flat table as it was, when a block on disk has replaced it since.
  absl::StatusOr<std::optional<std::optional<Bytes>>> Row(storage::Table table, BytesView key) const;
  // The undo entries of a branch since, oldest first; `each` returns false when it needs no more.
  absl::Status Undo(storage::Table table, BytesView key,
                    const std::function<absl::StatusOr<bool>(BytesView)>& each) const;
  // Keys in the range that blocks on disk have changed since.
  absl::Status ChangedKeys(storage::Table table, BytesView first, BytesView last, std::vector<Bytes>& out) const;

 private:
  const uint64_t number_;
  mutable absl::Mutex mutex_;
  const std::unique_ptr<storage::Iterator> rows_ ABSL_PT_GUARDED_BY(mutex_);
};

}  // namespace mptd
