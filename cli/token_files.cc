#include "cli/token_files.h"

#include <cerrno>
#include <fstream>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "security/token.h"

namespace mptd::cli {

absl::StatusOr<TokenSource> TokenFromFile(const std::string& path) {
  std::ifstream in(path);
  std::string text;
  if (!in || !(in >> text)) {
    const std::string why = in.eof() ? "is empty" : std::generic_category().message(errno);
    return absl::FailedPreconditionError(absl::StrFormat("%s: %s", path, why));
  }
  std::string more;
  const bool clean =
      !(in >> more) &&
      text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") == std::string::npos;
  if (!clean || text.size() > security::kMaxTokenBytes) {
    return absl::FailedPreconditionError(absl::StrFormat("%s: does not hold one token (JWT), and nothing else", path));
  }
  return TokenSource([text] { return text; });
}

absl::StatusOr<TokenSource> TokensFromSecret(const std::string& path) {
  const absl::StatusOr<std::string> made = security::MakeSharedToken(path, absl::Now());
  if (!made.ok()) return made.status();
  // A file that is gone by now is the daemon's to complain of.
  return TokenSource([path] { return security::MakeSharedToken(path, absl::Now()).value_or(""); });
}

}  // namespace mptd::cli
