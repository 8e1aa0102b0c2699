#include "server/observability_trial.h"

#include <fstream>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "cli/http_get.h"
#include "grpc/grpc.h"
#include "metrics/log.h"
#include "nlohmann/json.hpp"
#include "server/daemon.h"
#include "server/engine_watch.h"
#include "server/startup.h"

namespace mptd {
namespace {

using Shown = absl::StatusOr<std::string>;

constexpr absl::Duration kPatience = absl::Minutes(1);
constexpr char kAnyPort[] = "127.0.0.1:0";
// Of each family, one that alerts and dashboards stand on.
constexpr std::string_view kMetrics[] = {"state_total_accounts", "state_health_level", "state_persistence_queue_depth",
                                         "mptd_build_info", "process_resident_memory_bytes"};

DaemonOptions ForTrial(const config::Loaded& loaded, std::string_view version, const std::string& data_dir) {
  DaemonOptions out = ToDaemonOptions(loaded, version);
  out.data_dir = data_dir;
  out.health.data_dir = data_dir;
  out.grpc.listen = {kAnyPort};
  out.admin_listen.clear();
  out.http_listen = kAnyPort;
  out.tls = {};
  out.runtime.access = {};
  out.backup = {};
  out.audit = {};
  out.drain_delay = absl::ZeroDuration();
  return out;
}

absl::StatusOr<std::string> Get(const Daemon& daemon, std::string_view path) {
  const absl::StatusOr<cli::HttpUrl> url =
      cli::ParseHttpUrl(absl::StrFormat("http://%s%s", daemon.http_addresses().front(), path));
  if (!url.ok()) return url.status();
  return cli::HttpGet(*url, kPatience);
}

// How many samples /metrics shows.
absl::StatusOr<size_t> CheckMetrics(const Daemon& daemon) {
  if (const absl::Status live = Get(daemon, "/livez").status(); !live.ok()) return live;
  const absl::StatusOr<std::string> page = Get(daemon, "/metrics");
  if (!page.ok()) return page.status();
  for (const std::string_view name : kMetrics) {
    if (page->find("\n" + std::string(name)) == std::string::npos) {
      return checkup::Wrong(absl::StrFormat("/metrics does not show %s", name));
    }
  }
  size_t samples = 0;
  for (const absl::string_view line : absl::StrSplit(*page, '\n', absl::SkipEmpty())) samples += line[0] != '#';
  return samples;
}

// How many lines the log has; each must be what its format says, and the daemon's start among them.
absl::StatusOr<size_t> CheckLog(const LogOptions& options) {
  std::ifstream in(options.file);
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  bool started = false;
  for (const std::string& line : lines) {
    if (options.format == "json" && !nlohmann::json::accept(line)) {
      return checkup::Wrong("a line of the log is not JSON: " + line);
    }
    started = started || line.find("listening") != std::string::npos;
  }
  if (!started) return checkup::Wrong("the log does not tell that the daemon listens");
  return lines.size();
}

absl::StatusOr<size_t> RunDaemon(const config::Loaded& loaded, std::string_view version,
                                 const checkup::TrialOptions& trial, Logger& log) {
  EngineWatch watch(log);
  EngineOptions options = checkup::ForTrial(trial.engine, trial.scratch + "/observability");
  options.on_event = [&watch](const EngineEvent& event) { watch.OnEvent(event); };
  const std::string data_dir = options.data_dir;
  absl::StatusOr<std::unique_ptr<StateEngine>> engine = trial.open(std::move(options));
  if (!engine.ok()) return engine.status();
  BlockChanges block;
  block.changes = {checkup::TrialAccount(1)};
  if (absl::Status status = (*engine)->Apply(std::move(block)).status(); !status.ok()) return status;
  const absl::StatusOr<std::unique_ptr<Daemon>> daemon =
      Daemon::Start(ForTrial(loaded, version, data_dir), *std::move(engine), watch, log);
  if (!daemon.ok()) return daemon.status();
  absl::StatusOr<size_t> samples = CheckMetrics(**daemon);
  if (absl::Status status = (*daemon)->Stop(); !status.ok()) return status;
  return samples;
}

Shown ShowObservability(const config::Loaded& loaded, std::string_view version, const checkup::TrialOptions& trial) {
  LogOptions options = ToLogOptions(loaded.settings);
  options.file = trial.scratch + "/mptd.log";
  options.level = "info";
  options.module_levels.clear();
  absl::StatusOr<std::unique_ptr<Logger>> log = Logger::Open(options);
  if (!log.ok()) return log.status();
  SendGrpcLogTo(log->get());
  grpc_init();  // never taken back, as in main.cc
  const absl::StatusOr<size_t> samples = RunDaemon(loaded, version, trial, **log);
  SendGrpcLogTo(nullptr);
  (*log)->Flush();
  log->reset();
  if (!samples.ok()) return samples.status();
  const absl::StatusOr<size_t> lines = CheckLog(options);
  if (!lines.ok()) return lines.status();
  return absl::StrFormat("a daemon on made-up data: %d samples on /metrics, %d lines of log (%s)", *samples, *lines,
                         options.format);
}

}  // namespace

checkup::Finding TryObservability(const config::Loaded& loaded, std::string_view version,
                                  const checkup::TrialOptions& trial) {
  return checkup::ToFinding("observability", "metrics and health over HTTP, events in the log, in its format",
                            ShowObservability(loaded, version, trial));
}

}  // namespace mptd
