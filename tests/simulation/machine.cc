#include "tests/simulation/machine.h"

#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "storage/memory_store.h"
#include "storage/rocksdb_store.h"
#include "storage/thread_name.h"

namespace mptd::simulation {
namespace {

using storage::KeyValueStore;
using storage::LogFile;
using storage::LogFileSystem;
using storage::Table;
using storage::TableBatch;
using storage::Value;

absl::Status NoPower() { return absl::UnavailableError("the simulated power is out"); }

// Mostly short, at times as long as a thousand steps, now and then as long as several blocks.
absl::Duration DrawTime(Scheduler& scheduler) {
  constexpr uint64_t kDoublings = 11;
  constexpr uint64_t kRareDoublings = 17;
  constexpr uint64_t kOneIsRare = 16;
  const uint64_t most = uint64_t{1} << scheduler.Below(scheduler.OneIn(kOneIsRare) ? kRareDoublings : kDoublings);
  return absl::Microseconds(static_cast<int64_t>(scheduler.Below(most)));
}

}  // namespace

void Machine::Operate() {
  scheduler_.SleepFor(DrawTime(scheduler_), Op::kDisk);
  if (PowerIsOut()) disk_.Arm(1, storage::Fault::kCrash);
}

absl::Status Machine::OperateTables(bool reads) {
  constexpr uint64_t kReadsToSlowOne = 16;
  if (!reads || scheduler_.OneIn(kReadsToSlowOne)) {
    scheduler_.SleepFor(DrawTime(scheduler_), Op::kTable);
  } else {
    scheduler_.Point(Op::kTable);
  }
  if (PowerIsOut()) return NoPower();
  if (!reads) return absl::OkStatus();
  const bool chosen = reads_to_failure_ != 0 && --reads_to_failure_ == 0;
  if (!chosen && (fail_reads_ == 0 || !scheduler_.OneIn(fail_reads_))) return absl::OkStatus();
  return absl::UnavailableError("the simulated disk cannot be read");
}

// The change log's files
// ----------------------------------------------------------------------------------------------------------

class Machine::File final : public LogFile {
 public:
  File(Machine& machine, std::unique_ptr<LogFile> file) : machine_(machine), file_(std::move(file)) {}

  absl::Status Write(uint64_t offset, std::span<const std::string_view> parts) override {
    machine_.Operate();
    return file_->Write(offset, parts);
  }
  absl::Status Read(uint64_t offset, uint64_t count, std::string* bytes) const override {
    machine_.Operate();
    return file_->Read(offset, count, bytes);
  }
  absl::Status Sync() override {
    machine_.Operate();
    absl::Status status = absl::OkStatus();
    if (machine_.defect_ != Defect::kSyncsNothing) status = file_->Sync();
    machine_.Operate();  // the news takes its time, too
    return status;
  }
  absl::StatusOr<uint64_t> Size() const override {
    machine_.Operate();
    return file_->Size();
  }

 private:
  Machine& machine_;
  const std::unique_ptr<LogFile> file_;
};

class Machine::Files final : public LogFileSystem {
 public:
  explicit Files(Machine& machine) : machine_(machine) {}

  absl::StatusOr<std::unique_ptr<LogFile>> Open(const std::string& path, Mode mode) override {
    machine_.Operate();
    absl::StatusOr<std::unique_ptr<LogFile>> file = machine_.disk_.Open(path, mode);
    if (!file.ok()) return file.status();
    return std::make_unique<File>(machine_, *std::move(file));
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    machine_.Operate();
    return machine_.disk_.Rename(from, to);
  }
  absl::Status Remove(const std::string& path) override {
    machine_.Operate();
    return machine_.disk_.Remove(path);
  }
  absl::Status SyncDir(const std::string& dir) override {
    machine_.Operate();
    if (machine_.defect_ == Defect::kForgetsNames) return absl::OkStatus();
    return machine_.disk_.SyncDir(dir);
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& dir) override {
    machine_.Operate();
    return machine_.disk_.List(dir);
  }
  absl::Status MakeDir(const std::string& dir) override {
    machine_.Operate();
    return machine_.disk_.MakeDir(dir);
  }
  uint64_t FreeBytes(const std::string& dir) override { return machine_.disk_.FreeBytes(dir); }

 private:
  Machine& machine_;
};

// The tables
// ----------------------------------------------------------------------------------------------------------

// A snapshot whose rows take their time.
class Machine::Rows final : public storage::Iterator {
 public:
  Rows(Machine& machine, std::unique_ptr<storage::Iterator> rows) : machine_(machine), rows_(std::move(rows)) {}

  void Seek(std::string_view key) override {
    status_ = machine_.OperateTables(/*reads=*/true);
    if (status_.ok()) rows_->Seek(key);
  }
  void Next() override {
    status_ = machine_.OperateTables(/*reads=*/true);
    if (status_.ok()) rows_->Next();
  }
  bool Valid() const override { return status_.ok() && rows_->Valid(); }
  std::string_view key() const override { return rows_->key(); }
  std::string_view value() const override { return rows_->value(); }
  absl::Status status() const override { return status_; }

 private:
  Machine& machine_;
  const std::unique_ptr<storage::Iterator> rows_;
  absl::Status status_;
};

// What one engine sees of a folder's tables, with a thread that compacts them.
class Machine::Tables final : public KeyValueStore {
 public:
  Tables(Machine& machine, KeyValueStore& kept, std::function<bool(std::string_view)> expired)
      : machine_(machine), kept_(kept), expired_(std::move(expired)), compactor_([this] {
          storage::NameThisThread("sim-compactor");
          Compactions();
        }) {}
  ~Tables() override {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
    }
    compactor_.join();
  }

  absl::StatusOr<Value> Get(Table table, std::string_view key) const override {
    // Found before the time that it takes, or after: who gets the row may be the last to hear of it.
    std::optional<absl::StatusOr<Value>> found;
    if (machine_.scheduler_.OneIn(2)) found = kept_.Get(table, key);
    if (absl::Status status = machine_.OperateTables(/*reads=*/true); !status.ok()) return status;
    return found ? *std::move(found) : kept_.Get(table, key);
  }
  absl::Status MultiGet(Table table, std::span<const std::string_view> keys, std::span<Value> values,
                        bool /*sorted*/) const override {
    if (keys.size() != values.size()) return absl::InvalidArgumentError("as many values as keys are needed");
    // From the last to the first: nobody may count on the order.
    for (size_t i = keys.size(); i-- > 0;) {
      absl::StatusOr<Value> value = Get(table, keys[i]);
      if (!value.ok()) return value.status();
      values[i] = *std::move(value);
    }
    return absl::OkStatus();
  }
  std::unique_ptr<storage::Iterator> NewIterator(Table table) const override {
    machine_.scheduler_.Point(Op::kTable);
    return std::make_unique<Rows>(machine_, kept_.NewIterator(table));
  }
  std::unique_ptr<storage::Iterator> NewIterator(Table table, std::string_view first,
                                                 std::string_view last) const override {
    machine_.scheduler_.Point(Op::kTable);
    auto rows = std::make_unique<Rows>(machine_, kept_.NewIterator(table, first, last));
    rows->Seek(first);
    return rows;
  }

  absl::Status Ingest(std::span<TableBatch> batches) override {
    if (absl::Status status = machine_.OperateTables(/*reads=*/false); !status.ok()) return status;
    if (machine_.defect_ == Defect::kReadsUncommitted && !batches.empty()) {
      if (absl::Status status = kept_.Ingest(batches.first(1)); !status.ok()) return status;
      if (absl::Status status = machine_.OperateTables(/*reads=*/false); !status.ok()) return status;
      if (machine_.scheduler_.OneIn(2)) return absl::UnavailableError("the simulated disk cannot be written");
    }
    if (machine_.fail_ingests_ != 0 && machine_.scheduler_.OneIn(machine_.fail_ingests_)) {
      return absl::ResourceExhaustedError("the simulated disk is full");
    }
    if (absl::Status status = Keep(batches); !status.ok()) return status;
    // It is there, and who asked for it learns so later, or never.
    return machine_.OperateTables(/*reads=*/false);
  }
  std::unique_ptr<storage::BulkLoad> NewBulkLoad() override { return kept_.NewBulkLoad(); }
  absl::Status Checkpoint(const std::string& dir) override { return kept_.Checkpoint(dir); }
  absl::Status Compact() override { return absl::OkStatus(); }
  absl::Status Rewrite() override { return absl::OkStatus(); }
  storage::StoreStats Stats() const override { return kept_.Stats(); }
  uint64_t EstimateRows(Table table) const override { return kept_.EstimateRows(table); }

 private:
  absl::Status Keep(std::span<TableBatch> batches) {
    absl::MutexLock lock(&mutex_);
    if (machine_.defect_ != Defect::kTearsIngests) return kept_.Ingest(batches);
    for (TableBatch& batch : batches) {
      if (absl::Status status = kept_.Ingest({&batch, 1}); !status.ok()) return status;
      if (absl::Status status = machine_.OperateTables(/*reads=*/false); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

  // Drops expired rows, now and then.
  void Compactions() {
    constexpr absl::Duration kPause = absl::Milliseconds(20);
    absl::MutexLock lock(&mutex_);
    while (!mutex_.AwaitWithTimeout(absl::Condition(&stopping_), machine_.scheduler_.Below(4) * kPause)) {
      if (machine_.PowerIsOut() || !expired_) continue;
      std::vector<std::string> gone;
      const std::unique_ptr<storage::Iterator> rows = kept_.NewIterator(Table::kHistoryIndex);
      for (rows->Seek(""); rows->Valid(); rows->Next()) {
        if (expired_(rows->key())) gone.emplace_back(rows->key());
      }
      TableBatch batch{Table::kHistoryIndex, {}, {}};
      for (const std::string& key : gone) batch.rows.push_back({key, std::nullopt});
      (void)kept_.Ingest({&batch, 1});
    }
  }

  Machine& machine_;
  KeyValueStore& kept_;
  const std::function<bool(std::string_view)> expired_;
  absl::Mutex mutex_;  // held by what changes the tables
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread compactor_;
};

// Says which machine is meant when tables are opened on it.
class Machine::TablesEnv final : public rocksdb::EnvWrapper {
 public:
  explicit TablesEnv(Machine& machine) : EnvWrapper(rocksdb::Env::Default()), machine_(machine) {}
  Machine& machine() { return machine_; }

 private:
  Machine& machine_;
};

Machine::Machine(Scheduler& scheduler, storage::FakeFiles& disk, Defect defect)
    : scheduler_(scheduler),
      disk_(disk),
      defect_(defect),
      files_(std::make_unique<Files>(*this)),
      env_(std::make_unique<TablesEnv>(*this)) {}

Machine::~Machine() = default;

void Machine::Install(EngineOptions& options) {
  options.log_files = files_.get();
  options.table_files = env_.get();
}

LogFileSystem& Machine::log_files() { return *files_; }
rocksdb::Env& Machine::table_files() { return *env_; }

Machine* Machine::Of(rocksdb::Env* env) {
  auto* tables = dynamic_cast<TablesEnv*>(env);
  return tables == nullptr ? nullptr : &tables->machine();
}

absl::StatusOr<std::unique_ptr<KeyValueStore>> Machine::OpenTables(const storage::RocksDbOptions& options) {
  if (absl::Status status = OperateTables(/*reads=*/false); !status.ok()) return status;
  std::unique_ptr<KeyValueStore>& kept = tables_[options.dir];
  if (kept == nullptr) kept = storage::NewMemoryStore();
  return std::make_unique<Tables>(*this, *kept, options.expired);
}

}  // namespace mptd::simulation

// The linker takes this in the place of storage::OpenRocksDb (see CMakeLists.txt).
#define MPTD_OPEN_ROCKSDB "_ZN4mptd7storage11OpenRocksDbERKNS0_14RocksDbOptionsE"
absl::StatusOr<std::unique_ptr<mptd::storage::KeyValueStore>> RealOpenRocksDb(
    const mptd::storage::RocksDbOptions& options) asm("__real_" MPTD_OPEN_ROCKSDB);
absl::StatusOr<std::unique_ptr<mptd::storage::KeyValueStore>> WrapOpenRocksDb(
    const mptd::storage::RocksDbOptions& options) asm("__wrap_" MPTD_OPEN_ROCKSDB);
absl::StatusOr<std::unique_ptr<mptd::storage::KeyValueStore>> WrapOpenRocksDb(
    const mptd::storage::RocksDbOptions& options) {
  auto* machine = mptd::simulation::Machine::Of(options.env);
  return machine != nullptr ? machine->OpenTables(options) : RealOpenRocksDb(options);
}
