// The calls of a daemon that are measured, over one connection, as its own clients make them: generated stubs, one
// unary call after the other. Safe from any thread.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "bench/target.h"
#include "mptd/v1/admin.grpc.pb.h"
#include "mptd/v1/state.grpc.pb.h"

namespace mptd::bench {

class DaemonClient {
 public:
  // `address` as gRPC takes it: "unix:/path", "127.0.0.1:1234".
  explicit DaemonClient(const std::string& address);

  absl::StatusOr<v1::GetStatusResponse> GetStatus() const;
  absl::Status Flush() const;
  absl::Status RollbackTo(uint64_t number) const;
  absl::StatusOr<BlockReply> Apply(const v1::ApplyStateChangesRequest& request) const;
  absl::Status Read(const Address& address, const std::optional<Hash>& slot) const;
  absl::Status ReadMany(std::span<const Address> addresses) const;
  absl::StatusOr<size_t> Prove(const Address& address, const std::optional<Hash>& slot,
                               std::optional<uint64_t> number) const;
  absl::StatusOr<std::vector<Bytes>> ProofNodes(std::span<const ProofTargetSpec> targets) const;
  absl::StatusOr<Hash> ComputeRoot(const v1::ComputeStateRootRequest& request) const;

  // Waits until it accepts connections. False at the deadline.
  bool WaitForConnection(absl::Time deadline) const;

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::StateService::Stub> state_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
};

v1::ApplyStateChangesRequest ToRequest(const BlockChanges& block);
v1::ComputeStateRootRequest ToRequest(const std::vector<AccountChange>& changes);

}  // namespace mptd::bench
