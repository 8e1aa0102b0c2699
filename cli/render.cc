#include "cli/render.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/values.h"
#include "core/hex.h"

namespace mptd::cli {

Json HexOrNull(const std::string& bytes) { return bytes.empty() ? Json(nullptr) : Json(ToHex(bytes)); }

std::string HexOrDash(const std::string& bytes) { return bytes.empty() ? "-" : ToHex(bytes); }

Json BlockJson(const v1::Block& block) {
  return {{"number", block.number()},
          {"hash", HexOrNull(block.hash())},
          {"parent_hash", HexOrNull(block.parent_hash())},
          {"state_root", HexOrNull(block.state_root())},
          {"durable", block.durable()}};
}

std::string BlockLine(const v1::Block& block) {
  return absl::StrCat("block ", block.number(), block.hash().empty() ? "" : " " + ToHex(block.hash()));
}

Fields BlockFields(const v1::Block& block) {
  return {{"number", absl::StrCat(block.number())},
          {"hash", HexOrDash(block.hash())},
          {"parent hash", HexOrDash(block.parent_hash())},
          {"state root", HexOrDash(block.state_root())},
          {"durable", block.durable() ? "yes" : "no"}};
}

Json AccountJson(const std::string& address, bool exists, const v1::Account& account) {
  Json out = {{"address", ToHex(address)}, {"exists", exists}};
  if (exists) AddAccountJson(account, out);
  return out;
}

void AddAccountJson(const v1::Account& account, Json& out) {
  out["nonce"] = ToHexQuantity(U256::FromUint64(account.nonce()));
  out["balance"] = QuantityHex(account.balance());
  out["storage_root"] = HexOrNull(account.storage_root());
  out["code_hash"] = HexOrNull(account.code_hash());
}

Fields AccountFields(const std::string& address, bool exists, const v1::Account& account) {
  if (!exists) return {{"address", ToHex(address)}, {"exists", "no"}};
  const bool has_code = account.code_hash() != kEmptyCodeHash.view();
  const bool has_storage = account.storage_root() != kEmptyRoot.view();
  return {{"address", ToHex(address)},
          {"nonce", absl::StrCat(account.nonce())},
          {"balance", BalanceText(account.balance())},
          {"storage root", HexOrDash(account.storage_root()) + (has_storage ? "" : " (no storage)")},
          {"code hash", HexOrDash(account.code_hash()) + (has_code ? "" : " (no code)")}};
}

Json ApplyJson(const v1::ApplyStateChangesResponse& result) {
  Json out = BlockJson(result.block());
  out["durable_number"] = result.durable_number();
  out["already_applied"] = result.already_applied();
  out["accounts_changed"] = result.accounts_changed();
  out["slots_changed"] = result.slots_changed();
  out["nodes_hashed"] = result.nodes_hashed();
  return out;
}

namespace {

Json HealthJson(const v1::GetStatusResponse& status) {
  Json out = {{"level", status.health_level()}, {"checks", Json::array()}};
  for (const v1::HealthCheck& check : status.health_checks()) {
    out["checks"].push_back(
        {{"name", check.name()}, {"state", check.state()}, {"level", check.level()}, {"reason", check.reason()}});
  }
  return out;
}

// The checks that are not healthy, with their reasons.
std::string HealthText(const v1::GetStatusResponse& status) {
  std::string out;
  for (const v1::HealthCheck& check : status.health_checks()) {
    if (check.reason().empty()) continue;
    absl::StrAppend(&out, out.empty() ? "" : "; ", check.name(), " ", check.state(), ": ", OneLine(check.reason()));
  }
  return out.empty() ? "healthy" : absl::StrFormat("level %d of 3: %s", status.health_level(), out);
}

}  // namespace

Json StatusJson(const v1::GetStatusResponse& status) {
  Json out;
  out["version"] = status.version();
  out["format_version"] = status.format_version();
  out["has_blocks"] = status.has_blocks();
  out["head"] = status.has_blocks() ? BlockJson(status.head()) : Json(nullptr);
  out["durable_number"] = status.durable_number();
  out["flushed_number"] = status.flushed_number();
  out["oldest_served_number"] = status.oldest_served_number();
  out["read_only"] = status.read_only();
  out["read_only_reason"] = status.read_only_reason();
  out["persistence_mode"] = status.persistence_mode();
  out["uptime_seconds"] = status.uptime_seconds();
  out["queue_blocks"] = status.queue_blocks();
  out["queue_bytes"] = status.queue_bytes();
  out["disk_bytes"] = status.disk_bytes();
  out["node_cache_bytes"] = status.node_cache_bytes();
  out["row_cache_bytes"] = status.row_cache_bytes();
  out["change_log_bytes"] = status.change_log_bytes();
  out["genesis_root"] = HexOrNull(status.genesis_root());
  out["audit_lines"] = status.audit_lines();
  out["audit_head"] = status.audit_head().empty() ? Json(nullptr) : Json(status.audit_head());
  if (status.health_checks_size() != 0) out["health"] = HealthJson(status);
  return out;
}

Fields StatusFields(const std::string& server, const v1::GetStatusResponse& status) {
  Fields out = {{"server", absl::StrFormat("%s, mptd %s, format %d, up %s", server, status.version(),
                                           status.format_version(), UptimeText(status.uptime_seconds()))}};
  // An older daemon says nothing of its checks.
  if (status.health_checks_size() != 0) out.emplace_back("health", HealthText(status));
  if (status.read_only()) out.emplace_back("read-only", "yes: " + OneLine(status.read_only_reason()));
  if (!status.has_blocks()) {
    out.emplace_back("head", "none yet; apply a genesis or a first block (mptctl import FILE)");
  } else {
    out.emplace_back("head", absl::StrCat(status.head().number()));
    out.emplace_back("head hash", HexOrDash(status.head().hash()));
    out.emplace_back("state root", HexOrDash(status.head().state_root()));
    out.emplace_back("served", absl::StrCat("blocks ", status.oldest_served_number(), " to ", status.head().number()));
    out.emplace_back("durable", absl::StrCat("up to block ", status.durable_number()));
    out.emplace_back("flushed", absl::StrCat("up to block ", status.flushed_number()));
    if (!status.genesis_root().empty()) out.emplace_back("genesis root", ToHex(status.genesis_root()));
  }
  out.emplace_back("persistence", status.persistence_mode());
  out.emplace_back("queue", absl::StrCat(status.queue_blocks(), " blocks, ", SizeText(status.queue_bytes())));
  out.emplace_back("disk", absl::StrCat(SizeText(status.disk_bytes()), ", of which change log ",
                                        SizeText(status.change_log_bytes())));
  out.emplace_back("caches", absl::StrCat("nodes ", SizeText(status.node_cache_bytes()), ", rows ",
                                          SizeText(status.row_cache_bytes())));
  if (!status.audit_head().empty()) {
    out.emplace_back("audit log", absl::StrCat("line ", status.audit_lines(), ", hash ", status.audit_head()));
  }
  return out;
}

absl::StatusOr<AccountProof> ToAccountProof(const v1::GetProofResponse& response) {
  const auto wrong = [](std::string_view field) {
    return absl::DataLossError(absl::StrFormat("the daemon's answer has a malformed %s", field));
  };
  if (response.address().size() != Address::kSize) return wrong("address");
  if (response.storage_root().size() != Hash::kSize) return wrong("storage_root");
  if (response.code_hash().size() != Hash::kSize) return wrong("code_hash");
  const absl::StatusOr<U256> balance = U256::FromMinimal(response.balance());
  if (!balance.ok()) return wrong("balance");
  AccountProof out;
  out.address = Address::FromView(response.address());
  out.account = {.nonce = response.nonce(),
                 .balance = *balance,
                 .storage_root = Hash::FromView(response.storage_root()),
                 .code_hash = Hash::FromView(response.code_hash())};
  out.proof.assign(response.account_proof().begin(), response.account_proof().end());
  for (const v1::StorageProof& slot : response.storage_proofs()) {
    if (slot.key().size() != Hash::kSize) return wrong("storage_proofs.key");
    const absl::StatusOr<U256> value = U256::FromMinimal(slot.value());
    if (!value.ok()) return wrong("storage_proofs.value");
    out.storage.push_back(
        {.key = Hash::FromView(slot.key()), .value = *value, .proof = {slot.proof().begin(), slot.proof().end()}});
  }
  return out;
}

}  // namespace mptd::cli
