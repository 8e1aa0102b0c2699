// What the tables of a data folder hold, without opening an engine on it. Safe from any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/engine/block.h"
#include "storage/data_keys.h"
#include "storage/kv_store.h"

namespace mptd {

// Rows of `meta`. On disk, never change.
inline constexpr std::string_view kStateKey = "state";           // the FlushedState of the flusher
inline constexpr std::string_view kUnfinishedKey = "importing";  // there while an import is under way

struct StoredState {
  BlockInfo head;  // of the tables; blocks in the change log may come on top
  std::optional<Hash> genesis_root;
};

// Reads the folder and changes nothing in it; the caller keeps daemons out (storage::ShareDataDir). nullopt when the
// tables hold no block. DATA_LOSS when what describes them is damaged or gone; FAILED_PRECONDITION when they are what
// an import left that did not finish. `keys` is null for data that is not encrypted.
absl::StatusOr<std::optional<StoredState>> ReadStoredState(const std::string& data_dir,
                                                           const std::shared_ptr<const storage::DataKeys>& keys);

// FAILED_PRECONDITION, saying what to do, when the tables of `data_dir` are what an import left that did not finish.
absl::Status RefuseUnfinishedImport(const storage::KeyValueStore& tables, const std::string& data_dir);

}  // namespace mptd
