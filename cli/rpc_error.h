// A failed call in one line: what was wrong and what to do about it. Pure functions; safe from any thread.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "grpcpp/support/status.h"

namespace mptd::cli {

// What google.rpc.Status carries beside the message (ErrorInfo, BadRequest, RetryInfo).
struct ErrorDetails {
  std::string reason;                                       // empty when there is none
  std::vector<std::pair<std::string, std::string>> fields;  // path, what is wrong with it
  std::optional<absl::Duration> retry_delay;
};

// Reads a serialised google.rpc.Status (grpc::Status::error_details). What is not understood is left out.
ErrorDetails DecodeErrorDetails(const std::string& serialised);

// Where a call went, to name it in the message.
struct Destination {
  std::string server;
  // The connection is up now.
  bool connected = false;
  // It was to speak TLS.
  bool tls = false;
  // How long the call could take; infinite without a limit.
  absl::Duration timeout = absl::InfiniteDuration();
};

// `status` is not OK. One line without a full stop at the end.
std::string DescribeRpcError(const grpc::Status& status, const Destination& destination);

}  // namespace mptd::cli
