#include "bench/child_process.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace mptd::bench {

absl::StatusOr<ChildProcess> ChildProcess::Start(const std::vector<std::string>& words) {
  if (access(words[0].c_str(), X_OK) != 0) {
    return absl::NotFoundError(absl::StrFormat("%s is not a program: %s", words[0], std::strerror(errno)));
  }
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t id = fork();
  if (id < 0) return absl::InternalError(absl::StrFormat("fork: %s", std::strerror(errno)));
  if (id == 0) {
    // Standard output is the report's.
    dup2(STDERR_FILENO, STDOUT_FILENO);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent) execv(arguments[0], arguments.data());
    _exit(127);
  }
  return ChildProcess(id);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : id_(std::exchange(other.id_, 0)), exit_status_(other.exit_status_) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this != &other) {
    Kill();
    id_ = std::exchange(other.id_, 0);
    exit_status_ = other.exit_status_;
  }
  return *this;
}

ChildProcess::~ChildProcess() { Kill(); }

void ChildProcess::Kill() {
  if (id_ == 0) return;
  kill(id_, SIGKILL);
  waitpid(id_, &exit_status_, 0);
  id_ = 0;
}

bool ChildProcess::Running() {
  if (id_ != 0 && waitpid(id_, &exit_status_, WNOHANG) == id_) id_ = 0;
  return id_ != 0;
}

absl::Status ChildProcess::Stop(absl::Duration patience) {
  if (id_ != 0) kill(id_, SIGTERM);
  const absl::Time deadline = absl::Now() + patience;
  while (Running()) {
    if (absl::Now() > deadline) return absl::DeadlineExceededError("the daemon does not stop");
    absl::SleepFor(absl::Milliseconds(2));
  }
  if (exit_status_ == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrFormat("the daemon ended with status %d", exit_status_));
}

absl::StatusOr<int> FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  const bool found = fd >= 0 && bind(fd, generic, size) == 0 && getsockname(fd, generic, &size) == 0;
  if (fd >= 0) close(fd);
  if (!found) return absl::UnavailableError(absl::StrFormat("no free port: %s", std::strerror(errno)));
  return ntohs(address.sin_port);
}

}  // namespace mptd::bench
