#include "cli/client.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "cli/rpc_error.h"
#include "google/protobuf/empty.pb.h"
#include "google/protobuf/unknown_field_set.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/impl/codegen/client_unary_call.h"
#include "grpcpp/impl/codegen/rpc_method.h"
#include "grpcpp/support/channel_arguments.h"

namespace mptd::cli {
namespace {

constexpr absl::Duration kShortLimit = absl::Seconds(30);

}  // namespace

std::shared_ptr<grpc::Channel> Client::MakeChannel(const TlsFlags& tls) {
  grpc::ChannelArguments arguments;
  // A block of many changes, a proof of many slots and a page of accounts are all larger than gRPC's 4 MiB.
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  // Error details travel in trailers.
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, 256 * 1024);
  // A daemon on this machine or in this network is not behind the http_proxy of the environment.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetUserAgentPrefix("mptctl/" MPTD_VERSION);
  if (!tls.server_name.empty()) arguments.SetSslTargetNameOverride(tls.server_name);
  absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> credentials = MakeCredentials(target_, tls);
  tls_problem_ = credentials.status();
  // Without credentials it is a channel on which every call fails.
  return grpc::CreateCustomChannel(target_, credentials.ok() ? *credentials : nullptr, arguments);
}

absl::StatusOr<std::string> ServerTarget(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return absl::InvalidArgumentError(absl::StrFormat("\"%s\" %s; write host:port or unix:/path", text, why));
  };
  constexpr std::string_view kPort = "7300";
  if (text.empty()) return bad("is empty");
  if (text.starts_with("unix:"))
    return text.size() > 5 ? absl::StatusOr<std::string>(std::string(text)) : bad("has no path");
  if (text.starts_with("dns:") || text.starts_with("ipv4:") || text.starts_with("ipv6:")) return std::string(text);
  if (text.find("://") != std::string_view::npos) return bad("has a scheme");
  if (text.find('/') != std::string_view::npos) return bad("has a path");
  std::string out(text);
  if (out.starts_with(':')) out.insert(0, "127.0.0.1");
  const size_t after_host = out.starts_with('[') ? out.find(']') : 0;
  if (after_host == std::string::npos) return bad("has no closing bracket");
  const size_t colon = out.find(':', after_host);
  if (colon == std::string::npos) return absl::StrFormat("%s:%s", out, kPort);
  const std::string_view port = std::string_view(out).substr(colon + 1);
  const bool is_number =
      !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == std::string_view::npos;
  if (!is_number) return bad("has no port number after the colon");
  return out;
}

Client::Client(std::string target, std::optional<absl::Duration> timeout, const TlsFlags& tls, TokenSource token)
    : target_(std::move(target)),
      timeout_(timeout),
      tls_(!tls.ca.empty() && !target_.starts_with("unix:")),
      token_(std::move(token)),
      channel_(MakeChannel(tls)),
      state_(v1::StateService::NewStub(channel_)),
      admin_(v1::AdminService::NewStub(channel_)) {}

absl::Duration Client::Limit(Patience patience) const {
  if (timeout_.has_value()) return *timeout_;
  return patience == Patience::kShort ? kShortLimit : absl::InfiniteDuration();
}

void Client::Prepare(grpc::ClientContext& context, Patience patience) const {
  const absl::Duration limit = Limit(patience);
  if (limit != absl::InfiniteDuration()) context.set_deadline(absl::ToChronoTime(absl::Now() + limit));
  if (token_) context.AddMetadata("authorization", absl::StrCat("Bearer ", token_()));
}

grpc::Status Client::CheckHealth(const std::string& service, int* serving_status) {
  // HealthCheckRequest and -Response have one field each: 1, the service's name, and 1, its status. Empty messages with
  // unknown fields spare us a copy of a schema that is not ours.
  google::protobuf::Empty request;
  google::protobuf::Empty response;
  if (!service.empty())
    google::protobuf::Empty::GetReflection()->MutableUnknownFields(&request)->AddLengthDelimited(1, service);
  grpc::ClientContext context;
  Prepare(context, Patience::kShort);
  const grpc::internal::RpcMethod method("/grpc.health.v1.Health/Check", grpc::internal::RpcMethod::NORMAL_RPC);
  const grpc::Status status = grpc::internal::BlockingUnaryCall<google::protobuf::Empty, google::protobuf::Empty>(
      channel_.get(), method, &context, request, &response);
  *serving_status = 0;
  if (!status.ok()) return status;
  const auto& fields = google::protobuf::Empty::GetReflection()->GetUnknownFields(response);
  for (int i = 0; i < fields.field_count(); ++i) {
    const auto& field = fields.field(i);
    if (field.number() == 1 && field.type() == google::protobuf::UnknownField::TYPE_VARINT) {
      *serving_status = static_cast<int>(field.varint());
    }
  }
  return status;
}

std::string Client::Describe(const grpc::Status& status, Patience patience) const {
  if (!tls_problem_.ok()) return std::string(tls_problem_.message());
  const bool connected = channel_->GetState(false) == GRPC_CHANNEL_READY;
  return DescribeRpcError(status, {.server = target_, .connected = connected, .tls = tls_, .timeout = Limit(patience)});
}

}  // namespace mptd::cli
