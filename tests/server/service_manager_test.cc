// What the service manager is told, read from a socket such as systemd's.
#include "server/service_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace mptd {
namespace {

using ::testing::StartsWith;

class ServiceManagerTest : public ::testing::Test {
 protected:
  ServiceManagerTest() {
    std::string name = ::testing::TempDir() + "mptd-XXXXXX";
    dir_ = mkdtemp(name.data());
    const std::string path = dir_ + "/notify";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    socket_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    EXPECT_EQ(bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    setenv("NOTIFY_SOCKET", path.c_str(), 1);
    setenv("WATCHDOG_USEC", "60000000", 1);
  }
  ~ServiceManagerTest() override {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) unsetenv(name);
    close(socket_);
    std::filesystem::remove_all(dir_);
  }

  // The oldest message that has not been read; empty when there is none.
  std::string Message() const {
    char buffer[1024];
    const ssize_t size = recv(socket_, buffer, sizeof(buffer), 0);
    return size < 0 ? "" : std::string(buffer, static_cast<size_t>(size));
  }

  std::string dir_;
  int socket_ = -1;
};

EngineStatus AtTurn(uint64_t turns) {
  EngineStatus status;
  status.writer_turns = turns;
  return status;
}

TEST_F(ServiceManagerTest, SaysWhatTheDaemonDoes) {
  ServiceManager manager;
  manager.Ready("127.0.0.1:7300");
  EXPECT_EQ(Message(), "READY=1\nSTATUS=serving on 127.0.0.1:7300");
  manager.Reloading();
  EXPECT_THAT(Message(), StartsWith("RELOADING=1\nMONOTONIC_USEC="));
  manager.Reloaded();
  EXPECT_EQ(Message(), "READY=1");
  manager.Stopping();
  EXPECT_THAT(Message(), StartsWith("STOPPING=1\n"));
  EXPECT_EQ(Message(), "");
}

TEST_F(ServiceManagerTest, FeedsTheWatchdogWhileTheWriterComesRound) {
  ServiceManager manager;
  manager.Tick(AtTurn(1));
  EXPECT_EQ(Message(), "WATCHDOG=1");
  manager.Tick(AtTurn(2));
  EXPECT_EQ(Message(), "WATCHDOG=1");
  manager.Tick(AtTurn(2));
  manager.Tick(AtTurn(2));
  EXPECT_EQ(Message(), "") << "the writer hangs";
  manager.Tick(AtTurn(3));
  EXPECT_EQ(Message(), "WATCHDOG=1");
}

TEST_F(ServiceManagerTest, AReadOnlyDaemonIsAlive) {
  ServiceManager manager;
  manager.Ready("here");
  Message();
  EngineStatus status = AtTurn(1);
  status.read_only = true;
  status.read_only_reason = "the disk\nfailed";
  manager.Tick(status);
  EXPECT_EQ(Message(), "STATUS=read-only: the disk failed");
  EXPECT_EQ(Message(), "WATCHDOG=1");
  manager.Tick(AtTurn(2));
  EXPECT_EQ(Message(), "STATUS=serving on here");
}

TEST_F(ServiceManagerTest, FeedsNoWatchdogThatNobodySet) {
  unsetenv("WATCHDOG_USEC");
  ServiceManager manager;
  manager.Tick(AtTurn(1));
  EXPECT_EQ(Message(), "");
}

TEST_F(ServiceManagerTest, AWatchdogOfAnotherProcessIsNotFed) {
  setenv("WATCHDOG_PID", std::to_string(getppid()).c_str(), 1);
  ServiceManager manager;
  manager.Tick(AtTurn(1));
  EXPECT_EQ(Message(), "");
}

TEST_F(ServiceManagerTest, WithoutAServiceManagerNothingHappens) {
  unsetenv("NOTIFY_SOCKET");
  ServiceManager manager;
  manager.Ready("127.0.0.1:7300");
  manager.Tick(AtTurn(1));
  manager.Stopping();
  EXPECT_EQ(Message(), "");
}

}  // namespace
}  // namespace mptd
