// That a path that hangs leaves the others their threads.
#include "server/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <future>
#include <latch>
#include <string>
#include <thread>
#include <vector>

namespace mptd {
namespace {

using ::testing::HasSubstr;

constexpr int kAtOnce = 4;

std::string Get(const std::string& address, const std::string& path) {
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n";
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + address.rfind(':') + 1)));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
  EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[1024];
  for (ssize_t n = 0; (n = read(fd, buffer, sizeof(buffer))) > 0;) answer.append(buffer, static_cast<size_t>(n));
  close(fd);
  return answer;
}

TEST(HttpServerTest, APathThatHangsLeavesTheOthersTheirThreads) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::latch all_hang(kAtOnce);
  const auto hang = [&](const std::string&) {
    all_hang.count_down();
    released.wait();
    return HttpResponse{.body = "at last\n"};
  };
  const auto live = [](const std::string&) { return HttpResponse{.body = "ok\n"}; };
  auto server = HttpServer::Start("127.0.0.1:0", {{"/slow", AtMost(kAtOnce, hang)}, {"/livez", live}});
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string address = (*server)->addresses().at(0);
  std::vector<std::string> answers(kAtOnce);
  std::vector<std::thread> callers;
  for (std::string& answer : answers) callers.emplace_back([&] { answer = Get(address, "/slow"); });
  all_hang.wait();
  for (int i = 0; i < 30; ++i) EXPECT_THAT(Get(address, "/slow"), HasSubstr("503 Service Unavailable"));
  EXPECT_THAT(Get(address, "/livez"), HasSubstr("200 OK"));
  release.set_value();
  for (std::thread& caller : callers) caller.join();
  for (const std::string& answer : answers) EXPECT_THAT(answer, HasSubstr("at last"));
}

}  // namespace
}  // namespace mptd
