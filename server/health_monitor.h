// How the daemon is, as a list of checks. Probes run on threads of their own and what they found is kept, so that
// asking never waits for a disk, and a probe that hangs is told by its silence and holds up no other. Safe from any
// thread, but for Add, Start and Stop, which one thread calls.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "metrics/log.h"
#include "metrics/metrics.h"
#include "server/mutex.h"

namespace mptd {

enum class HealthState : uint8_t { kHealthy, kDegraded, kFailing, kUnavailable };
std::string_view Name(HealthState state);  // "healthy" ... "unavailable"

// The levels of the daemon and of each check.
inline constexpr int kHealthFailed = 0;
inline constexpr int kHealthCritical = 1;
inline constexpr int kHealthDegraded = 2;
inline constexpr int kHealthHealthy = 3;
std::string_view HealthLevelName(int level);  // "failed", "critical", "degraded", "healthy"

// What a probe says of one check; `reason` is empty when healthy.
struct HealthFinding {
  HealthState state = HealthState::kHealthy;
  std::string reason;
};

struct HealthReport {
  std::string name;
  HealthState state = HealthState::kHealthy;
  int level = kHealthHealthy;
  std::string reason;
  absl::Time last_check = absl::InfinitePast();    // when the probe last answered
  absl::Time last_failure = absl::InfinitePast();  // when it last answered anything but healthy
  uint64_t failures = 0;                           // how often it did
  absl::Duration average_latency;                  // of the probe, over its recent runs
};

class HealthMonitor {
 public:
  struct Check {
    std::string name;
    // The level while it fails: kHealthFailed, kHealthCritical, or kHealthDegraded for one that never makes the daemon
    // unready. A check that does not answer is kHealthCritical at worst: nobody knows more than that.
    int failing_level = kHealthCritical;
  };
  struct Probe {
    std::vector<Check> checks;
    absl::Duration interval;
    absl::Duration timeout;                           // after that without an answer, its checks are unavailable
    std::function<std::vector<HealthFinding>()> run;  // one finding for each check, in their order
  };

  explicit HealthMonitor(Logger& log) : log_(log) {}
  // As Stop.
  ~HealthMonitor() { Stop(); }
  HealthMonitor(const HealthMonitor&) = delete;
  HealthMonitor& operator=(const HealthMonitor&) = delete;

  void Add(Probe probe);
  void Start();
  // Waits for the probes that are running.
  void Stop();

  // In the order in which they were added. Before a probe's first answer its checks are healthy, until its time-out.
  std::vector<HealthReport> Read() const;
  void Write(MetricsWriter& writer) const;

 private:
  struct Runner {
    Probe probe;
    std::vector<HealthReport> reports;  // one for each check
    absl::Time running_since = absl::InfiniteFuture();
    std::thread thread;  // of the thread that starts and stops
  };

  void Run(Runner& runner);
  void Take(Runner& runner, std::vector<HealthFinding> findings, absl::Duration duration)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Logger& log_;
  mutable Mutex mutex_;
  std::condition_variable_any changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // The list does not change after Start; what the runners hold, but for probe and thread, is guarded by mutex_.
  std::vector<std::unique_ptr<Runner>> runners_;
};

// The worst level among them; healthy when there are none.
int WorstLevel(const std::vector<HealthReport>& reports);
// Whether blocks can be applied and answered, as far as this check says.
inline bool Ready(const HealthReport& report) { return report.level >= kHealthDegraded; }

}  // namespace mptd
