// What clients send, as protobuf, through the converters and into an engine, and what it answers. Inputs are Sessions
// (requests.proto) and are mutated as such; the engine begins each of them at the same block.
#include <memory>

#include "core/hex.h"
#include "core/keccak.h"
#include "core/proof_verifier.h"
#include "metrics/log.h"
#include "requests.pb.h"
#include "server/block_metrics.h"
#include "server/state_calls.h"
#include "server/state_events.h"
#include "server/status_mapping.h"
#include "tests/fuzz/fuzzing.h"
#include "tests/fuzz/message_mutator.h"
#include "tests/fuzz/small_world.h"

namespace mptd::fuzz {
namespace {

constexpr int kMostCalls = 24;
// Clients take 8 KiB of metadata by default.
constexpr size_t kMostDetails = 8192;

// Codes that a caller can bring about. All others would be faults of the daemon.
bool IsAnswer(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kNotFound:
      return true;
    default:
      return false;
  }
}

class Server {
 public:
  explicit Server(SmallWorld& world)
      : world_(world),
        engine_(world.engine()),
        events_(engine_, *log_),
        calls_(engine_, blocks_, events_),
        start_(engine_.Status().head) {}

  void Run(const Session& session) {
    int left = kMostCalls;
    for (const Call& call : session.calls()) {
      if (left-- == 0) break;
      Dispatch(call);
    }
    if (engine_.Status().head != start_) world_.Restore();
    Require(engine_.Status().head == start_);
  }

 private:
  void Answered(const absl::Status& status) {
    Require(IsAnswer(status));
    Require(ToGrpcStatus(status).error_details().size() < kMostDetails);
  }

  void Dispatch(const Call& call) {
    switch (call.request_case()) {
      case Call::kApply:
        return Apply(call);
      case Call::kProof:
        return Proof(call.proof());
      case Call::kComputeRoot:
        return Ask(&StateCalls::ComputeStateRoot, call.compute_root());
      case Call::kAccount:
        return Ask(&StateCalls::GetAccount, call.account());
      case Call::kAccounts:
        return Ask(&StateCalls::GetAccounts, call.accounts());
      case Call::kStorage:
        return Ask(&StateCalls::GetStorage, call.storage());
      case Call::kCode:
        return Ask(&StateCalls::GetCode, call.code());
      case Call::kMultiProof:
        return Ask(&StateCalls::GetMultiProof, call.multi_proof());
      case Call::kBlock:
        return Ask(&StateCalls::GetBlock, call.block());
      case Call::kRollBack: {
        pb::RollbackToResponse response;
        return Answered(calls_.RollbackTo(call.roll_back(), response));
      }
      case Call::REQUEST_NOT_SET:
        return;
    }
  }

  template <typename Request, typename Response>
  void Ask(absl::Status (StateCalls::*method)(const Request&, Response&) const, const Request& request) {
    Response response;
    Answered((calls_.*method)(request, response));
  }

  void Proof(const pb::GetProofRequest& request) {
    pb::GetProofResponse response;
    const absl::Status status = calls_.GetProof(request, response);
    Answered(status);
    if (!status.ok()) return;
    AccountProof proof;
    proof.address = Address::FromView(response.address());
    proof.account = {.nonce = response.nonce(),
                     .balance = U256::FromPadded(response.balance()),
                     .storage_root = Hash::FromView(response.storage_root()),
                     .code_hash = Hash::FromView(response.code_hash())};
    proof.proof.assign(response.account_proof().begin(), response.account_proof().end());
    for (const pb::StorageProof& slot : response.storage_proofs()) {
      proof.storage.push_back({.key = Hash::FromView(slot.key()),
                               .value = U256::FromPadded(slot.value()),
                               .proof = {slot.proof().begin(), slot.proof().end()}});
    }
    Require(VerifyAccountProof(Hash::FromView(response.block().state_root()), proof).ok());
  }

  // The dry run says the same as the block, and what is refused has changed nothing.
  void Apply(const Call& call) {
    pb::ApplyStateChangesRequest request = call.apply();
    const BlockInfo head = engine_.Status().head;
    if (call.on_head()) {
      request.set_number(head.number + 1);
      request.set_parent_hash(head.hash.has_value() ? std::string(head.hash->view()) : "");
      request.clear_parent_root();
      request.clear_expected_root();
      request.clear_reorganize();
      request.set_hash(std::string(Keccak256(std::to_string(++made_)).view()));
    }
    pb::ComputeStateRootRequest dry;
    *dry.mutable_changes() = request.changes();
    dry.set_keep_empty_accounts(request.keep_empty_accounts());
    pb::ComputeStateRootResponse root;
    const absl::Status dry_status = calls_.ComputeStateRoot(dry, root);
    Answered(dry_status);

    pb::ApplyStateChangesResponse response;
    BlockTimes times;
    const absl::Status status = calls_.ApplyStateChanges({}, request, response, times);
    Answered(status);
    if (!status.ok()) {
      Require(engine_.Status().head == head);
    } else if (call.on_head()) {
      Require(dry_status.ok() && response.block().state_root() == root.state_root());
    }
    if (call.on_head()) Require(status.ok() == dry_status.ok());
  }

  SmallWorld& world_;
  StateEngine& engine_;
  const std::unique_ptr<Logger> log_ = Logger::Silent();
  BlockMetrics blocks_;
  StateEvents events_;
  StateCalls calls_;
  const BlockInfo start_;
  uint64_t made_ = 0;
};

Server& TheServer() {
  static SmallWorld world;
  static Server server(world);
  return server;
}

}  // namespace
}  // namespace mptd::fuzz

// The engine stays from one input to the next, and its history marks its pointers with bits, so that the leak detector
// does not know them again.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mptd::fuzz::Session session;
  if (session.ParseFromArray(data, static_cast<int>(size))) mptd::fuzz::TheServer().Run(session);
  return 0;
}

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned int seed) {
  mptd::fuzz::Session session;
  // Now and then as bytes: what is not quite a message is to be tried, too.
  if (seed % 16 == 0 || !session.ParseFromArray(data, static_cast<int>(size))) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  mptd::fuzz::MessageMutator mutator(seed, mptd::fuzz::SmallWorld::KnownBytes());
  for (unsigned int i = 0; i <= seed / 16 % 4; ++i) mutator.Mutate(session);
  if (session.ByteSizeLong() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  session.SerializeWithCachedSizesToArray(data);
  return static_cast<size_t>(session.GetCachedSize());
}
