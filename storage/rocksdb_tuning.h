// RocksDB's options for our tables, and why they are what they are.
#pragma once

#include <memory>

#include "rocksdb/cache.h"
#include "rocksdb/options.h"
#include "storage/kv_store.h"
#include "storage/rocksdb_store.h"

namespace mptd::storage {

// Level 0 of a table is compacted when it has this many files.
inline constexpr int kCompactionTrigger = 8;

// True for tables of large rows that are appended in key order and deleted by range from the low end. They have two
// levels only: whatever is compacted lands in the last one, so a range tombstone is either still in level 0 or has
// already removed all that it covers. That makes it safe to drop whole files that lie in a deleted range.
bool IsAppendTable(Table table);

// How many bytes at the beginning of its keys a table's filters know beside the whole keys, 0 for none. A leaf whose
// key is not in memory is looked for by the path to it: six nibbles in a state of ten million accounts, the account and
// few nibbles more in a storage trie. Files without such a key are not read then.
size_t FilteredPrefix(Table table);

// All but `env` and `listeners`.
rocksdb::DBOptions MakeDbOptions(const RocksDbOptions& options);
rocksdb::ColumnFamilyOptions MakeTableOptions(const RocksDbOptions& options, Table table,
                                              const std::shared_ptr<rocksdb::Cache>& cache);

}  // namespace mptd::storage
