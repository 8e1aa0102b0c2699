// What the engine knows of itself that operators ask for, beside EngineStatus. Plain values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace mptd {

// How large the newest state is.
struct StateCounts {
  uint64_t accounts = 0;
  uint64_t slots = 0;
  uint64_t branches = 0;
  uint64_t extensions = 0;
  // The data is from before counts were kept: this began with what the store took its tables for.
  bool estimated = false;

  // All nodes of all tries.
  uint64_t nodes() const { return accounts + slots + branches + extensions; }

  friend bool operator==(const StateCounts&, const StateCounts&) = default;
};

enum class CacheKind : uint8_t { kAccounts, kSlots, kNodes };
inline constexpr size_t kCacheKinds = 3;

// Since the start.
struct CacheLookups {
  uint64_t hits = 0;
  uint64_t misses = 0;
};

struct EngineStatistics {
  StateCounts counts;
  uint64_t dirty_nodes = 0;  // branches in memory that the next flush writes

  std::array<CacheLookups, kCacheKinds> lookups{};
  uint64_t cached_rows = 0;
  uint64_t evicted_rows = 0;   // since the start
  uint64_t evicted_nodes = 0;  // since the start

  struct Table {
    std::string name;
    uint64_t disk_bytes = 0;
  };
  std::vector<Table> tables;
  uint64_t trie_disk_bytes = 0;  // of accounts, slots and branches, without history
  uint64_t store_memory_bytes = 0;
  uint64_t running_compactions = 0;
  uint64_t pending_compaction_bytes = 0;
  // The store's own totals since the start, by its names: "rocksdb.block.cache.hit" and the like.
  std::vector<std::pair<std::string, uint64_t>> store_counters;
};

}  // namespace mptd
