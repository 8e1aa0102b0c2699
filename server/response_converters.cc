#include <algorithm>

#include "server/converters.h"

namespace mptd {

void FillBlock(const BlockInfo& block, bool durable, pb::Block* out) {
  out->set_number(block.number);
  if (block.hash.has_value()) SetBytes(block.hash->view(), out->mutable_hash());
  if (block.parent_hash.has_value()) SetBytes(block.parent_hash->view(), out->mutable_parent_hash());
  SetBytes(block.state_root.view(), out->mutable_state_root());
  out->set_durable(durable);
}

void FillAccount(const Account& account, pb::Account* out) {
  out->set_nonce(account.nonce);
  SetBytes(account.balance.minimal(), out->mutable_balance());
  SetBytes(account.storage_root.view(), out->mutable_storage_root());
  SetBytes(account.code_hash.view(), out->mutable_code_hash());
}

void FillApplyResult(const ApplyResult& result, pb::ApplyStateChangesResponse* out) {
  FillBlock(result.block, result.durable, out->mutable_block());
  out->set_durable_number(result.durable_number);
  out->set_already_applied(result.already_applied);
  out->set_accounts_changed(result.accounts_changed);
  out->set_slots_changed(result.slots_changed);
  out->set_nodes_hashed(result.nodes_hashed);
}

void FillProof(AccountProof&& proof, bool exists, pb::GetProofResponse* out) {
  SetBytes(proof.address.view(), out->mutable_address());
  out->mutable_account_proof()->Reserve(static_cast<int>(proof.proof.size()));
  for (Bytes& node : proof.proof) *out->add_account_proof() = std::move(node);
  out->set_nonce(proof.account.nonce);
  SetBytes(proof.account.balance.minimal(), out->mutable_balance());
  SetBytes(proof.account.storage_root.view(), out->mutable_storage_root());
  SetBytes(proof.account.code_hash.view(), out->mutable_code_hash());
  out->mutable_storage_proofs()->Reserve(static_cast<int>(proof.storage.size()));
  for (StorageProof& slot : proof.storage) {
    pb::StorageProof* to = out->add_storage_proofs();
    SetBytes(slot.key.view(), to->mutable_key());
    SetBytes(slot.value.minimal(), to->mutable_value());
    to->mutable_proof()->Reserve(static_cast<int>(slot.proof.size()));
    for (Bytes& node : slot.proof) *to->add_proof() = std::move(node);
  }
  out->set_exists(exists);
}

void FillMultiProof(MultiProof&& proof, pb::GetMultiProofResponse* out) {
  out->mutable_nodes()->Reserve(static_cast<int>(proof.nodes.size()));
  for (Bytes& node : proof.nodes) *out->add_nodes() = std::move(node);
  out->mutable_accounts()->Reserve(static_cast<int>(proof.entries.size()));
  for (const MultiProof::Entry& entry : proof.entries) {
    pb::MultiProofAccount* to = out->add_accounts();
    SetBytes(entry.address.view(), to->mutable_address());
    to->set_exists(entry.account.has_value());
    if (entry.account.has_value()) FillAccount(*entry.account, to->mutable_account());
    for (const U256& value : entry.values) SetBytes(value.minimal(), to->add_values());
  }
}

void FillStatus(const EngineStatus& status, bool head_durable, const DaemonFacts& facts, pb::GetStatusResponse* out) {
  if (status.has_blocks) FillBlock(status.head, head_durable, out->mutable_head());
  out->set_durable_number(status.durable_number);
  out->set_flushed_number(status.flushed_number);
  out->set_oldest_served_number(status.oldest_served_number);
  out->set_has_blocks(status.has_blocks);
  out->set_read_only(status.read_only);
  out->set_read_only_reason(status.read_only_reason);
  out->set_version(facts.version);
  out->set_persistence_mode(facts.persistence_mode);
  out->set_uptime_seconds(static_cast<uint64_t>(std::max<int64_t>(absl::ToInt64Seconds(facts.uptime), 0)));
  out->set_queue_blocks(status.queue_blocks);
  out->set_queue_bytes(status.queue_bytes);
  out->set_disk_bytes(status.disk_bytes);
  out->set_node_cache_bytes(status.node_cache_bytes);
  out->set_row_cache_bytes(status.row_cache_bytes);
  out->set_change_log_bytes(status.change_log_bytes);
  out->set_format_version(status.format_version);
  if (status.genesis_root.has_value()) SetBytes(status.genesis_root->view(), out->mutable_genesis_root());
}

void FillHealth(const std::vector<HealthReport>& reports, pb::GetStatusResponse* out) {
  const auto seconds = [](absl::Time time) { return time == absl::InfinitePast() ? 0 : absl::ToUnixSeconds(time); };
  out->set_health_level(static_cast<uint32_t>(WorstLevel(reports)));
  for (const HealthReport& report : reports) {
    pb::HealthCheck* check = out->add_health_checks();
    check->set_name(report.name);
    check->set_state(std::string(Name(report.state)));
    check->set_level(static_cast<uint32_t>(report.level));
    check->set_reason(report.reason);
    check->set_last_check_seconds(seconds(report.last_check));
    check->set_last_failure_seconds(seconds(report.last_failure));
    check->set_failures(report.failures);
    check->set_average_latency_seconds(absl::ToDoubleSeconds(report.average_latency));
  }
}

}  // namespace mptd
