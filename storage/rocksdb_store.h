// The KeyValueStore on disk: RocksDB, one column family a table.
//
// Rows are never put into a memtable: each Ingest writes sorted table files of its own and adds them to all tables in
// one step of RocksDB's manifest, so there is no RocksDB write-ahead log to sync, to replay or to lose.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "storage/kv_store.h"

namespace rocksdb {
class Env;
}

namespace mptd::storage {

class DataKeys;

enum class Compression : uint8_t { kNone, kSnappy, kLz4, kZstd };

struct RocksDbOptions {
  std::string dir;                               // owned by the store alone: RocksDB's files and a folder "staging"
  bool create_if_missing = true;                 // otherwise an absent store is NOT_FOUND
  uint64_t block_cache_bytes = 256u << 20;       // data, index and filter blocks of all tables together
  Compression compression = Compression::kNone;  // of newly written files; history and changelog stay uncompressed
  int background_threads = 2;                    // for compactions, at least 1
  uint64_t table_file_bytes = 64u << 20;         // larger batches are cut into files of about that size
  // Ingest waits while a table has this many files that are not yet compacted; reads have to look into each of them.
  int max_uncompacted_files = 24;
  // Ingest is refused with RESOURCE_EXHAUSTED while less is free: a disk that is full to the last byte in the wrong
  // moment costs a restart.
  uint64_t reserved_disk_bytes = 64u << 20;
  // Names rows of `expiring_table` that nobody asks for any more: they go when compactions come upon them, without a
  // deletion having been written. Called from RocksDB's threads, and until the store is gone.
  Table expiring_table = Table::kHistoryIndex;
  std::function<bool(std::string_view key)> expired;
  std::shared_ptr<const DataKeys> keys;  // all files are encrypted with them (encrypted_fs.h); null: they are not
  // What files, encrypted or not, are written through; null is the operating system. Must outlive the store.
  rocksdb::Env* env = nullptr;
};

// Opens the store, made when absent. FAILED_PRECONDITION when another process has it open or a newer program wrote it,
// DATA_LOSS when it is damaged, RESOURCE_EXHAUSTED when the disk is full, UNAVAILABLE when it cannot be read or
// written. Files that a crash left in the staging folder are removed.
absl::StatusOr<std::unique_ptr<KeyValueStore>> OpenRocksDb(const RocksDbOptions& options);

}  // namespace mptd::storage
