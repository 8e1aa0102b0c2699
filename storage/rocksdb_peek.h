// A row of a store that nobody has open, read without changing a byte of it. Safe from any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "storage/data_keys.h"
#include "storage/kv_store.h"

namespace mptd::storage {

// The row `key` of one table of the store in `dir`; nullopt when there is no such row. NOT_FOUND when there is no
// store; otherwise errors are those of OpenRocksDb. `keys` is null for a store that is not encrypted. The caller keeps
// writers away.
absl::StatusOr<Value> PeekRow(const std::string& dir, Table table, std::string_view key,
                              const std::shared_ptr<const DataKeys>& keys = nullptr);

}  // namespace mptd::storage
