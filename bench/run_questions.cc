// The second half of a run: what is asked of the state that the blocks left.
#include <filesystem>

#include "bench/run.h"
#include "storage/data_keys.h"
#include "storage/rocksdb_store.h"

namespace mptd::bench {
namespace {

storage::Compression ToStorage(TableCompression compression) {
  switch (compression) {
    case TableCompression::kNone:
      return storage::Compression::kNone;
    case TableCompression::kSnappy:
      return storage::Compression::kSnappy;
    case TableCompression::kLz4:
      return storage::Compression::kLz4;
    case TableCompression::kZstd:
      return storage::Compression::kZstd;
  }
  return storage::Compression::kNone;
}

double Megabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

}  // namespace

absl::Status Run::HashFloor() {
  Say("hash floor");
  return MeasureHashFloor(questions(), last_changes_, nodes_hashed_);
}

absl::Status Run::Ask() {
  const Questions ask = questions();
  Say("reads");
  if (absl::Status status = MeasureReads(ask); !status.ok()) return status;
  Say("proofs");
  const absl::StatusOr<Head> head = target_->GetHead();
  if (!head.ok()) return head.status();
  if (absl::Status status = MeasureProofs(ask, *head); !status.ok()) return status;
  Say("roots");
  if (absl::Status status = MeasureRoots(ask); !status.ok()) return status;
  Say("reads beside blocks");
  const auto apply = [this]() -> absl::StatusOr<double> {
    Latencies time;
    if (absl::Status status = Apply(draws_.Next(), &time); !status.ok()) return status;
    return time.values().front();
  };
  if (absl::Status status = MeasureReaderBesideBlocks(ask, apply); !status.ok()) return status;
  if (absl::Status status = MeasureAgainstEmptyServer(ask); !status.ok()) return status;
  TakePeakMemory("questions_peak_mb", "questions, peak memory");
  return absl::OkStatus();
}

absl::Status Run::Compact() {
  Say("compaction");
  if (absl::Status status = target_->Close(); !status.ok()) return status;
  {
    storage::RocksDbOptions options;
    options.dir = options_.engine.data_dir + "/db";
    options.create_if_missing = false;
    options.compression = ToStorage(options_.engine.compression);
    absl::StatusOr<std::shared_ptr<storage::DataKeys>> keys =
        storage::ReadDataKeys(options_.engine.data_dir, options_.engine.encryption_key);
    if (!keys.ok()) return keys.status();
    options.keys = *std::move(keys);
    absl::StatusOr<std::unique_ptr<storage::KeyValueStore>> store = storage::OpenRocksDb(options);
    if (!store.ok()) return store.status();
    const Stopwatch watch;
    if (absl::Status status = (*store)->Compact(); !status.ok()) return status;
    report_.Add("compaction_s", "compaction", "s", watch.Seconds());
    const auto bytes = (*store)->Stats().table_bytes;
    report_.Add("disk_history_mb", "history after compaction", "MB",
                Megabytes(bytes[static_cast<size_t>(storage::Table::kHistory)] +
                          bytes[static_cast<size_t>(storage::Table::kHistoryIndex)]));
  }
  report_.Add("disk_compacted_mb", "disk after compaction", "MB", Megabytes(DiskBytes(options_.engine.data_dir)));
  report_.Add("disk_log_mb", "of it the change log", "MB", Megabytes(DiskBytes(options_.engine.data_dir + "/log")));
  return absl::OkStatus();
}

}  // namespace mptd::bench
