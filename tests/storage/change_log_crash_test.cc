// The change log under every failure of every file operation, and under power cuts at every operation, also while it
// recovers from one.
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/str_format.h"
#include "storage/change_log.h"
#include "storage/log_format.h"
#include "tests/storage/fake_files.h"
#include "tests/storage/key_testing.h"
#include "tests/storage/test_support.h"

namespace mptd::storage {
namespace {

// What the outside knows of the log: it survives the log's crashes.
class Witness {
 public:
  Witness(FakeFiles& files, uint64_t seed, std::shared_ptr<const DataKeys> keys = nullptr)
      : files_(files), random_(seed), keys_(std::move(keys)) {}

  // What the offline check says of a folder that a crash left: no crash looks like damage.
  void ExpectCheckPasses() {
    const auto summary = CheckChangeLog("log", &files_, keys_);
    EXPECT_TRUE(summary.ok()) << summary.status();
  }

  // Opens the log and checks what it replays. False when the opening failed, which only an armed fault may cause.
  bool Open() {
    log_.reset();
    uint64_t next = flushed_ + 1;
    ChangeLogOptions options;
    options.dir = "log";
    options.segment_bytes = 4096;
    options.files = &files_;
    options.keys = keys_;
    auto log = ChangeLog::Open(options, flushed_, [&](uint64_t lsn, std::string_view payload) {
      EXPECT_EQ(lsn, next++);
      const auto known = written_.find(lsn);
      const bool right = known != written_.end() && known->second.contains(std::string(payload));
      EXPECT_TRUE(right) << "record " << lsn << " was never written like that";
      replayed_[lsn] = std::string(payload);
      return absl::OkStatus();
    });
    if (!log.ok()) {
      EXPECT_NE(log.status().code(), absl::StatusCode::kDataLoss) << log.status();
      return false;
    }
    log_ = *std::move(log);
    EXPECT_GE(log_->last_lsn(), durable_) << "a durable record is gone";
    EXPECT_EQ(log_->last_lsn(), std::max(next - 1, flushed_));
    EXPECT_EQ(log_->durable_lsn(), log_->last_lsn());
    durable_ = log_->durable_lsn();
    // From now on these records are what they are, and later ones do not exist.
    written_.erase(written_.upper_bound(durable_), written_.end());
    for (auto& [lsn, payloads] : written_) {
      if (lsn > flushed_) payloads = {replayed_[lsn]};
    }
    return true;
  }

  absl::Status Append() {
    const uint64_t lsn = log_->last_lsn() + 1;
    std::string payload = absl::StrFormat("%d #%d ", lsn, ++attempts_);
    payload += random_.Bytes(random_.OneIn(8) ? random_.Below(6000) : random_.Below(900));
    written_[lsn].insert(payload);
    const absl::StatusOr<uint64_t> appended = log_->Append(payload);
    if (!appended.ok()) {
      EXPECT_EQ(log_->last_lsn() + 1, lsn);
      return appended.status();
    }
    EXPECT_EQ(*appended, lsn);
    written_[lsn] = {payload};
    return absl::OkStatus();
  }

  absl::Status Sync() {
    const uint64_t last = log_->last_lsn();
    const absl::Status status = log_->Sync();
    EXPECT_TRUE(!status.ok() || log_->durable_lsn() >= last);
    EXPECT_GE(log_->durable_lsn(), durable_);
    durable_ = log_->durable_lsn();
    return status;
  }

  // The tables take over what they would: any durable part, and sometimes what was never synced here.
  absl::Status Flush() {
    const uint64_t last = random_.OneIn(3) ? log_->last_lsn() : log_->durable_lsn();
    flushed_ = std::max(flushed_, last - random_.Below(std::min<uint64_t>(last, 6) + 1));
    return log_->TruncateThrough(flushed_);
  }

  // A short life; ends at the first error that is not a full disk.
  absl::Status Live(int steps) {
    for (int step = 0; step < steps; ++step) {
      absl::Status status;
      switch (random_.Below(8)) {
        case 0:
        case 1:
          status = Sync();
          break;
        case 2:
          status = random_.OneIn(2) ? Flush() : absl::OkStatus();
          break;
        default:
          status = Append();
      }
      if (!status.ok() && !absl::IsResourceExhausted(status)) return status;
    }
    return absl::OkStatus();
  }

  void Die() { log_.reset(); }
  ChangeLog& log() { return *log_; }
  uint64_t durable() const { return durable_; }

 private:
  FakeFiles& files_;
  Random random_;
  const std::shared_ptr<const DataKeys> keys_;  // null: the log is not encrypted
  std::unique_ptr<ChangeLog> log_;
  uint64_t durable_ = 0;
  uint64_t flushed_ = 0;
  int attempts_ = 0;
  std::map<uint64_t, std::set<std::string>> written_;  // what may be found under each number
  std::map<uint64_t, std::string> replayed_;
};

struct CrashCase {
  std::string name;
  PowerCut cut;
  bool encrypted = false;
};

class ChangeLogCrash : public testing::TestWithParam<CrashCase> {
 protected:
  const TempDir dir_;
  const std::shared_ptr<DataKeys> keys_ = GetParam().encrypted ? NewKeys(dir_.path()) : nullptr;
};

// A short life, cut at its k-th file operation, for every k until no life is long enough; then the recovery is cut at
// some operation too, and at last it must succeed.
TEST_P(ChangeLogCrash, CutAtEveryOperation) {
  Random random;
  std::cout << "seed " << random.seed() << "\n";
  constexpr int kRepeats = 4;
  int ended = 0;
  for (uint64_t k = 1; ended < kRepeats; ++k) {
    ended = 0;
    for (int repeat = 0; repeat < kRepeats; ++repeat) {
      const uint64_t seed = random.Below(UINT64_MAX);
      SCOPED_TRACE(testing::Message() << "MPTD_TEST_SEED=" << random.seed() << " operation " << k << " seed " << seed);
      FakeFiles files(seed);
      Witness witness(files, seed, keys_);
      ASSERT_TRUE(witness.Open());
      ASSERT_TRUE(witness.Live(10).ok());
      files.Arm(k, Fault::kCrash);
      if (witness.Live(40).ok()) ++ended;
      witness.Die();
      files.Restart(GetParam().cut);
      // Segments that were truncated away may be back in part after a power cut; that is all that the check would see.
      if (GetParam().cut != PowerCut::kRandom) witness.ExpectCheckPasses();
      for (int again = 0; again < 3; ++again) {
        files.Arm(1 + random.Below(40), Fault::kCrash);
        if (witness.Open()) witness.Live(5).IgnoreError();
        witness.Die();
        files.Restart(GetParam().cut);
        ASSERT_FALSE(testing::Test::HasFailure());
      }
      files.Heal();
      ASSERT_TRUE(witness.Open());
      ASSERT_TRUE(witness.Live(10).ok());
      witness.Die();
      files.Restart(PowerCut::kDropAll);
      ASSERT_TRUE(witness.Open());
      ASSERT_FALSE(testing::Test::HasFailure());
    }
  }
}

// As above, but the operation fails and the process goes on as well as it can, until somebody restarts it.
TEST_P(ChangeLogCrash, FailAtEveryOperation) {
  Random random;
  std::cout << "seed " << random.seed() << "\n";
  for (const Fault fault : {Fault::kError, Fault::kShortWrite, Fault::kNoSpace, Fault::kNoSpaceStays}) {
    for (uint64_t k = 1; k < 90; ++k) {
      const uint64_t seed = random.Below(UINT64_MAX);
      SCOPED_TRACE(testing::Message() << "MPTD_TEST_SEED=" << random.seed() << " operation " << k << " seed " << seed
                                      << " fault " << static_cast<int>(fault));
      FakeFiles files(seed);
      Witness witness(files, seed, keys_);
      ASSERT_TRUE(witness.Open());
      ASSERT_TRUE(witness.Live(10).ok());
      files.Arm(k, fault);
      const absl::Status status = witness.Live(60);
      if (fault == Fault::kNoSpace || fault == Fault::kNoSpaceStays) {
        ASSERT_TRUE(status.ok()) << status;  // a full disk is no failure
        files.Heal();
        ASSERT_TRUE(witness.Append().ok());
        ASSERT_TRUE(witness.Sync().ok());
      }
      witness.Die();
      files.Restart(GetParam().cut);
      files.Heal();
      ASSERT_TRUE(witness.Open());
      ASSERT_TRUE(witness.Live(20).ok());
      ASSERT_FALSE(testing::Test::HasFailure());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cuts, ChangeLogCrash,
                         testing::Values(CrashCase{"killed", PowerCut::kKeepAll},
                                         CrashCase{"unsynced_dropped", PowerCut::kDropAll},
                                         CrashCase{"unsynced_at_random", PowerCut::kRandom},
                                         CrashCase{"encrypted_unsynced_at_random", PowerCut::kRandom, true}),
                         [](const auto& tested) { return tested.param.name; });

// Many lives with crashes anywhere, one log.
TEST(ChangeLogLives, AHundredCrashes) {
  Random random;
  std::cout << "seed " << random.seed() << "\n";
  SCOPED_TRACE(testing::Message() << "MPTD_TEST_SEED=" << random.seed());
  FakeFiles files(random.seed());
  Witness witness(files, random.seed());
  for (int life = 0; life < 100; ++life) {
    files.Arm(20 + random.Below(150), Fault::kCrash);
    if (witness.Open()) witness.Live(100).IgnoreError();
    witness.Die();
    files.Restart(static_cast<PowerCut>(random.Below(3)));
    ASSERT_FALSE(testing::Test::HasFailure());
  }
  files.Heal();
  ASSERT_TRUE(witness.Open());
}

std::unique_ptr<ChangeLog> OpenOn(FakeFiles& files) {
  ChangeLogOptions options;
  options.dir = "log";
  options.segment_bytes = 1 << 20;
  options.files = &files;
  auto log = ChangeLog::Open(options, 0, [](uint64_t, std::string_view) { return absl::OkStatus(); });
  EXPECT_TRUE(log.ok()) << log.status();
  return log.ok() ? *std::move(log) : nullptr;
}

TEST(ChangeLogFailures, AFailedSyncIsFinal) {
  FakeFiles files(1);
  auto log = OpenOn(files);
  ASSERT_TRUE(log->Append("one").ok());
  ASSERT_TRUE(log->Sync().ok());
  ASSERT_TRUE(log->Append("two").ok());
  // The second segment may be in the making beside: only faults of every operation are sure to meet the sync.
  files.Arm(1, Fault::kCrash);
  EXPECT_EQ(log->Sync().code(), absl::StatusCode::kUnavailable);
  files.Heal();
  EXPECT_EQ(log->Sync().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(log->Append("three").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(log->durable_lsn(), 1u);
  EXPECT_EQ(log->last_lsn(), 2u);
}

// The bytes of a record whose sync failed are still readable, but a sync of the next process would not write them: they
// must be written again before they may be called durable.
TEST(ChangeLogFailures, AfterAFailedSyncReplayedRecordsAreWrittenAgain) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    FakeFiles files(seed);
    auto log = OpenOn(files);
    ASSERT_TRUE(log->Append("one").ok());
    ASSERT_TRUE(log->Append(std::string(5000, 'x')).ok());
    while (true) {  // until the fault has met the sync, and not the thread beside
      files.Arm(1, Fault::kError);
      if (!log->Sync().ok()) break;
      ASSERT_TRUE(log->Append("more").ok());
    }
    const uint64_t last = log->last_lsn();
    log.reset();
    files.Restart(PowerCut::kKeepAll);
    log = OpenOn(files);
    EXPECT_EQ(log->durable_lsn(), last);
    log.reset();
    files.Restart(PowerCut::kDropAll);
    log = OpenOn(files);
    EXPECT_EQ(log->last_lsn(), last) << "seed " << seed;
  }
}

// A sync covers what was appended before it began, whatever is appended meanwhile.
TEST(ChangeLogFailures, RecordsAppendedDuringASyncAreNotDurable) {
  FakeFiles files(1);
  auto log = OpenOn(files);
  ASSERT_TRUE(log->Append("one").ok());
  files.OnceAfterSync([&log] { ASSERT_TRUE(log->Append("two").ok()); });
  ASSERT_TRUE(log->Sync().ok());
  ASSERT_EQ(log->last_lsn(), 2u);
  EXPECT_EQ(log->durable_lsn(), 1u);
  ASSERT_TRUE(log->Sync().ok());
  EXPECT_EQ(log->durable_lsn(), 2u);
}

// The tables have taken over a record that the log has lost in a power cut, so that the segments behind it are of no
// use. When the power fails again while these are removed, no gap may be left between those that are still there.
TEST(ChangeLogFailures, APowerCutWhileSegmentsAreDiscardedLeavesNoGap) {
  constexpr uint64_t kFlushed = 2;
  const auto open = [](FakeFiles& files, uint64_t flushed) {
    ChangeLogOptions options;
    options.dir = "log";
    options.segment_bytes = 4096;
    options.files = &files;
    return ChangeLog::Open(options, flushed, [](uint64_t, std::string_view) { return absl::OkStatus(); });
  };
  for (uint64_t seed = 0; seed < 20; ++seed) {
    for (uint64_t k = 1; k <= 30; ++k) {
      FakeFiles files(seed * 100 + k);
      {
        auto log = open(files, 0);
        ASSERT_TRUE(log.ok()) << log.status();
        // Three records in the first segment, one in each of the others.
        for (const size_t bytes : {1000, 1000, 1000, 3000, 3000, 3000, 3000}) {
          ASSERT_TRUE((*log)->Append(std::string(bytes, 'x')).ok());
        }
        ASSERT_TRUE((*log)->Sync().ok());
      }
      files.Restart(PowerCut::kDropAll);
      const std::string first = "log/" + SegmentName(1);
      std::string content = files.Content(first);
      content.replace(kSegmentHeaderBytes, 1000, 1000, '\0');
      files.Overwrite(first, content);
      files.Arm(k, Fault::kCrash);
      open(files, kFlushed).status().IgnoreError();
      files.Restart(PowerCut::kRandom);
      files.Heal();
      const auto log = open(files, kFlushed);
      ASSERT_TRUE(log.ok()) << "seed " << seed << ", operation " << k << ": " << log.status();
    }
  }
}

TEST(ChangeLogFailures, AFullDiskAppendsNothingAndPasses) {
  FakeFiles files(1);
  auto log = OpenOn(files);
  ASSERT_TRUE(log->Append("one").ok());
  const std::string large(2 << 20, 'x');  // does not fit into what is there
  files.Arm(1, Fault::kNoSpaceStays);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(log->Append(large).status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(log->last_lsn(), 1u);
  }
  EXPECT_TRUE(log->Sync().ok());
  files.Heal();
  ASSERT_TRUE(log->Append(large).ok());
  ASSERT_TRUE(log->Append("three").ok());
  ASSERT_TRUE(log->Sync().ok());
  log.reset();
  files.Restart(PowerCut::kDropAll);
  log = OpenOn(files);
  EXPECT_EQ(log->last_lsn(), 3u);
}

// A log that grows leaves room for what the tables cannot do without.
TEST(ChangeLogFailures, TheReserveIsNotUsed) {
  FakeFiles files(1);
  ChangeLogOptions options;
  options.dir = "log";
  options.files = &files;
  options.segment_bytes = 16u << 10;
  options.reserved_disk_bytes = 1u << 20;
  const auto none = [](uint64_t, std::string_view) { return absl::OkStatus(); };
  files.SetCapacity(2u << 20);
  auto log = ChangeLog::Open(options, 0, none);
  ASSERT_TRUE(log.ok()) << log.status();
  absl::Status status;
  uint64_t appended = 0;
  while (status.ok() && appended < 1000) {
    status = (*log)->Append(std::string(8000, 'x')).status();
    appended += status.ok();
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_GE(files.FreeBytes("log"), (1u << 20) - 2 * options.segment_bytes);
  EXPECT_EQ((*log)->Append(std::string(8000, 'x')).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ((*log)->last_lsn(), appended);
  EXPECT_TRUE((*log)->Sync().ok());
  files.SetCapacity(UINT64_MAX);
  EXPECT_TRUE((*log)->Append(std::string(8000, 'x')).ok());
}

TEST(ChangeLogFailures, ASegmentThatCannotBeRemovedStays) {
  FakeFiles files(1);
  ChangeLogOptions options;
  options.dir = "log";
  options.files = &files;
  options.segment_bytes = 4096;
  const auto none = [](uint64_t, std::string_view) { return absl::OkStatus(); };
  auto log = ChangeLog::Open(options, 0, none);
  ASSERT_TRUE(log.ok()) << log.status();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE((*log)->Append(std::string(1000, 'x')).ok());
  ASSERT_TRUE((*log)->Sync().ok());
  log->reset();  // and with it the thread that makes segments
  log = ChangeLog::Open(options, 0, none);
  ASSERT_TRUE(log.ok()) << log.status();
  const uint64_t bytes = (*log)->disk_bytes();
  files.Arm(1, Fault::kCrash);
  EXPECT_EQ((*log)->TruncateThrough(20).code(), absl::StatusCode::kUnavailable);
  files.Heal();
  EXPECT_EQ((*log)->disk_bytes(), bytes);
  EXPECT_TRUE((*log)->TruncateThrough(20).ok());
  EXPECT_LT((*log)->disk_bytes(), bytes);
}

TEST(ChangeLogFailures, NoSpaceForTheFirstSegmentIsSaid) {
  FakeFiles files(1);
  ChangeLogOptions options;
  options.dir = "log";
  options.files = &files;
  files.Arm(1, Fault::kNoSpaceStays);
  const auto none = [](uint64_t, std::string_view) { return absl::OkStatus(); };
  EXPECT_EQ(ChangeLog::Open(options, 0, none).status().code(), absl::StatusCode::kResourceExhausted);
  files.Heal();
  EXPECT_TRUE(ChangeLog::Open(options, 0, none).ok());
}

}  // namespace
}  // namespace mptd::storage
