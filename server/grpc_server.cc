#include "server/grpc_server.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <utility>

#include "absl/strings/str_format.h"
#include "grpc/support/log.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "grpcpp/server_posix.h"
#include "server/access_interceptor.h"
#include "server/listen_address.h"

namespace mptd {
namespace {

constexpr char kLiveness[] = "livez";
constexpr char kReadiness[] = "readyz";

// gRPC's log function has no argument of its own.
std::atomic<Logger*> grpc_log{nullptr};
Mutex tls_watch_mutex;
TlsWatch* tls_watch ABSL_GUARDED_BY(tls_watch_mutex) = nullptr;

// What ssl_transport_security.cc of gRPC says, on the thread of the handshake, whose connection is still open.
bool TellTlsWatch(std::string_view message) {
  if (!message.starts_with("Handshake failed with fatal error ")) return false;
  const MutexLock lock(tls_watch_mutex);
  if (tls_watch == nullptr) return false;
  tls_watch->OnFailedHandshake(message);
  return true;
}

void ForwardGrpcLog(gpr_log_func_args* args) {
  if (TellTlsWatch(args->message)) return;
  Logger* log = grpc_log.load(std::memory_order_acquire);
  if (log == nullptr) return;
  // Its errors are about single connections and its own inner life: nothing that an operator has to act on.
  const LogLevel level = args->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarn : LogLevel::kDebug;
  log->Log(level, LogModule::kRpc, "grpc", {{"message", args->message}});
}

int ToInt(size_t value) { return static_cast<int>(std::min<size_t>(value, std::numeric_limits<int>::max())); }

int ToMilliseconds(absl::Duration duration) {
  return ToInt(static_cast<size_t>(std::max<int64_t>(absl::ToInt64Milliseconds(duration), 1)));
}

bool IsUnix(const std::string& address) { return address.starts_with(kUnixScheme); }

std::string UnixPath(const std::string& address) { return address.substr(kUnixScheme.size()); }

void SetOptions(const GrpcServerOptions& options, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(ToInt(options.max_message_bytes));
  builder.SetMaxSendMessageSize(ToInt(options.max_message_bytes));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, ToInt(options.max_calls_per_connection));
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, ToInt(options.max_metadata_bytes));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, ToMilliseconds(options.max_connection_idle));
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, ToMilliseconds(options.handshake_timeout));
  // Two daemons must not share a port, each getting some of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Finds peers that are gone without a word, so that their streams end.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Clients may do the same; the default would throw out those that ping more than every five minutes.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 9'000);
  // gRPC unpacks a message before it looks at its size, so a small one could become as large as it likes.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  // And it collects a message as a whole before it refuses it for its length. What all connections collect together is
  // bounded by this: when it is used up, gRPC reads less at a time and then gives up streams.
  if (options.max_buffered_bytes > 0) {
    grpc::ResourceQuota quota("mptd");
    quota.Resize(options.max_buffered_bytes);
    builder.SetResourceQuota(quota);
  }
  // Bookkeeping for a debugging service that is not offered.
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);
}

// "127.0.0.1:0" with the port that was chosen.
std::string WithPort(const std::string& address, int port) {
  return absl::StrFormat("%s:%d", address.substr(0, address.rfind(':')), port);
}

}  // namespace

void SendGrpcLogTo(Logger* log) {
  grpc_log.store(log, std::memory_order_release);
  gpr_set_log_function(&ForwardGrpcLog);
}

void SendFailedHandshakesTo(TlsWatch* watch) {
  const MutexLock lock(tls_watch_mutex);
  tls_watch = watch;
}

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(
    const GrpcServerOptions& options, const std::vector<std::pair<std::string, grpc::Service*>>& services) {
  grpc::EnableDefaultHealthCheckService(false);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  SetOptions(options, builder);
  if (options.access != nullptr && options.access->guards_all()) {
    builder.experimental().SetInterceptorCreators(AccessInterceptors(*options.access));
  }
  const bool own_sockets = options.access != nullptr && options.access->callers().knows_unix_peers();
  std::vector<int> ports(options.listen.size(), 0);
  for (size_t i = 0; i < options.listen.size(); ++i) {
    const std::string& address = options.listen[i];
    if (own_sockets && IsUnix(address)) continue;
    const absl::Status status =
        IsUnix(address) ? PrepareUnixSocket(UnixPath(address)) : ResolveListenAddress(address).status();
    if (!status.ok()) return status;
    const bool secure = options.credentials != nullptr && !IsUnix(address);
    builder.AddListeningPort(address, secure ? options.credentials : grpc::InsecureServerCredentials(), &ports[i]);
  }
  std::vector<std::string> names = {"", kLiveness, kReadiness};
  for (const auto& [name, service] : services) {
    names.push_back(name);
    builder.RegisterService(service);
  }
  auto health = std::make_unique<HealthService>(names);
  builder.RegisterService(health.get());
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  std::vector<std::string> addresses;
  for (size_t i = 0; i < options.listen.size(); ++i) {
    const std::string& address = options.listen[i];
    const bool own = own_sockets && IsUnix(address);
    if (server == nullptr || (ports[i] == 0 && !own)) {
      return absl::FailedPreconditionError(absl::StrFormat("cannot listen on %s", address));
    }
    if (IsUnix(address) && !own) {
      if (absl::Status status = RestrictUnixSocket(UnixPath(address)); !status.ok()) return status;
    }
    addresses.push_back(IsUnix(address) ? address : WithPort(address, ports[i]));
  }
  std::unique_ptr<GrpcServer> out(
      new GrpcServer(std::move(health), std::move(server), std::move(names), std::move(addresses)));
  for (const std::string& address : out->addresses_) {
    if (!own_sockets || !IsUnix(address)) continue;
    if (absl::Status status = out->AcceptAt(UnixPath(address), *options.access); !status.ok()) return status;
  }
  return out;
}

absl::Status GrpcServer::AcceptAt(const std::string& path, AccessControl& access) {
  const auto known = [&access](const UnixPeer& peer) { return access.callers().Knows(peer); };
  auto acceptor = UnixAcceptor::Start(path, [this, &access, known](int fd) {
    const absl::StatusOr<int> adopted = access.callers().unix_peers().Adopt(fd, known);
    if (adopted.ok()) grpc::AddInsecureChannelFromFd(server_.get(), *adopted);
  });
  if (!acceptor.ok()) return acceptor.status();
  acceptors_.push_back(*std::move(acceptor));
  return absl::OkStatus();
}

GrpcServer::~GrpcServer() { Shutdown(absl::ZeroDuration()); }

void GrpcServer::SetServing(const std::string& service, bool serving) {
  if (!stopped_serving_) health_->Set(service, serving);
}

void GrpcServer::StopServing() {
  for (const std::string& name : names_) {
    if (name != kLiveness) SetServing(name, false);
  }
  stopped_serving_ = true;
}

void GrpcServer::Shutdown(absl::Duration grace) {
  if (server_ == nullptr) return;
  acceptors_.clear();  // they hand connections to the server
  health_->EndWatches();
  server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
  server_.reset();
}

}  // namespace mptd
