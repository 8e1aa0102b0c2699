#include "server/service_manager.h"

#include <systemd/sd-daemon.h>

#include <ctime>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "server/engine_watch.h"

namespace mptd {
namespace {

// A message that is lost costs a service manager's time-out, which is what it is there for.
void Send(const std::string& message) { sd_notify(/*unset_environment=*/0, message.c_str()); }

uint64_t MonotonicMicroseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

}  // namespace

ServiceManager::ServiceManager() : watchdog_(sd_watchdog_enabled(/*unset_environment=*/0, nullptr) > 0) {}

void ServiceManager::Ready(const std::string& where) {
  serving_ = absl::StrCat("serving on ", where);
  state_ = serving_;
  Send(absl::StrCat("READY=1\nSTATUS=", state_));
}

void ServiceManager::Reloading() { Send(absl::StrFormat("RELOADING=1\nMONOTONIC_USEC=%d", MonotonicMicroseconds())); }

void ServiceManager::Reloaded() { Send("READY=1"); }

void ServiceManager::Stopping() { Send("STOPPING=1\nSTATUS=stopping"); }

void ServiceManager::Tick(const EngineStatus& status) {
  const absl::Status ready = EngineWatch::Ready(status);
  // A line break would begin another field of the message.
  std::string state = ready.ok() ? serving_ : absl::StrReplaceAll(ready.message(), {{"\n", " "}});
  if (state != state_) {
    Send(absl::StrCat("STATUS=", state));
    state_ = std::move(state);
  }
  if (std::exchange(writer_turns_, status.writer_turns) == status.writer_turns) return;
  if (watchdog_) Send("WATCHDOG=1");
}

}  // namespace mptd
