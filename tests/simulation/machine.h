// The simulated machine under the engine: a disk in memory for the change log (tests/storage/fake_files.h) and tables
// in memory in RocksDB's place, both slow, each operation for a time that the scheduler draws, and both dead from the
// moment of a power cut on.
//
// The tables keep the promises of storage/kv_store.h and no more: an Ingest is there as a whole or not at all, and
// durable; rows that are read together may be from before and after one; rows that nobody asks for any more disappear
// at any time, as compactions make them. That RocksDB keeps them on a disk that fails is for disk_fault_test and
// power_cut_test.
//
// For threads of one scheduler. Outlives the engines that run on it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "core/engine/engine.h"
#include "rocksdb/env.h"
#include "storage/kv_store.h"
#include "storage/log_file.h"
#include "storage/rocksdb_store.h"
#include "tests/simulation/scheduler.h"
#include "tests/storage/fake_files.h"

namespace mptd::simulation {

// A defect of the machine, to see that it is found.
enum class Defect : uint8_t {
  kNone,
  kSyncsNothing,      // the change log's syncs succeed and do nothing
  kForgetsNames,      // so do those of its folder
  kTearsIngests,      // the tables of an Ingest change one by one
  kReadsUncommitted,  // a row is seen before the Ingest that brings it is done, and when it fails
};

class Machine {
 public:
  Machine(Scheduler& scheduler, storage::FakeFiles& disk, Defect defect);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // Has an engine run on this.
  void Install(EngineOptions& options);
  storage::LogFileSystem& log_files();
  // storage::OpenRocksDb on this opens the tables of the machine.
  rocksdb::Env& table_files();
  // The machine whose table_files() that is, or null; and its tables.
  static Machine* Of(rocksdb::Env* env);
  absl::StatusOr<std::unique_ptr<storage::KeyValueStore>> OpenTables(const storage::RocksDbOptions& options);

  // The power goes out when the scheduler has taken so many more steps, whatever is under way then.
  void CutPowerAfter(uint64_t steps) { cut_at_ = scheduler_.progress().steps + steps; }
  bool PowerIsOut() const { return scheduler_.progress().steps >= cut_at_; }
  // The engine is gone, and what the cut left of the disk is there for the next.
  void PowerOn() { cut_at_ = UINT64_MAX; }
  // One in so many Ingests finds the disk full from now on; none with 0.
  void FailIngests(uint64_t one_in) { fail_ingests_ = one_in; }
  // One in so many reads of the tables fails from now on; none with 0.
  void FailReads(uint64_t one_in) { fail_reads_ = one_in; }
  // The n-th read from now on fails, counted from 1; none with 0.
  void FailRead(uint64_t n) { reads_to_failure_ = n; }
  // That one has come.
  bool ReadHasFailed() const { return reads_to_failure_ == 0; }
  bool ReadsFail() const { return fail_reads_ != 0; }
  bool IngestsFail() const { return fail_ingests_ != 0; }

 private:
  class Files;
  class File;
  class Tables;
  class TablesEnv;
  class Rows;

  // Around an operation of the disk: takes its time; the disk is dead afterwards if the power went out meanwhile.
  void Operate();
  // The same for the tables, whose reads are mostly of what is in memory.
  absl::Status OperateTables(bool reads);

  Scheduler& scheduler_;
  storage::FakeFiles& disk_;
  const Defect defect_;
  uint64_t cut_at_ = UINT64_MAX;
  uint64_t fail_ingests_ = 0;
  uint64_t fail_reads_ = 0;
  uint64_t reads_to_failure_ = 0;
  std::map<std::string, std::unique_ptr<storage::KeyValueStore>> tables_;  // by folder; what is on the disk
  const std::unique_ptr<Files> files_;
  const std::unique_ptr<TablesEnv> env_;
};

}  // namespace mptd::simulation
