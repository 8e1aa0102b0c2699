#include "server/state_service.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "core/errors.h"
#include "mptd/v1/state.grpc.pb.h"
#include "server/apply_stream.h"
#include "server/streams.h"
#include "server/unary.h"

namespace mptd {
namespace {

using grpc::ByteBuffer;
using Context = grpc::CallbackServerContext;
using Unary = grpc::ServerUnaryReactor;
using Writer = grpc::ServerWriteReactor<ByteBuffer>;
using Stub = pb::StateService;

// Every method takes and answers bytes, see unary.h. A method that is missing here would be answered UNIMPLEMENTED.
// clang-format off
using RawStateService =
    Stub::WithRawCallbackMethod_ApplyStateChanges<
    Stub::WithRawCallbackMethod_ApplyStateChangesStream<
    Stub::WithRawCallbackMethod_ComputeStateRoot<
    Stub::WithRawCallbackMethod_RollbackTo<
    Stub::WithRawCallbackMethod_GetAccount<
    Stub::WithRawCallbackMethod_GetAccounts<
    Stub::WithRawCallbackMethod_GetStorage<
    Stub::WithRawCallbackMethod_GetCode<
    Stub::WithRawCallbackMethod_GetProof<
    Stub::WithRawCallbackMethod_GetMultiProof<
    Stub::WithRawCallbackMethod_GetStateRoot<
    Stub::WithRawCallbackMethod_GetBlock<
    Stub::WithRawCallbackMethod_StreamBlocks<
    Stub::WithRawCallbackMethod_StreamAccounts<
    Stub::WithRawCallbackMethod_StreamStorage<
    Stub::Service>>>>>>>>>>>>>>>;
// clang-format on

// A request for so few keys that it runs inline; its length tells without parsing.
constexpr size_t kShortRequest = 512;

class StateServiceImpl final : public RawStateService {
 public:
  explicit StateServiceImpl(Rpc& rpc) : rpc_(rpc), calls_(rpc.calls()) {}

  Unary* ApplyStateChanges(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return RunOnPool<pb::ApplyStateChangesRequest, pb::ApplyStateChangesResponse>(
        rpc_, rpc_.writers(), Method::kApplyStateChanges, c, in, out,
        [this, c](const pb::ApplyStateChangesRequest& request, pb::ApplyStateChangesResponse& response,
                  CallTrace& trace) {
          BlockTimes times;
          absl::Status status = calls_.ApplyStateChanges(WriteBounds(*c, rpc_.limits()), request, response, times);
          trace.AddBlock(times);
          if (!status.ok()) {
            rpc_.RecordRefusedBlock(request.number(), status);
            return status;
          }
          rpc_.RecordBlock(Method::kApplyStateChanges, response, times, trace);
          return status;
        });
  }
  Unary* RollbackTo(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return RunOnPool<pb::RollbackToRequest, pb::RollbackToResponse>(
        rpc_, rpc_.writers(), Method::kRollbackTo, c, in, out,
        [this](const pb::RollbackToRequest& request, pb::RollbackToResponse& response, CallTrace& trace) {
          absl::Status status = calls_.RollbackTo(request, response);
          if (status.ok()) rpc_.RecordRollback(response.block(), trace);
          return status;
        });
  }
  Unary* ComputeStateRoot(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    // Whoever may not make the call takes nobody's place.
    const auto trace = std::make_shared<CallTrace>(rpc_.access(), Method::kComputeStateRoot, *c);
    if (!trace->admitted().ok()) return Refuse(rpc_, Method::kComputeStateRoot, c, *trace, trace->admitted());
    Gate::Ticket call = rpc_.root_calls().Enter();
    if (!call) {
      return Refuse(rpc_, Method::kComputeStateRoot, c, *trace,
                    NoRoom("as many state roots are being computed as limits.max_root_calls allows; try again later",
                           "max_root_calls"));
    }
    return RunOnPool<pb::ComputeStateRootRequest, pb::ComputeStateRootResponse>(
        rpc_, rpc_.readers(), Method::kComputeStateRoot, c, in, out, trace,
        [this, call = std::move(call)](const auto& request, auto& response) mutable {
          const Gate::Ticket until_answered = std::move(call);
          Gate::Ticket changes;
          if (absl::Status s = AdmitChanges(request, changes); !s.ok()) return s;
          return calls_.ComputeStateRoot(request, response);
        });
  }
  Unary* GetAccount(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return RunInline<pb::GetAccountRequest, pb::GetAccountResponse>(
        rpc_, Method::kGetAccount, c, in, out,
        [this](const auto& request, auto& response) { return calls_.GetAccount(request, response); });
  }
  Unary* GetAccounts(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return ShortInline<pb::GetAccountsRequest, pb::GetAccountsResponse>(
        Method::kGetAccounts, c, in, out,
        [this](const auto& request, auto& response) { return calls_.GetAccounts(request, response); });
  }
  Unary* GetStorage(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return ShortInline<pb::GetStorageRequest, pb::GetStorageResponse>(
        Method::kGetStorage, c, in, out,
        [this](const auto& request, auto& response) { return calls_.GetStorage(request, response); });
  }
  Unary* GetCode(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return RunInline<pb::GetCodeRequest, pb::GetCodeResponse>(
        rpc_, Method::kGetCode, c, in, out,
        [this](const auto& request, auto& response) { return calls_.GetCode(request, response); });
  }
  Unary* GetProof(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return RunOnPool<pb::GetProofRequest, pb::GetProofResponse>(
        rpc_, rpc_.provers(), Method::kGetProof, c, in, out,
        [this](const auto& request, auto& response) { return calls_.GetProof(request, response); });
  }
  Unary* GetMultiProof(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return RunOnPool<pb::GetMultiProofRequest, pb::GetMultiProofResponse>(
        rpc_, rpc_.provers(), Method::kGetMultiProof, c, in, out,
        [this](const auto& request, auto& response) { return calls_.GetMultiProof(request, response); });
  }
  Unary* GetStateRoot(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return RunInline<pb::GetStateRootRequest, pb::GetStateRootResponse>(
        rpc_, Method::kGetStateRoot, c, in, out,
        [this](const auto& request, auto& response) { return calls_.GetStateRoot(request, response); });
  }
  Unary* GetBlock(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return RunInline<pb::GetBlockRequest, pb::GetBlockResponse>(
        rpc_, Method::kGetBlock, c, in, out,
        [this](const auto& request, auto& response) { return calls_.GetBlock(request, response); });
  }

  // gRPC deletes streams by OnDone.
  grpc::ServerBidiReactor<ByteBuffer, ByteBuffer>* ApplyStateChangesStream(Context* c) override {
    return (new ApplyStream(rpc_, c))->Begin();
  }
  Writer* StreamBlocks(Context* c, const ByteBuffer* in) override { return StartBlockStream(rpc_, c, *in); }
  Writer* StreamAccounts(Context* c, const ByteBuffer* in) override { return StartAccountStream(rpc_, c, *in); }
  Writer* StreamStorage(Context* c, const ByteBuffer* in) override { return StartStorageStream(rpc_, c, *in); }

 private:
  // Dry runs share what they may work on at the same time.
  absl::Status AdmitChanges(const pb::ComputeStateRootRequest& request, Gate::Ticket& ticket) {
    size_t count = static_cast<size_t>(request.changes_size());
    for (const pb::AccountChange& change : request.changes()) count += static_cast<size_t>(change.slots_size());
    Gate& gate = rpc_.root_changes();
    if (count > gate.max()) {
      return OverLimit("changes", absl::StrFormat("has %d accounts and slots, the limit is %d", count, gate.max()),
                       "max_root_changes");
    }
    ticket = gate.Enter(count);
    if (ticket) return absl::OkStatus();
    return NoRoom("as many changes are being worked on as limits.max_root_changes allows; try again later",
                  "max_root_changes");
  }
  template <typename Request, typename Response, typename Handler>
  Unary* OnReaders(Method method, Context* c, const ByteBuffer* in, ByteBuffer* out, Handler handler) {
    return RunOnPool<Request, Response>(rpc_, rpc_.readers(), method, c, in, out, std::move(handler));
  }
  template <typename Request, typename Response, typename Handler>
  Unary* ShortInline(Method method, Context* c, const ByteBuffer* in, ByteBuffer* out, Handler handler) {
    if (in->Length() > kShortRequest) return OnReaders<Request, Response>(method, c, in, out, std::move(handler));
    return RunInline<Request, Response>(rpc_, method, c, in, out, std::move(handler));
  }

  Rpc& rpc_;
  StateCalls& calls_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeStateService(Rpc& rpc) { return std::make_unique<StateServiceImpl>(rpc); }

}  // namespace mptd
