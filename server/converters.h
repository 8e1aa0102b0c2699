// Between the messages of proto/mptd/v1 and the engine's types. Protobuf stops here: what is malformed is refused with
// INVALID_ARGUMENT and the field's path, what passes has the right lengths. Pure functions; safe from any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/engine/block.h"
#include "core/engine/engine.h"
#include "core/engine/state_view.h"
#include "core/proof_verifier.h"
#include "core/types.h"
#include "mptd/v1/admin.pb.h"
#include "mptd/v1/state.pb.h"
#include "server/health_monitor.h"

namespace mptd {

namespace pb = ::mptd::v1;

// --- Requests. `path` is the field that an error names, `limit` the key of `max` (server/caller_limits.h).

absl::StatusOr<Address> ToAddress(BytesView bytes, std::string_view path);
absl::StatusOr<Hash> ToHash(BytesView bytes, std::string_view path);
// At most 32 bytes, without leading zeros.
absl::StatusOr<U256> ToQuantity(BytesView bytes, std::string_view path);
// Empty means absent.
absl::StatusOr<std::optional<Hash>> ToOptionalHash(BytesView bytes, std::string_view path);

// An unset reference means the latest block. Paths start with "block".
absl::StatusOr<BlockSelector> ToBlockSelector(const pb::BlockRef& ref);
// As above, for calls that need one to be named.
absl::StatusOr<BlockSelector> ToNamedBlock(bool present, const pb::BlockRef& ref);

// Checks each field by itself; that no account or slot occurs twice is for the engine to say.
absl::StatusOr<BlockChanges> ToBlockChanges(const pb::ApplyStateChangesRequest& request);
absl::StatusOr<std::vector<AccountChange>> ToAccountChanges(
    const google::protobuf::RepeatedPtrField<pb::AccountChange>& changes);

absl::StatusOr<std::vector<Address>> ToAddresses(const google::protobuf::RepeatedPtrField<std::string>& addresses,
                                                 std::string_view path, size_t max, std::string_view limit);
absl::StatusOr<std::vector<Hash>> ToSlots(const google::protobuf::RepeatedPtrField<std::string>& slots,
                                          std::string_view path, size_t max, std::string_view limit);
// At most `max_keys` accounts and slots together.
absl::StatusOr<std::vector<ProofTargetSpec>> ToProofTargets(
    const google::protobuf::RepeatedPtrField<pb::ProofTarget>& targets, size_t max_keys);
// 0 is `by_default`, or `max` when that is less.
absl::StatusOr<size_t> ToPageSize(uint32_t page_size, size_t by_default, size_t max);

// --- Responses. `out` must be new or cleared.

void FillBlock(const BlockInfo& block, bool durable, pb::Block* out);
void FillAccount(const Account& account, pb::Account* out);
void FillApplyResult(const ApplyResult& result, pb::ApplyStateChangesResponse* out);
// The block is not filled in. `exists` says whether the account is there.
void FillProof(AccountProof&& proof, bool exists, pb::GetProofResponse* out);
void FillMultiProof(MultiProof&& proof, pb::GetMultiProofResponse* out);

// What the engine itself does not know of the daemon's state.
struct DaemonFacts {
  std::string version;
  std::string persistence_mode;
  absl::Duration uptime;
};
void FillStatus(const EngineStatus& status, bool head_durable, const DaemonFacts& facts, pb::GetStatusResponse* out);

void FillHealth(const std::vector<HealthReport>& reports, pb::GetStatusResponse* out);

// Protobuf's `bytes` from a view.
inline void SetBytes(BytesView bytes, std::string* out) { out->assign(bytes.data(), bytes.size()); }

}  // namespace mptd
