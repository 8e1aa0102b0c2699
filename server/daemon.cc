#include "server/daemon.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/errors.h"
#include "core/hex.h"
#include "server/health_pages.h"
#include "server/state_service.h"

namespace mptd {
namespace {

constexpr char kPrometheusText[] = "text/plain; version=0.0.4; charset=utf-8";
constexpr int kScrapesAtOnce = 4;

}  // namespace

absl::StatusOr<std::string> SetLogLevel(Logger& log, const std::string& level, const std::string& module) {
  const std::optional<LogLevel> parsed = ParseLogLevel(level);
  if (!parsed.has_value()) return InvalidField("level", "must be trace, debug, info, warn, error, critical or off");
  if (module.empty()) {
    const LogLevel previous = log.level(LogModule::kServer);
    log.SetLevel(*parsed);
    return std::string(Name(previous));
  }
  const std::optional<LogModule> found = ParseLogModule(module);
  if (!found.has_value())
    return InvalidField("module", "must be server, engine, storage, rpc, config or empty for all");
  const LogLevel previous = log.level(*found);
  log.SetLevel(*found, *parsed);
  return std::string(Name(previous));
}

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(DaemonOptions options, std::unique_ptr<StateEngine> engine,
                                                      EngineWatch& watch, Logger& log) {
  std::unique_ptr<security::AuditLog> audit;
  if (!options.audit.file.empty()) {
    auto opened = security::AuditLog::Open(options.audit);
    if (!opened.ok()) return opened.status();
    audit = *std::move(opened);
  }
  std::unique_ptr<ServerTls> tls;
  if (options.tls.enabled()) {
    absl::StatusOr<std::unique_ptr<ServerTls>> opened = ServerTls::Open(options.tls, audit.get(), log);
    if (!opened.ok()) return opened.status();
    tls = *std::move(opened);
  }
  auto access = AccessControl::Open(options.runtime.access, audit.get(),
                                    tls == nullptr ? nullptr : &tls->watch().certificates(), log);
  if (!access.ok()) return access.status();
  options.grpc.access = access->get();
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(options), std::move(engine), watch, std::move(tls),
                                            std::move(audit), *std::move(access), log));
  if (absl::Status status = daemon->Listen(); !status.ok()) return status;
  return daemon;
}

Daemon::Daemon(DaemonOptions options, std::unique_ptr<StateEngine> engine, EngineWatch& watch,
               std::unique_ptr<ServerTls> tls, std::unique_ptr<security::AuditLog> audit,
               std::unique_ptr<AccessControl> access, Logger& log)
    : options_(std::move(options)),
      log_(log),
      watch_(watch),
      config_(options_.runtime.config),
      audit_(std::move(audit)),
      tls_(std::move(tls)),
      access_(std::move(access)),
      engine_(std::move(engine)),
      calls_(MakeCallMetrics()) {
  health_.emplace(log_);
  HealthOptions health = options_.health;
  health.memory_limit = [this] { return rpc_->memory().Limit(); };
  AddHealthChecks(health, *engine_, watch_, log_, *health_);
  if (tls_ != nullptr) AddTlsCheck(options_.health, *tls_, *health_);
  rpc_.emplace(*engine_, log_, calls_, *access_, options_.limits);
  rpc_->memory().Configure(options_.runtime.engine, options_.runtime.max_memory_bytes);
  checkpoints_.emplace(*engine_, options_.version, log_);
  if (!options_.backup.dir.empty()) backups_.emplace(options_.backup, *engine_, *checkpoints_, log_);
  state_metrics_.emplace(*engine_, watch_, *health_, calls_, rpc_->blocks(), rpc_->memory(), options_.data_dir);
  AdminOptions admin{
      .version = options_.version,
      .persistence_mode = options_.persistence_mode,
      .set_log_level =
          [this](const std::string& level, const std::string& module) {
            absl::StatusOr<std::string> previous = SetLogLevel(log_, level, module);
            if (previous.ok()) {
              log_.Info(LogModule::kServer, "configuration_changed",
                        {{"key", module.empty() ? "logging.level" : "logging.module_levels"},
                         {"module", module},
                         {"from", *previous},
                         {"to", level}});
            }
            return previous;
          },
      .make_checkpoint = [this](const std::string& dir, bool verify) { return checkpoints_->Make(dir, verify); },
      .config = [this] { return Config(); },
      .reload_config = [this] { return ReloadConfig(); },
      .rotate_keys =
          [this](const KeyRotation& rotation) {
            absl::StatusOr<KeyReport> report = engine_->RotateKeys(rotation);
            if (report.ok()) {
              log_.Info(LogModule::kServer, "keys_rotated",
                        {{"master_key", report->master_key}, {"data_key", report->data_key}});
            }
            return report;
          },
      .health = [this] { return health_->Read(); },
      .audit_head = [this]() -> std::optional<security::AuditHead> {
        if (audit_ == nullptr) return std::nullopt;
        return audit_->status().head;
      },
      .metrics = [this] { return state_metrics_->Collect(); }};
  state_service_ = MakeStateService(*rpc_);
  admin_service_ = MakeAdminService(*rpc_, std::move(admin));
  AddMetrics();
}

Daemon::~Daemon() {
  if (engine_ != nullptr) Stop().IgnoreError();
  if (tls_ != nullptr) SendFailedHandshakesTo(nullptr);
}

void Daemon::AddMetrics() {
  metrics_.AddSource([this](MetricsWriter& writer) {
    const EngineStatus status = engine_->Status();
    const EngineStatistics statistics = engine_->Statistics();
    watch_.Write(status, writer);
    writer.Gauge("state_health_level", "0 failed (damaged data), 1 critical (cannot write), 2 degraded, 3 healthy.",
                 state_metrics_->HealthLevel(status));
    health_->Write(writer);
    WriteStateMetrics(state_metrics_->Collect(status, statistics), writer);
    WriteStatistics(statistics, writer);
    rpc_->blocks().Write(writer);
    calls_.Write(writer);
  });
  metrics_.AddSource([this](MetricsWriter& writer) {
    writer.Gauge("mptd_build_info", "Always 1; what is running.", 1, {{"version", options_.version}});
    writer.Gauge("mptd_uptime_seconds", "Time since the daemon started.",
                 absl::ToDoubleSeconds(absl::Now() - started_));
    writer.Gauge("mptd_grpc_open_streams", "Streams that are open.", static_cast<double>(rpc_->streams().size()));
    writer.Gauge("mptd_grpc_running_calls", "Calls that wait, work on a pool or stream.",
                 static_cast<double>(rpc_->running()));
    writer.Counter("mptd_log_lines_lost_total", "Lines that could not be logged.", static_cast<double>(log_.lost()));
    writer.Gauge("mptd_grpc_connections", "Connections to gRPC's addresses, as counted within the last second.",
                 static_cast<double>((connections_.has_value() ? connections_->connections() : 0) +
                                     (admin_connections_.has_value() ? admin_connections_->connections() : 0)));
    rpc_->WriteLoad(writer);
    if (backups_.has_value()) backups_->Write(writer);
    if (tls_ != nullptr) tls_->Write(writer);
    access_->Write(writer);
    WriteProcessMetrics(writer);
  });
}

std::map<std::string, HttpServer::Handler> Daemon::HttpHandlers() {
  std::map<std::string, HttpServer::Handler> handlers;
  handlers["/metrics"] = AtMost(kScrapesAtOnce, [this](const std::string&) {
    return HttpResponse{.status = 200, .content_type = kPrometheusText, .body = RenderMetrics()};
  });
  handlers["/livez"] = LivePage;
  handlers["/readyz"] = [this](const std::string& query) { return ReadyPage(query, health_->Read(), stopping_); };
  for (const HealthReport& report : health_->Read()) {
    handlers["/readyz/" + report.name] = [this, name = report.name](const std::string&) { return AnswerCheck(name); };
  }
  return handlers;
}

HttpResponse Daemon::AnswerCheck(const std::string& name) const {
  for (const HealthReport& report : health_->Read()) {
    if (report.name == name) return CheckPage(report);
  }
  return {.status = 404, .body = "not found\n"};
}

absl::Status Daemon::ListenForGrpc() {
  const std::pair<std::string, grpc::Service*> state = {"mptd.v1.StateService", state_service_.get()};
  const std::pair<std::string, grpc::Service*> admin = {"mptd.v1.AdminService", admin_service_.get()};
  GrpcServerOptions options = options_.grpc;
  if (tls_ != nullptr) options.credentials = tls_->credentials();
  const bool apart = !options_.admin_listen.empty();
  using Services = std::vector<std::pair<std::string, grpc::Service*>>;
  absl::StatusOr<std::unique_ptr<GrpcServer>> grpc =
      GrpcServer::Start(options, apart ? Services{state} : Services{state, admin});
  if (!grpc.ok()) return grpc.status();
  grpc_ = *std::move(grpc);
  const auto on_closed = [this](size_t closed) {
    for (size_t i = 0; i < closed; ++i) rpc_->refusals().CountOne("max_connections");
    log_.Warn(LogModule::kRpc, "connections_closed", {{"closed", closed}, {"limit", options_.grpc.max_connections}});
  };
  connections_.emplace(grpc_->addresses(), options_.grpc.max_connections, on_closed);
  if (apart) {
    options.listen = {options_.admin_listen};
    grpc = GrpcServer::Start(options, {admin});
    if (!grpc.ok()) return grpc.status();
    admin_grpc_ = *std::move(grpc);
    admin_connections_.emplace(admin_grpc_->addresses(), options_.grpc.max_connections, on_closed);
  }
  if (tls_ == nullptr) return absl::OkStatus();
  std::vector<std::string> all = grpc_addresses();
  for (std::string& address : admin_addresses()) all.push_back(std::move(address));
  tls_->watch().SetAddresses(all);
  SendFailedHandshakesTo(&tls_->watch());
  return absl::OkStatus();
}

absl::Status Daemon::Listen() {
  // Before the first call that may be refused.
  AuditEvent("started", options_.version);
  if (absl::Status status = ListenForGrpc(); !status.ok()) return status;
  if (!options_.http_listen.empty()) {
    absl::StatusOr<std::unique_ptr<HttpServer>> http = HttpServer::Start(options_.http_listen, HttpHandlers());
    if (!http.ok()) return http.status();
    http_ = *std::move(http);
  }
  health_->Start();
  if (backups_.has_value()) backups_->Start();
  log_.Info(LogModule::kServer, "listening",
            {{"grpc", absl::StrJoin(grpc_addresses(), ",")},
             {"admin", absl::StrJoin(admin_addresses(), ",")},
             {"tls", tls_ != nullptr},
             {"http", absl::StrJoin(http_addresses(), ",")}});
  log_.Info(LogModule::kServer, "access",
            {{"callers_need_roles", access_->callers().enabled()},
             {"message", access_->callers().enabled() ? "whoever has no role is refused"
                                                      : "whoever can connect may do everything; see security.roles"}});
  return absl::OkStatus();
}

void Daemon::AuditEvent(std::string_view event, std::string_view reason) {
  if (audit_ == nullptr) return;
  const EngineStatus status = engine_->Status();
  security::AuditEntry entry{.time = absl::Now(), .event = std::string(event), .reason = std::string(reason)};
  if (status.has_blocks) {
    entry.block = status.head.number;
    entry.root = ToHex(status.head.state_root);
  }
  audit_->Add(std::move(entry));
  const security::AuditStatus audit = audit_->status();
  log_.Info(LogModule::kServer, "audit_log",
            {{"after", event}, {"lines", audit.head.seq}, {"head", audit.head.hash}, {"waiting", audit.waiting}});
}

void Daemon::ReloadOnSignal() {
  const absl::StatusOr<pb::ReloadConfigResponse> done = ReloadConfig();
  AuditEvent("config_reloaded", done.ok() ? absl::StrCat("SIGHUP; changed: ", absl::StrJoin(done->changed(), ","))
                                          : absl::StrCat("SIGHUP; refused: ", done.status().message()));
}

void Daemon::ReopenAuditLog() {
  if (audit_ == nullptr) return;
  const absl::Status reopened = audit_->Reopen();
  log_.Log(reopened.ok() ? LogLevel::kInfo : LogLevel::kError, LogModule::kServer, "audit_log_reopened",
           {{"result", reopened.ToString()}});
}

std::vector<pb::ConfigEntry> Daemon::Config() const {
  const MutexLock lock(config_mutex_);
  return config_;
}

void Daemon::TakeLogLevels(const RuntimeSettings& settings) {
  if (const auto level = ParseLogLevel(settings.log_level); level.has_value()) log_.SetLevel(*level);
  for (const std::string_view text : settings.module_levels) {
    const size_t equals = text.find('=');
    const auto module = ParseLogModule(text.substr(0, equals));
    const auto level = ParseLogLevel(text.substr(equals + 1));
    if (module.has_value() && level.has_value()) log_.SetLevel(*module, *level);
  }
}

absl::StatusOr<pb::ReloadConfigResponse> Daemon::ReloadConfig() {
  if (!options_.load_settings) return absl::UnimplementedError("this daemon has no settings to read anew");
  const MutexLock lock(config_mutex_);
  const absl::StatusOr<RuntimeSettings> settings = options_.load_settings();
  if (!settings.ok()) {
    log_.Error(LogModule::kConfig, "config_refused", {{"reason", settings.status().message()}});
    return settings.status();
  }
  if (absl::Status status = access_->Configure(settings->access); !status.ok()) {
    log_.Error(LogModule::kConfig, "config_refused", {{"reason", status.message()}});
    return status;
  }
  if (tls_ != nullptr) {
    if (absl::Status status = tls_->Reload(); !status.ok()) return status;  // the log says it
  }
  pb::ReloadConfigResponse out;
  bool log_levels = false;
  for (pb::ConfigEntry& entry : config_) {
    const auto found = std::find_if(settings->config.begin(), settings->config.end(),
                                    [&](const pb::ConfigEntry& other) { return other.key() == entry.key(); });
    if (found == settings->config.end()) continue;
    const bool changed = found->value() != entry.value();
    if (changed) (entry.runtime() ? out.add_changed() : out.add_restart_needed())->assign(entry.key());
    // A level that was set by SetLogLevel stays until the setting itself changes.
    log_levels |= changed && (entry.key() == "logging.level" || entry.key() == "logging.module_levels");
    if (!changed || entry.runtime()) entry = *found;
  }
  rpc_->memory().Configure(settings->engine, settings->max_memory_bytes);
  if (log_levels) TakeLogLevels(*settings);
  rpc_->SetSlowCall(settings->slow_call);
  log_.Info(
      LogModule::kConfig, "config_reloaded",
      {{"changed", absl::StrJoin(out.changed(), ",")}, {"restart_needed", absl::StrJoin(out.restart_needed(), ",")}});
  return out;
}

std::vector<std::string> Daemon::http_addresses() const {
  return http_ == nullptr ? std::vector<std::string>{} : http_->addresses();
}

std::vector<std::string> Daemon::admin_addresses() const {
  return admin_grpc_ == nullptr ? std::vector<std::string>{} : admin_grpc_->addresses();
}

// Operators are answered also when blocks are not: AdminService serves until the daemon stops.
EngineStatus Daemon::Tick() {
  const bool ready = WorstLevel(health_->Read()) >= kHealthDegraded;
  for (const char* service : {"", "readyz", "mptd.v1.StateService"}) {
    grpc_->SetServing(service, ready);
    if (admin_grpc_ != nullptr) admin_grpc_->SetServing(service, ready);
  }
  rpc_->events().Regularly(absl::Now());
  if (tls_ != nullptr) tls_->watch().Tick(absl::Now());
  return engine_->Status();
}

absl::Status Daemon::Stop() {
  stopping_ = true;
  absl::Status flushed;
  if (grpc_ != nullptr) {
    log_.Info(LogModule::kServer, "stopping", {{"running_calls", rpc_->running()}});
    // Who asks for health is told before the first call is refused, and has the delay to act on it; then streams are
    // told, which would never end by themselves.
    grpc_->StopServing();
    if (admin_grpc_ != nullptr) admin_grpc_->StopServing();
    absl::SleepFor(options_.drain_delay);
    rpc_->Drain();
    grpc_->Shutdown(options_.shutdown_grace);
    if (admin_grpc_ != nullptr) admin_grpc_->Shutdown(options_.shutdown_grace);
  }
  checkpoints_->Stop();
  rpc_->Stop();
  health_->Stop();
  http_.reset();  // its handlers ask the engine
  connections_.reset();
  admin_connections_.reset();
  backups_.reset();
  rpc_.reset();
  if (!engine_->Status().read_only) flushed = engine_->Flush().status();
  AuditEvent("stopped", std::string(flushed.message()));
  engine_.reset();
  return flushed;
}

}  // namespace mptd
