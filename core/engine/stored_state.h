// What the tables of a data folder hold, without opening an engine on it. Safe from any thread.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "core/engine/block.h"

namespace mptd {

struct StoredState {
  BlockInfo head;  // of the tables; blocks in the change log may come on top
  std::optional<Hash> genesis_root;
};

// Reads the folder and changes nothing in it; the caller keeps daemons out (storage::ShareDataDir). nullopt when the
// tables hold no block. DATA_LOSS when what describes them is damaged or gone.
absl::StatusOr<std::optional<StoredState>> ReadStoredState(const std::string& data_dir);

}  // namespace mptd
