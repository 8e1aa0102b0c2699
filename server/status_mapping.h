// The one place where an error of ours becomes an error on the wire. Pure functions; safe from any thread.
#pragma once

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace mptd {

// The domain of google.rpc.ErrorInfo.
inline constexpr char kErrorDomain[] = "mptd";

// The same code and message. What core/errors.h attached travels as google.rpc details (`grpc-status-details-bin`): a
// field's path as BadRequest, a reason as ErrorInfo, a delay as RetryInfo. A message that is too long for a header is
// cut.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace mptd
