// mptctl: see app.h.
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <system_error>

#include "absl/synchronization/mutex.h"
#include "cli/app.h"

int main(int argc, char** argv) {
  using mptd::cli::ExitCode;
  // A closed pipe is an error of Terminal::Print and no reason to die in the middle of a write to the daemon.
  std::signal(SIGPIPE, SIG_IGN);
  // gRPC's own log lines would stand between ours; failures are reported by the call.
  // NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  // The distribution's Abseil is a debug build in this respect: a restore would keep a graph of all locks.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  std::ios::sync_with_stdio(false);
  mptd::cli::Terminal terminal({.in = &std::cin,
                                .out = &std::cout,
                                .err = &std::cerr,
                                .in_is_terminal = isatty(STDIN_FILENO) != 0,
                                .err_is_terminal = isatty(STDERR_FILENO) != 0});
  ExitCode code = mptd::cli::RunMptctl({argv + 1, argv + argc}, terminal);
  // Whoever closed the pipe has what he wanted (`mptctl accounts | head`); a full disk is another matter.
  if (terminal.write_error() != 0 && terminal.write_error() != EPIPE) {
    terminal.Error(std::string("cannot write the answer: ") + std::generic_category().message(terminal.write_error()));
    if (code == ExitCode::kOk) code = ExitCode::kRefused;
  }
  return static_cast<int>(code);
}
