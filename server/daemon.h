// The daemon around an open engine: services, gRPC and HTTP servers, health and metrics, put together and taken apart
// in the right order. main.cc makes one. Methods are called by one thread, where they do not say otherwise.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/engine/engine.h"
#include "metrics/log.h"
#include "metrics/metrics.h"
#include "security/audit_log.h"
#include "server/access.h"
#include "server/admin_service.h"
#include "server/backup_schedule.h"
#include "server/checkpoint_maker.h"
#include "server/connection_guard.h"
#include "server/engine_watch.h"
#include "server/grpc_server.h"
#include "server/health_checks.h"
#include "server/health_monitor.h"
#include "server/http_server.h"
#include "server/mutex.h"
#include "server/rpc.h"
#include "server/server_tls.h"
#include "server/state_metrics.h"

namespace mptd {

// What can be changed while the daemon runs.
struct RuntimeSettings {
  std::vector<pb::ConfigEntry> config;  // as GetConfig answers
  EngineLimits engine;
  uint64_t max_memory_bytes = 0;  // 0: no limit
  std::string log_level = "info";
  std::vector<std::string> module_levels;
  absl::Duration slow_call = absl::Seconds(1);  // zero: none is logged as slow
  AccessOptions access;
};

struct DaemonOptions {
  std::string version;
  std::string persistence_mode;
  std::string data_dir;  // whose file system is watched
  RuntimeSettings runtime;
  // Reads the settings anew; INVALID_ARGUMENT says what is wrong. Called from any thread; may be empty.
  std::function<absl::StatusOr<RuntimeSettings>()> load_settings;
  GrpcServerOptions grpc;  // but for its credentials, which `tls` makes
  ServerTlsOptions tls;
  std::string admin_listen;  // where AdminService is answered, and nowhere else; empty for where the rest is
  std::string http_listen;   // host:port, or empty for none
  RpcLimits limits;
  HealthOptions health;
  absl::Duration drain_delay;  // between not being ready and taking no more calls
  absl::Duration shutdown_grace = absl::Seconds(30);
  BackupOptions backup;
  security::AuditOptions audit;  // no file: no audit log
};

class Daemon {
 public:
  // Begins to listen. `log` and `watch` must outlive the daemon. The error is one sentence, for standard error.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(DaemonOptions options, std::unique_ptr<StateEngine> engine,
                                                       EngineWatch& watch, Logger& log);
  // As Stop, unless it has been called.
  ~Daemon();

  // Reads the settings anew and takes over what can be changed while the daemon runs; the answer and the log name it,
  // and what waits for a restart. With an error nothing has changed. Any thread.
  absl::StatusOr<pb::ReloadConfigResponse> ReloadConfig();

  // ReloadConfig, because of a signal; the log says how it went.
  void ReloadOnSignal();
  // After the audit log's file was renamed: see AuditLog::Reopen. The log says how it went.
  void ReopenAuditLog();

  // To be called about every second: brings health up to date, and ends connections whose certificate is not good any
  // more. Returns the status of the engine.
  EngineStatus Tick();

  // Says that it is not ready, goes on answering for the drain delay, ends streams, waits for running calls as long as
  // the grace period, flushes and closes the engine. The error is that of the last flush.
  absl::Status Stop();

  // What /metrics answers.
  std::string RenderMetrics() const { return metrics_.Render(); }
  const std::vector<std::string>& grpc_addresses() const { return grpc_->addresses(); }
  // Empty when AdminService is answered with the rest.
  std::vector<std::string> admin_addresses() const;
  // Empty without HTTP.
  std::vector<std::string> http_addresses() const;

 private:
  Daemon(DaemonOptions options, std::unique_ptr<StateEngine> engine, EngineWatch& watch, std::unique_ptr<ServerTls> tls,
         std::unique_ptr<security::AuditLog> audit, std::unique_ptr<AccessControl> access, Logger& log);
  absl::Status Listen();
  absl::Status ListenForGrpc();
  void AuditEvent(std::string_view event, std::string_view reason);
  void AddMetrics();
  std::map<std::string, HttpServer::Handler> HttpHandlers();
  HttpResponse AnswerCheck(const std::string& name) const;
  std::vector<pb::ConfigEntry> Config() const;
  void TakeLogLevels(const RuntimeSettings& settings);

  const DaemonOptions options_;
  Logger& log_;
  EngineWatch& watch_;
  const absl::Time started_ = absl::Now();
  std::atomic<bool> stopping_{false};

  mutable Mutex config_mutex_;
  std::vector<pb::ConfigEntry> config_ ABSL_GUARDED_BY(config_mutex_);

  std::unique_ptr<security::AuditLog> audit_;  // null without one
  const std::unique_ptr<ServerTls> tls_;       // null without TLS
  std::unique_ptr<AccessControl> access_;
  std::unique_ptr<StateEngine> engine_;
  CallMetrics calls_;
  MetricsRegistry metrics_;
  std::optional<CheckpointMaker> checkpoints_;
  std::optional<BackupSchedule> backups_;  // when they are scheduled
  std::optional<HealthMonitor> health_;
  std::optional<Rpc> rpc_;
  std::optional<StateMetrics> state_metrics_;
  std::unique_ptr<grpc::Service> state_service_;
  std::unique_ptr<grpc::Service> admin_service_;
  std::unique_ptr<GrpcServer> grpc_;
  std::optional<ConnectionGuard> connections_;
  // Apart, so that a crowd at the state does not keep operators out.
  std::optional<ConnectionGuard> admin_connections_;
  std::unique_ptr<GrpcServer> admin_grpc_;  // null without admin_listen
  std::unique_ptr<HttpServer> http_;
};

// Sets the level of a module of the log, of all when `module` is empty, and returns the one before.
absl::StatusOr<std::string> SetLogLevel(Logger& log, const std::string& level, const std::string& module);

}  // namespace mptd
