#include "storage/rocksdb_store.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "rocksdb/compaction_filter.h"
#include "rocksdb/convenience.h"
#include "rocksdb/db.h"
#include "rocksdb/listener.h"
#include "rocksdb/sst_file_writer.h"
#include "rocksdb/statistics.h"
#include "storage/encrypted_fs.h"
#include "storage/mutex.h"
#include "storage/rocksdb_bulk_load.h"
#include "storage/rocksdb_checkpoint.h"
#include "storage/rocksdb_files.h"
#include "storage/rocksdb_no_log.h"
#include "storage/rocksdb_status.h"
#include "storage/rocksdb_tuning.h"
#include "storage/thread_name.h"

namespace mptd::storage {
namespace {

using rocksdb::Slice;

Slice ToSlice(std::string_view bytes) { return Slice(bytes.data(), bytes.size()); }
std::string_view ToView(const Slice& slice) { return std::string_view(slice.data(), slice.size()); }

// Hears what RocksDB does in the background: compactions step back, and the first error is remembered. RocksDB does not
// recover by itself: when and from what to recover is decided in CheckBackground.
class ErrorListener final : public rocksdb::EventListener {
 public:
  explicit ErrorListener(std::shared_ptr<GuardedFileSystem> files) : files_(std::move(files)) {}

  void OnCompactionBegin(rocksdb::DB* /*db*/, const rocksdb::CompactionJobInfo& /*info*/) override {
    LetOthersGoFirst();
  }
  void OnBackgroundError(rocksdb::BackgroundErrorReason /*reason*/, rocksdb::Status* error) override {
    if (IsFinal(*error)) files_->KeepAllFiles();
    MutexLock lock(mutex_);
    if (first_.ok()) first_ = *error;
  }
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason /*reason*/, rocksdb::Status /*error*/,
                            bool* automatic) override {
    *automatic = false;
  }
  rocksdb::Status first() const {
    MutexLock lock(mutex_);
    return first_;
  }
  void Clear() {
    MutexLock lock(mutex_);
    first_ = rocksdb::Status::OK();
  }
  // A compaction that found the disk full can be begun again. Anything graver is final until the store is opened again:
  // what is on the disk and what the operating system remembers of it may differ from then on. That includes a full
  // disk met while writing the manifest, because after Resume() from that, RocksDB 7.8 still takes itself for stopped
  // and gives the next ingested file the number 0.
  static bool IsFinal(const rocksdb::Status& error) {
    return !error.IsNoSpace() || error.severity() >= rocksdb::Status::kHardError;
  }

 private:
  const std::shared_ptr<GuardedFileSystem> files_;
  mutable Mutex mutex_;
  rocksdb::Status first_ ABSL_GUARDED_BY(mutex_);
};

class RocksDbIterator final : public Iterator {
 public:
  // Over rows with keys below `end`, or all of them when it is empty.
  RocksDbIterator(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* family, Table table, rocksdb::ReadOptions read,
                  std::string end = {})
      : table_(table), end_(std::move(end)), end_slice_(end_) {
    if (!end_.empty()) read.iterate_upper_bound = &end_slice_;
    rows_.reset(db.NewIterator(read, family));
  }

  void Seek(std::string_view key) override { rows_->Seek(ToSlice(key)); }
  void Next() override { rows_->Next(); }
  bool Valid() const override { return rows_->Valid(); }
  std::string_view key() const override { return ToView(rows_->key()); }
  std::string_view value() const override { return ToView(rows_->value()); }
  absl::Status status() const override {
    return FromRocksDb(rows_->status(), absl::StrFormat("iterating over table %s", TableName(table_)));
  }

 private:
  const Table table_;
  const std::string end_;
  const Slice end_slice_;  // rows_ keeps its address
  std::unique_ptr<rocksdb::Iterator> rows_;
};

// Drops rows that have expired when a compaction rewrites them.
class ExpiryFilter final : public rocksdb::CompactionFilter {
 public:
  explicit ExpiryFilter(std::function<bool(std::string_view)> expired) : expired_(std::move(expired)) {}

  bool Filter(int /*level*/, const Slice& key, const Slice& /*value*/, std::string* /*new_value*/,
              bool* /*value_changed*/) const override {
    return expired_(ToView(key));
  }
  const char* Name() const override { return "mptd.expiry"; }

 private:
  const std::function<bool(std::string_view)> expired_;
};

// The table files that one Ingest has made. Those that RocksDB did not take over are removed.
class StagedFiles {
 public:
  StagedFiles(std::string dir, rocksdb::Env* env, uint64_t* next_number)
      : dir_(std::move(dir)), env_(env), next_number_(next_number) {}
  ~StagedFiles() {
    for (const std::string& path : paths_) env_->DeleteFile(path).PermitUncheckedError();
  }
  StagedFiles(const StagedFiles&) = delete;
  StagedFiles& operator=(const StagedFiles&) = delete;

  std::string Add() {
    paths_.push_back(absl::StrFormat("%s/%06d.sst", dir_, (*next_number_)++));
    return paths_.back();
  }

 private:
  const std::string dir_;
  rocksdb::Env* const env_;
  uint64_t* const next_number_;
  std::vector<std::string> paths_;
};

class RocksDbStore final : public KeyValueStore {
 public:
  explicit RocksDbStore(const RocksDbOptions& options)
      : options_(options),
        staging_(options.dir + "/staging"),
        base_((options.env != nullptr ? options.env : rocksdb::Env::Default())->GetFileSystem()),
        files_(std::make_shared<GuardedFileSystem>(EncryptedBy(options.keys, base_), staging_)),
        env_(rocksdb::NewCompositeEnv(files_)),
        cache_(rocksdb::NewLRUCache(options.block_cache_bytes, /*num_shard_bits=*/4, /*strict_capacity_limit=*/false,
                                    /*high_pri_pool_ratio=*/0.5)),
        errors_(std::make_shared<ErrorListener>(files_)),
        expiry_(options.expired ? std::make_unique<ExpiryFilter>(options.expired) : nullptr) {}

  ~RocksDbStore() override {
    if (db_ == nullptr) return;
    for (rocksdb::ColumnFamilyHandle* family : families_) {
      db_->DestroyColumnFamilyHandle(family).PermitUncheckedError();
    }
    db_->Close().PermitUncheckedError();
  }

  absl::Status Open();

  absl::StatusOr<Value> Get(Table table, std::string_view key) const override;
  absl::Status MultiGet(Table table, std::span<const std::string_view> keys, std::span<Value> values,
                        bool sorted) const override;
  std::unique_ptr<Iterator> NewIterator(Table table) const override;
  std::unique_ptr<Iterator> NewIterator(Table table, std::string_view first, std::string_view last) const override;
  absl::Status Ingest(std::span<TableBatch> batches) override;
  std::unique_ptr<BulkLoad> NewBulkLoad() override;
  absl::Status Checkpoint(const std::string& dir) override;
  absl::Status Compact() override;
  absl::Status Rewrite() override;
  absl::StatusOr<std::set<uint32_t>> KeysInUse() const override {
    return options_.keys != nullptr ? storage::KeysInUse(*base_, options_.dir) : std::set<uint32_t>();
  }
  StoreStats Stats() const override;
  uint64_t EstimateRows(Table table) const override;
  void SetCacheBytes(uint64_t bytes) override { cache_->SetCapacity(bytes); }
  std::vector<std::pair<std::string, uint64_t>> Counters() const override;

 private:
  rocksdb::ColumnFamilyHandle* Family(Table table) const { return families_[static_cast<size_t>(table)]; }
  absl::Status ReadError(const rocksdb::Status& status, Table table) const {
    return FromRocksDb(status, absl::StrFormat("reading table %s in %s", TableName(table), options_.dir));
  }

  absl::Status ClearStaging();
  absl::Status CheckBackground();
  absl::Status CheckSpace() const;
  absl::Status WaitForCompactions(std::span<const TableBatch> batches);
  int UncompactedFiles(Table table) const;
  absl::Status BuildFiles(const TableBatch& batch, StagedFiles& staged, std::vector<std::string>& files);
  rocksdb::Status WriteRows(const TableBatch& batch, bool with_ranges, StagedFiles& staged,
                            std::vector<std::string>& files);
  rocksdb::Status WriteRanges(const TableBatch& batch, StagedFiles& staged, std::vector<std::string>& files);
  void DropDeletedFiles(const TableBatch& batch);

  // Constant after Open.
  const RocksDbOptions options_;
  const std::string staging_;
  const std::shared_ptr<rocksdb::FileSystem> base_;  // what files_ stands on
  const std::shared_ptr<GuardedFileSystem> files_;
  const std::unique_ptr<rocksdb::Env> env_;
  const std::shared_ptr<rocksdb::Cache> cache_;
  const std::shared_ptr<ErrorListener> errors_;
  const std::unique_ptr<ExpiryFilter> expiry_;  // null when no row expires
  rocksdb::DBOptions db_options_;
  std::array<rocksdb::ColumnFamilyOptions, kTableCount> family_options_;
  std::unique_ptr<rocksdb::DB> db_;
  std::array<rocksdb::ColumnFamilyHandle*, kTableCount> families_{};  // owned by db_

  // Used by the thread that ingests.
  uint64_t next_staged_ = 1;
  absl::Status failed_;  // sticky
};

namespace {

// What RocksDB writes while it opens, several times over. Debian's build of it aborts when it cannot close a file that
// it could not write.
constexpr uint64_t kSpaceToOpen = uint64_t{1} << 20;

// Whether `dir` may be opened, or made: without the file that names the manifest RocksDB would take tables for the
// remains of others, remove them and begin anew.
absl::Status CheckBeforeOpening(rocksdb::Env& env, const std::string& dir, const std::string& what) {
  uint64_t free_bytes = 0;
  const std::string parent = std::filesystem::path(dir).parent_path().string();
  if (env.GetFreeSpace(parent, &free_bytes).ok() && free_bytes < kSpaceToOpen) {
    return absl::ResourceExhaustedError(absl::StrFormat("%s: %d KiB are free on its disk, at least %d are needed", what,
                                                        free_bytes >> 10, kSpaceToOpen >> 10));
  }
  if (!env.FileExists(dir + "/CURRENT").IsNotFound()) return absl::OkStatus();
  std::vector<std::string> names;
  if (!env.GetChildren(dir, &names).ok()) return absl::OkStatus();  // it is not there yet
  if (std::none_of(names.begin(), names.end(), [](const std::string& name) { return name.ends_with(".sst"); })) {
    return absl::OkStatus();
  }
  return absl::DataLossError(
      absl::StrFormat("%s: there are tables, but no file CURRENT that says which ones count; "
                      "this is not a whole copy, or it is damaged",
                      what));
}

}  // namespace

absl::Status RocksDbStore::Open() {
  db_options_ = MakeDbOptions(options_);
  db_options_.env = env_.get();
  db_options_.listeners.push_back(errors_);
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  descriptors.emplace_back(rocksdb::kDefaultColumnFamilyName, rocksdb::ColumnFamilyOptions());
  for (size_t i = 0; i < kTableCount; ++i) {
    const auto table = static_cast<Table>(i);
    family_options_[i] = MakeTableOptions(options_, table, cache_);
    if (expiry_ != nullptr && table == options_.expiring_table) family_options_[i].compaction_filter = expiry_.get();
    descriptors.emplace_back(std::string(TableName(table)), family_options_[i]);
  }
  const std::string what = absl::StrFormat("opening the store in %s", options_.dir);
  if (!options_.create_if_missing && env_->FileExists(options_.dir + "/CURRENT").IsNotFound()) {
    return absl::NotFoundError(what + ": there is none");
  }
  if (absl::Status status = CheckBeforeOpening(*env_, options_.dir, what); !status.ok()) return status;
  if (options_.keys != nullptr) {
    // It would be written without encryption, and what it says of errors comes with the statuses too.
    db_options_.info_log = std::make_shared<NoLog>();
    if (absl::Status status = RenewSmallFiles(base_, options_.keys, options_.dir); !status.ok()) return status;
  }
  rocksdb::DB* db = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  const rocksdb::Status status = rocksdb::DB::Open(db_options_, options_.dir, descriptors, &handles, &db);
  if (!status.ok()) return FromRocksDb(status, what);
  db_.reset(db);
  std::copy_n(handles.begin() + 1, kTableCount, families_.begin());
  db_->DestroyColumnFamilyHandle(handles.front()).PermitUncheckedError();
  return ClearStaging();
}

absl::Status RocksDbStore::ClearStaging() {
  const std::string what = absl::StrFormat("preparing %s", staging_);
  if (const rocksdb::Status status = env_->CreateDirIfMissing(staging_); !status.ok()) return FromRocksDb(status, what);
  std::vector<std::string> left;
  if (const rocksdb::Status status = env_->GetChildren(staging_, &left); !status.ok()) return FromRocksDb(status, what);
  for (const std::string& name : left) {
    if (name == "." || name == "..") continue;
    if (const rocksdb::Status status = env_->DeleteFile(staging_ + "/" + name); !status.ok()) {
      return FromRocksDb(status, what);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> RocksDbStore::Get(Table table, std::string_view key) const {
  rocksdb::PinnableSlice found;
  const rocksdb::Status status = db_->Get(rocksdb::ReadOptions(), Family(table), ToSlice(key), &found);
  if (status.IsNotFound()) return Value();
  if (!status.ok()) return ReadError(status, table);
  return Value(std::in_place, found.data(), found.size());
}

absl::Status RocksDbStore::MultiGet(Table table, std::span<const std::string_view> keys, std::span<Value> values,
                                    bool sorted) const {
  if (keys.size() != values.size()) return absl::InvalidArgumentError("as many values as keys are needed");
  // What RocksDB sets up for many costs more than the one lookup.
  if (keys.size() == 1) {
    absl::StatusOr<Value> value = Get(table, keys[0]);
    if (!value.ok()) return value.status();
    values[0] = *std::move(value);
    return absl::OkStatus();
  }
  // The chunk bounds the blocks that are pinned at a time. RocksDB works in groups of 32 itself.
  constexpr size_t kChunk = 128;
  std::array<Slice, kChunk> slices;
  std::array<rocksdb::PinnableSlice, kChunk> found;
  std::array<rocksdb::Status, kChunk> statuses;
  // Accounts and slots are kept row by row by whoever asks for many; their blocks would push out those of branches, and
  // finding room for one takes as long as reading it.
  rocksdb::ReadOptions read;
  read.fill_cache = table != Table::kAccounts && table != Table::kSlots;
  for (size_t done = 0; done < keys.size(); done += kChunk) {
    const size_t count = std::min(kChunk, keys.size() - done);
    for (size_t i = 0; i < count; ++i) slices[i] = ToSlice(keys[done + i]);
    db_->MultiGet(read, Family(table), count, slices.data(), found.data(), statuses.data(), sorted);
    for (size_t i = 0; i < count; ++i) {
      if (statuses[i].ok()) {
        values[done + i].emplace(found[i].data(), found[i].size());
      } else if (statuses[i].IsNotFound()) {
        values[done + i].reset();
      } else {
        return ReadError(statuses[i], table);
      }
      found[i].Reset();
    }
  }
  return absl::OkStatus();
}

std::unique_ptr<Iterator> RocksDbStore::NewIterator(Table table) const {
  rocksdb::ReadOptions read;
  read.total_order_seek = true;
  // A scan would push out what point lookups need; the index of history is only ever searched.
  read.fill_cache = table == Table::kHistoryIndex;
  return std::make_unique<RocksDbIterator>(*db_, Family(table), table, read);
}

std::unique_ptr<Iterator> RocksDbStore::NewIterator(Table table, std::string_view first, std::string_view last) const {
  const size_t prefix = FilteredPrefix(table);
  rocksdb::ReadOptions read;
  read.prefix_same_as_start =
      prefix != 0 && std::min(first.size(), last.size()) >= prefix && first.substr(0, prefix) == last.substr(0, prefix);
  read.total_order_seek = !read.prefix_same_as_start;
  read.fill_cache = false;
  std::string end(last);
  end.push_back('\0');
  auto rows = std::make_unique<RocksDbIterator>(*db_, Family(table), table, read, std::move(end));
  rows->Seek(first);
  return rows;
}

absl::Status RocksDbStore::CheckBackground() {
  if (!failed_.ok()) return failed_;
  const rocksdb::Status error = errors_->first();
  if (error.ok()) return absl::OkStatus();
  if (!ErrorListener::IsFinal(error)) {
    if (const rocksdb::Status resumed = db_->Resume(); !resumed.ok()) {
      return FromRocksDb(resumed, "resuming compactions after the disk was full");
    }
    errors_->Clear();
    return absl::OkStatus();
  }
  const std::string what =
      absl::StrFormat("the store in %s takes no more changes until it is opened again", options_.dir);
  failed_ = error.IsNoSpace() ? absl::UnavailableError(absl::StrFormat("%s: %s", what, error.ToString()))
                              : FromRocksDb(error, what);
  return failed_;
}

// Whether there is room for more, with enough left over that RocksDB's own small writes never meet a full disk.
absl::Status RocksDbStore::CheckSpace() const {
  uint64_t free_bytes = 0;
  if (!env_->GetFreeSpace(options_.dir, &free_bytes).ok() || free_bytes >= options_.reserved_disk_bytes) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(
      absl::StrFormat("the disk of %s is nearly full: %d bytes are free, %d are reserved", options_.dir, free_bytes,
                      options_.reserved_disk_bytes));
}

int RocksDbStore::UncompactedFiles(Table table) const {
  std::string count;
  int files = 0;
  if (db_->GetProperty(Family(table), rocksdb::DB::Properties::kNumFilesAtLevelPrefix + "0", &count)) {
    files = std::atoi(count.c_str());
  }
  return files;
}

// RocksDB slows down writers of memtables when compaction falls behind, but not ingests.
absl::Status RocksDbStore::WaitForCompactions(std::span<const TableBatch> batches) {
  const int limit = std::max(options_.max_uncompacted_files, 2 * kCompactionTrigger);
  for (const TableBatch& batch : batches) {
    while (UncompactedFiles(batch.table) >= limit) {
      // Compactions have stopped, and waiting would not end. If the disk was full, the next Ingest sets them going
      // again.
      const rocksdb::Status error = errors_->first();
      if (!error.ok()) return FromRocksDb(error, absl::StrFormat("compacting the store in %s", options_.dir));
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  return absl::OkStatus();
}

rocksdb::Status RocksDbStore::WriteRows(const TableBatch& batch, bool with_ranges, StagedFiles& staged,
                                        std::vector<std::string>& files) {
  const rocksdb::Options options(db_options_, family_options_[static_cast<size_t>(batch.table)]);
  size_t next = 0;
  while (next < batch.rows.size()) {
    rocksdb::SstFileWriter writer(rocksdb::EnvOptions(db_options_), options, Family(batch.table),
                                  /*invalidate_page_cache=*/false);
    files.push_back(staged.Add());
    rocksdb::Status status = writer.Open(files.back());
    if (with_ranges) {
      for (const auto& [first, last] : batch.delete_ranges) {
        if (status.ok() && first < last) status = writer.DeleteRange(first, last);
      }
    }
    for (; status.ok() && next < batch.rows.size(); ++next) {
      const Row& row = batch.rows[next];
      if (!with_ranges && writer.FileSize() >= options.target_file_size_base) break;
      status = row.value ? writer.Put(ToSlice(row.key), ToSlice(*row.value)) : writer.Delete(ToSlice(row.key));
    }
    if (status.ok()) status = writer.Finish();
    if (!status.ok()) return status;
  }
  return rocksdb::Status::OK();
}

rocksdb::Status RocksDbStore::WriteRanges(const TableBatch& batch, StagedFiles& staged,
                                          std::vector<std::string>& files) {
  const rocksdb::Options options(db_options_, family_options_[static_cast<size_t>(batch.table)]);
  rocksdb::SstFileWriter writer(rocksdb::EnvOptions(db_options_), options, Family(batch.table),
                                /*invalidate_page_cache=*/false);
  files.push_back(staged.Add());
  rocksdb::Status status = writer.Open(files.back());
  for (const auto& [first, last] : batch.delete_ranges) {
    if (status.ok() && first < last) status = writer.DeleteRange(first, last);
  }
  if (status.ok()) status = writer.Finish();
  return status;
}

// All entries of one ingested file get one sequence number, and a range tombstone hides only what is older than itself:
// so rows in a deleted range stay, as they must. Ranges apart from the rows get a file of their own, so that new rows
// at the high end of a table and a deletion at its low end do not make one file that spans and overlaps everything.
absl::Status RocksDbStore::BuildFiles(const TableBatch& batch, StagedFiles& staged, std::vector<std::string>& files) {
  std::string_view low;
  std::string_view high;
  bool any_range = false;
  for (const auto& [first, last] : batch.delete_ranges) {
    if (first >= last) continue;
    if (!any_range || first < low) low = first;
    if (!any_range || last > high) high = last;
    any_range = true;
  }
  const bool apart = batch.rows.empty() || high <= batch.rows.front().key || batch.rows.back().key < low;
  rocksdb::Status status;
  if (any_range && apart) status = WriteRanges(batch, staged, files);
  if (status.ok()) status = WriteRows(batch, any_range && !apart, staged, files);
  return FromRocksDb(status, absl::StrFormat("writing a file for table %s", TableName(batch.table)));
}

absl::Status RocksDbStore::Ingest(std::span<TableBatch> batches) {
  if (absl::Status status = ValidateBatches(batches); !status.ok()) return status;
  if (absl::Status status = CheckBackground(); !status.ok()) return status;
  if (absl::Status status = CheckSpace(); !status.ok()) return status;
  if (absl::Status status = WaitForCompactions(batches); !status.ok()) return status;

  StagedFiles staged(staging_, env_.get(), &next_staged_);
  std::vector<rocksdb::IngestExternalFileArg> arguments;
  for (const TableBatch& batch : batches) {
    rocksdb::IngestExternalFileArg argument;
    argument.column_family = Family(batch.table);
    argument.options.move_files = true;
    argument.options.write_global_seqno = false;
    if (absl::Status status = BuildFiles(batch, staged, argument.external_files); !status.ok()) return status;
    if (!argument.external_files.empty()) arguments.push_back(std::move(argument));
  }
  if (arguments.empty()) return absl::OkStatus();
  const rocksdb::Status status = db_->IngestExternalFiles(arguments);
  if (!status.ok()) {
    if (absl::Status background = CheckBackground(); !background.ok()) return background;
    return FromRocksDb(status, absl::StrFormat("adding files to the store in %s", options_.dir));
  }
  for (const TableBatch& batch : batches) DropDeletedFiles(batch);
  return absl::OkStatus();
}

std::unique_ptr<BulkLoad> RocksDbStore::NewBulkLoad() {
  const auto check = [this] {
    absl::Status status = CheckBackground();
    return status.ok() ? CheckSpace() : status;
  };
  return NewRocksDbBulkLoad({db_.get(), staging_, db_options_, family_options_, families_, check});
}

// Only space is won here: the range tombstones have already been ingested, and if this fails compaction does it later.
// A range that holds rows of its own batch is left alone, since a file of such rows lies in it too.
void RocksDbStore::DropDeletedFiles(const TableBatch& batch) {
  if (!IsAppendTable(batch.table) && batch.table != options_.expiring_table) return;
  for (const auto& [first, last] : batch.delete_ranges) {
    if (first >= last) continue;
    const auto inside = std::lower_bound(batch.rows.begin(), batch.rows.end(), first,
                                         [](const Row& row, const std::string& key) { return row.key < key; });
    if (inside != batch.rows.end() && inside->key < last) continue;
    const Slice begin = first;
    const Slice end = last;
    rocksdb::DeleteFilesInRange(db_.get(), Family(batch.table), &begin, &end, /*include_end=*/false)
        .PermitUncheckedError();
  }
}

absl::Status RocksDbStore::Checkpoint(const std::string& dir) { return WriteCheckpoint(*db_, *env_, dir); }

absl::Status RocksDbStore::Compact() {
  absl::Status status = CheckBackground();
  return status.ok() ? Rewrite() : status;
}

absl::Status RocksDbStore::Rewrite() {
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  for (size_t i = 0; i < kTableCount; ++i) {
    const rocksdb::Status status = db_->CompactRange(options, families_[i], nullptr, nullptr);
    if (!status.ok()) {
      return FromRocksDb(status, absl::StrFormat("compacting table %s", TableName(static_cast<Table>(i))));
    }
  }
  return absl::OkStatus();
}

StoreStats RocksDbStore::Stats() const {
  using Properties = rocksdb::DB::Properties;
  StoreStats stats;
  const auto add = [this](rocksdb::ColumnFamilyHandle* family, const std::string& property, uint64_t& sum) {
    uint64_t value = 0;
    if (db_->GetIntProperty(family, property, &value)) sum += value;
  };
  for (size_t i = 0; i < kTableCount; ++i) {
    rocksdb::ColumnFamilyHandle* family = families_[i];
    add(family, Properties::kTotalSstFilesSize, stats.table_bytes[i]);
    stats.disk_bytes += stats.table_bytes[i];
    add(family, Properties::kEstimateTableReadersMem, stats.memory_bytes);
    add(family, Properties::kEstimatePendingCompactionBytes, stats.pending_compaction_bytes);
  }
  add(families_.front(), Properties::kNumRunningCompactions, stats.running_compactions);
  stats.memory_bytes += cache_->GetUsage();
  return stats;
}

// RocksDB's own estimate knows nothing of files that have not been read since the store was opened.
uint64_t RocksDbStore::EstimateRows(Table table) const {
  rocksdb::TablePropertiesCollection files;
  if (!db_->GetPropertiesOfAllTables(Family(table), &files).ok()) return 0;
  uint64_t rows = 0;
  uint64_t deletions = 0;
  for (const auto& [path, properties] : files) {
    rows += properties->num_entries - std::min(properties->num_entries, properties->num_deletions);
    deletions += properties->num_deletions;
  }
  return rows - std::min(rows, deletions);
}

std::vector<std::pair<std::string, uint64_t>> RocksDbStore::Counters() const {
  std::map<std::string, uint64_t> tickers;
  if (!db_options_.statistics->getTickerMap(&tickers)) return {};
  return {tickers.begin(), tickers.end()};
}

}  // namespace

absl::StatusOr<std::unique_ptr<KeyValueStore>> OpenRocksDb(const RocksDbOptions& options) {
  auto store = std::make_unique<RocksDbStore>(options);
  if (absl::Status status = store->Open(); !status.ok()) return status;
  return store;
}

}  // namespace mptd::storage
