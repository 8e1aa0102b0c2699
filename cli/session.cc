#include "cli/session.h"

#include "absl/strings/str_format.h"
#include "core/hex.h"

namespace mptd::cli {

Session::Session(Terminal& terminal, GlobalOptions options) : terminal_(terminal), options_(std::move(options)) {}

Client& Session::client() {
  if (!client_.has_value()) client_.emplace(options_.server, options_.timeout, options_.tls, options_.token);
  return *client_;
}

absl::StatusOr<v1::BlockRef> Session::Resolve(const cli::At& at) {
  if (at.kind != At::Kind::kHashOrRoot) return ToBlockRef(at);
  v1::BlockRef candidates[2];
  candidates[0].set_hash(at.bytes);
  candidates[1].set_state_root(at.bytes);
  for (const v1::BlockRef& candidate : candidates) {
    v1::GetBlockRequest request;
    *request.mutable_block() = candidate;
    v1::GetBlockResponse response;
    const grpc::Status status = client().Call(&v1::StateService::StubInterface::GetBlock, request, &response);
    if (status.ok()) return candidate;
    const bool unknown =
        status.error_code() == grpc::StatusCode::NOT_FOUND || status.error_code() == grpc::StatusCode::OUT_OF_RANGE;
    if (!unknown) return absl::UnavailableError(client().Describe(status));
  }
  return absl::NotFoundError(absl::StrFormat(
      "no served block has the hash or the state root %s; `mptctl status` shows the head and the served blocks",
      ToHex(at.bytes)));
}

ExitCode Session::Refused(const grpc::Status& status, Patience patience) {
  return Fail(ExitCode::kRefused, client().Describe(status, patience));
}

ExitCode Session::Fail(ExitCode code, std::string_view message) {
  terminal_.Error(message);
  return code;
}

}  // namespace mptd::cli
