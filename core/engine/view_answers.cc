// What views answer to those outside the engine. An answer that damaged data does not allow is told to the engine, too.
#include "core/engine/view_impl.h"

namespace mptd {

absl::StatusOr<std::optional<Account>> ViewImpl::GetAccount(const Address& address) const {
  return store_->damage.Tell(FindAccount(address));
}

absl::StatusOr<std::vector<std::optional<Account>>> ViewImpl::GetAccounts(std::span<const Address> addresses) const {
  return store_->damage.Tell(FindAccounts(addresses));
}

absl::StatusOr<std::vector<U256>> ViewImpl::GetStorage(const Address& address, std::span<const Hash> slots) const {
  return store_->damage.Tell(FindSlots(address, slots));
}

absl::StatusOr<std::optional<Bytes>> ViewImpl::GetCode(const Hash& code_hash) const {
  return store_->damage.Tell(FindCode(code_hash));
}

absl::StatusOr<AccountProof> ViewImpl::GetProof(const Address& address, std::span<const Hash> slots) const {
  return store_->damage.Tell(ProveAccount(address, slots));
}

absl::StatusOr<MultiProof> ViewImpl::GetMultiProof(std::span<const ProofTargetSpec> targets) const {
  return store_->damage.Tell(ProveAll(targets));
}

absl::StatusOr<Page<HashedAccount>> ViewImpl::ScanAccounts(const Hash& start, size_t limit) const {
  return store_->damage.Tell(PageOfAccounts(start, limit));
}

absl::StatusOr<Page<HashedSlot>> ViewImpl::ScanStorage(const Address& address, const Hash& start, size_t limit) const {
  return store_->damage.Tell(PageOfSlots(address, start, limit));
}

absl::StatusOr<Hash> ViewImpl::ComputeRoot(std::span<const AccountChange> changes, bool keep_empty_accounts) const {
  return store_->damage.Tell(RootWith(changes, keep_empty_accounts));
}

}  // namespace mptd
