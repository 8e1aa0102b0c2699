// Errors as the engine returns them: an absl::Status whose code is the one that callers over the network get, with what
// a program may want to know attached as payloads. Pure functions; safe from any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace mptd {

// INVALID_ARGUMENT about one field; `path` is as in "changes[3].slots[0].key".
absl::Status InvalidField(std::string_view path, std::string_view message);
// The field of an error made by InvalidField.
std::optional<std::string> InvalidFieldPath(const absl::Status& status);
// A copy with `prefix` in front of its field's path, for errors of nested values.
absl::Status WithFieldPrefix(const absl::Status& status, std::string_view prefix);

// A machine-readable reason (UPPER_SNAKE_CASE, e.g. "PARENT_MISMATCH") attached to a copy of `status`.
absl::Status WithReason(absl::Status status, std::string_view reason);
std::optional<std::string> ErrorReason(const absl::Status& status);
// The reason of a block whose root is not its expected_root.
inline constexpr std::string_view kRootMismatch = "ROOT_MISMATCH";

// A copy of `status` that names the limit that was met by the last part of its key, as in "max_proof_keys". Callers are
// told, and refusals are counted by it.
absl::Status WithLimit(absl::Status status, std::string_view limit);
std::optional<std::string> LimitOf(const absl::Status& status);
// INVALID_ARGUMENT about a field that asks for more than `limit` ever allows.
absl::Status OverLimit(std::string_view path, std::string_view message, std::string_view limit);

// RESOURCE_EXHAUSTED that says when to try again.
absl::Status RetryLater(std::string_view message, absl::Duration delay);
std::optional<absl::Duration> RetryDelay(const absl::Status& status);

}  // namespace mptd
