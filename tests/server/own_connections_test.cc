// The connections of this process as the kernel knows them.
#include "server/own_connections.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace mptd {
namespace {

// A listener on a free port, and both ends of connections to it.
class OwnConnectionsTest : public ::testing::Test {
 protected:
  OwnConnectionsTest() {
    listener_ = Keep(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_, reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
    EXPECT_EQ(listen(listener_, 16), 0);
    port_ = PortOf(listener_);
  }
  ~OwnConnectionsTest() override {
    for (const int fd : open_) close(fd);
  }

  int Keep(int fd) {
    EXPECT_GE(fd, 0);
    open_.push_back(fd);
    return fd;
  }
  static uint16_t PortOf(int fd) {
    sockaddr_in name{};
    socklen_t size = sizeof(name);
    EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size), 0);
    return ntohs(name.sin_port);
  }
  // The client's end, and ours.
  std::pair<int, int> Connect() {
    const int client = Keep(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    name.sin_port = htons(port_);
    EXPECT_EQ(connect(client, reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
    return {client, Keep(accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC))};
  }
  OwnConnections Own() const { return OwnConnections({absl::StrCat("127.0.0.1:", port_)}); }

  std::vector<int> open_;
  int listener_ = -1;
  uint16_t port_ = 0;
};

TEST_F(OwnConnectionsTest, NeitherTheListenerNorTheOtherEndIsOne) {
  EXPECT_TRUE(Own().Find().empty());
  const auto [client, ours] = Connect();
  const std::vector<OwnConnection> found = Own().Find();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].descriptor, ours);
  EXPECT_EQ(found[0].peer, absl::StrCat("ipv4:127.0.0.1:", PortOf(client)));
  EXPECT_TRUE(OwnConnections({"127.0.0.1:1"}).Find().empty());
}

TEST_F(OwnConnectionsTest, OneWithTwoDescriptorsIsOne) {
  Connect();
  const auto [client, ours] = Connect();
  Keep(dup(ours));
  EXPECT_EQ(Own().Find().size(), 2u);
}

TEST_F(OwnConnectionsTest, OnlyTheOneThatIsMeantIsShutDown) {
  const auto [client, ours] = Connect();
  OwnConnection connection = Own().Find().front();
  ++connection.inode;
  EXPECT_FALSE(ShutDown(connection));
  EXPECT_EQ(send(ours, "x", 1, MSG_NOSIGNAL), 1);
  --connection.inode;
  EXPECT_TRUE(ShutDown(connection));
  EXPECT_EQ(send(ours, "x", 1, MSG_NOSIGNAL), -1);
}

TEST_F(OwnConnectionsTest, WhoHasSaidNothingYetOrVeryMuchIsNotShakingHands) {
  const auto [client, ours] = Connect();
  const OwnConnection connection = Own().Find().front();
  EXPECT_FALSE(MayShakeHands(connection));
  std::string data(100, 'x');
  ASSERT_EQ(write(client, data.data(), data.size()), 100);
  ASSERT_EQ(recv(ours, data.data(), data.size(), MSG_WAITALL), 100);
  // Unless this test has slept for ten seconds meanwhile.
  for (int tries = 0; tries < 1000 && !MayShakeHands(connection); ++tries) {
    ASSERT_EQ(write(client, data.data(), 1), 1);
    ASSERT_EQ(recv(ours, data.data(), 1, MSG_WAITALL), 1);
  }
  EXPECT_TRUE(MayShakeHands(connection));
  std::string much(40'000, 'x');
  ASSERT_EQ(write(client, much.data(), much.size()), 40'000);
  ASSERT_EQ(recv(ours, much.data(), much.size(), MSG_WAITALL), 40'000);
  EXPECT_FALSE(MayShakeHands(connection));
}

TEST(CanonicalPeerTest, IsTheSameOfGrpcAndOfTheKernel) {
  EXPECT_EQ(CanonicalPeer("ipv4:192.0.2.1:47"), "ipv4:192.0.2.1:47");
  EXPECT_EQ(CanonicalPeer("ipv6:%5B::1%5D:47"), "ipv6:[::1]:47");
  EXPECT_EQ(CanonicalPeer("ipv6:[::1]:47"), "ipv6:[::1]:47");
  EXPECT_EQ(CanonicalPeer("ipv6:%5Bfe80::1%25eth0%5D:47"), "ipv6:[fe80::1]:47");
  EXPECT_EQ(CanonicalPeer("fd:17"), "unix");
  EXPECT_EQ(CanonicalPeer("unix:/run/x"), "unix");
}

}  // namespace
}  // namespace mptd
