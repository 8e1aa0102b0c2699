#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/commands.h"
#include "cli/render.h"
#include "cli/table.h"
#include "cli/values.h"
#include "core/hex.h"

namespace mptd::cli {
namespace {

using State = v1::StateService::StubInterface;

Table ApplyTable() {
  return Table({{"BLOCK", Table::Align::kRight, 10},
                {"STATE ROOT", Table::Align::kLeft, 66},
                {"ACCOUNTS", Table::Align::kRight},
                {"SLOTS", Table::Align::kRight},
                {"NODES", Table::Align::kRight},
                {"NOTE"}});
}

void PrintApplied(Session& session, Table& table, const v1::ApplyStateChangesResponse& result) {
  if (session.json()) {
    session.PrintJson(ApplyJson(result));
    return;
  }
  const bool durable = result.block().durable() || result.durable_number() >= result.block().number();
  table.Add({absl::StrCat(result.block().number()), HexOrDash(result.block().state_root()),
             CountText(result.accounts_changed()), CountText(result.slots_changed()), CountText(result.nodes_hashed()),
             result.already_applied() ? "already applied"
             : durable                ? ""
                                      : "not durable yet"});
  session.terminal().Print(table.Render());
}

// Asks on a terminal whether the blocks above the target may go. True to go on.
absl::StatusOr<bool> ConfirmRollback(Session& session, const v1::BlockRef& target) {
  v1::GetBlockRequest request;
  v1::GetBlockResponse head;
  v1::GetBlockResponse wanted;
  request.mutable_block()->set_latest(true);
  grpc::Status status = session.client().Call(&State::GetBlock, request, &head);
  if (status.ok()) {
    *request.mutable_block() = target;
    status = session.client().Call(&State::GetBlock, request, &wanted);
  }
  if (!status.ok()) return absl::UnavailableError(session.client().Describe(status));
  const uint64_t undone = head.block().number() - wanted.block().number();
  return session.terminal().Confirm(absl::StrFormat("Roll back from %s to %s? %d blocks will be undone.",
                                                    BlockLine(head.block()), BlockLine(wanted.block()), undone));
}

}  // namespace

ExitCode RunApply(Session& session, const ApplyArgs& args) {
  absl::StatusOr<std::unique_ptr<InputFile>> input = InputFile::Open(args.file);
  if (!input.ok()) return session.Fail(ExitCode::kUsage, std::string(input.status().message()));
  Table table = ApplyTable();
  ExitCode refused = ExitCode::kOk;
  uint64_t applied = 0;
  const auto apply = [&](const InputBlock& block) -> absl::Status {
    v1::ApplyStateChangesResponse result;
    const grpc::Status status = session.client().Call(&State::ApplyStateChanges, block.request, &result);
    if (!status.ok()) {
      refused = session.Fail(ExitCode::kRefused, absl::StrFormat("block %d (%s): %s", block.request.number(),
                                                                 block.where, session.client().Describe(status)));
      return absl::AbortedError("refused");
    }
    ++applied;
    PrintApplied(session, table, result);
    return absl::OkStatus();
  };
  const auto warn = [&](const std::string& text) { session.terminal().Error(text); };
  const absl::Status read = ReadBlocks(**input, args.options, apply, warn);
  if (refused != ExitCode::kOk) return refused;
  if (!read.ok()) return session.Fail(ExitCode::kUsage, std::string(read.message()));
  if (applied == 0) return session.Fail(ExitCode::kUsage, absl::StrCat((*input)->name(), ": no blocks in it"));
  return ExitCode::kOk;
}

ExitCode RunComputeRoot(Session& session, const ComputeRootArgs& args) {
  absl::StatusOr<std::unique_ptr<InputFile>> input = InputFile::Open(args.file);
  if (!input.ok()) return session.Fail(ExitCode::kUsage, std::string(input.status().message()));
  absl::StatusOr<ChangeSet> changes = ReadChangeSet(**input);
  if (!changes.ok()) return session.Fail(ExitCode::kUsage, std::string(changes.status().message()));
  const absl::StatusOr<v1::BlockRef> at = session.At();
  if (!at.ok()) return session.Refused(at.status());
  v1::ComputeStateRootRequest request;
  *request.mutable_block() = *at;
  request.mutable_changes()->Swap(&changes->changes);
  request.set_keep_empty_accounts(changes->keep_empty_accounts || args.keep_empty_accounts);
  v1::ComputeStateRootResponse response;
  const grpc::Status status = session.client().Call(&State::ComputeStateRoot, request, &response);
  if (!status.ok()) return session.Refused(status);
  if (session.json()) {
    session.PrintJson({{"state_root", ToHex(response.state_root())}, {"parent", BlockJson(response.block())}});
  } else {
    session.terminal().Print(ToHex(response.state_root()) + "\n");
  }
  if (args.check_root && changes->expected_root.has_value() && *changes->expected_root != response.state_root()) {
    return session.Fail(
        ExitCode::kNo,
        absl::StrFormat("the input expects the root %s, on top of %s the changes give %s",
                        ToHex(*changes->expected_root), BlockLine(response.block()), ToHex(response.state_root())));
  }
  return ExitCode::kOk;
}

ExitCode RunRollback(Session& session, const RollbackArgs& args) {
  const absl::StatusOr<v1::BlockRef> target = session.Resolve(args.to);
  if (!target.ok()) return session.Refused(target.status());
  if (!args.yes && session.terminal().in_is_terminal()) {
    const absl::StatusOr<bool> go_on = ConfirmRollback(session, *target);
    if (!go_on.ok()) return session.Refused(go_on.status());
    if (!*go_on) return session.Fail(ExitCode::kNo, "nothing was rolled back");
  }
  v1::RollbackToRequest request;
  *request.mutable_block() = *target;
  v1::RollbackToResponse response;
  const grpc::Status status = session.client().Call(&State::RollbackTo, request, &response, Patience::kLong);
  if (!status.ok()) return session.Refused(status, Patience::kLong);
  if (session.json()) {
    session.PrintJson(BlockJson(response.block()));
  } else {
    session.terminal().Print("the head is now:\n" + FieldLines(BlockFields(response.block())));
  }
  return ExitCode::kOk;
}

}  // namespace mptd::cli
