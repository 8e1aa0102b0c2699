// Sorted table files for RocksDB, written row by row and added to the tables all at once.
// As BulkLoad in kv_store.h.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>

#include "rocksdb/db.h"
#include "storage/kv_store.h"

namespace mptd::storage {

// What a load needs of the store that it is for, and which outlives it.
struct BulkLoadTarget {
  rocksdb::DB* db = nullptr;
  std::string
      staging;  // a folder on the file system of the tables; files left there by a crash are the store's to clear
  rocksdb::DBOptions db_options;
  std::array<rocksdb::ColumnFamilyOptions, kTableCount> family_options;
  std::array<rocksdb::ColumnFamilyHandle*, kTableCount> families{};
  std::function<absl::Status()> check;  // whether the store takes more; asked before each file
};

std::unique_ptr<BulkLoad> NewRocksDbBulkLoad(BulkLoadTarget target);

}  // namespace mptd::storage
