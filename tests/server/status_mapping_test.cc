#include "server/status_mapping.h"

#include <gtest/gtest.h>

#include "core/errors.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace mptd {
namespace {

google::rpc::Status Details(const grpc::Status& status) {
  google::rpc::Status out;
  EXPECT_TRUE(out.ParseFromString(status.error_details()));
  return out;
}

TEST(StatusMappingTest, CodesAndMessagesStay) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  for (int code = 1; code <= 16; ++code) {
    const grpc::Status status = ToGrpcStatus(absl::Status(static_cast<absl::StatusCode>(code), "what happened"));
    EXPECT_EQ(status.error_code(), code);
    EXPECT_EQ(status.error_message(), "what happened");
    EXPECT_EQ(status.error_details(), "");
  }
  EXPECT_EQ(ToGrpcStatus(absl::DataLossError("x")).error_code(), grpc::StatusCode::DATA_LOSS);
}

TEST(StatusMappingTest, AFieldBecomesABadRequest) {
  const grpc::Status status = ToGrpcStatus(InvalidField("changes[3].slots[0].key", "must have 32 bytes, has 31"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "changes[3].slots[0].key: must have 32 bytes, has 31");
  const google::rpc::Status details = Details(status);
  EXPECT_EQ(details.code(), 3);
  EXPECT_EQ(details.message(), status.error_message());
  ASSERT_EQ(details.details_size(), 1);
  EXPECT_EQ(details.details(0).type_url(), "type.googleapis.com/google.rpc.BadRequest");
  google::rpc::BadRequest bad;
  ASSERT_TRUE(details.details(0).UnpackTo(&bad));
  ASSERT_EQ(bad.field_violations_size(), 1);
  EXPECT_EQ(bad.field_violations(0).field(), "changes[3].slots[0].key");
  EXPECT_EQ(bad.field_violations(0).description(), "must have 32 bytes, has 31");
}

TEST(StatusMappingTest, AReasonBecomesAnErrorInfo) {
  const google::rpc::Status details =
      Details(ToGrpcStatus(WithReason(absl::FailedPreconditionError("parent differs"), "PARENT_MISMATCH")));
  google::rpc::ErrorInfo info;
  ASSERT_EQ(details.details_size(), 1);
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "PARENT_MISMATCH");
  EXPECT_EQ(info.domain(), "mptd");
}

TEST(StatusMappingTest, ALimitIsNamed) {
  google::rpc::ErrorInfo info;
  const google::rpc::Status alone = Details(ToGrpcStatus(OverLimit("slots", "too many", "max_proof_keys")));
  ASSERT_EQ(alone.details_size(), 2);
  ASSERT_TRUE(alone.details(1).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "LIMIT");
  EXPECT_EQ(info.metadata().at("limit"), "max_proof_keys");
  const google::rpc::Status with_reason =
      Details(ToGrpcStatus(WithReason(WithLimit(absl::AbortedError("old"), "max_stream_age"), "STREAM_TOO_OLD")));
  ASSERT_EQ(with_reason.details_size(), 1);
  ASSERT_TRUE(with_reason.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "STREAM_TOO_OLD");
  EXPECT_EQ(info.metadata().at("limit"), "max_stream_age");
}

TEST(StatusMappingTest, ADelayBecomesARetryInfo) {
  const grpc::Status status = ToGrpcStatus(RetryLater("the queue is full", absl::Milliseconds(1250)));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  const google::rpc::Status details = Details(status);
  google::rpc::RetryInfo retry;
  ASSERT_EQ(details.details_size(), 1);
  ASSERT_TRUE(details.details(0).UnpackTo(&retry));
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 250'000'000);
}

TEST(StatusMappingTest, SeveralDetailsTogether) {
  const grpc::Status status = ToGrpcStatus(WithReason(InvalidField("hash", "is wrong"), "BAD_HASH"));
  EXPECT_EQ(Details(status).details_size(), 2);
}

TEST(StatusMappingTest, LongMessagesFitAHeader) {
  const grpc::Status status =
      ToGrpcStatus(WithReason(absl::FailedPreconditionError(std::string(100'000, 'm')), "LONG"));
  EXPECT_LT(status.error_message().size() + status.error_details().size(), 8000u);
  EXPECT_TRUE(status.error_message().ends_with("..."));
}

}  // namespace
}  // namespace mptd
