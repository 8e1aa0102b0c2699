// Several threads make the change log durable at the same time, as the engine's writer and its syncing thread do in
// `batched` mode, and the power goes out as soon as one of them has been told that it is.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "storage/change_log.h"
#include "tests/simulation/machine.h"
#include "tests/simulation/seed_run.h"
#include "tests/storage/fake_files.h"

namespace mptd::simulation {
namespace {

using storage::ChangeLog;

// How many records a log has that is opened on what is on the disk.
uint64_t CountRecords(const storage::ChangeLogOptions& options) {
  uint64_t records = 0;
  const auto log = ChangeLog::Open(options, 0, [&](uint64_t /*lsn*/, std::string_view /*payload*/) {
    ++records;
    return absl::OkStatus();
  });
  EXPECT_TRUE(log.ok()) << log.status();
  return records;
}

void SyncTogether(Scheduler& scheduler) {
  storage::FakeFiles disk(scheduler.Below(UINT64_MAX), storage::FakeFiles::Growth::kInOrder);
  Machine machine(scheduler, disk, Defect::kNone);
  storage::ChangeLogOptions options;
  options.dir = "/log";
  options.segment_bytes = 4096;
  options.files = &machine.log_files();
  absl::StatusOr<std::unique_ptr<ChangeLog>> log =
      ChangeLog::Open(options, 0, [](uint64_t, std::string_view) { return absl::OkStatus(); });
  ASSERT_TRUE(log.ok()) << log.status();
  const uint64_t records = 1 + scheduler.Below(6);
  for (uint64_t i = 0; i < records; ++i) ASSERT_TRUE((*log)->Append(std::string(1000, 'r')).ok());
  std::vector<std::thread> threads;
  uint64_t told = 0;  // one thread runs at a time
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      if (!(*log)->Sync().ok()) return;
      ++told;
      machine.CutPowerAfter(0);
    });
  }
  for (std::thread& thread : threads) thread.join();
  log->reset();
  EXPECT_GT(told, 0U);
  disk.Restart(storage::PowerCut::kDropAll);
  machine.PowerOn();
  EXPECT_EQ(CountRecords(options), records);
}

TEST(ChangeLogSync, IsDoneWhenItIsSaidToBe) {
  constexpr uint64_t kSeeds = 40;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const SeedRun run = RunSeed(seed, SyncTogether);
    ASSERT_EQ(run.ending, Ending::kPassed) << Describe(run);
  }
}

}  // namespace
}  // namespace mptd::simulation
