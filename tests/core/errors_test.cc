#include "core/errors.h"

#include "gtest/gtest.h"

namespace mptd {
namespace {

TEST(ErrorsTest, FieldIsInTheMessageAndAttached) {
  const absl::Status status = InvalidField("slots[0].key", "31 bytes where 32 are expected");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "slots[0].key: 31 bytes where 32 are expected");
  EXPECT_EQ(InvalidFieldPath(status), "slots[0].key");
}

TEST(ErrorsTest, OtherStatusesHaveNoDetails) {
  for (const absl::Status& status : {absl::OkStatus(), absl::NotFoundError("no"), absl::InvalidArgumentError("a: b")}) {
    EXPECT_EQ(InvalidFieldPath(status), std::nullopt);
    EXPECT_EQ(ErrorReason(status), std::nullopt);
    EXPECT_EQ(RetryDelay(status), std::nullopt);
    EXPECT_EQ(WithFieldPrefix(status, "changes[3]"), status);
  }
}

TEST(ErrorsTest, PrefixesJoin) {
  const absl::Status key = InvalidField("key", "bad");
  const absl::Status nested = WithFieldPrefix(WithFieldPrefix(key, "slots[0]"), "changes[3].");
  EXPECT_EQ(InvalidFieldPath(nested), "changes[3].slots[0].key");
  EXPECT_EQ(nested.message(), "changes[3].slots[0].key: bad");
  EXPECT_EQ(nested.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(InvalidFieldPath(WithFieldPrefix(InvalidField("[2]", "bad"), "nodes")), "nodes[2]");
  EXPECT_EQ(InvalidFieldPath(WithFieldPrefix(InvalidField("", "bad"), "nodes")), "nodes");
  EXPECT_EQ(WithFieldPrefix(InvalidField("", "bad"), "nodes").message(), "nodes: bad");
  EXPECT_EQ(InvalidFieldPath(WithFieldPrefix(key, "")), "key");
}

TEST(ErrorsTest, PrefixKeepsTheOtherDetails) {
  const absl::Status status = WithFieldPrefix(WithReason(InvalidField("key", "bad"), "TOO_SHORT"), "slot");
  EXPECT_EQ(ErrorReason(status), "TOO_SHORT");
  EXPECT_EQ(InvalidFieldPath(status), "slot.key");
}

TEST(ErrorsTest, Reason) {
  const absl::Status status = WithReason(absl::FailedPreconditionError("parent differs"), "PARENT_MISMATCH");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "parent differs");
  EXPECT_EQ(ErrorReason(status), "PARENT_MISMATCH");
  EXPECT_EQ(ErrorReason(WithReason(status, "OTHER")), "OTHER");
  EXPECT_TRUE(WithReason(absl::OkStatus(), "NONE").ok());
}

TEST(ErrorsTest, Limits) {
  const absl::Status never = WithFieldPrefix(OverLimit("slots", "too many", "max_proof_keys"), "targets[0]");
  EXPECT_EQ(never.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(never.message(), "targets[0].slots: too many");
  EXPECT_EQ(LimitOf(never), "max_proof_keys");
  const absl::Status later = WithLimit(RetryLater("full", absl::Seconds(1)), "max_streams");
  EXPECT_EQ(LimitOf(later), "max_streams");
  EXPECT_EQ(RetryDelay(later), absl::Seconds(1));
  EXPECT_EQ(LimitOf(absl::OkStatus()), std::nullopt);
}

TEST(ErrorsTest, RetryDelays) {
  for (const absl::Duration delay :
       {absl::ZeroDuration(), absl::Nanoseconds(1), absl::Milliseconds(250), absl::Hours(3)}) {
    const absl::Status status = RetryLater("queue full", delay);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(status.message(), "queue full");
    EXPECT_EQ(RetryDelay(status), delay);
  }
  EXPECT_EQ(RetryDelay(RetryLater("", -absl::Seconds(1))), absl::ZeroDuration());
  EXPECT_GT(RetryDelay(RetryLater("", absl::InfiniteDuration())), absl::Hours(24 * 365));
}

}  // namespace
}  // namespace mptd
