#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "cli/commands.h"
#include "cli/json_reader.h"
#include "cli/render.h"
#include "cli/table.h"
#include "cli/values.h"
#include "core/eip1186_json.h"
#include "core/hex.h"
#include "core/proof_verifier.h"

namespace mptd::cli {
namespace {

using State = v1::StateService::StubInterface;

// As the verifier sees it: nothing that an account could have.
bool IsAbsent(const AccountProof& proof) {
  const Account& account = proof.account;
  const bool no_hashes = (account.storage_root == kEmptyRoot && account.code_hash == kEmptyCodeHash) ||
                         (account.storage_root.IsZero() && account.code_hash.IsZero());
  return account.nonce == 0 && account.balance.IsZero() && no_hashes;
}

std::string NodesText(const std::vector<Bytes>& nodes) {
  size_t bytes = 0;
  for (const Bytes& node : nodes) bytes += node.size();
  return absl::StrFormat("%d nodes, %s", nodes.size(), SizeText(bytes));
}

// The statements of a proof, one a line.
std::string ProofText(const AccountProof& proof) {
  Fields fields = {{"address", ToHex(proof.address)}};
  if (IsAbsent(proof)) {
    fields.emplace_back("account", "none, or one with nonce 0, balance 0, no code and no storage");
  } else {
    fields.emplace_back("nonce", absl::StrCat(proof.account.nonce));
    fields.emplace_back("balance", BalanceText(proof.account.balance.minimal()));
    fields.emplace_back("storage root", ToHex(proof.account.storage_root));
    fields.emplace_back("code hash", ToHex(proof.account.code_hash));
  }
  fields.emplace_back("account proof", NodesText(proof.proof));
  std::string out = FieldLines(fields);
  if (proof.storage.empty()) return out;
  Table table({{"SLOT"}, {"VALUE"}, {"PROOF"}});
  for (const StorageProof& slot : proof.storage) {
    table.Add(
        {ToHex(slot.key), slot.value.IsZero() ? "0x0 (not set)" : ToHexQuantity(slot.value), NodesText(slot.proof)});
  }
  return out + table.Render();
}

Json VerifiedJson(const Hash& root, const AccountProof& proof) {
  Json slots = Json::array();
  for (const StorageProof& slot : proof.storage) {
    slots.push_back({{"key", ToHex(slot.key)}, {"value", ToHexQuantity(slot.value)}});
  }
  return {{"ok", true},
          {"state_root", ToHex(root)},
          {"address", ToHex(proof.address)},
          {"nonce", ToHexQuantity(U256::FromUint64(proof.account.nonce))},
          {"balance", ToHexQuantity(proof.account.balance)},
          {"storage_root", ToHex(proof.account.storage_root)},
          {"code_hash", ToHex(proof.account.code_hash)},
          {"slots", std::move(slots)}};
}

// The EIP-1186 object of a text, also out of a JSON-RPC answer.
absl::StatusOr<AccountProof> ReadProof(const std::string& text) {
  const absl::StatusOr<nlohmann::json> document = ParseStrictJson(text);
  if (!document.ok()) return document.status();
  if (!document->is_object())
    return absl::InvalidArgumentError("an EIP-1186 object is wanted, as eth_getProof answers");
  if (document->contains("error") && !document->contains("accountProof")) {
    return absl::InvalidArgumentError(
        absl::StrCat("this is an error of JSON-RPC, not a proof: ", (*document)["error"].dump()));
  }
  if (!document->contains("result")) return ParseEip1186(text);
  return ParseEip1186((*document)["result"].dump());
}

ExitCode NotProved(Session& session, const Hash& root, const absl::Status& status) {
  const std::string why = OneLine(std::string(status.message()));
  if (session.json()) session.PrintJson({{"ok", false}, {"state_root", ToHex(root)}, {"error", why}});
  return session.Fail(ExitCode::kNo, "not proved: " + why);
}

Json MultiProofJson(const v1::GetMultiProofRequest& request, const v1::GetMultiProofResponse& response) {
  Json nodes = Json::array();
  for (const std::string& node : response.nodes()) nodes.push_back(ToHex(node));
  Json accounts = Json::array();
  for (int i = 0; i < response.accounts_size(); ++i) {
    const v1::MultiProofAccount& entry = response.accounts(i);
    Json account = AccountJson(entry.address(), entry.exists(), entry.account());
    Json slots = Json::array();
    for (int j = 0; j < entry.values_size() && i < request.targets_size() && j < request.targets(i).slots_size(); ++j) {
      slots.push_back({{"key", ToHex(request.targets(i).slots(j))}, {"value", QuantityHex(entry.values(j))}});
    }
    account["slots"] = std::move(slots);
    accounts.push_back(std::move(account));
  }
  return {{"block", BlockJson(response.block())}, {"nodes", std::move(nodes)}, {"accounts", std::move(accounts)}};
}

}  // namespace

ExitCode RunProof(Session& session, const StorageArgs& args) {
  const absl::StatusOr<v1::BlockRef> at = session.At();
  if (!at.ok()) return session.Refused(at.status());
  v1::GetProofRequest request;
  request.set_address(AddressBytes(args.address).value());
  for (const std::string& slot : args.slots) request.add_slots(SlotBytes(slot).value());
  *request.mutable_block() = *at;
  v1::GetProofResponse response;
  const grpc::Status status = session.client().Call(&State::GetProof, request, &response);
  if (!status.ok()) return session.Refused(status);
  const absl::StatusOr<AccountProof> proof = ToAccountProof(response);
  if (!proof.ok()) return session.Refused(proof.status());
  if (session.json()) {
    session.terminal().Print(WriteEip1186(*proof) + "\n");
    return ExitCode::kOk;
  }
  if (response.block().state_root().size() != Hash::kSize) {
    return session.Fail(ExitCode::kRefused, "the daemon's answer has no state root");
  }
  const Hash root = Hash::FromView(response.block().state_root());
  session.terminal().Print(ProofText(*proof) +
                           FieldLines({{"state root", ToHex(root)}, {"at", BlockLine(response.block())}}));
  const absl::Status verified = VerifyAccountProof(root, *proof);
  if (!verified.ok()) return NotProved(session, root, verified);
  session.terminal().Print("proved\n");
  return ExitCode::kOk;
}

absl::StatusOr<v1::ProofTarget> ParseProofTarget(std::string_view text) {
  const size_t colon = text.find(':');
  absl::StatusOr<std::string> address = AddressBytes(text.substr(0, colon));
  if (!address.ok()) return address.status();
  v1::ProofTarget out;
  out.set_address(*std::move(address));
  if (colon == std::string_view::npos) return out;
  const std::string slots(text.substr(colon + 1));
  for (const auto& piece : absl::StrSplit(slots, ',')) {
    absl::StatusOr<std::string> slot = SlotBytes(std::string(piece));
    if (!slot.ok()) return slot.status();
    out.add_slots(*std::move(slot));
  }
  return out;
}

ExitCode RunMultiProof(Session& session, const MultiProofArgs& args) {
  const absl::StatusOr<v1::BlockRef> at = session.At();
  if (!at.ok()) return session.Refused(at.status());
  v1::GetMultiProofRequest request;
  for (const std::string& target : args.targets) *request.add_targets() = ParseProofTarget(target).value();
  *request.mutable_block() = *at;
  v1::GetMultiProofResponse response;
  const grpc::Status status = session.client().Call(&State::GetMultiProof, request, &response);
  if (!status.ok()) return session.Refused(status);
  if (session.json()) {
    session.PrintJson(MultiProofJson(request, response));
    return ExitCode::kOk;
  }
  Table table({{"ADDRESS"}, {"SLOT"}, {"VALUE"}});
  for (int i = 0; i < std::min(response.accounts_size(), request.targets_size()); ++i) {
    const v1::MultiProofAccount& entry = response.accounts(i);
    const std::string account =
        absl::StrCat("nonce ", entry.account().nonce(), ", ", BalanceText(entry.account().balance()));
    table.Add({ToHex(entry.address()), "-", entry.exists() ? account : "no account"});
    for (int j = 0; j < std::min(entry.values_size(), request.targets(i).slots_size()); ++j) {
      table.Add({ToHex(entry.address()), ToHex(request.targets(i).slots(j)), QuantityHex(entry.values(j))});
    }
  }
  const std::vector<Bytes> nodes(response.nodes().begin(), response.nodes().end());
  session.terminal().Print(table.Render() + FieldLines({{"proof", NodesText(nodes)},
                                                        {"state root", HexOrDash(response.block().state_root())},
                                                        {"at", BlockLine(response.block())}}));
  return ExitCode::kOk;
}

ExitCode RunVerify(Session& session, const VerifyArgs& args) {
  absl::StatusOr<std::unique_ptr<InputFile>> input = InputFile::Open(args.file);
  if (!input.ok()) return session.Fail(ExitCode::kUsage, std::string(input.status().message()));
  const absl::StatusOr<std::string> text = (*input)->ReadAll();
  if (!text.ok()) return session.Fail(ExitCode::kUsage, std::string(text.status().message()));
  const Hash root = Hash::FromView(HashBytes(args.root).value());
  const absl::StatusOr<AccountProof> proof = ReadProof(*text);
  if (!proof.ok()) return NotProved(session, root, proof.status());
  const absl::Status verified = VerifyAccountProof(root, *proof);
  if (!verified.ok()) return NotProved(session, root, verified);
  if (session.json()) {
    session.PrintJson(VerifiedJson(root, *proof));
  } else {
    session.terminal().Print("proved against the state root " + ToHex(root) + ":\n" + ProofText(*proof));
  }
  return ExitCode::kOk;
}

}  // namespace mptd::cli
