#include "server/unix_acceptor.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"
#include "server/listen_address.h"

namespace mptd {
namespace {

constexpr int kBacklog = 128;
// Without a file descriptor to spare, the connection stays in the queue and poll returns at once.
constexpr int kPauseMs = 100;

absl::Status CannotListen(const std::string& path, int error) {
  return absl::FailedPreconditionError(
      absl::StrFormat("cannot listen on unix:%s: %s", path, std::generic_category().message(error)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<UnixAcceptor>> UnixAcceptor::Start(const std::string& path, OnConnection on_connection) {
  if (absl::Status status = PrepareUnixSocket(path); !status.ok()) return status;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, path.c_str(), path.size());  // it fits: PrepareUnixSocket has looked
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener < 0) return CannotListen(path, errno);
  const int stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  int error = stop < 0 ? errno : 0;
  if (error == 0 && bind(listener, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0) error = errno;
  absl::Status status = error == 0 ? RestrictUnixSocket(path) : CannotListen(path, error);
  if (status.ok() && listen(listener, kBacklog) != 0) status = CannotListen(path, errno);
  if (!status.ok()) {
    close(listener);
    if (stop >= 0) close(stop);
    return status;
  }
  return std::unique_ptr<UnixAcceptor>(new UnixAcceptor(path, listener, stop, std::move(on_connection)));
}

UnixAcceptor::UnixAcceptor(std::string path, int listener, int stop, OnConnection on_connection)
    : path_(std::move(path)), listener_(listener), stop_(stop), on_connection_(std::move(on_connection)) {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "mptd-unix");
    Run();
  });
}

UnixAcceptor::~UnixAcceptor() {
  const uint64_t one = 1;
  (void)!write(stop_, &one, sizeof(one));
  thread_.join();
  close(listener_);
  close(stop_);
  unlink(path_.c_str());
}

void UnixAcceptor::Run() const {
  std::array<pollfd, 2> waiting = {pollfd{.fd = stop_, .events = POLLIN, .revents = 0},
                                   pollfd{.fd = listener_, .events = POLLIN, .revents = 0}};
  while (true) {
    if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return;
    if (waiting[0].revents != 0) return;
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      on_connection_(fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      if (poll(waiting.data(), 1, kPauseMs) > 0) return;
    }
  }
}

}  // namespace mptd
