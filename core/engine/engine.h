// The state engine: one chain's state on disk, one writer, many readers. Start reading here.
//
// All public methods may be called from any thread. Apply, RollbackTo and Prune are queued for the one writer thread,
// which owns the mutable trie; readers take StateViews. The engine owns its store, its change log and its threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/engine/block.h"
#include "core/engine/state_view.h"
#include "core/engine/statistics.h"
#include "storage/secret_key.h"

namespace rocksdb {
class Env;
}

namespace mptd {
namespace storage {
class LogFileSystem;
}

enum class Durability {
  kSync,     // a block is durable before Apply returns
  kBatched,  // synced every `batch_timeout` or `batch_size` changes, behind the replies
  kAsync,    // synced when the queue is flushed
};

enum class TableCompression { kNone, kSnappy, kLz4, kZstd };

// What can be changed while the engine runs.
struct EngineLimits {
  uint64_t keep_blocks = 128;  // served behind the head; history older than that is pruned, unless it is an archive

  uint64_t max_changes_per_block = 0;               // accounts; 0: no limit
  uint64_t max_slots_per_account = 0;               // changed in one block; 0: no limit
  uint64_t max_slots_per_block = 0;                 // of all accounts together; 0: no limit
  uint64_t node_cache_bytes = 640u << 20;           // trie nodes in memory; 0: none that the tables have
  uint64_t row_cache_bytes = 128u << 20;            // accounts and slots in memory; 0: as above
  uint64_t block_cache_bytes = 64u << 20;           // RocksDB's
  uint64_t history_memory_bytes = 96u << 20;        // undo records indexed in memory
  uint64_t queue_bytes = 96u << 20;                 // unflushed changes; Apply waits when it is full
  absl::Duration cache_ttl = absl::ZeroDuration();  // nodes and rows not used for so long are dropped; zero: never
};

struct EngineOptions : EngineLimits {
  std::string data_dir;  // made when absent
  Durability durability = Durability::kBatched;
  absl::Duration batch_timeout = absl::Milliseconds(100);
  uint64_t batch_size = 1000;
  TableCompression compression = TableCompression::kNone;

  // After the start, nodes of the account trie are read in the background until node_cache_bytes are full.
  bool warm_up = false;

  bool archive = false;  // never prune
  uint64_t prune_interval_blocks = 64;
  uint64_t max_prune_blocks = UINT64_MAX;  // whose history one flush drops at most

  uint64_t flush_blocks = 256;                       // flush at the latest after so many blocks
  absl::Duration flush_interval = absl::Seconds(5);  // or so long after a block
  uint64_t log_segment_bytes = 4u << 20;
  int worker_threads = 0;                                // 0: one a core
  absl::Duration flush_retry = absl::Milliseconds(250);  // a flush that failed is tried again after so long

  // What the tables and the change log are written through; null is the operating system. Must outlive the engine. The
  // folder itself, its LOCK and its FORMAT are the operating system's in any case.
  rocksdb::Env* table_files = nullptr;
  storage::LogFileSystem* log_files = nullptr;

  // Where the master key is, for data that is encrypted (docs/ENCRYPTION.md); it is read when it is needed, and not
  // kept.
  storage::KeySource encryption_key;

  // Called from the engine's threads for what an operator should know; must not call back into the engine.
  std::function<void(const struct EngineEvent&)> on_event;
};

// Something that happened, for the log and for counting.
struct EngineEvent {
  enum class Kind {
    kRecovered,     // a, b: blocks replayed, head number
    kFlushed,       // a, b: flushed block, rows written; duration
    kLogSynced,     // duration; often
    kPruned,        // a, b: oldest block with history in the tables, blocks whose history went; duration of the flush
    kRolledBack,    // a: new head number, b: blocks undone
    kReadOnly,      // text: why
    kCorruption,    // text: what
    kFlushFailed,   // a: branches that wait for it; text: why; retried
    kBackPressure,  // a: queue bytes
  };
  Kind kind;
  uint64_t a = 0;
  uint64_t b = 0;
  absl::Duration duration;
  std::string text;
};

struct EngineStatus {
  bool has_blocks = false;
  BlockInfo head;
  uint64_t durable_number = 0;
  uint64_t flushed_number = 0;
  uint64_t oldest_served_number = 0;
  bool read_only = false;
  std::string read_only_reason;
  uint64_t queue_blocks = 0;
  uint64_t queue_bytes = 0;
  uint64_t disk_bytes = 0;  // of the tables and the change log
  uint64_t node_cache_bytes = 0;
  uint64_t row_cache_bytes = 0;
  uint64_t history_bytes = 0;
  uint64_t change_log_bytes = 0;
  uint32_t format_version = 0;
  std::optional<Hash> genesis_root;
  // Times that the writer came round: after each task, and several times a second while it waits for work or for room
  // in the queue. Standing still for minutes means that it hangs.
  uint64_t writer_turns = 0;
  bool warming = false;  // nodes are being read into memory after the start
};

struct KeyRotation {
  bool new_data_key = false;    // for the files that are made from now on
  bool rewrite_tables = false;  // and for the ones that are there: takes as long as compacting everything
};

// By their ids; never the keys.
struct KeyReport {
  std::string master_key;
  uint32_t data_key = 0;            // of new files
  std::vector<uint32_t> data_keys;  // that are kept
};

// A head as followers see it.
struct HeadEvent {
  BlockInfo block;
  bool rolled_back = false;  // the head went back to `block`
};

struct VerifyProgress {
  uint64_t accounts = 0;
  uint64_t slots = 0;
  uint64_t nodes = 0;
};

struct VerifyReport {
  BlockInfo block;
  VerifyProgress checked;
  std::string difference;  // empty when every row is as it must be
};

class StateEngine {
 public:
  // Opens the folder and replays what a crash left in the change log. Errors say what to do:
  // FAILED_PRECONDITION: another process has the folder, its format is newer than this program, or the key is not that
  // of the folder; PERMISSION_DENIED:
  // not writable; RESOURCE_EXHAUSTED: disk full; DATA_LOSS: damaged data, named.
  static absl::StatusOr<std::unique_ptr<StateEngine>> Open(EngineOptions options);
  // Flushes, unless read-only, and stops the threads. Views must be gone.
  virtual ~StateEngine() = default;

  // Applies one block; returns when it is published and as durable as the mode promises. `deadline` bounds the wait for
  // room in the queue (RESOURCE_EXHAUSTED with a retry delay); `cancelled` is asked before work begins (CANCELLED).
  // INVALID_ARGUMENT: a malformed change, with its path. FAILED_PRECONDITION: not the child of the head, another parent
  // root, another resulting root. OUT_OF_RANGE: the parent of a reorganisation is not served any more. UNAVAILABLE:
  // read-only or closing. Whatever is refused has changed nothing.
  virtual absl::StatusOr<ApplyResult> Apply(BlockChanges block, absl::Time deadline = absl::InfiniteFuture(),
                                            const std::function<bool()>& cancelled = {}) = 0;
  // Makes a served block the head again; durable on return.
  virtual absl::StatusOr<BlockInfo> RollbackTo(const BlockSelector& block) = 0;

  // A handle on a served block. OUT_OF_RANGE with the served window, or NOT_FOUND for an unknown hash.
  // FAILED_PRECONDITION before the first block, except for the latest, which is then the empty state as block 0.
  virtual absl::StatusOr<StateViewPtr> View(const BlockSelector& block) const = 0;
  virtual bool IsDurable(uint64_t number) const = 0;

  // Waits until there is a head event with index >= `index` and returns it, or nullopt at the deadline. Indices
  // count up from 1; the engine remembers some thousand. OUT_OF_RANGE when the event is forgotten: start again from the
  // head. NextHeadIndex is the index that the next event will have.
  virtual absl::StatusOr<std::optional<HeadEvent>> WaitForHead(uint64_t index, absl::Time deadline) const = 0;
  virtual uint64_t NextHeadIndex() const = 0;

  // Writes all unflushed blocks to the tables.
  virtual absl::StatusOr<BlockInfo> Flush() = 0;
  // Flushes and copies the data to the new folder `dir`, on which an engine can be opened.
  virtual absl::StatusOr<BlockInfo> Checkpoint(const std::string& dir) = 0;
  // Drops history beyond the newest `keep_blocks` blocks; returns how many blocks are not served any more.
  virtual absl::StatusOr<uint64_t> Prune(uint64_t keep_blocks) = 0;
  // Reads the master key anew and wraps the data keys by it; blocks and reads go on. FAILED_PRECONDITION when the data
  // is not encrypted, or there is no such key. An old data key is kept until no file needs it, which is looked at when
  // the folder is opened.
  virtual absl::StatusOr<KeyReport> RotateKeys(const KeyRotation& rotation) = 0;
  // Whether the data could be opened with the master key that its source has now, which is read anew; errors are as
  // those of opening. OK for data that is not encrypted.
  virtual absl::Status CheckKey() const = 0;
  // Recomputes every trie of the head from the flat tables, and compares all rows. `progress` may stop it (CANCELLED).
  virtual absl::StatusOr<VerifyReport> Verify(const std::function<bool(const VerifyProgress&)>& progress) = 0;

  virtual EngineStatus Status() const = 0;
  // Asks more of the store than Status; for once a scrape.
  virtual EngineStatistics Statistics() const = 0;

  // Takes effect for blocks applied from now on. Caches that are too large shrink within seconds, `keep_blocks` with
  // the next block.
  virtual void SetLimits(const EngineLimits& limits) = 0;
  virtual EngineLimits limits() const = 0;
};

}  // namespace mptd
