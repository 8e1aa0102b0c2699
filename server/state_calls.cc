#include "server/state_calls.h"

#include <optional>
#include <utility>
#include <vector>

#include "core/engine/change_limits.h"
#include "core/errors.h"
#include "server/converters.h"

namespace mptd {
namespace {

void AddNodes(const std::vector<Bytes>& nodes, StateEvents::ProofSize& size) {
  size.nodes += nodes.size();
  for (const Bytes& node : nodes) size.bytes += node.size();
}

StateEvents::ProofSize SizeOf(const AccountProof& proof) {
  StateEvents::ProofSize size{.accounts = 1, .slots = proof.storage.size()};
  AddNodes(proof.proof, size);
  for (const StorageProof& slot : proof.storage) AddNodes(slot.proof, size);
  return size;
}

StateEvents::ProofSize SizeOf(const MultiProof& proof) {
  StateEvents::ProofSize size{.accounts = proof.entries.size()};
  for (const MultiProof::Entry& entry : proof.entries) size.slots += entry.values.size();
  AddNodes(proof.nodes, size);
  return size;
}

}  // namespace

void StateCalls::Fill(const BlockInfo& block, pb::Block* out) const {
  FillBlock(block, engine_.IsDurable(block.number), out);
}

absl::StatusOr<StateViewPtr> StateCalls::OpenView(const pb::BlockRef& ref, pb::Block* block) const {
  const absl::StatusOr<BlockSelector> selector = ToBlockSelector(ref);
  if (!selector.ok()) return selector.status();
  absl::StatusOr<StateViewPtr> view = engine_.View(*selector);
  if (view.ok()) Fill((*view)->block(), block);
  return view;
}

absl::Status StateCalls::ApplyStateChanges(const CallBounds& bounds, const pb::ApplyStateChangesRequest& request,
                                           pb::ApplyStateChangesResponse& response, BlockTimes& times) {
  const absl::Time begin = absl::Now();
  times.block = request.number();
  absl::StatusOr<BlockChanges> block = ToBlockChanges(request);
  if (!block.ok()) return block.status();
  times.validate = absl::Now() - begin;
  const StateEvents::Transition transition = events_.Begin(*block);
  const absl::StatusOr<ApplyResult> result = engine_.Apply(*std::move(block), bounds.deadline, bounds.cancelled);
  if (!result.ok()) {
    transition.Refused(result.status());
    return result.status();
  }
  transition.Applied(*result);
  times.engine = result->times;
  blocks_.Record(*result);
  FillApplyResult(*result, &response);
  return absl::OkStatus();
}

absl::Status StateCalls::ComputeStateRoot(const pb::ComputeStateRootRequest& request,
                                          pb::ComputeStateRootResponse& response) const {
  const absl::StatusOr<std::vector<AccountChange>> changes = ToAccountChanges(request.changes());
  if (!changes.ok()) return changes.status();
  // What no block may change, no dry run may either.
  if (absl::Status s = CheckChangeLimits(*changes, ChangeLimitsOf(engine_.limits())); !s.ok()) return s;
  const absl::StatusOr<StateViewPtr> view = OpenView(request.block(), response.mutable_block());
  if (!view.ok()) return view.status();
  const absl::StatusOr<Hash> root = (*view)->ComputeRoot(*changes, request.keep_empty_accounts());
  if (!root.ok()) return root.status();
  SetBytes(root->view(), response.mutable_state_root());
  return absl::OkStatus();
}

absl::Status StateCalls::RollbackTo(const pb::RollbackToRequest& request, pb::RollbackToResponse& response) {
  const absl::StatusOr<BlockSelector> selector = ToNamedBlock(request.has_block(), request.block());
  if (!selector.ok()) return selector.status();
  const absl::StatusOr<BlockInfo> block = engine_.RollbackTo(*selector);
  if (!block.ok()) return block.status();
  Fill(*block, response.mutable_block());
  return absl::OkStatus();
}

absl::Status StateCalls::GetAccount(const pb::GetAccountRequest& request, pb::GetAccountResponse& response) const {
  const absl::StatusOr<Address> address = ToAddress(request.address(), "address");
  if (!address.ok()) return address.status();
  const absl::StatusOr<StateViewPtr> view = OpenView(request.block(), response.mutable_block());
  if (!view.ok()) return view.status();
  const absl::StatusOr<std::optional<Account>> account = (*view)->GetAccount(*address);
  if (!account.ok()) return account.status();
  response.set_exists(account->has_value());
  if (account->has_value()) FillAccount(**account, response.mutable_account());
  return absl::OkStatus();
}

absl::Status StateCalls::GetAccounts(const pb::GetAccountsRequest& request, pb::GetAccountsResponse& response) const {
  const absl::StatusOr<std::vector<Address>> addresses =
      ToAddresses(request.addresses(), "addresses", limits_.accounts_per_read, "max_accounts_per_read");
  if (!addresses.ok()) return addresses.status();
  const absl::StatusOr<StateViewPtr> view = OpenView(request.block(), response.mutable_block());
  if (!view.ok()) return view.status();
  const absl::StatusOr<std::vector<std::optional<Account>>> accounts = (*view)->GetAccounts(*addresses);
  if (!accounts.ok()) return accounts.status();
  response.mutable_accounts()->Reserve(request.addresses_size());
  for (size_t i = 0; i < accounts->size(); ++i) {
    const std::optional<Account>& account = (*accounts)[i];
    pb::AccountEntry* entry = response.add_accounts();
    SetBytes((*addresses)[i].view(), entry->mutable_address());
    entry->set_exists(account.has_value());
    if (account.has_value()) FillAccount(*account, entry->mutable_account());
  }
  return absl::OkStatus();
}

absl::Status StateCalls::GetStorage(const pb::GetStorageRequest& request, pb::GetStorageResponse& response) const {
  const absl::StatusOr<Address> address = ToAddress(request.address(), "address");
  if (!address.ok()) return address.status();
  const absl::StatusOr<std::vector<Hash>> slots =
      ToSlots(request.slots(), "slots", limits_.slots_per_read, "max_slots_per_read");
  if (!slots.ok()) return slots.status();
  const absl::StatusOr<StateViewPtr> view = OpenView(request.block(), response.mutable_block());
  if (!view.ok()) return view.status();
  const absl::StatusOr<std::vector<U256>> values = (*view)->GetStorage(*address, *slots);
  if (!values.ok()) return values.status();
  response.mutable_values()->Reserve(request.slots_size());
  for (const U256& value : *values) SetBytes(value.minimal(), response.add_values());
  return absl::OkStatus();
}

absl::Status StateCalls::GetCode(const pb::GetCodeRequest& request, pb::GetCodeResponse& response) const {
  std::optional<Address> address;
  Hash code_hash;
  if (request.has_address()) {
    const absl::StatusOr<Address> parsed = ToAddress(request.address(), "address");
    if (!parsed.ok()) return parsed.status();
    address = *parsed;
  } else if (request.has_code_hash()) {
    const absl::StatusOr<Hash> parsed = ToHash(request.code_hash(), "code_hash");
    if (!parsed.ok()) return parsed.status();
    code_hash = *parsed;
  } else {
    return InvalidField("address", "either address or code_hash must be set");
  }
  const absl::StatusOr<StateViewPtr> view = OpenView(request.block(), response.mutable_block());
  if (!view.ok()) return view.status();
  if (address.has_value()) {
    const absl::StatusOr<std::optional<Account>> account = (*view)->GetAccount(*address);
    if (!account.ok()) return account.status();
    if (!account->has_value()) return absl::OkStatus();
    code_hash = (*account)->code_hash;
  }
  SetBytes(code_hash.view(), response.mutable_code_hash());
  response.set_exists(true);
  if (code_hash == kEmptyCodeHash) return absl::OkStatus();
  absl::StatusOr<std::optional<Bytes>> code = (*view)->GetCode(code_hash);
  if (!code.ok()) return code.status();
  response.set_exists(code->has_value());
  if (code->has_value()) response.set_code(**std::move(code));
  return absl::OkStatus();
}

absl::Status StateCalls::GetProof(const pb::GetProofRequest& request, pb::GetProofResponse& response) const {
  const absl::Time begin = absl::Now();
  const absl::StatusOr<Address> address = ToAddress(request.address(), "address");
  if (!address.ok()) return address.status();
  const absl::StatusOr<std::vector<Hash>> slots =
      ToSlots(request.slots(), "slots", limits_.proof_keys, "max_proof_keys");
  if (!slots.ok()) return slots.status();
  const absl::StatusOr<StateViewPtr> view = OpenView(request.block(), response.mutable_block());
  if (!view.ok()) return view.status();
  absl::StatusOr<AccountProof> proof = (*view)->GetProof(*address, *slots);
  if (!proof.ok()) return proof.status();
  bool exists = true;
  if (proof->account == Account{}) {  // absent, or kept although empty
    const absl::StatusOr<std::optional<Account>> account = (*view)->GetAccount(*address);
    if (!account.ok()) return account.status();
    exists = account->has_value();
  }
  events_.ProofGenerated(response.block().number(), SizeOf(*proof), absl::Now() - begin);
  events_.VerifyProof((*view)->block(), *proof);
  FillProof(*std::move(proof), exists, &response);
  return absl::OkStatus();
}

absl::Status StateCalls::GetMultiProof(const pb::GetMultiProofRequest& request,
                                       pb::GetMultiProofResponse& response) const {
  const absl::Time begin = absl::Now();
  const absl::StatusOr<std::vector<ProofTargetSpec>> targets = ToProofTargets(request.targets(), limits_.proof_keys);
  if (!targets.ok()) return targets.status();
  const absl::StatusOr<StateViewPtr> view = OpenView(request.block(), response.mutable_block());
  if (!view.ok()) return view.status();
  absl::StatusOr<MultiProof> proof = (*view)->GetMultiProof(*targets);
  if (!proof.ok()) return proof.status();
  events_.ProofGenerated(response.block().number(), SizeOf(*proof), absl::Now() - begin);
  events_.VerifyProof((*view)->block(), *targets, *proof);
  FillMultiProof(*std::move(proof), &response);
  return absl::OkStatus();
}

absl::Status StateCalls::GetStateRoot(const pb::GetStateRootRequest& request,
                                      pb::GetStateRootResponse& response) const {
  return OpenView(request.block(), response.mutable_block()).status();
}

absl::Status StateCalls::GetBlock(const pb::GetBlockRequest& request, pb::GetBlockResponse& response) const {
  return OpenView(request.block(), response.mutable_block()).status();
}

}  // namespace mptd
