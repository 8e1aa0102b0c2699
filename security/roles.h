// Roles, what each of them may do, and the rules that give them to callers. Pure functions and plain values; safe from
// any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace mptd::security {

// What a call needs; every call needs exactly one of them.
enum class Permission : uint8_t {
  kRead = 1,        // look at the state and at how the daemon is
  kWrite = 2,       // change the state: apply and roll back blocks
  kOperate = 4,     // look after the daemon: flush, checkpoint, verify, settings
  kAdminister = 8,  // what cannot be undone, or changes who may do what
};

// Everybody may read. Neither a writer nor an operator is the other: who looks after the machine need not be able to
// change the state, and a consensus client need not be able to copy it to a folder.
enum class Role : uint8_t { kReader, kWriter, kOperator, kAdmin };
inline constexpr std::array<std::string_view, 4> kRoleNames = {"reader", "writer", "operator", "admin"};
inline std::string_view Name(Role role) { return kRoleNames[static_cast<size_t>(role)]; }

// A set of permissions; starts empty.
class Permissions {
 public:
  void Add(Role role);
  static Permissions All();
  bool Has(Permission permission) const { return (bits_ & static_cast<uint8_t>(permission)) != 0; }
  bool empty() const { return bits_ == 0; }

 private:
  uint8_t bits_ = 0;
};

// The roles that have a permission, for people: "writer or admin".
std::string RolesWith(Permission permission);

// One line of security.roles.
struct RoleRule {
  enum class Source : uint8_t {
    kCertificate,  // cert:CN=NAME, cert:SAN=NAME
    kSecret,       // secret, or secret:CLAIM=VALUE: tokens signed with the shared secret
    kToken,        // jwt:CLAIM=VALUE: tokens signed with the key that belongs to the public one
    kUnix,         // unix:uid=NUMBER, unix:gid=NUMBER: the process at the other end of a unix socket
  };
  Source source = Source::kCertificate;
  std::string name;  // "CN", the claim, "uid"; empty for any token with the secret
  std::string value;
  Role role = Role::kReader;

  bool operator==(const RoleRule&) const = default;
};

// "cert:CN=prover -> reader". INVALID_ARGUMENT: what is wrong with it.
absl::StatusOr<RoleRule> ParseRoleRule(std::string_view text);

}  // namespace mptd::security
