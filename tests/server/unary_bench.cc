// How much of an empty handler's rate GetAccount reaches, and of one that always gives the same answer: what is missing
// to the former is mostly the price of sending and parsing an answer. All servers run here, on the same gRPC, asked by
// the same clients in turns. Not a test: unary_bench [clients [seconds a turn]].
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "mptd/v1/state.grpc.pb.h"
#include "server/daemon.h"
#include "tests/server/fake_engine.h"

namespace mptd {
namespace {

// What gRPC can do: a typed callback handler that does nothing but give an answer.
class FixedService final : public pb::StateService::WithCallbackMethod_GetAccount<pb::StateService::Service> {
 public:
  explicit FixedService(pb::GetAccountResponse answer) : answer_(std::move(answer)) {}
  grpc::ServerUnaryReactor* GetAccount(grpc::CallbackServerContext* context, const pb::GetAccountRequest*,
                                       pb::GetAccountResponse* response) override {
    *response = answer_;
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

 private:
  const pb::GetAccountResponse answer_;
};

pb::GetAccountRequest Question() {
  pb::GetAccountRequest request;
  request.set_address(std::string(20, '\1'));
  return request;
}

struct Result {
  double rate = 0;        // calls a second
  double cpu_micros = 0;  // of client and server, a call: says more than the rate on a machine that has other work
};

double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// By `clients` threads with a connection each.
Result Measure(const std::string& address, int clients, absl::Duration time) {
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> calls{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < clients; ++i) {
    threads.emplace_back([&] {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      const auto stub =
          pb::StateService::NewStub(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
      const pb::GetAccountRequest request = Question();
      uint64_t mine = 0;
      while (!stop) {
        grpc::ClientContext context;
        pb::GetAccountResponse response;
        if (!stub->GetAccount(&context, request, &response).ok()) std::abort();
        ++mine;
      }
      calls += mine;
    });
  }
  const absl::Time start = absl::Now();
  const double cpu = CpuSeconds();
  absl::SleepFor(time);
  stop = true;
  for (std::thread& thread : threads) thread.join();
  const double count = static_cast<double>(calls);
  return {.rate = count / absl::ToDoubleSeconds(absl::Now() - start), .cpu_micros = 1e6 * (CpuSeconds() - cpu) / count};
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int Run(int clients, absl::Duration time) {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // as main() does
  auto engine = std::make_unique<testing::FakeEngine>();
  BlockChanges block;
  for (uint8_t i = 0; i < 200; ++i) {
    AccountChange& change = block.changes.emplace_back();
    change.address.bytes.fill(i);
    change.nonce = i + 1u;
    change.balance = U256::FromUint64(1'000'000'007);
  }
  pb::GetAccountResponse answer;
  if (!engine->Apply(block, absl::InfiniteFuture(), {}).ok()) return 1;
  BlockMetrics blocks;
  const auto log = Logger::Silent();
  const StateEvents events(*engine, *log);
  if (!StateCalls(*engine, blocks, events).GetAccount(Question(), answer).ok()) return 1;

  EngineWatch watch(*log);
  DaemonOptions options;
  options.grpc.listen = {"127.0.0.1:0"};
  const auto daemon = Daemon::Start(options, std::move(engine), watch, *log);
  FixedService empty_service({});
  FixedService same_service(answer);
  const auto empty = GrpcServer::Start(options.grpc, {{"mptd.v1.StateService", &empty_service}});
  const auto same = GrpcServer::Start(options.grpc, {{"mptd.v1.StateService", &same_service}});
  if (!daemon.ok() || !empty.ok() || !same.ok()) return 1;

  std::vector<double> of_empty, of_same;
  for (int round = 0; round < 7; ++round) {
    const Result nothing = Measure((*empty)->addresses()[0], clients, time);
    const Result fixed = Measure((*same)->addresses()[0], clients, time);
    const Result account = Measure((*daemon)->grpc_addresses()[0], clients, time);
    of_empty.push_back(account.rate / nothing.rate);
    of_same.push_back(account.rate / fixed.rate);
    std::printf("empty %6.0f/s %5.1f us CPU   same answer %6.0f/s %5.1f us   GetAccount %6.0f/s %5.1f us\n",
                nothing.rate, nothing.cpu_micros, fixed.rate, fixed.cpu_micros, account.rate, account.cpu_micros);
  }
  std::printf("medians: %.1f %% of an empty handler's rate, %.1f %% of one with the same answer\n",
              100 * Median(of_empty), 100 * Median(of_same));
  return 0;
}

}  // namespace
}  // namespace mptd

int main(int argc, char** argv) {
  const int clients = argc > 1 ? std::atoi(argv[1]) : 8;
  const int seconds = argc > 2 ? std::atoi(argv[2]) : 2;
  return mptd::Run(clients, absl::Seconds(seconds));
}
