// Role rules, rate limits and used token ids: without a daemon, with a clock of the test's own.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "security/rate_limiter.h"
#include "security/replay_guard.h"
#include "security/roles.h"

namespace mptd::security {
namespace {

using Source = RoleRule::Source;
using Kind = RateLimiter::Kind;

RoleRule Rule(Source source, const std::string& name, const std::string& value, Role role) {
  return {.source = source, .name = name, .value = value, .role = role};
}

TEST(RoleRuleTest, AllForms) {
  EXPECT_EQ(*ParseRoleRule("cert:CN=prover -> reader"), Rule(Source::kCertificate, "CN", "prover", Role::kReader));
  EXPECT_EQ(*ParseRoleRule("cert:SAN=a.example->writer"),
            Rule(Source::kCertificate, "SAN", "a.example", Role::kWriter));
  EXPECT_EQ(*ParseRoleRule("  secret  ->  writer "), Rule(Source::kSecret, "", "", Role::kWriter));
  EXPECT_EQ(*ParseRoleRule("secret:id=node1 -> admin"), Rule(Source::kSecret, "id", "node1", Role::kAdmin));
  EXPECT_EQ(*ParseRoleRule("jwt:sub=a=b -> operator"), Rule(Source::kToken, "sub", "a=b", Role::kOperator));
  EXPECT_EQ(*ParseRoleRule("jwt:sub=x -> y -> operator"), Rule(Source::kToken, "sub", "x -> y", Role::kOperator));
  EXPECT_EQ(*ParseRoleRule("unix:uid=1000 -> operator"), Rule(Source::kUnix, "uid", "1000", Role::kOperator));
  EXPECT_EQ(*ParseRoleRule("unix:gid=0 -> admin"), Rule(Source::kUnix, "gid", "0", Role::kAdmin));
}

TEST(RoleRuleTest, WhatIsNotARule) {
  for (const char* bad : {"",
                          "->",
                          "secret",
                          "secret -> root",
                          "secret -> Writer",
                          "-> reader",
                          "jwt -> reader",
                          "jwt: -> reader",
                          "jwt:sub -> reader",
                          "jwt:sub= -> reader",
                          "jwt:=x -> reader",
                          "secret: -> reader",
                          "cert:CN= -> reader",
                          "cert:O=x -> reader",
                          "cert -> reader",
                          "unix:uid=root -> reader",
                          "unix:uid=-1 -> reader",
                          "unix:uid=01 -> reader",
                          "unix:uid=4294967296 -> reader",
                          "unix:pid=1 -> reader",
                          "token:sub=x -> reader"}) {
    const auto rule = ParseRoleRule(bad);
    ASSERT_FALSE(rule.ok()) << bad;
    EXPECT_FALSE(rule.status().message().empty());
  }
}

TEST(PermissionsTest, WhatEachRoleMayDo) {
  const auto of = [](Role role) {
    Permissions permissions;
    permissions.Add(role);
    std::string out;
    if (permissions.Has(Permission::kRead)) out += 'r';
    if (permissions.Has(Permission::kWrite)) out += 'w';
    if (permissions.Has(Permission::kOperate)) out += 'o';
    if (permissions.Has(Permission::kAdminister)) out += 'a';
    return out;
  };
  EXPECT_EQ(of(Role::kReader), "r");
  EXPECT_EQ(of(Role::kWriter), "rw");
  EXPECT_EQ(of(Role::kOperator), "ro");
  EXPECT_EQ(of(Role::kAdmin), "rwoa");
  EXPECT_TRUE(Permissions().empty());
  EXPECT_EQ(RolesWith(Permission::kRead), "reader or writer or operator or admin");
  EXPECT_EQ(RolesWith(Permission::kWrite), "writer or admin");
  EXPECT_EQ(RolesWith(Permission::kAdminister), "admin");
}

class RateLimiterTest : public ::testing::Test {
 protected:
  int Allowed(RateLimiter& limiter, const std::string& caller, Kind kind, int tries) const {
    int allowed = 0;
    for (int i = 0; i < tries; ++i) allowed += limiter.Take(caller, kind, now_) == absl::ZeroDuration() ? 1 : 0;
    return allowed;
  }
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
};

TEST_F(RateLimiterTest, ABucketHoldsASecondsCallsAndFillsAgain) {
  RateLimiter limiter;
  limiter.SetLimits({.reads_per_second = 10, .writes_per_second = 2});
  EXPECT_EQ(Allowed(limiter, "a", Kind::kRead, 20), 10);
  EXPECT_EQ(limiter.Take("a", Kind::kRead, now_), absl::Milliseconds(100));
  EXPECT_EQ(Allowed(limiter, "a", Kind::kWrite, 20), 2) << "writes have a bucket of their own";
  EXPECT_EQ(Allowed(limiter, "b", Kind::kRead, 20), 10) << "and so has every caller";
  now_ += absl::Milliseconds(350);
  EXPECT_EQ(Allowed(limiter, "a", Kind::kRead, 20), 3);
  now_ += absl::Hours(1);
  EXPECT_EQ(Allowed(limiter, "a", Kind::kRead, 20), 10) << "and never more than a second's";
}

TEST_F(RateLimiterTest, WaitingAsLongAsItSaysIsEnough) {
  RateLimiter limiter;
  limiter.SetLimits({.reads_per_second = 3, .writes_per_second = 0});
  for (int i = 0; i < 100; ++i) {
    const absl::Duration wait = limiter.Take("a", Kind::kRead, now_);
    if (wait == absl::ZeroDuration()) continue;
    now_ += wait + absl::Nanoseconds(2);
    EXPECT_EQ(limiter.Take("a", Kind::kRead, now_), absl::ZeroDuration());
  }
}

TEST_F(RateLimiterTest, NoLimitKeepsNoRecordAndAClockSetBackLetsNobodyThrough) {
  RateLimiter limiter;
  EXPECT_EQ(Allowed(limiter, "a", Kind::kRead, 1000), 1000);
  EXPECT_EQ(limiter.callers(), 0u);
  limiter.SetLimits({.reads_per_second = 1, .writes_per_second = 0});
  EXPECT_EQ(Allowed(limiter, "a", Kind::kRead, 5), 1);
  now_ -= absl::Hours(1);
  EXPECT_EQ(Allowed(limiter, "a", Kind::kRead, 5), 0);
  now_ += absl::Seconds(1);
  EXPECT_EQ(Allowed(limiter, "a", Kind::kRead, 5), 1);
}

TEST_F(RateLimiterTest, TheTableOfCallersIsBoundedAndForgetsTheSilentOnes) {
  RateLimiter limiter(/*most=*/3);
  limiter.SetLimits({.reads_per_second = 1, .writes_per_second = 0});
  for (const char* caller : {"a", "b", "c"}) EXPECT_EQ(Allowed(limiter, caller, Kind::kRead, 2), 1);
  EXPECT_EQ(Allowed(limiter, "a", Kind::kRead, 2), 0);  // now b is the one that was silent for longest
  EXPECT_EQ(Allowed(limiter, "d", Kind::kRead, 2), 1);
  EXPECT_EQ(limiter.callers(), 3u);
  EXPECT_EQ(Allowed(limiter, "a", Kind::kRead, 2), 0);
  EXPECT_EQ(Allowed(limiter, "c", Kind::kRead, 2), 0);
  EXPECT_EQ(Allowed(limiter, "b", Kind::kRead, 2), 1);
  for (int i = 0; i < 1000; ++i) limiter.Take(absl::StrCat("caller", i), Kind::kRead, now_);
  EXPECT_EQ(limiter.callers(), 3u);
}

TEST(ReplayGuardTest, AnIdIsUsedOnceUntilItsTokenHasExpired) {
  using Use = ReplayGuard::Use;
  ReplayGuard guard(/*most=*/2);
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  const absl::Time later = now + absl::Minutes(1);
  EXPECT_EQ(guard.TryUse("a", later, now), Use::kFirst);
  EXPECT_EQ(guard.TryUse("a", later, now), Use::kReplayed);
  EXPECT_EQ(guard.TryUse("b", later, now), Use::kFirst);
  EXPECT_EQ(guard.TryUse("c", later, now), Use::kFull) << "what cannot be remembered could be used twice";
  EXPECT_EQ(guard.TryUse("c", later + absl::Minutes(1), later), Use::kFirst) << "room is made of expired ones";
  EXPECT_EQ(guard.size(), 1u);
}

}  // namespace
}  // namespace mptd::security
