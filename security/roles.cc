#include "security/roles.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mptd::security {
namespace {

constexpr std::string_view kForms =
    "cert:CN=NAME, cert:SAN=NAME, secret, secret:CLAIM=VALUE, jwt:CLAIM=VALUE, unix:uid=NUMBER or unix:gid=NUMBER";

constexpr uint8_t Bit(Permission permission) { return static_cast<uint8_t>(permission); }

constexpr uint8_t BitsOf(Role role) {
  switch (role) {
    case Role::kReader:
      return Bit(Permission::kRead);
    case Role::kWriter:
      return Bit(Permission::kRead) | Bit(Permission::kWrite);
    case Role::kOperator:
      return Bit(Permission::kRead) | Bit(Permission::kOperate);
    case Role::kAdmin:
      return Bit(Permission::kRead) | Bit(Permission::kWrite) | Bit(Permission::kOperate) |
             Bit(Permission::kAdminister);
  }
  return 0;
}

std::string_view Strip(std::string_view text) {
  const auto stripped = absl::StripAsciiWhitespace(absl::string_view(text.data(), text.size()));
  return {stripped.data(), stripped.size()};
}

bool IsNumber(std::string_view text) {
  uint32_t number = 0;
  return absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &number) && absl::StrCat(number) == text;
}

absl::StatusOr<RoleRule::Source> ParseSource(std::string_view text) {
  if (text == "cert") return RoleRule::Source::kCertificate;
  if (text == "secret") return RoleRule::Source::kSecret;
  if (text == "jwt") return RoleRule::Source::kToken;
  if (text == "unix") return RoleRule::Source::kUnix;
  return absl::InvalidArgumentError(absl::StrFormat("does not begin with %s", kForms));
}

// What each source knows of a caller.
absl::Status CheckMatcher(const RoleRule& rule) {
  if (rule.name.empty() || rule.value.empty()) return absl::InvalidArgumentError(absl::StrFormat("is not %s", kForms));
  if (rule.source == RoleRule::Source::kCertificate && rule.name != "CN" && rule.name != "SAN") {
    return absl::InvalidArgumentError("names neither CN nor SAN of a certificate");
  }
  if (rule.source != RoleRule::Source::kUnix) return absl::OkStatus();
  if (rule.name != "uid" && rule.name != "gid") return absl::InvalidArgumentError("names neither uid nor gid");
  if (!IsNumber(rule.value)) return absl::InvalidArgumentError("needs the uid or gid as a number");
  return absl::OkStatus();
}

}  // namespace

void Permissions::Add(Role role) { bits_ |= BitsOf(role); }

Permissions Permissions::All() {
  Permissions all;
  all.Add(Role::kAdmin);
  return all;
}

std::string RolesWith(Permission permission) {
  std::string out;
  for (const Role role : {Role::kReader, Role::kWriter, Role::kOperator, Role::kAdmin}) {
    if ((BitsOf(role) & Bit(permission)) == 0) continue;
    out += (out.empty() ? "" : " or ") + std::string(Name(role));
  }
  return out;
}

absl::StatusOr<RoleRule> ParseRoleRule(std::string_view text) {
  constexpr std::string_view kArrow = "->";
  const size_t arrow = text.rfind(kArrow);
  if (arrow == std::string_view::npos) return absl::InvalidArgumentError("is not \"CALLER -> ROLE\"");
  const std::string_view role = Strip(text.substr(arrow + kArrow.size()));
  const auto* const found = std::find(kRoleNames.begin(), kRoleNames.end(), role);
  if (found == kRoleNames.end()) {
    return absl::InvalidArgumentError("does not end in a role: reader, writer, operator or admin");
  }
  const std::string_view caller = Strip(text.substr(0, arrow));
  const size_t colon = std::min(caller.find(':'), caller.size());
  const absl::StatusOr<RoleRule::Source> source = ParseSource(caller.substr(0, colon));
  if (!source.ok()) return source.status();
  RoleRule rule{.source = *source, .name = {}, .value = {}, .role = static_cast<Role>(found - kRoleNames.begin())};
  if (colon == caller.size() && rule.source == RoleRule::Source::kSecret) return rule;
  const std::string_view matcher = caller.substr(std::min(colon + 1, caller.size()));
  const size_t equals = matcher.find('=');
  if (equals != std::string_view::npos) {
    rule.name = matcher.substr(0, equals);
    rule.value = matcher.substr(equals + 1);
  }
  if (absl::Status status = CheckMatcher(rule); !status.ok()) return status;
  return rule;
}

}  // namespace mptd::security
