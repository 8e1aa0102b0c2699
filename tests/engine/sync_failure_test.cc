// A change log that cannot be synced: the block is not acknowledged, nothing of it is seen, reads go on, writing does
// not until a restart. This program has an fdatasync of its own, which fails when it is told to.
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "core/engine/engine.h"
#include "core/errors.h"
#include "tests/engine/engine_testing.h"

namespace {

std::atomic<bool> syncs_fail{false};

}  // namespace

extern "C" int fdatasync(int descriptor) {
  if (syncs_fail) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(syscall(SYS_fdatasync, descriptor));
}

namespace mptd::testing {
namespace {

EngineOptions OptionsIn(const TempDir& dir) {
  EngineOptions options;
  options.data_dir = dir.path() + "/data";
  options.durability = Durability::kSync;
  options.flush_interval = absl::Hours(1);
  options.worker_threads = 2;
  return options;
}

std::vector<AccountChange> Many(uint64_t salt) {
  std::vector<AccountChange> changes;
  for (uint64_t i = 0; i < 200; ++i) changes.push_back(SetSlots(i, {{1000 + salt, salt + 1}, {i, salt}}));
  return changes;
}

TEST(SyncFailure, ReadsGoOnAndARestartHasWhatWasAcknowledged) {
  for (const bool reorganize : {false, true}) {
    SCOPED_TRACE(reorganize ? "a reorganisation" : "a block on the head");
    TempDir dir;
    TwinChain chain(OptionsIn(dir));
    for (uint64_t salt = 1; salt < 5; ++salt) ASSERT_NO_FATAL_FAILURE(chain.Apply(Many(salt)));
    BlockChanges next = reorganize ? chain.Replacing(3, Many(77)) : chain.Next(Many(77));
    syncs_fail = true;
    const absl::Status refused = chain.engine().Apply(next).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable) << refused;
    EXPECT_EQ(ErrorReason(refused).value_or(""), "READ_ONLY");
    EXPECT_TRUE(chain.engine().Status().read_only);
    ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
    EXPECT_EQ(chain.engine().Apply(chain.Next(Many(78))).status().code(), absl::StatusCode::kUnavailable);
    EXPECT_FALSE(chain.engine().RollbackTo(uint64_t{2}).ok());
    ASSERT_NO_FATAL_FAILURE(chain.ExpectAll());
    chain.Close();
    syncs_fail = false;
    // The record may or may not have reached the disk; either is a right state.
    absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(chain.options());
    ASSERT_TRUE(engine.ok()) << engine.status();
    const EngineStatus status = (*engine)->Status();
    EXPECT_GE(status.head.number, reorganize ? 3u : 4u);
    absl::StatusOr<VerifyReport> report = (*engine)->Verify({});
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->difference, "");
  }
}

}  // namespace
}  // namespace mptd::testing
