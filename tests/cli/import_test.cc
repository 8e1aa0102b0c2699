#include "cli/import.h"

#include "gtest/gtest.h"

namespace mptd::cli {
namespace {

std::string HashOf(uint64_t number, char chain) { return std::string(31, chain) + static_cast<char>(number); }

v1::ApplyStateChangesRequest Block(uint64_t number, char chain = 'a', bool reorganize = false) {
  v1::ApplyStateChangesRequest out;
  out.set_number(number);
  out.set_hash(HashOf(number, chain));
  out.set_expected_root(HashOf(number, static_cast<char>(chain + 1)));
  out.set_reorganize(reorganize);
  return out;
}

v1::GetStatusResponse HeadAt(uint64_t number, char chain = 'a') {
  v1::GetStatusResponse out;
  out.set_has_blocks(true);
  out.mutable_head()->set_number(number);
  out.mutable_head()->set_hash(HashOf(number, chain));
  out.mutable_head()->set_state_root(HashOf(number, static_cast<char>(chain + 1)));
  return out;
}

TEST(ResumeFilterTest, AnEmptyDaemonGetsEverything) {
  ResumeFilter filter{v1::GetStatusResponse()};
  EXPECT_TRUE(filter.Wants(Block(0)).value());
  EXPECT_TRUE(filter.Wants(Block(1)).value());
  EXPECT_EQ(filter.skipped(), 0U);
  EXPECT_TRUE(filter.Finish().ok());
}

TEST(ResumeFilterTest, BlocksUpToTheHeadAreSkipped) {
  ResumeFilter filter(HeadAt(2));
  for (uint64_t i = 0; i <= 2; ++i) EXPECT_FALSE(filter.Wants(Block(i)).value()) << i;
  EXPECT_TRUE(filter.Wants(Block(3)).value());
  EXPECT_EQ(filter.skipped(), 3U);
  EXPECT_TRUE(filter.Finish().ok());
}

TEST(ResumeFilterTest, AnotherChainIsRefusedBeforeAnythingIsSent) {
  ResumeFilter filter(HeadAt(2, 'x'));
  for (uint64_t i = 0; i <= 2; ++i) EXPECT_FALSE(filter.Wants(Block(i)).value());
  const absl::Status status = filter.Wants(Block(3)).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_NE(status.message().find("another chain"), absl::string_view::npos);
}

TEST(ResumeFilterTest, AnotherChainThatEndsAtTheHeadIsRefusedAtTheEnd) {
  ResumeFilter filter(HeadAt(2, 'x'));
  for (uint64_t i = 0; i <= 2; ++i) EXPECT_FALSE(filter.Wants(Block(i)).value());
  EXPECT_TRUE(absl::IsFailedPrecondition(filter.Finish()));
}

TEST(ResumeFilterTest, RootsAreComparedWhenThereAreNoHashes) {
  v1::GetStatusResponse head = HeadAt(2);
  head.mutable_head()->clear_hash();
  ResumeFilter same(head);
  EXPECT_FALSE(same.Wants(Block(2)).value());
  EXPECT_TRUE(same.Finish().ok());
  ResumeFilter other(head);
  EXPECT_FALSE(other.Wants(Block(2, 'x')).value());
  EXPECT_FALSE(other.Finish().ok());
}

TEST(ResumeFilterTest, NothingToCompareIsNoDifference) {
  ResumeFilter filter(HeadAt(2));
  v1::ApplyStateChangesRequest bare;
  bare.set_number(2);
  EXPECT_FALSE(filter.Wants(bare).value());
  EXPECT_TRUE(filter.Finish().ok());
}

// A file of 1, 2, 3, then 2' in place of 2, then 3': whatever the head is, the reorganisation is sent again.
TEST(ResumeFilterTest, ReorganisationsAreSentAgain) {
  for (const char chain : {'a', 'x'}) {
    ResumeFilter filter(HeadAt(3, chain));
    for (uint64_t i = 1; i <= 3; ++i) EXPECT_FALSE(filter.Wants(Block(i)).value());
    EXPECT_TRUE(filter.Wants(Block(2, 'x', true)).value());
    EXPECT_TRUE(filter.Wants(Block(3, 'x')).value()) << "from the first block sent on, all are";
    EXPECT_TRUE(filter.Finish().ok());
  }
}

}  // namespace
}  // namespace mptd::cli
