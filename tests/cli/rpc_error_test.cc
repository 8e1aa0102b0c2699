#include "cli/rpc_error.h"

#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"

namespace mptd::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Details(const std::vector<const google::protobuf::Message*>& messages) {
  google::rpc::Status status;
  for (const auto* message : messages) status.add_details()->PackFrom(*message);
  return status.SerializeAsString();
}

std::string Describe(const grpc::Status& status, bool connected = true) {
  const std::string text =
      DescribeRpcError(status, {.server = "db:7300", .connected = connected, .timeout = absl::Seconds(5)});
  EXPECT_THAT(text, Not(HasSubstr("\n")));
  return text;
}

TEST(RpcErrorTest, DecodesWhatGoogleRpcCarries) {
  google::rpc::ErrorInfo info;
  info.set_reason("PARENT_MISMATCH");
  google::rpc::BadRequest bad;
  bad.add_field_violations()->set_field("changes[3].address");
  bad.mutable_field_violations(0)->set_description("19 bytes where 20 are wanted");
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(2);
  retry.mutable_retry_delay()->set_nanos(500'000'000);
  const ErrorDetails details = DecodeErrorDetails(Details({&info, &bad, &retry}));
  EXPECT_EQ(details.reason, "PARENT_MISMATCH");
  ASSERT_EQ(details.fields.size(), 1U);
  EXPECT_EQ(details.fields[0].first, "changes[3].address");
  EXPECT_EQ(details.fields[0].second, "19 bytes where 20 are wanted");
  EXPECT_EQ(details.retry_delay, absl::Milliseconds(2500));
}

TEST(RpcErrorTest, DetailsThatAreNotUnderstoodAreLeftOut) {
  EXPECT_EQ(DecodeErrorDetails("").reason, "");
  EXPECT_EQ(DecodeErrorDetails("\xff\xff\xff garbage").reason, "");
  google::rpc::Status nested;
  EXPECT_TRUE(DecodeErrorDetails(Details({&nested})).fields.empty());
}

TEST(RpcErrorTest, FailedHandshakesSayWhichOptionIsMissing) {
  const auto describe = [](bool tls, const std::string& cause) {
    return DescribeRpcError(
        grpc::Status(grpc::StatusCode::UNAVAILABLE,
                     "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: " + cause),
        {.server = "db:7300", .connected = false, .tls = tls, .timeout = absl::Seconds(5)});
  };
  const std::string ssl = "Ssl handshake failed: SSL_ERROR_SSL: error:0A000086:SSL routines::";
  EXPECT_THAT(describe(true, ssl + "certificate verify failed"), HasSubstr("was issued by no CA in the file"));
  EXPECT_THAT(describe(true, ssl + "wrong version number"), HasSubstr("db:7300 speaks no TLS"));
  EXPECT_THAT(
      describe(true, "Peer name db is not in peer certificate"),
      HasSubstr("another name (Peer name db is not in peer certificate); give the one that it has with --tls-s"));
  EXPECT_THAT(describe(true, "Socket closed"), HasSubstr("it wants a certificate (--tls-cert and --tls-key)"));
  EXPECT_THAT(describe(false, "Socket closed"), HasSubstr("name its CA's file with --tls-ca"));
  EXPECT_THAT(describe(true, "Connection refused"), HasSubstr("is it running?"));
}

TEST(RpcErrorTest, RefusalsShowMessageReasonAndField) {
  google::rpc::ErrorInfo info;
  info.set_reason("ROOT_MISMATCH");
  EXPECT_EQ(
      Describe(grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "expected root\n0x1, got 0x2", Details({&info}))),
      "refused (FAILED_PRECONDITION, ROOT_MISMATCH): expected root 0x1, got 0x2; `mptctl status` shows the head and "
      "the "
      "served blocks");
  google::rpc::BadRequest bad;
  bad.add_field_violations()->set_field("hash");
  bad.mutable_field_violations(0)->set_description("31 bytes");
  EXPECT_EQ(Describe(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "a malformed field", Details({&bad}))),
            "refused (INVALID_ARGUMENT): a malformed field; hash: 31 bytes");
  EXPECT_EQ(Describe(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "hash: 31 bytes", Details({&bad}))),
            "refused (INVALID_ARGUMENT): hash: 31 bytes")
      << "the field is not said twice";
}

TEST(RpcErrorTest, RetryDelayIsSaid) {
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(250'000'000);
  EXPECT_THAT(Describe(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full", Details({&retry}))),
              HasSubstr("the queue is full; try again in 250ms"));
}

TEST(RpcErrorTest, NobodyThere) {
  const grpc::Status refused(
      grpc::StatusCode::UNAVAILABLE,
      "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:7300: Failed to connect "
      "to remote host: Connection refused");
  EXPECT_EQ(
      Describe(refused, false),
      "cannot reach mptd at db:7300 (Connection refused); is it running? start it with `mptd --data-dir ./mptd-data "
      "--listen db:7300`, or name another address with --server");
  EXPECT_THAT(Describe(grpc::Status(grpc::StatusCode::UNAVAILABLE, "Socket closed"), false),
              HasSubstr("the connection to mptd at db:7300 was lost (Socket closed)"));
  EXPECT_THAT(Describe(grpc::Status(grpc::StatusCode::UNAVAILABLE, "Trying to connect an http1.x server"), false),
              HasSubstr("not over gRPC"));
}

TEST(RpcErrorTest, UnavailableFromTheDaemonItselfIsItsOwnMessage) {
  google::rpc::ErrorInfo info;
  info.set_reason("READ_ONLY");
  EXPECT_THAT(Describe(grpc::Status(grpc::StatusCode::UNAVAILABLE, "read-only after a failed sync", Details({&info}))),
              AllOf(HasSubstr("UNAVAILABLE, READ_ONLY"), HasSubstr("read-only after a failed sync")));
}

TEST(RpcErrorTest, TimeAndVersion) {
  EXPECT_EQ(Describe(grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded")),
            "mptd at db:7300 did not answer within 5s; give it longer with --timeout");
  EXPECT_THAT(Describe(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "unknown method")),
              HasSubstr("is it an mptd of this version?"));
}

}  // namespace
}  // namespace mptd::cli
