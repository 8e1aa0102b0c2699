// The daemon as its surroundings see it: addresses, health, reflection, HTTP, the log, starting and stopping.
#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include <grpcpp/generic/generic_stub.h>

#include "server/listen_address.h"
#include "tests/server/test_daemon.h"

namespace mptd {
namespace {

using testing::AddressOf;
using ::testing::HasSubstr;
using ::testing::Not;

class DaemonLifeTest : public testing::DaemonTest {
 protected:
  DaemonLifeTest() {
    std::string name = ::testing::TempDir() + "mptd-XXXXXX";
    dir_ = mkdtemp(name.data());
  }
  ~DaemonLifeTest() override { std::filesystem::remove_all(dir_); }

  // The whole answer to a GET.
  static std::string Http(const std::string& address, const std::string& request) {
    const size_t colon = address.rfind(':');
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    EXPECT_EQ(getaddrinfo(address.substr(0, colon).c_str(), address.substr(colon + 1).c_str(), &hints, &found), 0);
    const int fd = socket(found->ai_family, SOCK_STREAM, 0);
    EXPECT_EQ(connect(fd, found->ai_addr, found->ai_addrlen), 0);
    freeaddrinfo(found);
    EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    std::string answer;
    char buffer[4096];
    for (ssize_t n = 0; (n = read(fd, buffer, sizeof(buffer))) > 0;) answer.append(buffer, static_cast<size_t>(n));
    close(fd);
    return answer;
  }
  std::string Get(const std::string& path) {
    return Http(daemon_->http_addresses().at(0), "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
  }

  // grpc.health.v1.Health/Check: 1 serving, 2 not serving, -code for an error.
  int Health(const std::string& service) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    std::string request;
    if (!service.empty()) request = "\x0a" + std::string(1, static_cast<char>(service.size())) + service;
    const grpc::Slice slice(request);
    const auto call =
        stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::ByteBuffer(&slice, 1), &queue);
    call->StartCall();
    grpc::ByteBuffer answer;
    grpc::Status status;
    call->Finish(&answer, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    if (!status.ok()) return -status.error_code();
    grpc::Slice bytes;
    EXPECT_TRUE(answer.DumpToSingleSlice(&bytes).ok());
    return bytes.size() == 2 ? bytes.begin()[1] : 0;
  }

  absl::Status StartStatus() {
    return Daemon::Start(options_, std::make_unique<testing::FakeEngine>(), watch_, *log_).status();
  }
  bool Answers() {
    pb::GetStateRootResponse response;
    return Call(&pb::StateService::Stub::GetStateRoot, pb::GetStateRootRequest(), &response).ok();
  }

  std::string dir_;
};

TEST_F(DaemonLifeTest, SeveralAddressesAndChosenPorts) {
  options_.grpc.listen = {"127.0.0.1:0", "localhost:0", "unix:" + dir_ + "/s"};
  Start();
  ASSERT_EQ(daemon_->grpc_addresses().size(), 3u);
  for (const std::string& address : daemon_->grpc_addresses()) {
    EXPECT_FALSE(address.ends_with(":0")) << address;
    Connect(address);
    EXPECT_TRUE(Answers()) << address;
  }
}

TEST_F(DaemonLifeTest, AUnixSocketIsForOwnerAndGroup) {
  const std::string path = dir_ + "/mptd.sock";
  options_.grpc.listen = {"unix:" + path};
  Start();
  struct stat file {};
  ASSERT_EQ(stat(path.c_str(), &file), 0);
  EXPECT_TRUE(S_ISSOCK(file.st_mode));
  EXPECT_EQ(file.st_mode & 0777, 0660u);
  EXPECT_TRUE(Answers());
  EXPECT_TRUE(daemon_->Stop().ok());
  EXPECT_NE(stat(path.c_str(), &file), 0) << "the socket is left behind";
}

TEST_F(DaemonLifeTest, AStaleUnixSocketIsReplacedAndOneInUseIsNot) {
  const std::string path = dir_ + "/mptd.sock";
  {  // as a killed daemon leaves it
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un un{};
    un.sun_family = AF_UNIX;
    path.copy(un.sun_path, sizeof(un.sun_path) - 1);
    ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&un), sizeof(un)), 0);
    close(fd);
  }
  options_.grpc.listen = {"unix:" + path};
  options_.http_listen.clear();
  Start();
  EXPECT_TRUE(Answers());
  EXPECT_THAT(std::string(StartStatus().message()), HasSubstr("in use by another process"));
  EXPECT_TRUE(Answers()) << "the second daemon took the socket away";
}

TEST_F(DaemonLifeTest, UnixSocketsThatCannotBe) {
  options_.http_listen.clear();
  std::ofstream(dir_ + "/file") << "data";
  options_.grpc.listen = {"unix:" + dir_ + "/file"};
  EXPECT_THAT(std::string(StartStatus().message()), HasSubstr("not a socket"));
  EXPECT_TRUE(std::filesystem::exists(dir_ + "/file"));
  options_.grpc.listen = {"unix:" + dir_ + "/" + std::string(200, 'x')};
  EXPECT_THAT(std::string(StartStatus().message()), HasSubstr("1 to 107 bytes"));
  options_.grpc.listen = {"unix:" + dir_ + "/nowhere/s"};
  EXPECT_THAT(std::string(StartStatus().message()), HasSubstr("No such file or directory"));
}

TEST_F(DaemonLifeTest, PortsInUse) {
  Start();
  const std::string grpc = daemon_->grpc_addresses()[0];
  const std::string http = daemon_->http_addresses()[0];
  options_.grpc.listen = {grpc};
  absl::Status status = StartStatus();
  EXPECT_EQ(status.message(), "cannot listen on " + grpc + ": the address is in use by another process");
  options_.grpc.listen = {"127.0.0.1:0"};
  options_.http_listen = http;
  status = StartStatus();
  EXPECT_EQ(status.message(), "cannot listen on " + http + ": the address is in use by another process");
  EXPECT_TRUE(Answers());
}

TEST_F(DaemonLifeTest, AddressesThatCannotBe) {
  options_.http_listen.clear();
  for (const char* address : {"192.0.2.1:7300", "no.such.host.invalid:1", "127.0.0.1:notaport", "nonsense"}) {
    options_.grpc.listen = {address};
    EXPECT_THAT(std::string(StartStatus().message()), HasSubstr(std::string("cannot listen on ") + address + ": "));
  }
}

TEST_F(DaemonLifeTest, HealthFollowsTheEngineAndShutdown) {
  Start();
  for (const char* name : {"", "mptd.v1.StateService", "mptd.v1.AdminService"}) EXPECT_EQ(Health(name), 1) << name;
  EXPECT_EQ(Health("unknown"), -grpc::StatusCode::NOT_FOUND);
  const auto becomes = [&](const std::string& service, int health) {
    return Eventually([&] {
      daemon_->Tick();
      return Health(service) == health;
    });
  };
  engine_->set_read_only("a sync failed");
  EXPECT_TRUE(becomes("", 2));
  EXPECT_EQ(Health("mptd.v1.StateService"), 2);
  EXPECT_EQ(Health("readyz"), 2);
  EXPECT_EQ(Health("mptd.v1.AdminService"), 1);
  EXPECT_EQ(Health("livez"), 1);
  engine_->set_read_only("");
  EXPECT_TRUE(becomes("mptd.v1.StateService", 1));

  // Not serving comes before the last call is over.
  engine_->HoldApplies(true);
  std::thread caller([&] {
    pb::ApplyStateChangesResponse response;
    EXPECT_TRUE(Call(&pb::StateService::Stub::ApplyStateChanges, BlockRequest(1), &response).ok());
  });
  EXPECT_TRUE(Eventually([&] { return engine_->applies_waiting() == 1; }));
  const std::string http = daemon_->http_addresses()[0];
  std::thread stopper([&] { EXPECT_TRUE(daemon_->Stop().ok()); });
  EXPECT_TRUE(Eventually([&] {
    return Http(http, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").find("not ready: shutting down") != std::string::npos;
  }));
  EXPECT_NE(Health(""), 1);
  daemon_->Tick();
  EXPECT_NE(Health(""), 1);
  engine_->HoldApplies(false);
  caller.join();
  stopper.join();
}

TEST_F(DaemonLifeTest, ReflectionNamesTheServices) {
  Start();
  grpc::GenericStub stub(channel_);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call =
      stub.PrepareCall(&context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  void* tag = nullptr;
  bool ok = false;
  call->StartCall(nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok) && ok);
  const grpc::Slice list("\x3a\x01*");  // list_services: "*"
  call->Write(grpc::ByteBuffer(&list, 1), nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok) && ok);
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok) && ok);
  grpc::Slice bytes;
  ASSERT_TRUE(answer.DumpToSingleSlice(&bytes).ok());
  const std::string text(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
  EXPECT_THAT(text, HasSubstr("mptd.v1.StateService"));
  EXPECT_THAT(text, HasSubstr("mptd.v1.AdminService"));
  EXPECT_THAT(text, HasSubstr("grpc.health.v1.Health"));
  context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok));
}

TEST_F(DaemonLifeTest, HttpAnswersHealth) {
  Start();
  EXPECT_THAT(Get("/livez"), HasSubstr("200 OK"));
  EXPECT_THAT(Get("/readyz"), HasSubstr("200 OK"));
  EXPECT_THAT(Get("/readyz"), HasSubstr("\r\n\r\nok\n"));
  EXPECT_THAT(Get("/readyz?verbose"), HasSubstr("\n[+]writable ok\n"));
  EXPECT_THAT(Get("/readyz/writable"), HasSubstr("200 OK"));
  EXPECT_THAT(Get("/readyz/nothing"), HasSubstr("404"));
  engine_->set_read_only("a sync failed");
  EXPECT_TRUE(Eventually([&] { return Get("/readyz").find("503 Service Unavailable") != std::string::npos; }));
  EXPECT_THAT(Get("/readyz/writable"), HasSubstr("[-]writable failing: read-only: a sync failed"));
  EXPECT_THAT(Get("/readyz?exclude=writable"), HasSubstr("200 OK"));
  EXPECT_THAT(Get("/metrics"), HasSubstr("\nstate_health_level 1\n"));
  EXPECT_THAT(Get("/metrics"), HasSubstr("\nmptd_health_check_level{check=\"writable\"} 1\n"));
  EXPECT_THAT(Get("/readyz?verbose"), HasSubstr("not ready: read-only: a sync failed"));
  EXPECT_THAT(Get("/livez"), HasSubstr("200 OK"));
}

TEST_F(DaemonLifeTest, HttpRefusesTheRest) {
  Start();
  const std::string address = daemon_->http_addresses()[0];
  EXPECT_THAT(Get("/"), HasSubstr("404 Not Found"));
  EXPECT_THAT(Get("/metrics/more"), HasSubstr("404 Not Found"));
  EXPECT_THAT(Get("/../../etc/passwd"), Not(HasSubstr("root:")));
  EXPECT_THAT(Http(address, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), HasSubstr("405"));
  const std::string head = Http(address, "HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(head, HasSubstr("200 OK"));
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
  EXPECT_THAT(Http(address, "nonsense\r\n\r\n"), HasSubstr("400 Bad Request"));
}

TEST_F(DaemonLifeTest, Metrics) {
  Start();
  ApplyTo(3);
  pb::GetAccountRequest request;
  request.set_address(AddressOf(1));
  pb::GetAccountResponse response;
  ASSERT_TRUE(Call(&pb::StateService::Stub::GetAccount, request, &response).ok());
  request.set_address("short");
  EXPECT_FALSE(Call(&pb::StateService::Stub::GetAccount, request, &response).ok());
  using Kind = EngineEvent::Kind;
  watch_.OnEvent({.kind = Kind::kFlushed, .a = 3, .b = 9, .duration = absl::Milliseconds(3), .text = ""});
  for (int i = 0; i < 2; ++i) {
    watch_.OnEvent({.kind = Kind::kLogSynced, .a = 0, .b = 0, .duration = absl::Milliseconds(1), .text = ""});
  }
  watch_.OnEvent({.kind = Kind::kPruned, .a = 6, .b = 5, .duration = {}, .text = ""});
  watch_.OnEvent({.kind = Kind::kFlushFailed, .a = 0, .b = 0, .duration = {}, .text = "disk"});
  std::string text = Get("/metrics");
  EXPECT_THAT(text, HasSubstr("text/plain; version=0.0.4"));
  for (const char* line : {"mptd_grpc_calls_total{method=\"ApplyStateChanges\",code=\"OK\"} 3",
                           "mptd_grpc_calls_total{method=\"GetAccount\",code=\"OK\"} 1",
                           "mptd_grpc_calls_total{method=\"GetAccount\",code=\"INVALID_ARGUMENT\"} 1",
                           "mptd_grpc_call_seconds_count{method=\"ApplyStateChanges\"} 3",
                           "state_head_block 3",
                           "state_durable_block 3",
                           "state_flushed_block 3",
                           "state_oldest_served_block 1",
                           "state_persistence_queue_depth 4",
                           "state_persistence_queue_bytes 5",
                           "state_disk_bytes 6",
                           "state_cache_memory_bytes{cache=\"nodes\"} 7",
                           "state_cache_memory_bytes{cache=\"rows\"} 8",
                           "state_persistence_failures_total 1",
                           "state_health_level 2",
                           "state_corruption_detected 0",
                           "mptd_build_info{version=\"9.9\"} 1",
                           "mptd_grpc_open_streams 0",
                           "state_total_accounts 11",
                           "state_total_slots 12",
                           "state_total_nodes 50",
                           "state_counts_estimated 0",
                           "state_dirty_nodes 15",
                           "state_trie_size_bytes 22",
                           "state_cache_hit_rate 0.75",
                           "state_cache_hits_total{cache=\"accounts\"} 3",
                           "state_cache_misses_total{cache=\"slots\"} 17",
                           "state_cache_evictions_total{cache=\"nodes\"} 20",
                           "state_cached_rows 18",
                           "mptd_table_bytes{table=\"accounts\"} 21",
                           "mptd_rocksdb_memory_bytes 23",
                           "mptd_rocksdb_block_cache_hits_total 26",
                           "mptd_rocksdb_stall_seconds_total 2.5",
                           "mptd_blocks_applied_total 3",
                           "mptd_block_seconds_count 3",
                           "mptd_block_part_seconds_count{part=\"log\"} 3",
                           "state_flush_seconds_count 1",
                           "state_flushed_rows_total 9",
                           "state_log_sync_seconds_count 2",
                           "state_prunes_total 1",
                           "state_pruned_blocks_total 5",
                           "state_durable_lag_blocks 0"}) {
    EXPECT_THAT(text, HasSubstr(std::string("\n") + line + "\n"));
  }
  EXPECT_THAT(text, HasSubstr("\nstate_lookup_latency_p99_ms "));
  EXPECT_THAT(text, HasSubstr("\nstate_update_latency_p99_ms "));
  EXPECT_THAT(text, HasSubstr("\nstate_memory_usage_percent "));
  EXPECT_THAT(text, HasSubstr("\nprocess_resident_memory_bytes "));
  watch_.OnEvent({.kind = EngineEvent::Kind::kCorruption, .a = 0, .b = 0, .duration = {}, .text = "row"});
  EXPECT_THAT(Get("/metrics"), HasSubstr("\nstate_health_level 0\n"));
}

TEST_F(DaemonLifeTest, StopFlushes) {
  Start();
  ApplyTo(1);
  int flushes = engine_->flushes();
  EXPECT_EQ(flushes, 0);
  EXPECT_TRUE(daemon_->Stop().ok());
  EXPECT_FALSE(Answers());
}

// Calls are answered during the delay, though nobody should send new ones.
TEST_F(DaemonLifeTest, NotReadyComesBeforeTheDrainDelay) {
  bool in_time = false;
  // A machine that is too slow to ask within the delay gets a longer one.
  for (options_.drain_delay = absl::Seconds(1); !in_time && !HasFailure(); options_.drain_delay *= 5) {
    ASSERT_LT(options_.drain_delay, absl::Minutes(3));
    Start();
    const std::string http = daemon_->http_addresses()[0];
    const auto get = [&](const std::string& path) {
      return Http(http, "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
    };
    engine_->HoldApplies(true);  // so that HTTP is there until the end of this life
    std::thread caller([&] {
      pb::ApplyStateChangesResponse response;
      EXPECT_TRUE(Call(&pb::StateService::Stub::ApplyStateChanges, BlockRequest(1), &response).ok());
    });
    EXPECT_TRUE(Eventually([&] { return engine_->applies_waiting() == 1; }));
    const absl::Time end = absl::Now() + options_.drain_delay;
    std::thread stopper([&] { EXPECT_TRUE(daemon_->Stop().ok()); });
    EXPECT_TRUE(Eventually([&] { return get("/readyz").find("shutting down") != std::string::npos; }));
    int health = 1;
    EXPECT_TRUE(Eventually([&] { return (health = Health("")) != 1; }));
    const bool answers = Answers();
    in_time = absl::Now() < end;
    EXPECT_THAT(get("/livez"), HasSubstr("200 OK"));
    engine_->HoldApplies(false);
    caller.join();
    stopper.join();
    EXPECT_TRUE(!in_time || (health == 2 && answers)) << health << " " << answers;
    EXPECT_FALSE(Answers());
  }
}

TEST_F(DaemonLifeTest, TheLogSaysWhatHappens) {
  std::mutex mutex;
  std::string lines;
  LogOptions log;
  log.level = "debug";
  log.capture = [&](std::string_view line) {
    const std::lock_guard lock(mutex);
    (lines += line) += '\n';
  };
  log_ = *Logger::Open(log);
  EngineWatch watch(*log_);
  options_.limits.slow_call = absl::Nanoseconds(1);
  auto daemon = Daemon::Start(options_, std::make_unique<testing::FakeEngine>(), watch, *log_);
  ASSERT_TRUE(daemon.ok());
  Connect((*daemon)->grpc_addresses()[0]);
  ApplyTo(1);
  watch.OnEvent({.kind = EngineEvent::Kind::kReadOnly, .a = 0, .b = 0, .duration = {}, .text = "a sync failed"});
  EXPECT_TRUE((*daemon)->Stop().ok());
  const std::string address = (*daemon)->http_addresses().empty() ? "" : "still there";
  EXPECT_EQ(address, "");
  log_->Flush();
  const std::lock_guard lock(mutex);
  EXPECT_THAT(lines, HasSubstr("info server listening grpc=127.0.0.1:"));
  EXPECT_THAT(lines, HasSubstr("http=127.0.0.1:"));
  EXPECT_THAT(lines, Not(HasSubstr("127.0.0.1:0")));
  EXPECT_THAT(lines, HasSubstr("warn rpc slow_call method=ApplyStateChanges code=OK duration_ms="));
  EXPECT_THAT(lines, HasSubstr("critical engine read_only reason=\"a sync failed\""));
  EXPECT_THAT(lines, HasSubstr("info server stopping"));
}

TEST_F(DaemonLifeTest, ListenAddressesAreResolved) {
  const auto v4 = ResolveListenAddress("127.0.0.1:0");
  ASSERT_TRUE(v4.ok());
  EXPECT_EQ(v4->front(), "127.0.0.1:0");
  const auto any = ResolveListenAddress("0.0.0.0:0");
  ASSERT_TRUE(any.ok());
  EXPECT_EQ(any->front(), "0.0.0.0:0");
  const auto name = ResolveListenAddress("localhost:0");
  ASSERT_TRUE(name.ok());
  EXPECT_FALSE(name->empty());
}

}  // namespace
}  // namespace mptd
