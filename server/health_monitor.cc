#include "server/health_monitor.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_format.h"

namespace mptd {
namespace {

constexpr std::array<std::string_view, 4> kStateNames = {"healthy", "degraded", "failing", "unavailable"};
constexpr std::array<std::string_view, 4> kLevelNames = {"failed", "critical", "degraded", "healthy"};
constexpr double kWeightOfNewest = 0.2;

int LevelOf(HealthState state, int failing_level) {
  switch (state) {
    case HealthState::kHealthy:
      return kHealthHealthy;
    case HealthState::kDegraded:
      return kHealthDegraded;
    case HealthState::kFailing:
      return failing_level;
    case HealthState::kUnavailable:
      return std::max(failing_level, kHealthCritical);
  }
  return kHealthFailed;
}

}  // namespace

std::string_view Name(HealthState state) { return kStateNames.at(static_cast<size_t>(state)); }
std::string_view HealthLevelName(int level) { return kLevelNames.at(static_cast<size_t>(level)); }

int WorstLevel(const std::vector<HealthReport>& reports) {
  int worst = kHealthHealthy;
  for (const HealthReport& report : reports) worst = std::min(worst, report.level);
  return worst;
}

void HealthMonitor::Add(Probe probe) {
  auto runner = std::make_unique<Runner>();
  for (const Check& check : probe.checks) runner->reports.emplace_back().name = check.name;
  runner->probe = std::move(probe);
  runners_.push_back(std::move(runner));
}

void HealthMonitor::Start() {
  for (const auto& runner : runners_) {
    runner->thread = std::thread([this, raw = runner.get()] { Run(*raw); });
  }
}

void HealthMonitor::Stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (const auto& runner : runners_) {
    if (runner->thread.joinable()) runner->thread.join();
  }
}

void HealthMonitor::Run(Runner& runner) {
  (void)pthread_setname_np(pthread_self(), "mptd-health");
  mutex_.lock();
  while (!stopping_) {
    const absl::Time begin = runner.running_since = absl::Now();
    mutex_.unlock();
    std::vector<HealthFinding> findings = runner.probe.run();
    const absl::Time end = absl::Now();
    mutex_.lock();
    runner.running_since = absl::InfiniteFuture();
    Take(runner, std::move(findings), end - begin);
    while (!stopping_ && absl::Now() < end + runner.probe.interval) {
      changed_.wait_for(mutex_, absl::ToChronoNanoseconds(end + runner.probe.interval - absl::Now()));
    }
  }
  mutex_.unlock();
}

void HealthMonitor::Take(Runner& runner, std::vector<HealthFinding> findings, absl::Duration duration) {
  findings.resize(runner.reports.size());
  for (size_t i = 0; i < findings.size(); ++i) {
    HealthReport& report = runner.reports[i];
    const HealthFinding& found = findings[i];
    const HealthState before = std::exchange(report.state, found.state);
    const bool first = report.last_check == absl::InfinitePast();
    report.level = LevelOf(found.state, runner.probe.checks[i].failing_level);
    report.reason = found.reason;
    report.last_check = absl::Now();
    report.average_latency =
        first ? duration : report.average_latency * (1 - kWeightOfNewest) + duration * kWeightOfNewest;
    if (found.state != HealthState::kHealthy) {
      report.last_failure = report.last_check;
      ++report.failures;
    }
    const LogLevel severity = found.state == HealthState::kHealthy ? LogLevel::kInfo : LogLevel::kWarn;
    log_.Log(before == found.state ? LogLevel::kDebug : severity, LogModule::kServer, "health_check_performed",
             {{"check", report.name},
              {"state", Name(found.state)},
              {"before", Name(before)},
              {"reason", found.reason},
              {"duration_ms", duration}});
  }
}

std::vector<HealthReport> HealthMonitor::Read() const {
  const absl::Time now = absl::Now();
  std::vector<HealthReport> out;
  const MutexLock lock(mutex_);
  for (const auto& runner : runners_) {
    const bool silent = now - runner->running_since > runner->probe.timeout;
    for (size_t i = 0; i < runner->reports.size(); ++i) {
      HealthReport& report = out.emplace_back(runner->reports[i]);
      if (!silent) continue;
      report.state = HealthState::kUnavailable;
      report.level = LevelOf(report.state, runner->probe.checks[i].failing_level);
      report.reason = absl::StrFormat("no answer for %d s",
                                      absl::ToInt64Seconds(absl::Ceil(now - runner->running_since, absl::Seconds(1))));
    }
  }
  return out;
}

void HealthMonitor::Write(MetricsWriter& writer) const {
  const std::vector<HealthReport> reports = Read();
  for (const HealthReport& report : reports) {
    writer.Gauge("mptd_health_check_level", "Of one check: 0 failed, 1 critical, 2 degraded, 3 healthy.", report.level,
                 {{"check", report.name}});
  }
  for (const HealthReport& report : reports) {
    writer.Counter("mptd_health_check_failures_total", "Times that a check did not come out healthy.",
                   static_cast<double>(report.failures), {{"check", report.name}});
  }
  for (const HealthReport& report : reports) {
    writer.Gauge("mptd_health_check_latency_seconds", "How long a check took, on average of its recent runs.",
                 absl::ToDoubleSeconds(report.average_latency), {{"check", report.name}});
  }
}

}  // namespace mptd
