#include "core/errors.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

namespace mptd {
namespace {

// Names of the payloads. Only this file reads and writes them.
constexpr char kFieldUrl[] = "mptd.field";
constexpr char kReasonUrl[] = "mptd.reason";
constexpr char kRetryUrl[] = "mptd.retry_nanoseconds";
constexpr char kLimitUrl[] = "mptd.limit";

std::optional<std::string> Payload(const absl::Status& status, const char* url) {
  const absl::optional<absl::Cord> payload = status.GetPayload(url);
  if (!payload.has_value()) return std::nullopt;
  return std::string(*payload);
}

void SetPayload(absl::Status& status, const char* url, std::string_view value) {
  status.SetPayload(url, absl::Cord(absl::string_view(value.data(), value.size())));
}

// "a" + "b" is "a.b", "a" + "[1]" is "a[1]"; a prefix that already ends in "." is taken as it is.
std::string JoinPath(std::string_view prefix, std::string_view path) {
  const bool dot = !prefix.empty() && !path.empty() && prefix.back() != '.' && path.front() != '[';
  return absl::StrFormat("%s%s%s", prefix, dot ? "." : "", path);
}

}  // namespace

absl::Status InvalidField(std::string_view path, std::string_view message) {
  absl::Status status = absl::InvalidArgumentError(absl::StrFormat("%s: %s", path, message));
  SetPayload(status, kFieldUrl, path);
  return status;
}

std::optional<std::string> InvalidFieldPath(const absl::Status& status) { return Payload(status, kFieldUrl); }

absl::Status WithFieldPrefix(const absl::Status& status, std::string_view prefix) {
  const std::optional<std::string> path = InvalidFieldPath(status);
  if (!path.has_value()) return status;
  const std::string_view message(status.message().data(), status.message().size());
  const std::string head = *path + ": ";
  const std::string joined = JoinPath(prefix, *path);
  // The message repeats the path, so it is made anew; the other payloads move over as they are.
  absl::Status out(status.code(), message.starts_with(head)
                                      ? absl::StrFormat("%s: %s", joined, message.substr(head.size()))
                                      : std::string(message));
  status.ForEachPayload([&out](absl::string_view url, const absl::Cord& value) { out.SetPayload(url, value); });
  SetPayload(out, kFieldUrl, joined);
  return out;
}

absl::Status WithReason(absl::Status status, std::string_view reason) {
  SetPayload(status, kReasonUrl, reason);
  return status;
}

std::optional<std::string> ErrorReason(const absl::Status& status) { return Payload(status, kReasonUrl); }

absl::Status WithLimit(absl::Status status, std::string_view limit) {
  SetPayload(status, kLimitUrl, limit);
  return status;
}

std::optional<std::string> LimitOf(const absl::Status& status) { return Payload(status, kLimitUrl); }

absl::Status OverLimit(std::string_view path, std::string_view message, std::string_view limit) {
  return WithLimit(InvalidField(path, message), limit);
}

absl::Status RetryLater(std::string_view message, absl::Duration delay) {
  absl::Status status = absl::ResourceExhaustedError(absl::string_view(message.data(), message.size()));
  SetPayload(status, kRetryUrl, absl::StrFormat("%d", absl::ToInt64Nanoseconds(std::max(delay, absl::ZeroDuration()))));
  return status;
}

std::optional<absl::Duration> RetryDelay(const absl::Status& status) {
  const std::optional<std::string> text = Payload(status, kRetryUrl);
  int64_t nanoseconds = 0;
  if (!text.has_value() || !absl::SimpleAtoi(*text, &nanoseconds)) return std::nullopt;
  return absl::Nanoseconds(nanoseconds);
}

}  // namespace mptd
