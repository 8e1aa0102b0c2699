// What each unary call of StateService does, as a function from request to response: convert, ask the engine, convert
// back. Knows protobuf and the engine, but not gRPC. Safe from any thread; reads may be called from many at once.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/engine/engine.h"
#include "mptd/v1/state.pb.h"
#include "server/block_metrics.h"
#include "server/caller_limits.h"
#include "server/state_events.h"

namespace mptd {

namespace pb = ::mptd::v1;

// How long a call may take.
struct CallBounds {
  absl::Time deadline = absl::InfiniteFuture();
  std::function<bool()> cancelled;  // may be empty
};

// Where the time of a block went.
struct BlockTimes {
  uint64_t block = 0;       // its number
  absl::Duration validate;  // reading the request into the engine's types
  ApplyTimes engine;
};

class StateCalls {
 public:
  // All must outlive this; `blocks` and `events` learn of every applied block, and `events` of proofs.
  StateCalls(StateEngine& engine, BlockMetrics& blocks, const StateEvents& events, const CallerLimits& limits = {})
      : engine_(engine), blocks_(blocks), events_(events), limits_(limits) {}

  // These may wait, for the writer or for the disk. `times` are told of a block that was applied.
  absl::Status ApplyStateChanges(const CallBounds& bounds, const pb::ApplyStateChangesRequest& request,
                                 pb::ApplyStateChangesResponse& response, BlockTimes& times);
  absl::Status ComputeStateRoot(const pb::ComputeStateRootRequest& request,
                                pb::ComputeStateRootResponse& response) const;
  absl::Status RollbackTo(const pb::RollbackToRequest& request, pb::RollbackToResponse& response);

  absl::Status GetAccount(const pb::GetAccountRequest& request, pb::GetAccountResponse& response) const;
  absl::Status GetAccounts(const pb::GetAccountsRequest& request, pb::GetAccountsResponse& response) const;
  absl::Status GetStorage(const pb::GetStorageRequest& request, pb::GetStorageResponse& response) const;
  absl::Status GetCode(const pb::GetCodeRequest& request, pb::GetCodeResponse& response) const;
  absl::Status GetProof(const pb::GetProofRequest& request, pb::GetProofResponse& response) const;
  absl::Status GetMultiProof(const pb::GetMultiProofRequest& request, pb::GetMultiProofResponse& response) const;
  absl::Status GetStateRoot(const pb::GetStateRootRequest& request, pb::GetStateRootResponse& response) const;
  absl::Status GetBlock(const pb::GetBlockRequest& request, pb::GetBlockResponse& response) const;

  // The view that `ref` names, with its block filled in.
  absl::StatusOr<StateViewPtr> OpenView(const pb::BlockRef& ref, pb::Block* block) const;

 private:
  void Fill(const BlockInfo& block, pb::Block* out) const;

  StateEngine& engine_;
  BlockMetrics& blocks_;
  const StateEvents& events_;
  const CallerLimits limits_;
};

}  // namespace mptd
