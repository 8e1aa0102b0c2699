// What is wrong with a running daemon, from what it says of itself. Pure functions; safe from any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "checkup/finding.h"
#include "mptd/v1/admin.pb.h"

namespace mptd::cli {

// The samples of a scrape that have no labels, by name.
using Metrics = std::map<std::string, double, std::less<>>;
// Reads Prometheus' text format; lines that are not understood are left out.
Metrics ParseMetrics(std::string_view text);

struct DiskShare {
  uint64_t free_bytes = 0;
  uint64_t total_bytes = 0;
};

struct DaemonReadings {
  std::string server;
  std::string client_version;
  v1::GetStatusResponse status;
  std::map<std::string, std::string, std::less<>> config;    // key and value, as GetConfig answers
  std::vector<std::pair<std::string, std::string>> serving;  // of grpc.health.v1: service, "SERVING"
  absl::StatusOr<Metrics> metrics = Metrics();               // the error says why there are none
  std::optional<DiskShare> disk;                             // of the data folder, when it is on this machine
};

// One finding a question, always the same ones in the same order.
std::vector<checkup::Finding> Diagnose(const DaemonReadings& readings);
// The only finding when the daemon cannot be asked.
checkup::Finding Unreachable(const std::string& server, const std::string& why);

}  // namespace mptd::cli
