#include "storage/rocksdb_tuning.h"

#include <sys/resource.h>

#include <algorithm>

#include "rocksdb/filter_policy.h"
#include "rocksdb/slice_transform.h"
#include "rocksdb/statistics.h"
#include "rocksdb/table.h"

namespace mptd::storage {
namespace {

constexpr uint64_t kMiB = 1u << 20;

rocksdb::CompressionType ToRocksDb(Compression compression) {
  switch (compression) {
    case Compression::kNone:
      return rocksdb::kNoCompression;
    case Compression::kSnappy:
      return rocksdb::kSnappyCompression;
    case Compression::kLz4:
      return rocksdb::kLZ4Compression;
    case Compression::kZstd:
      return rocksdb::kZSTD;
  }
  return rocksdb::kNoCompression;
}

// Table files stay open, up to half of the descriptors that this process may have; the rest is for connections.
int MaxOpenFiles() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return 4096;
  return static_cast<int>(std::clamp<rlim_t>(limit.rlim_cur / 2, 64, 4096));
}

rocksdb::BlockBasedTableOptions PointLookupTable(Table table, const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::BlockBasedTableOptions table_options;
  table_options.format_version = 5;
  table_options.block_size = 4096;
  table_options.block_cache = cache;
  table_options.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table_options.whole_key_filtering = true;
  // Index and filters count against the cache, and stay in it: some two bytes an account. Looking each of them up in
  // the cache took a fifth of a read.
  table_options.cache_index_and_filter_blocks = true;
  table_options.metadata_cache_options.unpartitioned_pinning = rocksdb::PinningTier::kAll;
  if (table == Table::kAccounts || table == Table::kSlots) {
    table_options.data_block_index_type = rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
    // Rows are asked for one here and one there, and a block that is read for one is copied and checked whole.
    table_options.block_size = 2048;
  }
  return table_options;
}

// One row a block, read rarely and then once: kept out of the cache. The index has one short entry a row and is kept
// with the open file.
rocksdb::BlockBasedTableOptions AppendTable() {
  rocksdb::BlockBasedTableOptions table_options;
  table_options.format_version = 5;
  table_options.no_block_cache = true;
  return table_options;
}

}  // namespace

bool IsAppendTable(Table table) { return table == Table::kHistory || table == Table::kChangeLog; }

size_t FilteredPrefix(Table table) {
  if (table == Table::kAccounts) return 3;
  return table == Table::kSlots ? 32 : 0;
}

rocksdb::DBOptions MakeDbOptions(const RocksDbOptions& options) {
  rocksdb::DBOptions db;
  db.create_if_missing = options.create_if_missing;
  db.create_missing_column_families = true;
  db.paranoid_checks = true;
  db.max_open_files = MaxOpenFiles();
  db.max_background_jobs = std::max(options.background_threads, 1);
  db.max_bgerror_resume_count = 0;
  db.bytes_per_sync = kMiB;
  db.compaction_readahead_size = 2 * kMiB;
  db.skip_stats_update_on_db_open = true;
  db.stats_dump_period_sec = 0;
  db.stats_persist_period_sec = 0;
  db.max_log_file_size = 4 * kMiB;  // RocksDB's own text log
  db.keep_log_file_num = 4;
  db.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  db.statistics = rocksdb::CreateDBStatistics();
  db.statistics->set_stats_level(rocksdb::StatsLevel::kExceptHistogramOrTimers);
  return db;
}

rocksdb::ColumnFamilyOptions MakeTableOptions(const RocksDbOptions& options, Table table,
                                              const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions family;
  family.write_buffer_size = kMiB;  // never used, never large
  family.level0_file_num_compaction_trigger = kCompactionTrigger;
  if (IsAppendTable(table)) {
    family.num_levels = 2;
    family.target_file_size_base = 2 * options.table_file_bytes;
    family.compression = rocksdb::kNoCompression;
    family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(AppendTable()));
    return family;
  }
  family.level_compaction_dynamic_level_bytes = true;
  family.target_file_size_base = options.table_file_bytes;
  family.max_bytes_for_level_base = 256 * kMiB;
  family.compression = ToRocksDb(options.compression);
  // A branch is asked for because its parent has it: a filter for the last level, the largest, would never say no.
  family.optimize_filters_for_hits = table == Table::kAccountNodes || table == Table::kSlotNodes;
  if (const size_t prefix = FilteredPrefix(table); prefix != 0) {
    family.prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(prefix));
  }
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(PointLookupTable(table, cache)));
  return family;
}

}  // namespace mptd::storage
