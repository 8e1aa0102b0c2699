#include "server/status_mapping.h"

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "core/errors.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace mptd {
namespace {

// Clients take 8 KiB of metadata by default, in which the message appears twice.
constexpr size_t kMaxMessage = 2000;

std::string ShortMessage(const absl::Status& status) {
  std::string_view message(status.message().data(), status.message().size());
  if (message.size() <= kMaxMessage) return std::string(message);
  return std::string(message.substr(0, kMaxMessage)) + "...";
}

// The message without the path that InvalidField puts in front.
std::string Description(const std::string& message, const std::string& path) {
  const std::string head = path + ": ";
  return message.starts_with(head) ? message.substr(head.size()) : message;
}

void AddDetails(const absl::Status& status, const std::string& message, google::rpc::Status& out) {
  if (const auto path = InvalidFieldPath(status); path.has_value()) {
    google::rpc::BadRequest bad;
    auto* violation = bad.add_field_violations();
    violation->set_field(path->substr(0, kMaxMessage));
    violation->set_description(Description(message, *path));
    out.add_details()->PackFrom(bad);
  }
  const std::optional<std::string> limit = LimitOf(status);
  if (const auto reason = ErrorReason(status); reason.has_value() || limit.has_value()) {
    google::rpc::ErrorInfo info;
    info.set_reason(reason.value_or("LIMIT"));
    if (limit.has_value()) (*info.mutable_metadata())["limit"] = *limit;
    info.set_domain(kErrorDomain);
    out.add_details()->PackFrom(info);
  }
  if (const auto delay = RetryDelay(status); delay.has_value()) {
    google::rpc::RetryInfo retry;
    const int64_t nanoseconds = absl::ToInt64Nanoseconds(*delay);
    retry.mutable_retry_delay()->set_seconds(nanoseconds / 1'000'000'000);
    retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
    out.add_details()->PackFrom(retry);
  }
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // Both enumerations number google.rpc.Code.
  const auto code = static_cast<grpc::StatusCode>(status.code());
  const std::string message = ShortMessage(status);
  google::rpc::Status details;
  AddDetails(status, message, details);
  if (details.details().empty()) return grpc::Status(code, message);
  details.set_code(static_cast<int32_t>(code));
  details.set_message(message);
  return grpc::Status(code, message, details.SerializeAsString());
}

}  // namespace mptd
