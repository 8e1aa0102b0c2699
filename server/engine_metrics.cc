// What the engine and its store count, as metrics.
#include <string_view>

#include "server/state_metrics.h"

namespace mptd {
namespace {

constexpr std::array<const char*, kCacheKinds> kCacheNames = {"accounts", "slots", "nodes"};

double Number(uint64_t value) { return static_cast<double>(value); }

// Of RocksDB's some two hundred counters those that tell an operator something; ours are named as Prometheus asks.
struct StoreCounter {
  std::string_view theirs;
  std::string_view ours;
  std::string_view help;
  double unit = 1;
};
constexpr StoreCounter kStoreCounters[] = {
    {"rocksdb.block.cache.hit", "mptd_rocksdb_block_cache_hits_total", "Blocks found in the block cache."},
    {"rocksdb.block.cache.miss", "mptd_rocksdb_block_cache_misses_total", "Blocks read because they were not."},
    {"rocksdb.block.cache.add", "mptd_rocksdb_block_cache_adds_total", "Blocks put into the block cache."},
    {"rocksdb.bloom.filter.useful", "mptd_rocksdb_bloom_filter_useful_total", "Reads that a filter made needless."},
    {"rocksdb.number.keys.read", "mptd_rocksdb_keys_read_total", "Rows looked up one by one."},
    {"rocksdb.bytes.read", "mptd_rocksdb_read_bytes_total", "Bytes of them."},
    {"rocksdb.number.multiget.keys.read", "mptd_rocksdb_multiget_keys_read_total", "Rows looked up many at once."},
    {"rocksdb.number.multiget.bytes.read", "mptd_rocksdb_multiget_read_bytes_total", "Bytes of them."},
    {"rocksdb.compact.read.bytes", "mptd_rocksdb_compaction_read_bytes_total", "Bytes that compactions read."},
    {"rocksdb.compact.write.bytes", "mptd_rocksdb_compaction_write_bytes_total", "Bytes that compactions wrote."},
    {"rocksdb.stall.micros", "mptd_rocksdb_stall_seconds_total", "Time that compactions made writes wait.", 1e-6},
    {"rocksdb.no.file.opens", "mptd_rocksdb_file_opens_total", "Table files opened."},
    {"rocksdb.no.file.errors", "mptd_rocksdb_file_errors_total", "Table files that could not be opened."},
};

void WriteStore(const EngineStatistics& statistics, MetricsWriter& writer) {
  for (const EngineStatistics::Table& table : statistics.tables) {
    writer.Gauge("mptd_table_bytes", "Size of a table's files.", Number(table.disk_bytes), {{"table", table.name}});
  }
  writer.Gauge("mptd_rocksdb_memory_bytes", "Memory of RocksDB: block cache, indexes and filters.",
               Number(statistics.store_memory_bytes));
  writer.Gauge("mptd_rocksdb_running_compactions", "Compactions that run now.", Number(statistics.running_compactions));
  writer.Gauge("mptd_rocksdb_pending_compaction_bytes", "About what compactions have yet to rewrite.",
               Number(statistics.pending_compaction_bytes));
  for (const StoreCounter& counter : kStoreCounters) {
    for (const auto& [name, value] : statistics.store_counters) {
      if (name == counter.theirs) writer.Counter(counter.ours, counter.help, counter.unit * Number(value));
    }
  }
}

}  // namespace

void WriteStatistics(const EngineStatistics& statistics, MetricsWriter& writer) {
  for (size_t i = 0; i < kCacheKinds; ++i) {
    writer.Counter("state_cache_hits_total", "Lookups that memory answered.", Number(statistics.lookups[i].hits),
                   {{"cache", kCacheNames[i]}});
  }
  for (size_t i = 0; i < kCacheKinds; ++i) {
    writer.Counter("state_cache_misses_total", "Lookups that went to the tables.", Number(statistics.lookups[i].misses),
                   {{"cache", kCacheNames[i]}});
  }
  constexpr std::string_view kEvictions = "state_cache_evictions_total";
  constexpr std::string_view kEvictionsHelp = "What was taken out of a cache to stay within its size.";
  writer.Counter(kEvictions, kEvictionsHelp, Number(statistics.evicted_rows), {{"cache", "rows"}});
  writer.Counter(kEvictions, kEvictionsHelp, Number(statistics.evicted_nodes), {{"cache", "nodes"}});
  writer.Gauge("state_cached_rows", "Accounts, slots and code in memory.", Number(statistics.cached_rows));
  WriteStore(statistics, writer);
}

}  // namespace mptd
