#include "config/checks.h"

#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <system_error>

#include "absl/strings/str_format.h"
#include "config/nearest.h"
#include "security/roles.h"

namespace mptd::config {
namespace {

constexpr std::string_view kNetworks[] = {"mainnet", "sepolia", "holesky", "hoodi"};

bool Contains(std::span<const std::string_view> words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool IsPort(std::string_view text) {
  if (text.empty() || text.size() > 5) return false;
  unsigned port = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    port = port * 10 + static_cast<unsigned>(c - '0');
  }
  return port <= 65535;
}

bool IsHostChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

// host:port or [IPv6 address]:port. Whether a host exists is found out when it is listened on.
std::string CheckHostPort(std::string_view text, std::string_view forms) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return absl::StrFormat("has no port; write %s", forms);
  const std::string_view host = text.substr(0, colon);
  if (!IsPort(text.substr(colon + 1))) return absl::StrFormat("does not end in a port (0 to 65535); write %s", forms);
  if (host.empty()) return "has no host; write 0.0.0.0 for all addresses of this machine";
  if (host.front() == '[') {
    const bool closed = host.size() > 2 && host.back() == ']';
    const auto inner = closed ? host.substr(1, host.size() - 2) : std::string_view();
    if (closed && inner.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos) return "";
    return "is not an IPv6 address in brackets";
  }
  if (host.find(':') != std::string_view::npos) return "is an IPv6 address without brackets; write [address]:port";
  if (!std::all_of(host.begin(), host.end(), IsHostChar)) return absl::StrFormat("is not an address; write %s", forms);
  return "";
}

}  // namespace

std::string CheckNotEmpty(std::string_view text) { return text.empty() ? "must not be empty" : ""; }

std::string CheckListenAddress(std::string_view text) {
  constexpr std::string_view kUnix = "unix:";
  constexpr std::string_view kForms = "host:port or unix:/path";
  if (text.starts_with(kUnix)) {
    const std::string_view path = text.substr(kUnix.size());
    if (!path.starts_with('/')) return "needs an absolute path: unix:/path";
    constexpr size_t kLongest = sizeof(sockaddr_un::sun_path) - 1;
    if (path.size() > kLongest) return absl::StrFormat("is too long for a socket: at most %d bytes of path", kLongest);
    return "";
  }
  return CheckHostPort(text, kForms);
}

std::string CheckOptionalListenAddress(std::string_view text) { return text.empty() ? "" : CheckListenAddress(text); }

std::string CheckHttpAddress(std::string_view text) {
  if (text == "off") return "";
  return CheckHostPort(text, "host:port or off");
}

std::string CheckGenesis(std::string_view text) {
  if (text.empty() || Contains(kNetworks, text)) return "";
  const std::string path(text);
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0 && errno == ENOENT) {
    return absl::StrFormat("is neither mainnet, sepolia, holesky, hoodi nor a file%s",
                           DidYouMean(text, {std::begin(kNetworks), std::end(kNetworks)}));
  }
  if (S_ISDIR(info.st_mode)) return "is a folder, not a file";
  if (access(path.c_str(), R_OK) != 0)
    return absl::StrFormat("cannot be read: %s", std::generic_category().message(errno));
  return "";
}

std::string CheckModuleLevel(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) return "is not module=level";
  const std::string_view module = text.substr(0, equals);
  const std::string_view level = text.substr(equals + 1);
  if (!Contains(kLogModules, module)) {
    return absl::StrFormat("names no module%s", DidYouMean(module, {std::begin(kLogModules), std::end(kLogModules)}));
  }
  if (!Contains(kLogLevels, level)) {
    return absl::StrFormat("names no level%s", DidYouMean(level, {std::begin(kLogLevels), std::end(kLogLevels)}));
  }
  return "";
}

std::string CheckRoleRule(std::string_view text) {
  return std::string(security::ParseRoleRule(text).status().message());
}

}  // namespace mptd::config
