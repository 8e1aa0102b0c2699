// The methods of StateService and AdminService. What each needs is in server/method_table.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mptd {

enum class Method : uint8_t {
  kApplyStateChanges,
  kApplyStateChangesStream,
  kComputeStateRoot,
  kRollbackTo,
  kGetAccount,
  kGetAccounts,
  kGetStorage,
  kGetCode,
  kGetProof,
  kGetMultiProof,
  kGetStateRoot,
  kGetBlock,
  kStreamBlocks,
  kStreamAccounts,
  kStreamStorage,
  kGetStatus,
  kFlush,
  kCheckpoint,
  kPrune,
  kVerify,
  kSetLogLevel,
  kGetConfig,
  kGetMetrics,
  kReloadConfig,
  kRotateKeys,
};
inline constexpr std::array<std::string_view, 25> kMethodNames = {"ApplyStateChanges",
                                                                  "ApplyStateChangesStream",
                                                                  "ComputeStateRoot",
                                                                  "RollbackTo",
                                                                  "GetAccount",
                                                                  "GetAccounts",
                                                                  "GetStorage",
                                                                  "GetCode",
                                                                  "GetProof",
                                                                  "GetMultiProof",
                                                                  "GetStateRoot",
                                                                  "GetBlock",
                                                                  "StreamBlocks",
                                                                  "StreamAccounts",
                                                                  "StreamStorage",
                                                                  "GetStatus",
                                                                  "Flush",
                                                                  "Checkpoint",
                                                                  "Prune",
                                                                  "Verify",
                                                                  "SetLogLevel",
                                                                  "GetConfig",
                                                                  "GetMetrics",
                                                                  "ReloadConfig",
                                                                  "RotateKeys"};
static_assert(kMethodNames.size() == static_cast<size_t>(Method::kRotateKeys) + 1);
inline std::string_view Name(Method method) { return kMethodNames[static_cast<size_t>(method)]; }

}  // namespace mptd
