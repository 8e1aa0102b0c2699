#include "core/engine/stored_state.h"

#include "core/engine/flusher.h"
#include "storage/rocksdb_peek.h"

namespace mptd {

absl::StatusOr<std::optional<StoredState>> ReadStoredState(const std::string& data_dir) {
  const absl::StatusOr<storage::Value> row = storage::PeekRow(data_dir + "/db", storage::Table::kMeta, "state");
  // A daemon that was stopped before it made its tables leaves such a folder.
  if (absl::IsNotFound(row.status())) return std::nullopt;
  if (!row.ok()) return row.status();
  if (!row->has_value()) return std::nullopt;
  const absl::StatusOr<FlushedState> state = DecodeFlushedState(**row);
  if (!state.ok()) return state.status();
  if (state->sequence == 0) return std::nullopt;
  return StoredState{.head = state->head, .genesis_root = state->genesis_root};
}

}  // namespace mptd
