// mptd-bench: measures the engine or the daemon and prints the figures.
#include <cstdio>

#include "absl/synchronization/mutex.h"
#include "bench/empty_server.h"
#include "bench/options.h"
#include "bench/run.h"

int main(int argc, char** argv) {
  // As the daemon: the distribution's Abseil would keep a graph of all locks at every Lock().
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  int exit_code = 0;
  const std::optional<mptd::bench::BenchOptions> options = mptd::bench::ParseOptions(argc, argv, exit_code);
  if (!options) return exit_code;
  if (!options->serve_empty.empty()) return mptd::bench::ServeEmptyAnswers(options->serve_empty);
  mptd::bench::Run run(*options);
  const absl::Status status = run.Measure();
  const mptd::bench::Report& report = run.report();
  std::fputs((options->json ? report.Json() + "\n" : report.Table()).c_str(), stdout);
  if (status.ok()) return 0;
  std::fprintf(stderr, "mptd-bench: %s\n", status.ToString().c_str());
  return 1;
}
