// What the daemon tells systemd over $NOTIFY_SOCKET: that it is ready, reloads, stops, and is alive. Without a service
// manager nothing happens. For one thread; see deploy/systemd/mptd.service.
#pragma once

#include <cstdint>
#include <string>

#include "core/engine/engine.h"

namespace mptd {

class ServiceManager {
 public:
  // Reads $WATCHDOG_USEC and $WATCHDOG_PID.
  ServiceManager();

  // The daemon answers from now on, at the addresses `where`, which `systemctl status` shows.
  void Ready(const std::string& where);
  // SIGHUP came; to be followed by Reloaded().
  void Reloading();
  void Reloaded();
  void Stopping();

  // To be called about every second. Feeds the watchdog when the engine's writer has come round since the last call,
  // and so never when the writer hangs, nor when the caller does, as one does who waits for a lock that is never
  // released. Being busy, full or read-only is no reason not to: a restart would not help.
  void Tick(const EngineStatus& status);

 private:
  bool watchdog_;
  uint64_t writer_turns_ = 0;
  // As `systemctl status` shows them.
  std::string serving_;
  std::string state_;
};

}  // namespace mptd
