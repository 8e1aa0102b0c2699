// Every limit on what callers control: its error, the limit's name in it, and its count in the metrics.
#include "server/caller_limits.h"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "config/schema.h"
#include "core/errors.h"
#include "tests/server/test_daemon.h"

namespace mptd {
namespace {

using testing::AddressOf;
using ::testing::HasSubstr;
using testing::Key;
using Stub = pb::StateService::Stub;
using grpc::StatusCode;

TEST(GateTest, LetsInWhatFits) {
  Gate gate(3);
  Gate::Ticket two = gate.Enter(2);
  EXPECT_TRUE(two);
  EXPECT_FALSE(gate.Enter(2));
  EXPECT_FALSE(gate.Enter(4));
  EXPECT_FALSE(gate.Enter(SIZE_MAX));
  {
    const Gate::Ticket one = gate.Enter();
    EXPECT_TRUE(one);
    EXPECT_EQ(gate.inside(), 3u);
    EXPECT_FALSE(gate.Enter());
  }
  Gate::Ticket moved = std::move(two);
  EXPECT_EQ(gate.inside(), 2u);
  moved = Gate::Ticket();
  EXPECT_EQ(gate.inside(), 0u);
}

// What is refused must not take the place of what is let in, nor show among what runs.
TEST(RunningCallsTest, AreNeverMoreThanTheLimit) {
  testing::FakeEngine engine;
  const std::unique_ptr<Logger> log = Logger::Silent();
  CallMetrics metrics = MakeCallMetrics();
  const std::unique_ptr<AccessControl> access = AccessControl::Open({}, nullptr, nullptr, *log).value();
  RpcLimits limits;
  limits.max_concurrent_calls = 2;
  Rpc rpc(engine, *log, metrics, *access, limits);
  ASSERT_TRUE(rpc.TryEnter());
  ASSERT_TRUE(rpc.TryEnter());
  std::atomic<bool> over{false};
  std::vector<std::thread> callers;
  for (int i = 0; i < 2; ++i) {
    callers.emplace_back([&] {
      while (!over) EXPECT_FALSE(rpc.TryEnter());
    });
  }
  size_t most = 0;
  for (int i = 0; i < 1'000'000; ++i) most = std::max(most, rpc.running());
  over = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(most, 2u);
}

TEST(LimitRefusalsTest, CountsByTheLimitThatAnErrorNames) {
  LimitRefusals refusals;
  refusals.Count(absl::OkStatus());
  refusals.Count(absl::ResourceExhaustedError("something else"));
  refusals.Count(NoRoom("full", "max_streams"));
  refusals.Count(WithFieldPrefix(OverLimit("slots", "too many", "max_proof_keys"), "targets[0]"));
  EXPECT_EQ(refusals.count("max_streams"), 1u);
  EXPECT_EQ(refusals.count("max_proof_keys"), 1u);
  uint64_t all = 0;
  for (const std::string_view limit : kLimitNames) all += refusals.count(limit);
  EXPECT_EQ(all, 2u);
}

TEST(LimitNamesTest, EachIsTheEndOfOneKey) {
  for (const std::string_view limit : kLimitNames) {
    int keys = 0;
    for (const config::Key& key : config::Keys()) keys += key.leaf() == limit ? 1 : 0;
    EXPECT_EQ(keys, 1) << limit;
  }
}

// The table of docs/LIMITS.md names every key that limits callers with its default, and every counted limit.
TEST(LimitNamesTest, TheTableIsInStep) {
  std::ifstream file(std::string(MPTD_SOURCE_DIR) + "/docs/LIMITS.md");
  std::ostringstream text;
  text << file.rdbuf();
  const config::Settings defaults;
  for (const config::Key& key : config::Keys()) {
    const bool limit = key.name.starts_with("limits.max_") || key.name.starts_with("server.max_") ||
                       key.name.starts_with("security.max_") || key.name == "persistence.queue_bytes" ||
                       key.name == "server.handshake_timeout";
    if (!limit || config::IsFixed(key)) continue;
    EXPECT_THAT(text.str(), HasSubstr(absl::StrFormat("| `%s` |", key.name)));
  }
  for (const std::string_view limit : kLimitNames) {
    EXPECT_THAT(text.str(), HasSubstr(absl::StrFormat("`%s`", limit))) << "in the column of the metric";
  }
}

class CallerLimitsTest : public testing::DaemonTest {
 protected:
  double Metric(const std::string& sample) const {
    const std::string text = daemon_->RenderMetrics();
    const size_t at = text.find("\n" + sample + " ");
    return at == std::string::npos ? -1 : std::atof(text.c_str() + at + sample.size() + 2);
  }
  double Refused(const std::string& limit) const {
    return Metric("mptd_limit_refusals_total{limit=\"" + limit + "\"}");
  }
  // What can never work: the field, the limit, and no time to wait.
  void ExpectNever(const grpc::Status& status, const std::string& field, const std::string& limit) {
    EXPECT_EQ(FieldOf(status), field);
    const auto info = DetailOf<google::rpc::ErrorInfo>(status);
    EXPECT_EQ(info.reason(), "LIMIT");
    EXPECT_EQ(info.metadata().at("limit"), limit);
    // A stream is counted when it has ended, which may be a moment after the client has heard of it.
    EXPECT_TRUE(Eventually([&] { return Refused(limit) == 1; })) << limit << " " << Refused(limit);
  }
  // What can work later.
  void ExpectLater(const grpc::Status& status, const std::string& limit) {
    EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
    EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status).metadata().at("limit"), limit);
    EXPECT_GT(DetailOf<google::rpc::RetryInfo>(status).retry_delay().nanos(), 0);
    EXPECT_TRUE(Eventually([&] { return Refused(limit) == 1; })) << limit << " " << Refused(limit);
  }
  void ApplyAccounts(int accounts) {
    BlockChanges block;
    block.number = 1;
    for (int i = 0; i < accounts; ++i) {
      AccountChange change;
      change.address.bytes[0] = static_cast<uint8_t>(i >> 8);
      change.address.bytes[1] = static_cast<uint8_t>(i);
      change.nonce = 1;
      block.changes.push_back(std::move(change));
    }
    ASSERT_TRUE(engine_->Apply(std::move(block), absl::InfiniteFuture(), {}).ok());
  }
};

TEST_F(CallerLimitsTest, KeysOfReadsAndProofs) {
  options_.limits.caller.accounts_per_read = 2;
  options_.limits.caller.slots_per_read = 2;
  options_.limits.caller.proof_keys = 2;
  options_.limits.caller.page_rows = 2;
  Start();
  ApplyTo(1);

  pb::GetAccountsRequest accounts;
  for (int i = 0; i < 2; ++i) accounts.add_addresses(AddressOf(1));
  pb::GetAccountsResponse accounts_response;
  EXPECT_TRUE(Call(&Stub::GetAccounts, accounts, &accounts_response).ok());
  accounts.add_addresses(AddressOf(1));
  ExpectNever(Call(&Stub::GetAccounts, accounts, &accounts_response), "addresses", "max_accounts_per_read");

  pb::GetStorageRequest storage;
  storage.set_address(AddressOf(1));
  for (int i = 0; i < 3; ++i) storage.add_slots(Key(1));
  pb::GetStorageResponse storage_response;
  ExpectNever(Call(&Stub::GetStorage, storage, &storage_response), "slots", "max_slots_per_read");

  pb::GetMultiProofRequest targets;
  for (int i = 0; i < 3; ++i) targets.add_targets()->set_address(AddressOf(1));
  pb::GetMultiProofResponse targets_response;
  ExpectNever(Call(&Stub::GetMultiProof, targets, &targets_response), "targets", "max_proof_keys");

  grpc::ClientContext context;
  pb::StreamAccountsRequest pages;
  pages.set_page_size(3);
  ExpectNever(state_->StreamAccounts(&context, pages)->Finish(), "page_size", "max_page_rows");
}

TEST_F(CallerLimitsTest, ADryRunMayChangeNoMoreThanABlock) {
  Start();
  EngineLimits limits = engine_->limits();
  limits.max_changes_per_block = 2;
  limits.max_slots_per_account = 2;
  limits.max_slots_per_block = 3;
  engine_->SetLimits(limits);
  const auto request_of = [](int accounts, int slots) {
    pb::ComputeStateRootRequest request;
    for (int i = 0; i < accounts; ++i) {
      auto* change = request.add_changes();
      change->set_address(AddressOf(static_cast<uint8_t>(i + 1)));
      for (int s = 0; s < slots; ++s) change->add_slots()->set_key(Key(static_cast<uint8_t>(s)));
    }
    return request;
  };
  pb::ComputeStateRootResponse response;
  ExpectNever(Call(&Stub::ComputeStateRoot, request_of(3, 0), &response), "changes", "max_accounts_per_transition");
  ExpectNever(Call(&Stub::ComputeStateRoot, request_of(1, 3), &response), "changes[0].slots",
              "max_storage_slots_per_account");
  ExpectNever(Call(&Stub::ComputeStateRoot, request_of(2, 2), &response), "changes", "max_slots_per_transition");
  EXPECT_TRUE(Call(&Stub::ComputeStateRoot, request_of(1, 2), &response).ok());
}

TEST_F(CallerLimitsTest, ChangesOfDryRuns) {
  options_.limits.caller.root_changes = 2;
  Start();
  pb::ComputeStateRootRequest request;
  auto* change = request.add_changes();
  change->set_address(AddressOf(1));
  for (int s = 0; s < 2; ++s) change->add_slots()->set_key(Key(static_cast<uint8_t>(s)));
  pb::ComputeStateRootResponse response;
  ExpectNever(Call(&Stub::ComputeStateRoot, request, &response), "changes", "max_root_changes");
  change->mutable_slots()->RemoveLast();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Call(&Stub::ComputeStateRoot, request, &response).ok());
}

TEST_F(CallerLimitsTest, NoDryRunsWhereNoneAreAllowed) {
  options_.limits.caller.root_calls = 0;
  Start();
  pb::ComputeStateRootResponse response;
  ExpectLater(Call(&Stub::ComputeStateRoot, pb::ComputeStateRootRequest(), &response), "max_root_calls");
}

TEST_F(CallerLimitsTest, StreamsAndPinnedViews) {
  options_.limits.caller.streams = 2;
  options_.limits.caller.pinned_views = 1;
  Start();
  ApplyAccounts(10'000);
  grpc::ClientContext c1, c2, c3, c4;
  auto pinned = state_->StreamAccounts(&c1, {});  // more than the window lets through, and nobody reads
  EXPECT_TRUE(Eventually([&] { return Metric("mptd_grpc_pinned_views") == 1; }));
  ExpectLater(state_->StreamAccounts(&c2, {})->Finish(), "max_pinned_views");
  auto follower = state_->StreamBlocks(&c3, {});
  EXPECT_TRUE(Eventually([&] { return Metric("mptd_grpc_open_streams") == 2; }));
  ExpectLater(state_->StreamBlocks(&c4, {})->Finish(), "max_streams");
  c1.TryCancel();
  c3.TryCancel();
  pinned->Finish();
  follower->Finish();
  EXPECT_TRUE(Eventually([&] { return Metric("mptd_grpc_pinned_views") == 0; }));
}

TEST_F(CallerLimitsTest, CallsThatWaitForAThread) {
  options_.limits.write_threads = 1;
  options_.limits.max_waiting_calls = 1;
  Start();
  ApplyTo(1);
  engine_->HoldApplies(true);
  std::vector<std::thread> threads;
  const auto apply = [this] {
    pb::ApplyStateChangesResponse response;
    EXPECT_TRUE(Call(&Stub::ApplyStateChanges, BlockRequest(2), &response).ok());
  };
  threads.emplace_back(apply);
  EXPECT_TRUE(Eventually([&] { return engine_->applies_waiting() == 1; }));
  threads.emplace_back(apply);
  EXPECT_TRUE(Eventually([&] { return Metric("mptd_grpc_waiting_calls{pool=\"write\"}") == 1; }));
  pb::ApplyStateChangesResponse response;
  ExpectLater(Call(&Stub::ApplyStateChanges, BlockRequest(2), &response), "max_waiting_calls");
  engine_->HoldApplies(false);
  for (std::thread& thread : threads) thread.join();
}

// A reader who takes nothing is let go of, told why if it reads on soon, and else cut off.
TEST_F(CallerLimitsTest, AReaderThatStalls) {
  options_.limits.caller.stream_stall = absl::Seconds(1);
  Start();
  ApplyAccounts(10'000);
  engine_->HoldScans(true);
  grpc::ClientContext context;
  pb::StreamAccountsRequest request;
  request.set_page_size(1000);
  auto reader = state_->StreamAccounts(&context, request);
  EXPECT_TRUE(Eventually([&] { return engine_->live_views() == 1; }));
  engine_->HoldScans(false);
  EXPECT_TRUE(Eventually([&] { return engine_->live_views() == 0; }));
  EXPECT_TRUE(Eventually([&] { return Metric("mptd_grpc_open_streams") == 0; }));
  EXPECT_TRUE(Eventually([&] { return Refused("max_stream_stall") == 1; }));
  EXPECT_EQ(Metric("mptd_grpc_calls_total{method=\"StreamAccounts\",code=\"RESOURCE_EXHAUSTED\"}"), 1);
  pb::StreamAccountsResponse page;
  while (reader->Read(&page)) {
  }
  EXPECT_FALSE(reader->Finish().ok());
}

TEST_F(CallerLimitsTest, AFollowerThatStallsIsNotKept) {
  options_.limits.caller.stream_stall = absl::Seconds(1);
  options_.limits.caller.watch_backlog = 1000;
  Start();
  grpc::ClientContext context;
  auto follower = state_->StreamBlocks(&context, {});
  EXPECT_TRUE(Eventually([&] { return Metric("mptd_grpc_open_streams") == 1; }));
  // Until the window of 64 KiB is full and the backlog too long.
  uint64_t number = 0;
  EXPECT_TRUE(Eventually([&] {
    for (int i = 0; i < 200; ++i) {
      BlockChanges block;
      block.number = ++number;
      EXPECT_TRUE(engine_->Apply(std::move(block), absl::InfiniteFuture(), {}).ok());
    }
    return Metric("mptd_grpc_open_streams") == 0;
  }));
  EXPECT_TRUE(Eventually([&] { return Refused("max_watch_backlog") + Refused("max_stream_stall") == 1; }));
  pb::StreamBlocksResponse response;
  while (follower->Read(&response)) {
  }
  EXPECT_FALSE(follower->Finish().ok());
}

TEST_F(CallerLimitsTest, ConnectionsBeyondTheLimitAreClosed) {
  options_.grpc.max_connections = 1;
  Start();
  ApplyTo(1);  // the first one
  EXPECT_TRUE(Eventually([&] { return Metric("mptd_grpc_connections") == 1; }));
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto other = pb::StateService::NewStub(
      grpc::CreateCustomChannel(daemon_->grpc_addresses()[0], grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  auto follower = other->StreamBlocks(&context, {});
  EXPECT_EQ(follower->Finish().error_code(), StatusCode::UNAVAILABLE);
  EXPECT_TRUE(Eventually([&] { return Refused("max_connections") >= 1; }));
  // The one that was there goes on.
  pb::GetStateRootResponse response;
  EXPECT_TRUE(Call(&Stub::GetStateRoot, pb::GetStateRootRequest(), &response).ok());
}

TEST_F(CallerLimitsTest, CompressedMessagesAreRefused) {
  Start();
  grpc::ClientContext context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  auto request = BlockRequest(1);
  request.mutable_changes(0)->set_code(std::string(1 << 20, 'c'));
  pb::ApplyStateChangesResponse response;
  EXPECT_EQ(state_->ApplyStateChanges(&context, request, &response).error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_FALSE(engine_->Status().has_blocks);
}

}  // namespace
}  // namespace mptd
