// Reads of the tables that fail, each in turn: what could not be read is UNAVAILABLE, and never taken for damage, whose
// advice is to restore a checkpoint.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "tests/engine/disk_twin.h"
#include "tests/simulation/machine.h"
#include "tests/simulation/seed_run.h"

namespace mptd::simulation {
namespace {

using testing::DiskTwin;

// An engine whose older blocks are in the tables alone.
class Subject {
 public:
  Subject(Scheduler& scheduler, uint64_t seed)
      : twin_(seed, Durability::kSync, /*history_on_disk=*/true), machine_(scheduler, twin_.disk(), Defect::kNone) {
    twin_.OnOptions([this](EngineOptions& options) { machine_.Install(options); });
    Reopen();
    for (int i = 0; i < 9; ++i) EXPECT_EQ(twin_.Do(DiskTwin::Kind::kApply), absl::OkStatus());
    EXPECT_EQ(twin_.Do(DiskTwin::Kind::kFlush), absl::OkStatus());
    Reopen();
  }
  ~Subject() { twin_.Restart(storage::PowerCut::kKeepAll); }
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  void Reopen() {
    twin_.Restart(storage::PowerCut::kKeepAll);
    EXPECT_EQ(twin_.Open(), absl::OkStatus());
  }
  DiskTwin& twin() { return twin_; }
  Machine& machine() { return machine_; }

 private:
  DiskTwin twin_;
  Machine machine_;
};

// All that can be asked of an older block.
absl::Status ReadAll(const StateEngine& engine, uint64_t number) {
  const absl::StatusOr<StateViewPtr> view = engine.View(number);
  if (!view.ok()) return view.status();
  const Hash slot = testing::SlotOf(1);
  for (uint64_t i = 0; i < 8; ++i) {
    const Address address = testing::AddressOf(i);
    if (absl::Status s = (*view)->GetAccount(address).status(); !s.ok()) return s;
    if (absl::Status s = (*view)->GetStorage(address, {&slot, 1}).status(); !s.ok()) return s;
    if (absl::Status s = (*view)->GetProof(address, {&slot, 1}).status(); !s.ok()) return s;
  }
  return (*view)->ScanAccounts(Hash{}, 100).status();
}

TEST(ReadFailure, OfAViewIsNotDamage) {
  const SeedRun run = RunSeed(1, [](Scheduler& scheduler) {
    Subject subject(scheduler, 5);
    uint64_t failed = 0;
    for (uint64_t n = 1;; ++n) {
      // The first question about older blocks enters them into the index: from the start again.
      if (n < 12) subject.Reopen();
      subject.machine().FailRead(n);
      const absl::Status status = ReadAll(subject.twin().engine(), 4);
      if (!subject.machine().ReadHasFailed()) break;
      EXPECT_TRUE(status.ok() || absl::IsUnavailable(status)) << "read " << n << ": " << status;
      if (!status.ok()) ++failed;
    }
    subject.machine().FailRead(0);
    EXPECT_GT(failed, 20U);
    EXPECT_FALSE(subject.twin().engine().Status().read_only);
    EXPECT_EQ(ReadAll(subject.twin().engine(), 4), absl::OkStatus());
  });
  EXPECT_EQ(run.ending, Ending::kPassed) << Describe(run);
}

TEST(ReadFailure, OfAReorganisationIsNotDamage) {
  const SeedRun run = RunSeed(1, [](Scheduler& scheduler) {
    Subject subject(scheduler, 6);
    uint64_t read_only = 0;
    for (uint64_t n = 1; n < 90; ++n) {
      subject.machine().FailRead(n);
      const absl::Status status = subject.twin().Do(DiskTwin::Kind::kReorganize);
      EXPECT_TRUE(status.ok() || absl::IsUnavailable(status)) << "read " << n << ": " << status;
      if (subject.twin().engine().Status().read_only) {
        ++read_only;
        EXPECT_TRUE(absl::IsUnavailable(subject.twin().Do(DiskTwin::Kind::kApply)));
      }
      subject.machine().FailRead(0);
      subject.Reopen();
    }
    EXPECT_GT(read_only, 0U);
  });
  EXPECT_EQ(run.ending, Ending::kPassed) << Describe(run);
}

}  // namespace
}  // namespace mptd::simulation
