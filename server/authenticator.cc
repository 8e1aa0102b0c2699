#include "server/authenticator.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "core/errors.h"
#include "grpc/grpc_security_constants.h"
#include "grpcpp/security/auth_context.h"

namespace mptd {
namespace {

using security::RoleRule;

constexpr size_t kMaxName = 256;
constexpr std::string_view kBearer = "bearer ";

absl::Status Unauthenticated(std::string_view why) {
  return WithReason(absl::UnauthenticatedError(absl::string_view(why.data(), why.size())), "UNAUTHENTICATED");
}

// Names come from certificates and tokens, and may be as long as those.
std::string Named(std::string_view kind, std::string_view name, std::string_view value) {
  return absl::StrFormat("%s:%s=%s", kind, name, value.substr(0, kMaxName));
}

bool HasSource(const std::vector<RoleRule>& rules, RoleRule::Source source) {
  return std::any_of(rules.begin(), rules.end(), [source](const RoleRule& rule) { return rule.source == source; });
}

absl::Status CheckTogether(const AccessOptions& options, const std::vector<RoleRule>& rules) {
  const auto wrong = [](std::string_view what) {
    return absl::FailedPreconditionError(absl::string_view(what.data(), what.size()));
  };
  const bool secret = !options.jwt_secret_file.empty();
  const bool issuer = !options.jwt_public_key_file.empty();
  if (secret != HasSource(rules, RoleRule::Source::kSecret)) {
    return wrong(
        "security.jwt_secret_file and rules of security.roles that begin with \"secret\" need each other, as in "
        "\"secret -> writer\"");
  }
  if (issuer != HasSource(rules, RoleRule::Source::kToken)) {
    return wrong(
        "security.jwt_public_key_file and rules of security.roles that begin with \"jwt:\" need each other, as "
        "in \"jwt:sub=indexer -> reader\"");
  }
  if (issuer && options.jwt_audience.empty()) {
    return wrong(
        "security.jwt_public_key_file needs security.jwt_audience: what tokens for this daemon have as their "
        "\"aud\", or those for other services of the same issuer would do");
  }
  return absl::OkStatus();
}

Caller WithRoles(std::string name, const std::vector<RoleRule>& rules, RoleRule::Source source,
                 const std::function<bool(const RoleRule&)>& matches) {
  Caller out{.name = std::move(name), .permissions = {}};
  for (const RoleRule& rule : rules) {
    if (rule.source == source && matches(rule)) out.permissions.Add(rule.role);
  }
  return out;
}

bool Matches(const RoleRule& rule, const UnixPeer& peer) {
  return rule.source == RoleRule::Source::kUnix && rule.value == absl::StrCat(rule.name == "uid" ? peer.uid : peer.gid);
}

std::vector<std::string> Names(const grpc::AuthContext& context, const char* property) {
  std::vector<std::string> out;
  for (const grpc::string_ref& value : context.FindPropertyValues(property)) {
    out.emplace_back(value.data(), value.size());
  }
  return out;
}

bool IsOneOf(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

std::string CallerAddress(const grpc::ServerContextBase& context) {
  const std::string peer = context.peer();
  if (peer.starts_with("fd:") || peer.starts_with("unix:")) return "unix";
  const bool has_port = peer.starts_with("ipv4:") || peer.starts_with("ipv6:");
  return has_port ? peer.substr(0, peer.rfind(':')) : peer;
}

absl::StatusOr<std::shared_ptr<const Authenticator::Policy>> Authenticator::MakePolicy(const AccessOptions& options) {
  auto policy = std::make_shared<Policy>();
  for (const std::string& text : options.roles) {
    absl::StatusOr<RoleRule> rule = security::ParseRoleRule(text);
    if (!rule.ok()) {
      return absl::FailedPreconditionError(absl::StrFormat("security.roles: \"%s\" %s", text, rule.status().message()));
    }
    policy->rules.push_back(*std::move(rule));
  }
  if (absl::Status status = CheckTogether(options, policy->rules); !status.ok()) return status;
  if (!options.jwt_secret_file.empty()) {
    auto secret = security::TokenVerifier::FromSecretFile(options.jwt_secret_file);
    if (!secret.ok()) return secret.status();
    policy->secret = *std::move(secret);
  }
  if (!options.jwt_public_key_file.empty()) {
    auto issuer = security::TokenVerifier::FromPublicKeyFile(options.jwt_public_key_file, options.jwt_algorithm,
                                                             options.jwt_audience);
    if (!issuer.ok()) return issuer.status();
    policy->issuer = *std::move(issuer);
  }
  return policy;
}

absl::Status Authenticator::Configure(const AccessOptions& options) {
  absl::StatusOr<std::shared_ptr<const Policy>> made = MakePolicy(options);
  if (!made.ok()) return made.status();
  // What listens was set up for one or the other.
  if (const auto before = policy(); before != nullptr) {
    if (before->enabled() != (*made)->enabled() ||
        HasSource(before->rules, RoleRule::Source::kUnix) != HasSource((*made)->rules, RoleRule::Source::kUnix)) {
      return absl::FailedPreconditionError(
          "security.roles: whether callers need roles at all, and whether those of unix sockets do, changes with a "
          "restart only");
    }
  }
  const MutexLock lock(mutex_);
  policy_ = *std::move(made);
  return absl::OkStatus();
}

std::shared_ptr<const Authenticator::Policy> Authenticator::policy() const {
  const MutexLock lock(mutex_);
  return policy_;
}

bool Authenticator::enabled() const { return policy()->enabled(); }

bool Authenticator::knows_unix_peers() const { return HasSource(policy()->rules, RoleRule::Source::kUnix); }

bool Authenticator::Knows(const UnixPeer& peer) const {
  const auto now = policy();
  return std::any_of(now->rules.begin(), now->rules.end(), [&](const RoleRule& rule) { return Matches(rule, peer); });
}

absl::StatusOr<Caller> Authenticator::FromToken(const Policy& policy, std::string_view header) {
  const auto head = std::string(header.substr(0, kBearer.size()));
  if (absl::AsciiStrToLower(head) != kBearer) return Unauthenticated("the authorization is not \"Bearer <token>\"");
  if (policy.secret == nullptr && policy.issuer == nullptr) {
    return Unauthenticated("this daemon takes no tokens; leave the token out, or see security.jwt_secret_file");
  }
  const std::string_view text = header.substr(kBearer.size());
  // Each verifier has its own algorithm and key, so that the header cannot have one's key used with another's
  // algorithm.
  const bool by_issuer = policy.issuer != nullptr && (policy.secret == nullptr || policy.issuer->NamesAlgorithm(text));
  const absl::Time now = absl::Now();
  const absl::StatusOr<security::Token> token = (by_issuer ? policy.issuer : policy.secret)->Verify(text, now);
  if (!token.ok()) return WithReason(token.status(), "UNAUTHENTICATED");
  if (!token->id.empty()) {
    switch (replays_.TryUse(absl::StrCat(by_issuer, token->id), token->expires, now)) {
      case security::ReplayGuard::Use::kReplayed:
        return Unauthenticated("the token was used before: its \"jti\" is for one call");
      case security::ReplayGuard::Use::kFull:
        return Unauthenticated("too many tokens with a \"jti\" are in use; try again when some have expired");
      case security::ReplayGuard::Use::kFirst:
        break;
    }
  }
  const auto source = by_issuer ? RoleRule::Source::kToken : RoleRule::Source::kSecret;
  const auto who = token->Find(by_issuer ? "sub" : "id");
  std::string name = by_issuer ? "jwt" : "secret";
  if (who.has_value()) name = Named(name, by_issuer ? "sub" : "id", *who);
  return WithRoles(std::move(name), policy.rules, source,
                   [&](const RoleRule& rule) { return rule.name.empty() || token->Has(rule.name, rule.value); });
}

// TLS has verified the certificate, or there is none: the listeners ask for it in no other way.
std::optional<Caller> Authenticator::FromCertificate(const Policy& policy, const grpc::ServerContextBase& context) {
  const std::shared_ptr<const grpc::AuthContext> auth = context.auth_context();
  if (auth == nullptr || !auth->IsPeerAuthenticated()) return std::nullopt;
  const std::vector<std::string> common = Names(*auth, GRPC_X509_CN_PROPERTY_NAME);
  const std::vector<std::string> alternative = Names(*auth, GRPC_X509_SAN_PROPERTY_NAME);
  if (common.empty() && alternative.empty()) return std::nullopt;
  std::string name = common.empty() ? Named("cert", "SAN", alternative.front()) : Named("cert", "CN", common.front());
  return WithRoles(std::move(name), policy.rules, RoleRule::Source::kCertificate,
                   [&](const RoleRule& rule) { return IsOneOf(rule.name == "CN" ? common : alternative, rule.value); });
}

std::optional<Caller> Authenticator::FromUnixSocket(const Policy& policy,
                                                    const grpc::ServerContextBase& context) const {
  const std::optional<UnixPeer> peer = unix_peers_.Find(context.peer());
  if (!peer.has_value()) return std::nullopt;
  return WithRoles(Named("unix", "uid", absl::StrCat(peer->uid)), policy.rules, RoleRule::Source::kUnix,
                   [&](const RoleRule& rule) { return Matches(rule, *peer); });
}

absl::StatusOr<Caller> Authenticator::Authenticate(const grpc::ServerContextBase& context) {
  const std::shared_ptr<const Policy> now = policy();
  if (!now->enabled()) return Caller{.name = CallerAddress(context), .permissions = security::Permissions::All()};
  const auto [begin, end] = context.client_metadata().equal_range("authorization");
  if (begin != end) {
    if (std::next(begin) != end) return Unauthenticated("there is more than one authorization");
    return FromToken(*now, std::string_view(begin->second.data(), begin->second.size()));
  }
  if (std::optional<Caller> caller = FromCertificate(*now, context); caller.has_value()) return *std::move(caller);
  if (std::optional<Caller> caller = FromUnixSocket(*now, context); caller.has_value()) return *std::move(caller);
  return Unauthenticated(
      "the caller has shown neither a token nor a client certificate, nor is it a known user of a unix socket");
}

}  // namespace mptd
