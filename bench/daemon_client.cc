#include "bench/daemon_client.h"

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "grpcpp/grpcpp.h"

namespace mptd::bench {
namespace {

absl::Status ToStatus(const grpc::Status& status) {
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}

std::string ToString(BytesView bytes) { return std::string(bytes); }

void FillChange(const AccountChange& from, v1::AccountChange& to) {
  to.set_address(ToString(from.address.view()));
  to.set_delete_(from.remove);
  to.set_reset_storage(from.reset_storage);
  if (from.nonce) to.set_nonce(*from.nonce);
  if (from.balance) to.set_balance(ToString(from.balance->minimal()));
  if (from.code) to.set_code(*from.code);
  for (const SlotChange& slot : from.slots) {
    v1::SlotChange& out = *to.add_slots();
    out.set_key(ToString(slot.key.view()));
    out.set_value(ToString(slot.value.minimal()));
  }
}

absl::Status NotThere() { return absl::NotFoundError("an account that was written is not there"); }

}  // namespace

DaemonClient::DaemonClient(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  // A connection of this client's own, that no earlier client of the same address has used.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 20);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 20);
  channel_ = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  state_ = v1::StateService::NewStub(channel_);
  admin_ = v1::AdminService::NewStub(channel_);
}

bool DaemonClient::WaitForConnection(absl::Time deadline) const {
  return channel_->WaitForConnected(absl::ToChronoTime(deadline));
}

absl::StatusOr<v1::GetStatusResponse> DaemonClient::GetStatus() const {
  grpc::ClientContext context;
  v1::GetStatusResponse response;
  const grpc::Status status = admin_->GetStatus(&context, {}, &response);
  if (!status.ok()) return ToStatus(status);
  return response;
}

absl::Status DaemonClient::Flush() const {
  grpc::ClientContext context;
  v1::FlushResponse response;
  return ToStatus(admin_->Flush(&context, {}, &response));
}

absl::Status DaemonClient::RollbackTo(uint64_t number) const {
  grpc::ClientContext context;
  v1::RollbackToRequest request;
  request.mutable_block()->set_number(number);
  v1::RollbackToResponse response;
  return ToStatus(state_->RollbackTo(&context, request, &response));
}

absl::StatusOr<BlockReply> DaemonClient::Apply(const v1::ApplyStateChangesRequest& request) const {
  grpc::ClientContext context;
  v1::ApplyStateChangesResponse response;
  const grpc::Status status = state_->ApplyStateChanges(&context, request, &response);
  if (!status.ok()) return ToStatus(status);
  if (response.block().state_root().size() != Hash::kSize) return absl::InternalError("the answer has no state root");
  return BlockReply{Hash::FromView(response.block().state_root()), response.nodes_hashed(), {}};
}

absl::Status DaemonClient::Read(const Address& address, const std::optional<Hash>& slot) const {
  grpc::ClientContext context;
  if (slot) {
    v1::GetStorageRequest request;
    request.set_address(ToString(address.view()));
    request.add_slots(ToString(slot->view()));
    v1::GetStorageResponse response;
    return ToStatus(state_->GetStorage(&context, request, &response));
  }
  v1::GetAccountRequest request;
  request.set_address(ToString(address.view()));
  v1::GetAccountResponse response;
  const grpc::Status status = state_->GetAccount(&context, request, &response);
  if (!status.ok()) return ToStatus(status);
  return response.exists() ? absl::OkStatus() : NotThere();
}

absl::Status DaemonClient::ReadMany(std::span<const Address> addresses) const {
  grpc::ClientContext context;
  v1::GetAccountsRequest request;
  for (const Address& address : addresses) request.add_addresses(ToString(address.view()));
  v1::GetAccountsResponse response;
  const grpc::Status status = state_->GetAccounts(&context, request, &response);
  if (!status.ok()) return ToStatus(status);
  for (const v1::AccountEntry& entry : response.accounts()) {
    if (!entry.exists()) return NotThere();
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> DaemonClient::Prove(const Address& address, const std::optional<Hash>& slot,
                                           std::optional<uint64_t> number) const {
  grpc::ClientContext context;
  v1::GetProofRequest request;
  request.set_address(ToString(address.view()));
  if (slot) request.add_slots(ToString(slot->view()));
  if (number) request.mutable_block()->set_number(*number);
  v1::GetProofResponse response;
  const grpc::Status status = state_->GetProof(&context, request, &response);
  if (!status.ok()) return ToStatus(status);
  size_t nodes = static_cast<size_t>(response.account_proof_size());
  for (const v1::StorageProof& storage : response.storage_proofs()) nodes += static_cast<size_t>(storage.proof_size());
  return nodes;
}

absl::StatusOr<std::vector<Bytes>> DaemonClient::ProofNodes(std::span<const ProofTargetSpec> targets) const {
  grpc::ClientContext context;
  v1::GetMultiProofRequest request;
  for (const ProofTargetSpec& target : targets) {
    v1::ProofTarget& out = *request.add_targets();
    out.set_address(ToString(target.address.view()));
    for (const Hash& slot : target.slots) out.add_slots(ToString(slot.view()));
  }
  v1::GetMultiProofResponse response;
  const grpc::Status status = state_->GetMultiProof(&context, request, &response);
  if (!status.ok()) return ToStatus(status);
  return std::vector<Bytes>(response.nodes().begin(), response.nodes().end());
}

absl::StatusOr<Hash> DaemonClient::ComputeRoot(const v1::ComputeStateRootRequest& request) const {
  grpc::ClientContext context;
  v1::ComputeStateRootResponse response;
  const grpc::Status status = state_->ComputeStateRoot(&context, request, &response);
  if (!status.ok()) return ToStatus(status);
  if (response.state_root().size() != Hash::kSize) return absl::InternalError("the answer has no state root");
  return Hash::FromView(response.state_root());
}

v1::ApplyStateChangesRequest ToRequest(const BlockChanges& block) {
  v1::ApplyStateChangesRequest out;
  out.set_number(block.number);
  if (block.hash) out.set_hash(ToString(block.hash->view()));
  if (block.parent_hash) out.set_parent_hash(ToString(block.parent_hash->view()));
  out.set_keep_empty_accounts(block.keep_empty_accounts);
  for (const AccountChange& change : block.changes) FillChange(change, *out.add_changes());
  return out;
}

v1::ComputeStateRootRequest ToRequest(const std::vector<AccountChange>& changes) {
  v1::ComputeStateRootRequest out;
  for (const AccountChange& change : changes) FillChange(change, *out.add_changes());
  return out;
}

}  // namespace mptd::bench
