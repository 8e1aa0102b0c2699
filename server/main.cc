// mptd: loads the settings, opens the engine, starts the daemon, waits for a signal, stops it.
#include <csignal>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "config/config.h"
#include "core/engine/engine.h"
#include "core/genesis.h"
#include "grpc/grpc.h"
#include "metrics/log.h"
#include "server/check_command.h"
#include "server/daemon.h"
#include "server/engine_watch.h"
#include "server/import_command.h"
#include "server/service_manager.h"
#include "server/startup.h"

extern char** environ;

namespace mptd {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

int Fail(const absl::Status& status, int exit_code) {
  std::fprintf(stderr, "mptd: %s\n", std::string(status.message()).c_str());
  return exit_code;
}

// Signals are taken from here by the main thread alone, so that no handler ever runs.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

// Returns when the daemon is to stop. SIGUSR1 opens the log file anew, for log rotation by others; SIGHUP does that and
// reads the settings anew.
void WaitForStop(const sigset_t& signals, Daemon& daemon, ServiceManager& manager, Logger& log) {
  const timespec second{.tv_sec = 1, .tv_nsec = 0};
  while (true) {
    const int signal = sigtimedwait(&signals, nullptr, &second);
    if (signal == SIGTERM || signal == SIGINT) {
      log.Info(LogModule::kServer, "signal", {{"name", signal == SIGTERM ? "SIGTERM" : "SIGINT"}});
      return;
    }
    if (signal == SIGHUP || signal == SIGUSR1) {
      manager.Reloading();
      const absl::Status reopened = log.Reopen();
      log.Info(LogModule::kServer, "log_reopened", {{"result", reopened.ToString()}});
      daemon.ReopenAuditLog();
      if (signal == SIGHUP) daemon.ReloadOnSignal();
      manager.Reloaded();
    }
    manager.Tick(daemon.Tick());
  }
}

// From here on a second Ctrl-C ends the process at once; the change log survives that.
void LetInterruptKill() {
  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  pthread_sigmask(SIG_UNBLOCK, &interrupt, nullptr);
}

absl::StatusOr<std::unique_ptr<StateEngine>> OpenEngine(const config::Settings& settings, EngineWatch& watch,
                                                        Logger& log) {
  if (settings.server.genesis.empty()) return StateEngine::Open(ToEngineOptions(settings, watch));
  // Before the data folder: a name that is not known must not leave one behind.
  absl::StatusOr<Genesis> genesis = LoadGenesis(settings.server.genesis);
  if (!genesis.ok()) return genesis.status();
  absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(ToEngineOptions(settings, watch));
  if (!engine.ok()) return engine;
  if (absl::Status status = StartFromGenesis(**engine, *std::move(genesis), log); !status.ok()) return status;
  return engine;
}

int Run(int argc, char** argv) {
  // The distribution's Abseil is a debug build in this respect: it would keep a graph of all locks at every Lock().
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  if (AsksForCheck(argc, argv)) return RunCheckCommand(argc, argv, environ, MPTD_VERSION);
  if (AsksForImport(argc, argv)) return RunImportCommand(argc, argv, environ, MPTD_VERSION);
  const absl::StatusOr<config::Loaded> loaded = config::Load(argc, argv, environ, MPTD_VERSION);
  if (!loaded.ok()) return Fail(loaded.status(), kUsage);
  if (loaded->print.has_value()) {
    std::fputs(loaded->print->c_str(), stdout);
    return 0;
  }
  ForbidCoreFiles(loaded->settings);
  const sigset_t signals = BlockSignals();
  const absl::StatusOr<std::unique_ptr<Logger>> log = Logger::Open(ToLogOptions(loaded->settings));
  if (!log.ok()) return Fail(log.status(), kFailed);
  SendGrpcLogTo(log->get());
  // Never taken back: gRPC 1.51 may need ten seconds to end its own threads once it has waited for a slow socket
  // (grpc/grpc#41050), and the end of the process does it at once.
  grpc_init();

  (*log)->Info(LogModule::kServer, "starting",
               {{"version", MPTD_VERSION}, {"data_dir", loaded->settings.server.data_dir}});
  EngineWatch watch(**log);
  absl::StatusOr<std::unique_ptr<StateEngine>> engine = OpenEngine(loaded->settings, watch, **log);
  absl::Status result = engine.status();
  if (engine.ok()) {
    DaemonOptions options = ToDaemonOptions(*loaded, MPTD_VERSION);
    options.load_settings = [argc, argv]() -> absl::StatusOr<RuntimeSettings> {
      const absl::StatusOr<config::Loaded> again = config::Load(argc, argv, environ, MPTD_VERSION);
      if (!again.ok()) return again.status();
      return ToRuntimeSettings(*again);
    };
    absl::StatusOr<std::unique_ptr<Daemon>> daemon =
        Daemon::Start(std::move(options), *std::move(engine), watch, **log);
    result = daemon.status();
    if (daemon.ok()) {
      ServiceManager manager;
      manager.Ready(absl::StrJoin((*daemon)->grpc_addresses(), ", "));
      WaitForStop(signals, **daemon, manager, **log);
      manager.Stopping();
      LetInterruptKill();
      result = (*daemon)->Stop();
    }
  }
  SendGrpcLogTo(nullptr);
  if (result.ok()) {
    (*log)->Info(LogModule::kServer, "stopped");
  } else if (!loaded->settings.logging.file.empty()) {  // else it would stand on standard error twice
    (*log)->Critical(LogModule::kServer, "failed", {{"reason", result.message()}});
  }
  (*log)->Flush();
  return result.ok() ? 0 : Fail(result, kFailed);
}

}  // namespace
}  // namespace mptd

int main(int argc, char** argv) { return mptd::Run(argc, argv); }
