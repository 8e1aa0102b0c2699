// The byte store below everything: named tables of ordered rows, changed by atomic sorted batches.
// A KeyValueStore is owned by whoever opened it. Reads, iterators and Stats are safe from any thread; Ingest, Compact
// and Checkpoint are called by one thread at a time. Nothing here knows what the bytes mean.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mptd::storage {

// The tables. On disk by name; the numbers are used in memory only.
enum class Table : uint8_t {
  kAccounts,
  kSlots,
  kAccountNodes,
  kSlotNodes,
  kCode,
  kHistory,
  kHistoryIndex,
  kChangeLog,
  kMeta,
};
inline constexpr size_t kTableCount = 9;
// The name on disk, never changed.
std::string_view TableName(Table table);

// A value read from the store: a copy, or nullopt when there is no such row.
using Value = std::optional<std::string>;

// Rows in strictly ascending key order within a snapshot taken when the iterator was made. Used by one thread at a
// time, and destroyed before its store. New iterators stand nowhere: Seek first.
class Iterator {
 public:
  virtual ~Iterator() = default;
  virtual void Seek(std::string_view key) = 0;  // first row with key >= `key`
  virtual void Next() = 0;                      // Valid() must hold
  virtual bool Valid() const = 0;               // false at the end and after an error
  virtual std::string_view key() const = 0;     // until the next move
  virtual std::string_view value() const = 0;
  virtual absl::Status status() const = 0;  // DATA_LOSS when a checksum did not match
};

struct Row {
  std::string_view key;
  std::optional<std::string_view> value;  // nullopt deletes the row, present or not
};

// One table's part of an atomic batch. The views must stay valid during the call that takes it.
struct TableBatch {
  Table table;
  std::vector<Row> rows;  // strictly ascending keys; the empty key is a key
  // Half-open key ranges [first, second) that are deleted before the rows apply: a row inside a range stays. In any
  // order, overlapping or not; one with first >= second deletes nothing.
  std::vector<std::pair<std::string, std::string>> delete_ranges;
};

// INVALID_ARGUMENT, naming table and row, when a table comes twice or its keys are not strictly ascending.
absl::Status ValidateBatches(std::span<const TableBatch> batches);

struct StoreStats {
  uint64_t disk_bytes = 0;
  uint64_t memory_bytes = 0;  // block cache, index and filter blocks
  uint64_t running_compactions = 0;
  uint64_t pending_compaction_bytes = 0;
  std::array<uint64_t, kTableCount> table_bytes{};  // of disk_bytes
};

// Rows for tables that have none yet, more than fit into memory: they go into files that Finish adds to the tables.
// Used by the thread that ingests, and destroyed before its store; what was not finished is gone then.
class BulkLoad {
 public:
  virtual ~BulkLoad() = default;

  // Rows with values in strictly ascending order and above all that the table was given before, else INVALID_ARGUMENT.
  // RESOURCE_EXHAUSTED when the disk is full, UNAVAILABLE when writing failed.
  virtual absl::Status Add(Table table, std::span<const Row> rows) = 0;
  // As Ingest of all rows in one batch. Called once, in the place of an Ingest.
  virtual absl::Status Finish() = 0;
};

// What BulkLoad::Add says of rows that follow the key `last`, if there is one.
absl::Status CheckLoaded(Table table, std::span<const Row> rows, std::optional<std::string_view> last);

class KeyValueStore {
 public:
  virtual ~KeyValueStore() = default;

  // nullopt when there is no such row. DATA_LOSS when a checksum did not match, UNAVAILABLE when reading failed.
  virtual absl::StatusOr<Value> Get(Table table, std::string_view key) const = 0;
  // values[i] is the row at keys[i]; both have the same size. `sorted` promises ascending keys, which is faster.
  // Errors as Get; the values are then unspecified. Beside an Ingest, some rows may be from before it and some from
  // after.
  virtual absl::Status MultiGet(Table table, std::span<const std::string_view> keys, std::span<Value> values,
                                bool sorted) const = 0;
  virtual std::unique_ptr<Iterator> NewIterator(Table table) const = 0;
  // One that has been put to the first row at or after `first`, and ends after `last`. It may be moved to keys between
  // the two. Where the two have a beginning in common, files without such keys are not read.
  virtual std::unique_ptr<Iterator> NewIterator(Table table, std::string_view first, std::string_view last) const = 0;

  // Applies all batches (each table at most once) as one atomic and durable step: after a crash all of it is there or
  // nothing. Readers see it at once when the call has returned OK; after an error they see the old state.
  // RESOURCE_EXHAUSTED when the disk is full (may be tried again); UNAVAILABLE when writing failed. When it failed in
  // the last, deciding write, every later Ingest is refused, and whether this batch is there after reopening is
  // unknown. DATA_LOSS when a checksum did not match, here or in an earlier compaction: every later Ingest may be
  // refused.
  virtual absl::Status Ingest(std::span<TableBatch> batches) = 0;

  virtual std::unique_ptr<BulkLoad> NewBulkLoad() = 0;

  // A copy of the store as it is now in the new folder `dir`, which must not exist. The memory store has no form on
  // disk and answers FAILED_PRECONDITION.
  virtual absl::Status Checkpoint(const std::string& dir) = 0;
  // Rewrites every table without deleted and replaced rows. Takes minutes on large stores; reads go on.
  virtual absl::Status Compact() = 0;
  // The same from any thread, beside an Ingest: every file is written anew, so with the current data key.
  virtual absl::Status Rewrite() = 0;
  // The data keys that the files of the store are encrypted with; none when they are not. Looks at every file.
  virtual absl::StatusOr<std::set<uint32_t>> KeysInUse() const { return std::set<uint32_t>(); }
  virtual StoreStats Stats() const = 0;
  // About how many rows a table has: some that were replaced and not yet compacted may be counted twice. Looks at every
  // file.
  virtual uint64_t EstimateRows(Table table) const = 0;
  // How much the store may keep of its files in memory from now on. Any thread. The memory store has no such cache.
  virtual void SetCacheBytes(uint64_t /*bytes*/) {}
  // Running totals since the store was opened, by name, for metrics: "rocksdb.block.cache.hit" and the like. May be
  // empty.
  virtual std::vector<std::pair<std::string, uint64_t>> Counters() const { return {}; }
};

}  // namespace mptd::storage
