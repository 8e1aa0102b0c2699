#include "core/engine/stored_state.h"

#include "absl/strings/str_format.h"
#include "core/engine/flusher.h"
#include "storage/rocksdb_peek.h"

namespace mptd {
namespace {

absl::Status UnfinishedImport(const std::string& data_dir) {
  return absl::FailedPreconditionError(absl::StrFormat(
      "the import of a state into the data folder %s did not finish; remove the folder, and import again", data_dir));
}

}  // namespace

absl::StatusOr<std::optional<StoredState>> ReadStoredState(const std::string& data_dir,
                                                           const std::shared_ptr<const storage::DataKeys>& keys) {
  const absl::StatusOr<storage::Value> row = storage::PeekRow(data_dir + "/db", storage::Table::kMeta, kStateKey, keys);
  // A daemon that was stopped before it made its tables leaves such a folder.
  if (absl::IsNotFound(row.status())) return std::nullopt;
  if (!row.ok()) return row.status();
  if (!row->has_value()) {
    const absl::StatusOr<storage::Value> mark =
        storage::PeekRow(data_dir + "/db", storage::Table::kMeta, kUnfinishedKey, keys);
    if (!mark.ok()) return mark.status();
    if (mark->has_value()) return UnfinishedImport(data_dir);
    return std::nullopt;
  }
  const absl::StatusOr<FlushedState> state = DecodeFlushedState(**row);
  if (!state.ok()) return state.status();
  if (state->sequence == 0) return std::nullopt;
  return StoredState{.head = state->head, .genesis_root = state->genesis_root};
}

absl::Status RefuseUnfinishedImport(const storage::KeyValueStore& tables, const std::string& data_dir) {
  const absl::StatusOr<storage::Value> mark = tables.Get(storage::Table::kMeta, kUnfinishedKey);
  if (!mark.ok()) return mark.status();
  return mark->has_value() ? UnfinishedImport(data_dir) : absl::OkStatus();
}

}  // namespace mptd
