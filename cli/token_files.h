// What --token-file and --jwt-secret-file name. The functions read files; any thread may call them.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "cli/client.h"

namespace mptd::cli {

// The token in the file, whatever it is. FAILED_PRECONDITION: it cannot be read, or does not look like one.
absl::StatusOr<TokenSource> TokenFromFile(const std::string& path);
// New tokens, signed with the secret in the file. FAILED_PRECONDITION: it cannot be read, or is no secret.
absl::StatusOr<TokenSource> TokensFromSecret(const std::string& path);

}  // namespace mptd::cli
