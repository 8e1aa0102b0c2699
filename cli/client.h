// The connection to one daemon. Safe from any thread; the contexts and messages of a call belong to its caller.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/client_tls.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "mptd/v1/admin.grpc.pb.h"
#include "mptd/v1/state.grpc.pb.h"

namespace mptd::cli {

// "host" (with the default port), "host:port", ":port" (this machine), "unix:/path" or "dns:///..." to what gRPC takes.
// INVALID_ARGUMENT for anything else.
absl::StatusOr<std::string> ServerTarget(std::string_view text);

// How long a call may take when --timeout is not given.
enum class Patience {
  kShort,  // 30 s: answers that are looked up
  kLong,   // no limit: work on all data, streams
};

// Makes the token that a call brings along; called once a call, for a token may be good for a minute only.
using TokenSource = std::function<std::string()>;

class Client {
 public:
  // `target` as ServerTarget returns it; `timeout` as the user gave it; without `token` calls bring none. Does not
  // connect yet. When a file of `tls` is bad, every call fails, and Describe says which file and why.
  Client(std::string target, std::optional<absl::Duration> timeout, const TlsFlags& tls = {}, TokenSource token = {});

  // One unary call of either service: Call(&v1::StateService::StubInterface::GetAccount, request, &response).
  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (v1::StateService::StubInterface::*method)(grpc::ClientContext*, const Request&,
                                                                            Response*),
                    const Request& request, Response* response, Patience patience = Patience::kShort) {
    grpc::ClientContext context;
    Prepare(context, patience);
    return ((*state_).*method)(&context, request, response);
  }
  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (v1::AdminService::StubInterface::*method)(grpc::ClientContext*, const Request&,
                                                                            Response*),
                    const Request& request, Response* response, Patience patience = Patience::kShort) {
    grpc::ClientContext context;
    Prepare(context, patience);
    return ((*admin_).*method)(&context, request, response);
  }

  // For streams: sets the deadline and the token on `context`, which the caller passes to state() or admin().
  void Prepare(grpc::ClientContext& context, Patience patience) const;
  v1::StateService::StubInterface& state() { return *state_; }
  v1::AdminService::StubInterface& admin() { return *admin_; }

  // grpc.health.v1.Health/Check of one service, "" for the whole daemon: the number of its ServingStatus.
  grpc::Status CheckHealth(const std::string& service, int* serving_status);

  // A failed call in one line.
  std::string Describe(const grpc::Status& status, Patience patience = Patience::kShort) const;

  const std::string& target() const { return target_; }

 private:
  absl::Duration Limit(Patience patience) const;
  std::shared_ptr<grpc::Channel> MakeChannel(const TlsFlags& tls);

  // Constant after construction.
  const std::string target_;
  const std::optional<absl::Duration> timeout_;
  const bool tls_;
  absl::Status tls_problem_;  // of the files
  const TokenSource token_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::StateService::StubInterface> state_;
  const std::unique_ptr<v1::AdminService::StubInterface> admin_;
};

}  // namespace mptd::cli
