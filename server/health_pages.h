// What /livez and /readyz answer, in the manner of etcd and Kubernetes: a line for each check, 200 when all is well and
// 503 when not. `?verbose` lists the checks also when all is well, `?exclude=NAME` (any number of them) leaves some
// out. Pure functions; safe from any thread.
#pragma once

#include <string>
#include <vector>

#include "server/health_monitor.h"
#include "server/http_server.h"

namespace mptd {

// Answers as long as the process does: load and a broken disk do not make it worth a restart.
HttpResponse LivePage(const std::string& query);
// `stopping`: the daemon is about to stop, which cannot be excluded.
HttpResponse ReadyPage(const std::string& query, const std::vector<HealthReport>& reports, bool stopping);
// One check alone; what /readyz/NAME answers.
HttpResponse CheckPage(const HealthReport& report);

}  // namespace mptd
