// Small things around system calls, used by the change log and the data folder.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace mptd::storage {

// "<doing> <path>: <the system's text>". ENOSPC and EDQUOT are RESOURCE_EXHAUSTED, ENOENT NOT_FOUND, EACCES, EPERM and
// EROFS PERMISSION_DENIED, all else UNAVAILABLE.
absl::Status PosixError(std::string_view doing, const std::string& path, int error);

// Makes the names in `dir` durable.
absl::Status SyncDirectory(const std::string& dir);

// Makes one folder, readable by its owner and group, and its name durable. An existing one is fine.
absl::Status MakeDirectory(const std::string& dir);

}  // namespace mptd::storage
