#include "storage/kv_store.h"

#include <bitset>

#include "absl/strings/str_format.h"

namespace mptd::storage {

std::string_view TableName(Table table) {
  switch (table) {
    case Table::kAccounts:
      return "accounts";
    case Table::kSlots:
      return "slots";
    case Table::kAccountNodes:
      return "account_nodes";
    case Table::kSlotNodes:
      return "slot_nodes";
    case Table::kCode:
      return "code";
    case Table::kHistory:
      return "history";
    case Table::kHistoryIndex:
      return "history_index";
    case Table::kChangeLog:
      return "changelog";
    case Table::kMeta:
      return "meta";
  }
  return "unknown";
}

absl::Status ValidateBatches(std::span<const TableBatch> batches) {
  std::bitset<kTableCount> seen;
  for (const TableBatch& batch : batches) {
    const auto number = static_cast<size_t>(batch.table);
    if (number >= kTableCount) {
      return absl::InvalidArgumentError(absl::StrFormat("batch for unknown table number %d", number));
    }
    if (seen.test(number)) {
      return absl::InvalidArgumentError(absl::StrFormat("two batches for table %s", TableName(batch.table)));
    }
    seen.set(number);
    for (size_t i = 1; i < batch.rows.size(); ++i) {
      if (batch.rows[i - 1].key >= batch.rows[i].key) {
        return absl::InvalidArgumentError(absl::StrFormat(
            "batch for table %s: key of row %d is not above the one before", TableName(batch.table), i));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLoaded(Table table, std::span<const Row> rows, std::optional<std::string_view> last) {
  for (const Row& row : rows) {
    if (!row.value) {
      return absl::InvalidArgumentError(absl::StrFormat("a row of table %s to load has no value", TableName(table)));
    }
    if (last && row.key <= *last) {
      return absl::InvalidArgumentError(
          absl::StrFormat("a row of table %s to load is not above the one before", TableName(table)));
    }
    last = row.key;
  }
  return absl::OkStatus();
}

}  // namespace mptd::storage
