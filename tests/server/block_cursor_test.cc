#include "server/block_cursor.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/server/fake_engine.h"

namespace mptd {
namespace {

using testing::FakeEngine;

class BlockCursorTest : public ::testing::Test {
 protected:
  static Hash HashOf(uint64_t number, char branch) {
    Hash hash;
    hash.bytes[0] = static_cast<uint8_t>(branch);
    hash.bytes[31] = static_cast<uint8_t>(number);
    return hash;
  }
  void Apply(uint64_t number, char branch = 'a', char parent_branch = 'a', bool reorganize = false) {
    BlockChanges block;
    block.number = number;
    block.hash = HashOf(number, branch);
    block.parent_hash = HashOf(number - 1, parent_branch);
    block.reorganize = reorganize;
    const auto result = engine_.Apply(std::move(block), absl::InfiniteFuture(), {});
    ASSERT_TRUE(result.ok()) << result.status();
  }
  void ApplyTo(uint64_t last) {
    for (uint64_t n = 1; n <= last; ++n) Apply(n);
  }
  // All that there is to report now: "1a 2a <1 2b".
  static std::string Drain(BlockCursor& cursor) {
    std::string out;
    while (true) {
      const auto event = cursor.Next();
      if (!event.ok()) return out + "! " + std::string(event.status().message());
      if (!event->has_value()) return out;
      out += out.empty() ? "" : " ";
      const HeadEvent& head = **event;
      out += (head.rolled_back ? "<" : "") + std::to_string(head.block.number) +
             std::string(1, static_cast<char>(head.block.hash->bytes[0]));
    }
  }

  FakeEngine engine_;
};

TEST_F(BlockCursorTest, WithoutANumberItStartsWithTheNextHead) {
  ApplyTo(3);
  BlockCursor cursor = *BlockCursor::Start(engine_, std::nullopt);
  EXPECT_EQ(Drain(cursor), "");
  Apply(4);
  Apply(5);
  EXPECT_EQ(Drain(cursor), "4a 5a");
  EXPECT_EQ(Drain(cursor), "");
}

TEST_F(BlockCursorTest, FromANumberItCatchesUpAndThenFollows) {
  ApplyTo(5);
  BlockCursor cursor = *BlockCursor::Start(engine_, 2);
  EXPECT_EQ(Drain(cursor), "2a 3a 4a 5a");
  Apply(6);
  EXPECT_EQ(Drain(cursor), "6a");
}

TEST_F(BlockCursorTest, HeadsThatComeWhileItCatchesUpAreNotReportedTwice) {
  ApplyTo(3);
  BlockCursor cursor = *BlockCursor::Start(engine_, 1);
  EXPECT_EQ(cursor.Next()->value().block.number, 1u);
  Apply(4);
  Apply(5);
  EXPECT_EQ(Drain(cursor), "2a 3a 4a 5a");
}

TEST_F(BlockCursorTest, TheBlockAfterTheHeadIsWaitedFor) {
  ApplyTo(3);
  BlockCursor cursor = *BlockCursor::Start(engine_, 4);
  EXPECT_EQ(Drain(cursor), "");
  Apply(4);
  EXPECT_EQ(Drain(cursor), "4a");
}

TEST_F(BlockCursorTest, BeyondThatItIsRefused) {
  ApplyTo(3);
  EXPECT_EQ(BlockCursor::Start(engine_, 5).status().code(), absl::StatusCode::kOutOfRange);
}

TEST_F(BlockCursorTest, WhatIsNotServedAnyMoreIsRefused) {
  ApplyTo(10);
  ASSERT_TRUE(engine_.Prune(3).ok());
  EXPECT_EQ(BlockCursor::Start(engine_, 2).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_TRUE(BlockCursor::Start(engine_, 7).ok());
}

TEST_F(BlockCursorTest, AnEmptyChainMayStartAnywhere) {
  BlockCursor any = *BlockCursor::Start(engine_, std::nullopt);
  BlockCursor from = *BlockCursor::Start(engine_, 101);
  Apply(100);
  Apply(101);
  EXPECT_EQ(Drain(any), "100a 101a");
  EXPECT_EQ(Drain(from), "101a");
}

TEST_F(BlockCursorTest, ARollbackIsReportedOnlyToThoseWhoWerePast) {
  ApplyTo(5);
  BlockCursor past = *BlockCursor::Start(engine_, 1);
  EXPECT_EQ(Drain(past), "1a 2a 3a 4a 5a");
  BlockCursor behind = *BlockCursor::Start(engine_, 1);
  EXPECT_EQ(behind.Next()->value().block.number, 1u);
  ASSERT_TRUE(engine_.RollbackTo(uint64_t{3}).ok());
  EXPECT_EQ(Drain(past), "<3a");
  EXPECT_EQ(Drain(behind), "2a 3a");
  Apply(4, 'b');
  EXPECT_EQ(Drain(past), "4b");
  EXPECT_EQ(Drain(behind), "4b");
}

TEST_F(BlockCursorTest, AReorganisationIsARollbackAndABlock) {
  ApplyTo(5);
  BlockCursor cursor = *BlockCursor::Start(engine_, 4);
  EXPECT_EQ(Drain(cursor), "4a 5a");
  Apply(4, 'b', 'a', /*reorganize=*/true);
  Apply(5, 'b', 'b');
  EXPECT_EQ(Drain(cursor), "<3a 4b 5b");
}

TEST_F(BlockCursorTest, ARollbackDuringAReadIsNotOverlooked) {
  ApplyTo(5);
  BlockCursor cursor = *BlockCursor::Start(engine_, 3);
  EXPECT_EQ(cursor.Next()->value().block.number, 3u);
  // Block 4 of the old branch has been read when the chain goes another way.
  engine_.set_view_hook([this] {
    engine_.set_view_hook({});
    Apply(2, 'b', 'a', /*reorganize=*/true);
    Apply(3, 'b', 'b');
    Apply(4, 'b', 'b');
  });
  EXPECT_EQ(Drain(cursor), "<1a 2b 3b 4b");
}

TEST_F(BlockCursorTest, ARollbackBeforeTheFirstReport) {
  ApplyTo(5);
  BlockCursor cursor = *BlockCursor::Start(engine_, 6);
  ASSERT_TRUE(engine_.RollbackTo(uint64_t{2}).ok());
  Apply(3, 'b');
  EXPECT_EQ(Drain(cursor), "<2a 3b");
}

TEST_F(BlockCursorTest, WhoIsTooSlowIsToldWhereToGoOn) {
  ApplyTo(1);
  BlockCursor cursor = *BlockCursor::Start(engine_, std::nullopt);
  engine_.set_events_kept(2);
  for (uint64_t n = 2; n <= 9; ++n) Apply(n);
  EXPECT_EQ(Drain(cursor), "! the stream is too far behind (limits.max_watch_backlog); start another one from block 2");
}

}  // namespace
}  // namespace mptd
