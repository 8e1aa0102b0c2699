// A daemon on a fake engine, with a client's stubs to it over TCP.
#pragma once

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "mptd/v1/admin.grpc.pb.h"
#include "mptd/v1/state.grpc.pb.h"
#include "server/daemon.h"
#include "tests/server/fake_engine.h"

namespace mptd::testing {

inline std::string AddressOf(uint8_t i) { return std::string(19, '\0') + static_cast<char>(i); }
inline std::string Key(uint8_t i) { return std::string(31, '\0') + static_cast<char>(i); }

// Longer than any test may take: what waits for it hangs.
inline constexpr absl::Duration kForever = absl::Hours(24);

class DaemonTest : public ::testing::Test {
 protected:
  DaemonTest() {
    options_.version = "9.9";
    options_.persistence_mode = "sync";
    options_.grpc.listen = {"127.0.0.1:0"};
    options_.http_listen = "127.0.0.1:0";
    options_.limits.slow_call = absl::ZeroDuration();
    options_.health.interval = absl::Milliseconds(5);
    // A slow machine is no reason to end or to refuse anything, unless that is what a test is about.
    options_.shutdown_grace = kForever;
    options_.limits.default_deadline = absl::ZeroDuration();
    options_.limits.caller.stream_stall = kForever;
    options_.limits.caller.stream_age = kForever;
    options_.health.timeout = kForever;
  }

  // Starts the daemon and connects. A test may change options_ before.
  void Start() {
    auto engine = std::make_unique<FakeEngine>();
    engine_ = engine.get();
    auto daemon = Daemon::Start(options_, std::move(engine), watch_, *log_);
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    daemon_ = *std::move(daemon);
    Connect(daemon_->grpc_addresses()[0]);
  }
  void Connect(const std::string& target) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // a window of 64 KiB that does not grow
    channel_ = grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
    state_ = pb::StateService::NewStub(channel_);
    admin_ = pb::AdminService::NewStub(channel_);
  }

  // A block that sets the nonce of account 1 to its number.
  static pb::ApplyStateChangesRequest BlockRequest(uint64_t number) {
    pb::ApplyStateChangesRequest request;
    request.set_number(number);
    pb::AccountChange* change = request.add_changes();
    change->set_address(AddressOf(1));
    change->set_nonce(number);
    return request;
  }
  void ApplyTo(uint64_t last) {
    for (uint64_t n = 1; n <= last; ++n) {
      pb::ApplyStateChangesResponse response;
      const grpc::Status status = Call(&pb::StateService::Stub::ApplyStateChanges, BlockRequest(n), &response);
      ASSERT_TRUE(status.ok()) << status.error_message();
    }
  }

  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (pb::StateService::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response) {
    grpc::ClientContext context;
    return (state_.get()->*method)(&context, request, response);
  }
  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (pb::AdminService::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response) {
    grpc::ClientContext context;
    return (admin_.get()->*method)(&context, request, response);
  }

  // The first detail of a type.
  template <typename Detail>
  static Detail DetailOf(const grpc::Status& status) {
    google::rpc::Status all;
    EXPECT_TRUE(all.ParseFromString(status.error_details()));
    Detail out;
    for (const auto& any : all.details()) {
      if (any.UnpackTo(&out)) return out;
    }
    ADD_FAILURE() << "no such detail in: " << status.error_message();
    return out;
  }
  static std::string FieldOf(const grpc::Status& status) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
    const auto bad = DetailOf<google::rpc::BadRequest>(status);
    return bad.field_violations_size() == 1 ? bad.field_violations(0).field() : "";
  }

  // Waits for minutes: a thousand calls take their time in a build with a sanitizer, beside other tests.
  template <typename Condition>
  static bool Eventually(Condition condition) {
    const absl::Time end = absl::Now() + absl::Minutes(4);
    while (!condition()) {
      if (absl::Now() > end) return false;
      absl::SleepFor(absl::Milliseconds(2));
    }
    return true;
  }

  DaemonOptions options_;
  std::unique_ptr<Logger> log_ = Logger::Silent();
  EngineWatch watch_{*log_};
  FakeEngine* engine_ = nullptr;  // the daemon's
  std::unique_ptr<Daemon> daemon_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<pb::StateService::Stub> state_;
  std::unique_ptr<pb::AdminService::Stub> admin_;
};

}  // namespace mptd::testing
