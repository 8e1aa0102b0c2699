#include "cli/commands.h"

#include "absl/strings/str_cat.h"
#include "cli/render.h"
#include "cli/table.h"
#include "cli/values.h"
#include "core/decimal.h"
#include "core/hex.h"

namespace mptd::cli {
namespace {

using State = v1::StateService::StubInterface;

ExitCode PrintAccounts(Session& session, const v1::GetAccountsResponse& response) {
  if (session.json()) {
    Json accounts = Json::array();
    for (const auto& entry : response.accounts()) {
      accounts.push_back(AccountJson(entry.address(), entry.exists(), entry.account()));
    }
    session.PrintJson({{"block", BlockJson(response.block())}, {"accounts", std::move(accounts)}});
    return ExitCode::kOk;
  }
  Table table({{"ADDRESS"},
               {"NONCE", Table::Align::kRight},
               {"ETHER", Table::Align::kRight},
               {"WEI", Table::Align::kRight},
               {"CODE"},
               {"STORAGE"}});
  for (const auto& entry : response.accounts()) {
    if (!entry.exists()) {
      table.Add({ToHex(entry.address()), "-", "-", "-", "no account"});
      continue;
    }
    const v1::Account& account = entry.account();
    table.Add({ToHex(entry.address()), absl::StrCat(account.nonce()), EtherText(account.balance()),
               ToDecimal(account.balance()), account.code_hash() == kEmptyCodeHash.view() ? "no" : "yes",
               account.storage_root() == kEmptyRoot.view() ? "no" : "yes"});
  }
  session.terminal().Print(table.Render() + "at " + BlockLine(response.block()) + "\n");
  return ExitCode::kOk;
}

ExitCode RunManyAccounts(Session& session, const v1::BlockRef& at, const AccountArgs& args) {
  v1::GetAccountsRequest request;
  *request.mutable_block() = at;
  for (const std::string& address : args.addresses) request.add_addresses(AddressBytes(address).value());
  v1::GetAccountsResponse response;
  const grpc::Status status = session.client().Call(&State::GetAccounts, request, &response);
  if (!status.ok()) return session.Refused(status);
  return PrintAccounts(session, response);
}

}  // namespace

ExitCode RunRoot(Session& session) {
  const absl::StatusOr<v1::BlockRef> at = session.At();
  if (!at.ok()) return session.Refused(at.status());
  v1::GetStateRootRequest request;
  *request.mutable_block() = *at;
  v1::GetStateRootResponse response;
  const grpc::Status status = session.client().Call(&State::GetStateRoot, request, &response);
  if (!status.ok()) return session.Refused(status);
  if (session.json()) {
    session.PrintJson(BlockJson(response.block()));
  } else {
    session.terminal().Print(ToHex(response.block().state_root()) + "\n");
  }
  return ExitCode::kOk;
}

ExitCode RunBlock(Session& session, const BlockArgs& args) {
  const absl::StatusOr<v1::BlockRef> at = args.block.has_value() ? session.Resolve(*args.block) : session.At();
  if (!at.ok()) return session.Refused(at.status());
  v1::GetBlockRequest request;
  *request.mutable_block() = *at;
  v1::GetBlockResponse response;
  const grpc::Status status = session.client().Call(&State::GetBlock, request, &response);
  if (!status.ok()) return session.Refused(status);
  if (session.json()) {
    session.PrintJson(BlockJson(response.block()));
  } else {
    session.terminal().Print(FieldLines(BlockFields(response.block())));
  }
  return ExitCode::kOk;
}

ExitCode RunAccount(Session& session, const AccountArgs& args) {
  const absl::StatusOr<v1::BlockRef> at = session.At();
  if (!at.ok()) return session.Refused(at.status());
  if (args.addresses.size() > 1) return RunManyAccounts(session, *at, args);
  v1::GetAccountRequest request;
  request.set_address(AddressBytes(args.addresses.front()).value());
  *request.mutable_block() = *at;
  v1::GetAccountResponse response;
  const grpc::Status status = session.client().Call(&State::GetAccount, request, &response);
  if (!status.ok()) return session.Refused(status);
  if (session.json()) {
    Json out = AccountJson(request.address(), response.exists(), response.account());
    out["block"] = BlockJson(response.block());
    session.PrintJson(out);
    return ExitCode::kOk;
  }
  Fields fields = AccountFields(request.address(), response.exists(), response.account());
  fields.emplace_back("at", BlockLine(response.block()));
  session.terminal().Print(FieldLines(fields));
  return ExitCode::kOk;
}

ExitCode RunStorage(Session& session, const StorageArgs& args) {
  const absl::StatusOr<v1::BlockRef> at = session.At();
  if (!at.ok()) return session.Refused(at.status());
  v1::GetStorageRequest request;
  request.set_address(AddressBytes(args.address).value());
  for (const std::string& slot : args.slots) request.add_slots(SlotBytes(slot).value());
  *request.mutable_block() = *at;
  v1::GetStorageResponse response;
  const grpc::Status status = session.client().Call(&State::GetStorage, request, &response);
  if (!status.ok()) return session.Refused(status);
  if (response.values_size() != request.slots_size()) {
    return session.Fail(ExitCode::kRefused, "the daemon's answer has another number of slots than were asked for");
  }
  if (session.json()) {
    Json slots = Json::array();
    for (int i = 0; i < response.values_size(); ++i) {
      slots.push_back({{"key", ToHex(request.slots(i))}, {"value", QuantityHex(response.values(i))}});
    }
    session.PrintJson(
        {{"address", ToHex(request.address())}, {"slots", slots}, {"block", BlockJson(response.block())}});
    return ExitCode::kOk;
  }
  Table table({{"SLOT"}, {"VALUE"}, {"DECIMAL"}});
  for (int i = 0; i < response.values_size(); ++i) {
    const std::string& value = response.values(i);
    table.Add({ToHex(request.slots(i)), QuantityHex(value), value.empty() ? "0 (not set)" : ToDecimal(value)});
  }
  session.terminal().Print(table.Render() + "at " + BlockLine(response.block()) + "\n");
  return ExitCode::kOk;
}

ExitCode RunCode(Session& session, const CodeArgs& args) {
  const absl::StatusOr<v1::BlockRef> at = session.At();
  if (!at.ok()) return session.Refused(at.status());
  v1::GetCodeRequest request;
  if (const absl::StatusOr<std::string> address = AddressBytes(args.address_or_hash); address.ok()) {
    request.set_address(*address);
  } else {
    request.set_code_hash(HashBytes(args.address_or_hash).value());
  }
  *request.mutable_block() = *at;
  v1::GetCodeResponse response;
  const grpc::Status status = session.client().Call(&State::GetCode, request, &response);
  if (!status.ok()) return session.Refused(status);
  if (session.json()) {
    Json out = {{"exists", response.exists()}};
    if (request.has_address()) out["address"] = ToHex(request.address());
    out["code_hash"] = HexOrNull(response.code_hash());
    out["code"] = response.exists() ? Json(ToHex(response.code())) : Json(nullptr);
    out["block"] = BlockJson(response.block());
    session.PrintJson(out);
    return ExitCode::kOk;
  }
  Fields fields;
  if (!response.exists()) {
    fields.emplace_back("exists", request.has_address() ? "no such account" : "no such code");
  } else {
    fields = {{"code hash", HexOrDash(response.code_hash())},
              {"size", CountText(response.code().size()) + " bytes"},
              {"code", response.code().empty() ? "none" : ToHex(response.code())}};
  }
  fields.emplace_back("at", BlockLine(response.block()));
  session.terminal().Print(FieldLines(fields));
  return ExitCode::kOk;
}

}  // namespace mptd::cli
