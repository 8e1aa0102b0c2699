// A disk that cannot be read for a moment: every read that a question or a change needs fails in turn. The answer is
// then right or an error that says so, a change is made or not made at all, and all is well when the disk is.
#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "absl/strings/str_cat.h"
#include "rocksdb/env.h"
#include "tests/engine/engine_testing.h"
#include "tests/engine/questions.h"
#include "tests/engine/watchdog.h"
#include "tests/storage/fake_table_files.h"

namespace mptd::testing {
namespace {

using storage::Counted;
using storage::Fault;

// A chain on a disk in memory, with next to nothing cached, so that everything that is asked for is read.
class ReadFaults : public ::testing::Test {
 protected:
  ReadFaults()
      : disk_(1, storage::FakeFiles::Growth::kInOrder),
        env_(rocksdb::NewCompositeEnv(std::make_shared<storage::FakeTableFiles>(disk_))),
        chain_(OptionsIn(dir_)) {
    ApplyQuestioned(chain_);
    chain_.Reopen();
  }

  EngineOptions OptionsIn(const TempDir& dir) {
    EngineOptions options = WithoutCaches(dir.path() + "/data");
    options.table_files = env_.get();
    options.log_files = &disk_;
    return options;
  }

  // Calls `attempt` with one read after the other failing, until it needs fewer. It says whether it went well.
  void AtEveryRead(const std::function<absl::Status()>& attempt) {
    uint64_t failed = 0;
    bool reached = true;
    for (uint64_t at = 1; reached; ++at) {
      SCOPED_TRACE(absl::StrCat("read ", at));
      disk_.Arm(at, Fault::kError, Counted::kReads);
      const absl::Status status = attempt();
      reached = disk_.operations() >= at;
      disk_.Heal();
      if (!status.ok()) {
        ++failed;
        EXPECT_TRUE(reached) << status;
        EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
      }
      if (HasFailure()) return;
    }
    EXPECT_GT(failed, 0u);
  }

  void AskAboutBlock(uint64_t number) {
    for (const Question& question : Questions()) {
      SCOPED_TRACE(absl::StrCat(question.name, " of block ", number));
      const Answer right = Ask(chain_.engine(), number, question);
      ASSERT_TRUE(right.ok()) << right.status();
      AtEveryRead([&] {
        const Answer answer = Ask(chain_.engine(), number, question);
        if (answer.ok()) {
          EXPECT_EQ(*answer, *right);
        }
        return answer.status();
      });
      if (HasFailure()) return;
    }
  }

  const Watchdog watchdog_{absl::Minutes(13)};
  storage::FakeFiles disk_;
  const std::unique_ptr<rocksdb::Env> env_;
  TempDir dir_;
  TwinChain chain_;
};

TEST_F(ReadFaults, OfTheHead) { AskAboutBlock(kQuestionedBlocks); }

TEST_F(ReadFaults, OfABlockOnDisk) {
  ASSERT_NO_FATAL_FAILURE(chain_.ExpectAt(4));
  AskAboutBlock(4);
}

TEST_F(ReadFaults, OfABlockThatIsNamed) {
  ASSERT_NO_FATAL_FAILURE(chain_.ExpectAt(4));
  for (const BlockSelector& name : {BlockSelector(BlockByHash{*chain_.at(4).info.hash}),
                                    BlockSelector(BlockByRoot{chain_.at(4).info.state_root})}) {
    AtEveryRead([&] {
      const absl::StatusOr<StateViewPtr> view = chain_.engine().View(name);
      if (view.ok()) {
        EXPECT_EQ((*view)->block(), chain_.at(4).info);
      }
      return view.status();
    });
  }
}

TEST_F(ReadFaults, Verification) {
  AtEveryRead([&] {
    const absl::StatusOr<VerifyReport> report = chain_.engine().Verify({});
    if (report.ok()) {
      EXPECT_EQ(report->difference, "");
    }
    return report.status();
  });
  EXPECT_FALSE(chain_.engine().Status().read_only);
}

// What could not be read has changed nothing, and the same again succeeds.
TEST_F(ReadFaults, ABlock) {
  const uint64_t head = chain_.head().info.number;
  AtEveryRead([&] {
    const absl::Status status = chain_.engine().Apply(chain_.Next(QuestionedChanges(77))).status();
    disk_.Heal();
    if (status.ok()) {
      EXPECT_TRUE(chain_.engine().RollbackTo(head).ok());
    }
    chain_.ExpectHead();
    return status;
  });
  ASSERT_NO_FATAL_FAILURE(chain_.Apply(QuestionedChanges(78)));
  ASSERT_NO_FATAL_FAILURE(chain_.ExpectHead());
}

TEST_F(ReadFaults, ARollback) {
  uint64_t salt = 200;
  AtEveryRead([&] {
    const uint64_t target = chain_.head().info.number - 2;
    const absl::Status status = chain_.engine().RollbackTo(target).status();
    disk_.Heal();
    if (status.ok()) {
      chain_.Rollback(target);
      for (int i = 0; i < 2; ++i) chain_.Apply(QuestionedChanges(++salt));
    }
    chain_.ExpectHead();
    return status;
  });
  EXPECT_FALSE(chain_.engine().Status().read_only);
}

// RocksDB has its own words for what it could not read then.
TEST_F(ReadFaults, AStart) {
  uint64_t failed = 0;
  bool reached = true;
  for (uint64_t at = 1; reached && !HasFailure(); ++at) {
    chain_.Close();
    disk_.Arm(at, Fault::kError, Counted::kReads);
    failed += !StateEngine::Open(chain_.options()).ok();
    reached = disk_.operations() >= at;
    disk_.Heal();
    chain_.Open();
    chain_.ExpectHead();
  }
  EXPECT_GT(failed, 10u);
}

}  // namespace
}  // namespace mptd::testing
