// A small store on disk, and batches that tell whether an Ingest was atomic.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "storage/rocksdb_store.h"
#include "tests/storage/test_support.h"

namespace mptd::storage {

inline RocksDbOptions SmallStore(const std::string& dir) {
  RocksDbOptions options;
  options.dir = dir;
  options.block_cache_bytes = 1u << 20;
  return options;
}

inline std::unique_ptr<KeyValueStore> MustOpen(const RocksDbOptions& options) {
  auto store = OpenRocksDb(options);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

inline std::string Number(uint64_t number) { return absl::StrFormat("%08d", number); }

// Batch `number` writes the same number into three tables, over the whole of what the one before wrote.
struct Marked {
  explicit Marked(uint64_t number) : value(Number(number)) {
    for (int i = 0; i < 50; ++i) keys.push_back(Number(static_cast<uint64_t>(i)));
    for (const Table table : kTables) {
      TableBatch batch{table, {}, {}};
      if (number % 3 == 0) batch.delete_ranges.emplace_back("", "9");
      for (size_t i = number % 2; i < keys.size(); i += 2) batch.rows.push_back({keys[i], value});
      batch.rows.push_back({"marker", value});
      batches.push_back(std::move(batch));
    }
  }
  static constexpr Table kTables[] = {Table::kAccounts, Table::kHistory, Table::kMeta};
  std::string value;
  std::vector<std::string> keys;
  std::vector<TableBatch> batches;
};

// The number that all tables agree on; a failure when they do not, or when rows do not fit to it.
inline uint64_t MarkedNumber(const KeyValueStore& store) {
  const absl::StatusOr<Value> marker = store.Get(Table::kMeta, "marker");
  EXPECT_TRUE(marker.ok()) << marker.status();
  if (!marker.ok() || !marker->has_value()) return 0;
  const uint64_t number = std::stoull(**marker);
  ModelStore model;
  for (uint64_t i = number < 6 ? 1 : number - 5; i <= number; ++i) model.Apply(Marked(i).batches);
  for (const Table table : Marked::kTables) EXPECT_EQ(ReadAll(store, table), model[table]) << TableName(table);
  return number;
}

}  // namespace mptd::storage
