// grpc.health.v1 of a daemon, above all Watch.
#include "server/health_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/server/test_daemon.h"

namespace mptd::testing {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// A client's call of Watch.
class Watch {
 public:
  Watch(const std::shared_ptr<grpc::Channel>& channel, const std::string& service) : stub_(Health::NewStub(channel)) {
    HealthCheckRequest request;
    request.set_service(service);
    reader_ = stub_->Watch(&context_, request);
  }
  // The next status; -1 when the call is over.
  int Next() {
    HealthCheckResponse response;
    return reader_->Read(&response) ? response.status() : -1;
  }
  void Cancel() { context_.TryCancel(); }
  grpc::StatusCode End() {
    EXPECT_EQ(Next(), -1);
    return reader_->Finish().error_code();
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<Health::Stub> stub_;
  std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> reader_;
};

class HealthServiceTest : public DaemonTest {
 protected:
  // A status, or minus a code.
  int Check(const std::string& service) {
    grpc::ClientContext context;
    HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse response;
    const grpc::Status status = Health::NewStub(channel_)->Check(&context, request, &response);
    return status.ok() ? static_cast<int>(response.status()) : -status.error_code();
  }
  bool TicksUntil(const std::string& service, HealthCheckResponse::ServingStatus status) {
    return Eventually([&] {
      daemon_->Tick();
      return Check(service) == status;
    });
  }
};

TEST_F(HealthServiceTest, NamesThatAreKnownAndOthers) {
  Start();
  for (const char* name : {"", "livez", "readyz", "mptd.v1.StateService", "mptd.v1.AdminService"}) {
    EXPECT_EQ(Check(name), HealthCheckResponse::SERVING) << name;
    EXPECT_EQ(Watch(channel_, name).Next(), HealthCheckResponse::SERVING) << name;
  }
  for (const std::string& name : {std::string("mptd.v1.Other"), std::string(5000, 'x')}) {
    EXPECT_EQ(Check(name), -grpc::StatusCode::NOT_FOUND);
    EXPECT_EQ(Watch(channel_, name).Next(), HealthCheckResponse::SERVICE_UNKNOWN);
  }
}

TEST_F(HealthServiceTest, AWatchIsToldOfEachChangeOnce) {
  Start();
  Watch state(channel_, "mptd.v1.StateService");
  Watch admin(channel_, "mptd.v1.AdminService");
  Watch unknown(channel_, "mptd.v1.Other");
  EXPECT_EQ(state.Next(), HealthCheckResponse::SERVING);
  engine_->set_read_only("a sync failed");
  ASSERT_TRUE(TicksUntil("mptd.v1.StateService", HealthCheckResponse::NOT_SERVING));
  for (int i = 0; i < 3; ++i) daemon_->Tick();
  EXPECT_EQ(state.Next(), HealthCheckResponse::NOT_SERVING);
  engine_->set_read_only("");
  ASSERT_TRUE(TicksUntil("mptd.v1.StateService", HealthCheckResponse::SERVING));
  EXPECT_EQ(state.Next(), HealthCheckResponse::SERVING);
  EXPECT_TRUE(daemon_->Stop().ok());
  // Operators are answered until the end, and nothing else came between.
  EXPECT_EQ(admin.Next(), HealthCheckResponse::SERVING);
  EXPECT_EQ(unknown.Next(), HealthCheckResponse::SERVICE_UNKNOWN);
  EXPECT_EQ(unknown.End(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(HealthServiceTest, WatchesDoNotHoldUpTheEnd) {
  Start();
  Watch ready(channel_, "readyz");
  Watch alive(channel_, "livez");
  EXPECT_EQ(ready.Next(), HealthCheckResponse::SERVING);
  EXPECT_EQ(alive.Next(), HealthCheckResponse::SERVING);
  EXPECT_TRUE(daemon_->Stop().ok());
  // Without drain_delay the end may come before the news.
  if (const int last = ready.Next(); last != -1) {
    EXPECT_EQ(last, HealthCheckResponse::NOT_SERVING);
  }
  EXPECT_EQ(ready.End(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(alive.End(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(HealthServiceTest, AWatchThatIsCancelledGoes) {
  Start();
  Watch ready(channel_, "readyz");
  EXPECT_EQ(ready.Next(), HealthCheckResponse::SERVING);
  ready.Cancel();
  EXPECT_EQ(ready.End(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(Watch(channel_, "readyz").Next(), HealthCheckResponse::SERVING);
}

TEST_F(HealthServiceTest, TooManyWatchesAreRefused) {
  options_.grpc.max_calls_per_connection = 2 * HealthService::kMaxWatches;
  Start();
  std::vector<std::unique_ptr<Watch>> watches;
  for (size_t i = 0; i < HealthService::kMaxWatches; ++i) {
    watches.push_back(std::make_unique<Watch>(channel_, "livez"));
  }
  for (const auto& watch : watches) ASSERT_EQ(watch->Next(), HealthCheckResponse::SERVING);
  EXPECT_EQ(Watch(channel_, "livez").End(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  watches.clear();
  EXPECT_TRUE(Eventually([&] { return Watch(channel_, "livez").Next() == HealthCheckResponse::SERVING; }));
}

}  // namespace
}  // namespace mptd::testing
