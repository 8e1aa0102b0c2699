// doctor: asks a daemon all that it says of itself, and hands it to the diagnosis.
#include <sys/statvfs.h>

#include <utility>

#include "absl/strings/str_format.h"
#include "cli/commands.h"
#include "cli/diagnosis.h"
#include "cli/health_name.h"
#include "cli/http_get.h"

namespace mptd::cli {
namespace {

using Admin = v1::AdminService::StubInterface;

constexpr absl::Duration kMetricsTimeout = absl::Seconds(10);

// The host of a gRPC target, "" of a socket or of a form that names none.
std::string HostOf(std::string_view target) {
  for (const std::string_view scheme : {"dns:///", "dns:", "ipv4:", "ipv6:"}) {
    if (target.starts_with(scheme)) target.remove_prefix(scheme.size());
  }
  if (target.starts_with("unix:")) return "";
  const size_t after_host = target.starts_with('[') ? target.find(']') : 0;
  if (after_host == std::string_view::npos) return "";
  return std::string(target.substr(0, target.find(':', after_host)));
}

bool IsThisMachine(std::string_view host) {
  return host.empty() || host == "localhost" || host == "[::1]" || host.starts_with("127.");
}

// Where the daemon at `target`, which listens on `http_listen`, answers metrics. FAILED_PRECONDITION when that is
// nowhere, or nowhere that can be reached from here.
absl::StatusOr<HttpUrl> MetricsUrl(const std::string& http_listen, const std::string& target) {
  if (http_listen.empty() || http_listen == "off") return absl::FailedPreconditionError("server.http_listen is off");
  if (http_listen.ends_with(":0")) return absl::FailedPreconditionError("server.http_listen took a port of its own");
  const std::string server = HostOf(target);
  const std::string listens = http_listen.substr(0, http_listen.rfind(':'));
  const bool everywhere = listens == "0.0.0.0" || listens == "[::]";
  if (!everywhere && IsThisMachine(listens) && !IsThisMachine(server)) {
    return absl::FailedPreconditionError(
        absl::StrFormat("server.http_listen is %s, which only the daemon's machine reaches", http_listen));
  }
  const std::string own = server.empty() ? "127.0.0.1" : server;
  return ParseHttpUrl(
      absl::StrFormat("http://%s%s/metrics", everywhere ? own : listens, http_listen.substr(http_listen.rfind(':'))));
}

absl::StatusOr<Metrics> ReadMetrics(const DaemonReadings& readings, const std::string& given_url) {
  const auto listen = readings.config.find("server.http_listen");
  const absl::StatusOr<HttpUrl> url =
      given_url.empty() ? MetricsUrl(listen == readings.config.end() ? "" : listen->second, readings.server)
                        : ParseHttpUrl(given_url);
  if (!url.ok()) return url.status();
  const absl::StatusOr<std::string> page = HttpGet(*url, kMetricsTimeout);
  if (!page.ok()) return page.status();
  return ParseMetrics(*page);
}

std::optional<DiskShare> ReadDisk(const DaemonReadings& readings) {
  const auto dir = readings.config.find("server.data_dir");
  if (!IsThisMachine(HostOf(readings.server)) || dir == readings.config.end() || !dir->second.starts_with('/')) {
    return std::nullopt;
  }
  struct statvfs found {};
  if (::statvfs(dir->second.c_str(), &found) != 0) return std::nullopt;
  return DiskShare{.free_bytes = static_cast<uint64_t>(found.f_bavail) * found.f_frsize,
                   .total_bytes = static_cast<uint64_t>(found.f_blocks) * found.f_frsize};
}

grpc::Status Ask(Client& client, DaemonReadings& readings) {
  grpc::Status status = client.Call(&Admin::GetStatus, v1::GetStatusRequest(), &readings.status);
  if (!status.ok()) return status;
  v1::GetConfigResponse config;
  status = client.Call(&Admin::GetConfig, v1::GetConfigRequest(), &config);
  if (!status.ok()) return status;
  for (const v1::ConfigEntry& entry : config.entries()) readings.config[entry.key()] = entry.value();
  for (const char* service : {"", "mptd.v1.StateService", "mptd.v1.AdminService"}) {
    int serving = 0;
    status = client.CheckHealth(service, &serving);
    const bool unknown = status.error_code() == grpc::StatusCode::NOT_FOUND;
    if (!status.ok() && !unknown) return status;
    readings.serving.emplace_back(service, unknown ? "SERVICE_UNKNOWN" : HealthName(serving));
  }
  return grpc::Status::OK;
}

void Print(Session& session, std::span<const checkup::Finding> findings) {
  session.terminal().Print(session.json() ? checkup::Json(findings) : checkup::Table(findings));
}

}  // namespace

ExitCode RunDoctor(Session& session, const DoctorArgs& args) {
  DaemonReadings readings;
  readings.server = session.client().target();
  readings.client_version = MPTD_VERSION;
  if (const grpc::Status status = Ask(session.client(), readings); !status.ok()) {
    const checkup::Finding finding = Unreachable(readings.server, session.client().Describe(status));
    Print(session, {&finding, 1});
    return ExitCode::kRefused;
  }
  readings.metrics = ReadMetrics(readings, args.metrics_url);
  readings.disk = ReadDisk(readings);
  const std::vector<checkup::Finding> findings = Diagnose(readings);
  Print(session, findings);
  return static_cast<ExitCode>(checkup::ExitCodeOf(checkup::Worst(findings)));
}

}  // namespace mptd::cli
