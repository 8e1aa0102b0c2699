// mptd.v1.AdminService: what operators ask of the daemon.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "backup/manifest.h"
#include "grpcpp/impl/service_type.h"
#include "mptd/v1/admin.pb.h"
#include "security/audit_chain.h"
#include "server/health_monitor.h"
#include "server/rpc.h"

namespace mptd {

struct AdminOptions {
  std::string version;
  std::string persistence_mode;
  // Sets the level of a module, of all when it is empty, and returns the one before. Called from any thread.
  std::function<absl::StatusOr<std::string>(const std::string& level, const std::string& module)> set_log_level;
  // Makes a checkpoint as a new folder; waits for another that is under way. Called from any thread.
  std::function<absl::StatusOr<backup::Manifest>(const std::string& dir, bool verify)> make_checkpoint;
  // As GetConfig answers; no secrets. Called from any thread.
  std::function<std::vector<pb::ConfigEntry>()> config;
  std::function<absl::StatusOr<pb::ReloadConfigResponse>()> reload_config;
  std::function<absl::StatusOr<KeyReport>(const KeyRotation& rotation)> rotate_keys;
  // The checks that GetStatus tells of; must not wait.
  std::function<std::vector<HealthReport>()> health;
  // Where the audit log has got to; nothing without one. Called from any thread.
  std::function<std::optional<security::AuditHead>()> audit_head;
  // As GetMetrics answers. Called from any thread.
  std::function<pb::GetMetricsResponse()> metrics;
};

// `rpc` must outlive the service, and the service the server that it is registered with.
std::unique_ptr<grpc::Service> MakeAdminService(Rpc& rpc, AdminOptions options);

}  // namespace mptd
