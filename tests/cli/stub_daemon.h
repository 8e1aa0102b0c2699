// A daemon with canned answers, in the test's process. It applies nothing; it writes down what it was asked.
// The fields are set before a call and read after it, with HandOver() between; handlers run on gRPC's threads.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "mptd/v1/admin.grpc.pb.h"
#include "mptd/v1/state.grpc.pb.h"

namespace mptd::cli {

// A block whose hash is `number` and whose root is `number` + 0x80 in the last byte.
v1::Block StubBlock(uint64_t number);
// The one account that exists: nonce 7, 1.5 ether, code and storage.
std::string StubAddress();
v1::Account StubAccount();

class StubState final : public v1::StateService::Service {
 public:
  mutable std::mutex mutex;             // held by every handler of both services
  uint64_t head = 10;                   // blocks 0 to head are served
  grpc::Status refuse;                  // when not OK, the answer of every call
  uint64_t refuse_from = ~uint64_t{0};  // applying this block and later ones is refused
  int listed = 25;                      // accounts and slots in a listing
  v1::GetProofResponse proof;
  std::string computed_root = std::string(32, '\x42');

  std::vector<v1::ApplyStateChangesRequest> applied;
  v1::BlockRef asked_block;
  std::string asked;  // the last request, as text
  v1::StreamBlocksRequest asked_blocks;
  int pages_sent = 0;

  template <typename T>
  using Stream = grpc::ServerWriter<T>;
  using Context = grpc::ServerContext;

  grpc::Status GetBlock(Context*, const v1::GetBlockRequest*, v1::GetBlockResponse*) override;
  grpc::Status GetStateRoot(Context*, const v1::GetStateRootRequest*, v1::GetStateRootResponse*) override;
  grpc::Status GetAccount(Context*, const v1::GetAccountRequest*, v1::GetAccountResponse*) override;
  grpc::Status GetAccounts(Context*, const v1::GetAccountsRequest*, v1::GetAccountsResponse*) override;
  grpc::Status GetStorage(Context*, const v1::GetStorageRequest*, v1::GetStorageResponse*) override;
  grpc::Status GetCode(Context*, const v1::GetCodeRequest*, v1::GetCodeResponse*) override;
  grpc::Status GetProof(Context*, const v1::GetProofRequest*, v1::GetProofResponse*) override;
  grpc::Status GetMultiProof(Context*, const v1::GetMultiProofRequest*, v1::GetMultiProofResponse*) override;
  grpc::Status StreamBlocks(Context*, const v1::StreamBlocksRequest*, Stream<v1::StreamBlocksResponse>*) override;
  grpc::Status StreamAccounts(Context*, const v1::StreamAccountsRequest*, Stream<v1::StreamAccountsResponse>*) override;
  grpc::Status StreamStorage(Context*, const v1::StreamStorageRequest*, Stream<v1::StreamStorageResponse>*) override;
  grpc::Status ApplyStateChanges(Context*, const v1::ApplyStateChangesRequest*,
                                 v1::ApplyStateChangesResponse*) override;
  grpc::Status ApplyStateChangesStream(
      Context*,
      grpc::ServerReaderWriter<v1::ApplyStateChangesStreamResponse, v1::ApplyStateChangesStreamRequest>*) override;
  grpc::Status ComputeStateRoot(Context*, const v1::ComputeStateRootRequest*, v1::ComputeStateRootResponse*) override;
  grpc::Status RollbackTo(Context*, const v1::RollbackToRequest*, v1::RollbackToResponse*) override;

 private:
  // Fills in the block that `ref` names; NOT_FOUND or OUT_OF_RANGE when there is none.
  grpc::Status Find(const v1::BlockRef& ref, v1::Block& out);
  grpc::Status Apply(const v1::ApplyStateChangesRequest& request, v1::ApplyStateChangesResponse& out);
};

class StubAdmin final : public v1::AdminService::Service {
 public:
  explicit StubAdmin(const StubState& state) : state_(state) {}

  bool has_blocks = true;
  bool whole = true;  // what Verify finds
  v1::ReloadConfigResponse reloaded;
  std::string settings_problems;  // what ReloadConfig refuses
  std::string asked;

  using Context = grpc::ServerContext;
  grpc::Status GetStatus(Context*, const v1::GetStatusRequest*, v1::GetStatusResponse*) override;
  grpc::Status Flush(Context*, const v1::FlushRequest*, v1::FlushResponse*) override;
  grpc::Status Checkpoint(Context*, const v1::CheckpointRequest*, v1::CheckpointResponse*) override;
  grpc::Status Prune(Context*, const v1::PruneRequest*, v1::PruneResponse*) override;
  grpc::Status Verify(Context*, const v1::VerifyRequest*, grpc::ServerWriter<v1::VerifyResponse>*) override;
  grpc::Status SetLogLevel(Context*, const v1::SetLogLevelRequest*, v1::SetLogLevelResponse*) override;
  grpc::Status GetConfig(Context*, const v1::GetConfigRequest*, v1::GetConfigResponse*) override;
  grpc::Status ReloadConfig(Context*, const v1::ReloadConfigRequest*, v1::ReloadConfigResponse*) override;
  grpc::Status RotateKeys(Context*, const v1::RotateKeysRequest*, v1::RotateKeysResponse*) override;
  grpc::Status GetMetrics(Context*, const v1::GetMetricsRequest*, v1::GetMetricsResponse*) override;

 private:
  const StubState& state_;
};

// Listens on a free port of this machine until the end of its life.
class StubDaemon {
 public:
  StubDaemon();
  ~StubDaemon();
  const std::string& address() const { return address_; }
  void SetServing(bool serving);
  // Waits for handlers that still run, and orders their accesses with the test's.
  void HandOver();

  StubState state;
  StubAdmin admin{state};

 private:
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace mptd::cli
