// What each call needs, which of a caller's limits it counts against, and what the audit log says of it: the one table,
// with a row for every method. docs/SECURITY.md shows it, and a test compares the two.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "security/roles.h"
#include "server/rpc_methods.h"

namespace mptd {

enum class Audited : uint8_t {
  kNo,     // changes nothing
  kCall,   // one line a call that was answered with OK
  kBlock,  // one line a block that was applied or rolled back to
};

struct MethodAccess {
  Method method;
  security::Permission needs;
  Audited audited;
};

inline constexpr std::array<MethodAccess, kMethodNames.size()> kMethodAccess = {{
    {Method::kApplyStateChanges, security::Permission::kWrite, Audited::kBlock},
    {Method::kApplyStateChangesStream, security::Permission::kWrite, Audited::kBlock},
    {Method::kComputeStateRoot, security::Permission::kRead, Audited::kNo},
    {Method::kRollbackTo, security::Permission::kWrite, Audited::kBlock},
    {Method::kGetAccount, security::Permission::kRead, Audited::kNo},
    {Method::kGetAccounts, security::Permission::kRead, Audited::kNo},
    {Method::kGetStorage, security::Permission::kRead, Audited::kNo},
    {Method::kGetCode, security::Permission::kRead, Audited::kNo},
    {Method::kGetProof, security::Permission::kRead, Audited::kNo},
    {Method::kGetMultiProof, security::Permission::kRead, Audited::kNo},
    {Method::kGetStateRoot, security::Permission::kRead, Audited::kNo},
    {Method::kGetBlock, security::Permission::kRead, Audited::kNo},
    {Method::kStreamBlocks, security::Permission::kRead, Audited::kNo},
    {Method::kStreamAccounts, security::Permission::kRead, Audited::kNo},
    {Method::kStreamStorage, security::Permission::kRead, Audited::kNo},
    {Method::kGetStatus, security::Permission::kRead, Audited::kNo},
    {Method::kFlush, security::Permission::kOperate, Audited::kCall},
    {Method::kCheckpoint, security::Permission::kOperate, Audited::kCall},
    {Method::kPrune, security::Permission::kAdminister, Audited::kCall},
    {Method::kVerify, security::Permission::kOperate, Audited::kNo},
    {Method::kSetLogLevel, security::Permission::kOperate, Audited::kCall},
    {Method::kGetConfig, security::Permission::kOperate, Audited::kNo},
    {Method::kGetMetrics, security::Permission::kRead, Audited::kNo},
    {Method::kReloadConfig, security::Permission::kAdminister, Audited::kCall},
    {Method::kRotateKeys, security::Permission::kAdminister, Audited::kCall},
}};

// Row i is method i's.
consteval bool MethodAccessIsInOrder() {
  for (size_t i = 0; i < kMethodAccess.size(); ++i) {
    if (kMethodAccess[i].method != static_cast<Method>(i)) return false;
  }
  return true;
}
static_assert(MethodAccessIsInOrder(), "a method without a row, or rows out of order");

inline const MethodAccess& AccessOf(Method method) { return kMethodAccess[static_cast<size_t>(method)]; }

}  // namespace mptd
