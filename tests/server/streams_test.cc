// The streaming calls, over TCP.
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/types.h"
#include "tests/server/test_daemon.h"

namespace mptd {
namespace {

using testing::AddressOf;
using ::testing::HasSubstr;
using testing::Key;
using Stub = pb::StateService::Stub;
using grpc::StatusCode;

class StreamsTest : public testing::DaemonTest {
 protected:
  using BlockReader = std::unique_ptr<grpc::ClientReader<pb::StreamBlocksResponse>>;

  static pb::ApplyStateChangesStreamRequest Wrapped(const pb::ApplyStateChangesRequest& block) {
    pb::ApplyStateChangesStreamRequest out;
    *out.mutable_block() = block;
    return out;
  }
  // The next message as "5" or "<3"; "end" after the last.
  static std::string Next(BlockReader& reader) {
    pb::StreamBlocksResponse response;
    if (!reader->Read(&response)) return "end";
    return (response.rolled_back() ? "<" : "") + std::to_string(response.block().number());
  }
  static std::string Take(BlockReader& reader, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) (out += Next(reader)) += ' ';
    return out;
  }
  BlockReader Follow(std::optional<uint64_t> from, bool stop_at_head = false) {
    pb::StreamBlocksRequest request;
    if (from.has_value()) request.set_from_number(*from);
    request.set_stop_at_head(stop_at_head);
    return state_->StreamBlocks(&context_, request);
  }
  void WaitForStreams(size_t count) {
    EXPECT_TRUE(Eventually([&] { return OpenStreams() == count; }));
  }
  size_t OpenStreams() const {
    const std::string text = daemon_->RenderMetrics();
    const size_t at = text.find("\nmptd_grpc_open_streams ");
    return at == std::string::npos ? 0 : static_cast<size_t>(std::atoi(text.c_str() + at + 24));
  }

  // A block in which account 1 has so many slots, and there are so many accounts.
  void ApplyMany(int accounts, int slots) {
    BlockChanges block;
    block.number = 1;
    for (int i = 0; i < accounts; ++i) {
      AccountChange change;
      change.address.bytes[0] = static_cast<uint8_t>(i >> 8);
      change.address.bytes[1] = static_cast<uint8_t>(i);
      change.nonce = static_cast<uint64_t>(i) + 1;
      for (int s = 0; i == 0 && s < slots; ++s) {
        Hash key;
        key.bytes[0] = static_cast<uint8_t>(s >> 8);
        key.bytes[1] = static_cast<uint8_t>(s);
        change.slots.push_back({.key = key, .value = U256::FromUint64(static_cast<uint64_t>(s) + 1)});
      }
      block.changes.push_back(std::move(change));
    }
    ASSERT_TRUE(engine_->Apply(std::move(block), absl::InfiniteFuture(), {}).ok());
  }

  grpc::ClientContext context_;
};

TEST_F(StreamsTest, BlocksAreAcknowledgedOneByOne) {
  Start();
  auto stream = state_->ApplyStateChangesStream(&context_);
  for (uint64_t n = 1; n <= 100; ++n) {
    ASSERT_TRUE(stream->Write(Wrapped(BlockRequest(n))));
    pb::ApplyStateChangesStreamResponse response;
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.result().block().number(), n);
    EXPECT_TRUE(response.result().block().durable());
  }
  stream->WritesDone();
  pb::ApplyStateChangesStreamResponse response;
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StreamsTest, BlocksMayBeSentAhead) {
  Start();
  auto stream = state_->ApplyStateChangesStream(&context_);
  std::thread writer([&] {
    for (uint64_t n = 1; n <= 1000; ++n) EXPECT_TRUE(stream->Write(Wrapped(BlockRequest(n))));
    stream->WritesDone();
  });
  pb::ApplyStateChangesStreamResponse response;
  for (uint64_t n = 1; n <= 1000; ++n) {
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.result().block().number(), n);
  }
  writer.join();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StreamsTest, TheFirstRefusedBlockEndsTheStream) {
  Start();
  auto stream = state_->ApplyStateChangesStream(&context_);
  ASSERT_TRUE(stream->Write(Wrapped(BlockRequest(1))));
  ASSERT_TRUE(stream->Write(Wrapped(BlockRequest(2))));
  auto bad = BlockRequest(3);
  bad.mutable_changes(0)->set_address("short");
  ASSERT_TRUE(stream->Write(Wrapped(bad)));
  stream->Write(Wrapped(BlockRequest(3)));
  pb::ApplyStateChangesStreamResponse response;
  ASSERT_TRUE(stream->Read(&response));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.result().block().number(), 2u);
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(FieldOf(stream->Finish()), "block.changes[0].address");
  EXPECT_EQ(engine_->Status().head.number, 2u);
  WaitForStreams(0);
}

TEST_F(StreamsTest, AMessageWithoutABlock) {
  Start();
  auto stream = state_->ApplyStateChangesStream(&context_);
  ASSERT_TRUE(stream->Write({}));
  pb::ApplyStateChangesStreamResponse response;
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(FieldOf(stream->Finish()), "block");
}

TEST_F(StreamsTest, WhoDoesNotReadAcknowledgementsIsNotReadFrom) {
  Start();
  // gRPC takes some 64 KiB of acknowledgements into its own buffers; then the daemon must stop reading.
  auto stream = state_->ApplyStateChangesStream(&context_);
  std::atomic<uint64_t> sent{0};
  std::thread writer([&] {
    for (uint64_t n = 1; n <= 20'000; ++n) {
      auto block = BlockRequest(n);
      block.mutable_changes(0)->set_code(std::string(1000, 'c'));
      if (!stream->Write(Wrapped(block))) break;
      sent = n;
    }
    stream->WritesDone();
  });
  uint64_t last = 0;
  EXPECT_TRUE(Eventually([&] {
    const uint64_t before = std::exchange(last, engine_->Status().head.number);
    absl::SleepFor(absl::Milliseconds(200));
    return last > 0 && before == last;
  }));
  EXPECT_LT(last, 20'000u);
  EXPECT_LT(sent, 20'000u);
  pb::ApplyStateChangesStreamResponse response;
  uint64_t acknowledged = 0;
  while (stream->Read(&response)) ++acknowledged;
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(acknowledged, 20'000u);
}

TEST_F(StreamsTest, ACancelledApplyStreamGoesAway) {
  Start();
  engine_->HoldApplies(true);
  auto stream = state_->ApplyStateChangesStream(&context_);
  ASSERT_TRUE(stream->Write(Wrapped(BlockRequest(1))));
  EXPECT_TRUE(Eventually([&] { return engine_->applies_waiting() == 1; }));
  context_.TryCancel();
  pb::ApplyStateChangesStreamResponse response;
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  WaitForStreams(0);
  EXPECT_FALSE(engine_->Status().has_blocks);
}

TEST_F(StreamsTest, FollowersSeeOldAndNewBlocks) {
  Start();
  ApplyTo(3);
  BlockReader reader = Follow(2);
  EXPECT_EQ(Take(reader, 2), "2 3 ");
  ApplyTo(5);
  EXPECT_EQ(Take(reader, 2), "4 5 ");
  ASSERT_TRUE(engine_->RollbackTo(uint64_t{2}).ok());
  ApplyTo(3);
  EXPECT_EQ(Take(reader, 2), "<2 3 ");
  context_.TryCancel();
  EXPECT_EQ(Next(reader), "end");
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::CANCELLED);
  WaitForStreams(0);
}

TEST_F(StreamsTest, FollowersMayStopAtTheHead) {
  Start();
  ApplyTo(4);
  BlockReader reader = Follow(1, /*stop_at_head=*/true);
  EXPECT_EQ(Take(reader, 5), "1 2 3 4 end ");
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(StreamsTest, FollowersOfTheNextHead) {
  Start();
  ApplyTo(2);
  BlockReader reader = Follow(std::nullopt);
  WaitForStreams(1);
  ApplyTo(3);
  EXPECT_EQ(Next(reader), "3");
  context_.TryCancel();
  reader->Finish();
}

TEST_F(StreamsTest, FollowersOfBlocksThatAreNotServed) {
  Start();
  ApplyTo(2);
  BlockReader reader = Follow(4);
  EXPECT_EQ(Next(reader), "end");
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), StatusCode::OUT_OF_RANGE);
  EXPECT_THAT(status.error_message(), HasSubstr("blocks 1 to 2"));
}

TEST_F(StreamsTest, ManyFollowersAtOnce) {
  Start();
  ApplyTo(1);
  std::vector<std::thread> followers;
  std::atomic<int> complete{0};
  for (int i = 0; i < 20; ++i) {
    followers.emplace_back([&] {
      grpc::ClientContext context;
      pb::StreamBlocksRequest request;
      request.set_from_number(1);
      auto reader = state_->StreamBlocks(&context, request);
      pb::StreamBlocksResponse response;
      for (uint64_t n = 1; n <= 300; ++n) {
        ASSERT_TRUE(reader->Read(&response));
        ASSERT_EQ(response.block().number(), n);
      }
      ++complete;
      context.TryCancel();
    });
  }
  ApplyTo(300);
  for (std::thread& follower : followers) follower.join();
  EXPECT_EQ(complete, 20);
  WaitForStreams(0);
}

TEST_F(StreamsTest, AFollowersDeadline) {
  Start();
  context_.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  BlockReader reader = Follow(std::nullopt);
  EXPECT_EQ(Next(reader), "end");
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
  WaitForStreams(0);
}

TEST_F(StreamsTest, AccountsComeInPagesOfOneBlock) {
  Start();
  ApplyMany(2500, 0);
  pb::StreamAccountsRequest request;
  request.set_page_size(1000);
  auto reader = state_->StreamAccounts(&context_, request);
  pb::StreamAccountsResponse page;
  std::vector<int> sizes;
  std::set<std::string> keys;
  std::string next;
  while (reader->Read(&page)) {
    if (sizes.empty()) {  // a new head, which the stream does not see
      BlockChanges second;
      second.number = 2;
      ASSERT_TRUE(engine_->Apply(second, absl::InfiniteFuture(), {}).ok());
    }
    EXPECT_EQ(page.block().number(), 1u);
    sizes.push_back(page.accounts_size());
    for (const pb::HashedAccount& account : page.accounts()) {
      EXPECT_TRUE(keys.empty() || *keys.rbegin() < account.key());
      keys.insert(account.key());
      EXPECT_GT(account.account().nonce(), 0u);
    }
    EXPECT_TRUE(next.empty() || page.accounts(0).key() == next);
    next = page.next_key();
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(sizes, (std::vector<int>{1000, 1000, 500}));
  EXPECT_EQ(keys.size(), 2500u);
  EXPECT_EQ(next, "");
  EXPECT_TRUE(Eventually([&] { return engine_->live_views() == 0; }));
}

TEST_F(StreamsTest, AccountsFromAKeyOn) {
  Start();
  ApplyMany(100, 0);
  pb::StreamAccountsRequest request;
  request.set_page_size(40);
  pb::StreamAccountsResponse page;
  auto reader = state_->StreamAccounts(&context_, request);
  ASSERT_TRUE(reader->Read(&page));
  const std::string next = page.next_key();
  while (reader->Read(&page)) {
  }
  grpc::ClientContext again;
  request.set_start_key(next);
  request.clear_page_size();
  auto rest = state_->StreamAccounts(&again, request);
  ASSERT_TRUE(rest->Read(&page));
  EXPECT_EQ(page.accounts_size(), 60);
  EXPECT_EQ(page.accounts(0).key(), next);
  EXPECT_FALSE(rest->Read(&page));
}

TEST_F(StreamsTest, AnEmptyStateIsOneEmptyPage) {
  Start();
  auto reader = state_->StreamAccounts(&context_, {});
  pb::StreamAccountsResponse page;
  ASSERT_TRUE(reader->Read(&page));
  EXPECT_TRUE(page.has_block());
  EXPECT_EQ(page.accounts_size(), 0);
  EXPECT_FALSE(reader->Read(&page));
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(StreamsTest, SlotsComeInPages) {
  Start();
  ApplyMany(1, 250);
  pb::StreamStorageRequest request;
  request.set_address(std::string(20, '\0'));
  request.set_page_size(100);
  auto reader = state_->StreamStorage(&context_, request);
  pb::StreamStorageResponse page;
  int slots = 0;
  while (reader->Read(&page)) {
    slots += page.slots_size();
    for (const pb::HashedSlot& slot : page.slots()) EXPECT_FALSE(slot.value().empty());
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(slots, 250);
}

TEST_F(StreamsTest, MalformedRequestsOfPages) {
  Start();
  const auto accounts = [&](const pb::StreamAccountsRequest& request) {
    grpc::ClientContext context;
    return FieldOf(state_->StreamAccounts(&context, request)->Finish());
  };
  const auto storage = [&](const pb::StreamStorageRequest& request) {
    grpc::ClientContext context;
    return FieldOf(state_->StreamStorage(&context, request)->Finish());
  };
  pb::StreamAccountsRequest a;
  a.set_page_size(10'001);
  EXPECT_EQ(accounts(a), "page_size");
  a.set_page_size(1);
  a.set_start_key("short");
  EXPECT_EQ(accounts(a), "start_key");
  a.set_start_key(Key(1));
  a.mutable_block()->set_hash("short");
  EXPECT_EQ(accounts(a), "block.hash");
  pb::StreamStorageRequest s;
  EXPECT_EQ(storage(s), "address");
  s.set_address(AddressOf(1));
  s.set_start_key("");
  EXPECT_EQ(storage(s), "start_key");
}

TEST_F(StreamsTest, ASlowReaderOfPagesHoldsUpReading) {
  Start();
  ApplyMany(10'000, 0);
  pb::StreamAccountsRequest request;
  request.set_page_size(100);
  auto reader = state_->StreamAccounts(&context_, request);
  pb::StreamAccountsResponse page;
  ASSERT_TRUE(reader->Read(&page));
  int last = 0;
  EXPECT_TRUE(Eventually([&] {
    const int before = std::exchange(last, engine_->scans_done());
    absl::SleepFor(absl::Milliseconds(200));
    return before == last;
  }));
  EXPECT_LT(last, 50);  // of 100
  int pages = 1;
  while (reader->Read(&page)) ++pages;
  EXPECT_EQ(pages, 100);
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(StreamsTest, ADeadReaderDoesNotPinItsView) {
  options_.limits.caller.stream_age = absl::Seconds(2);
  Start();
  ApplyMany(10'000, 0);
  engine_->HoldScans(true);  // and with them the view, however long the stream has had it
  pb::StreamAccountsRequest request;
  request.set_page_size(100);
  auto reader = state_->StreamAccounts(&context_, request);
  EXPECT_TRUE(Eventually([&] { return engine_->live_views() == 1; }));
  engine_->HoldScans(false);
  EXPECT_TRUE(Eventually([&] { return engine_->live_views() == 0; }));
  // It is told where to go on, or is cut off if it took too long for that as well.
  pb::StreamAccountsResponse page;
  while (reader->Read(&page)) {
  }
  const grpc::Status status = reader->Finish();
  if (status.error_code() == StatusCode::ABORTED) {
    EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status).reason(), "STREAM_TOO_OLD");
    EXPECT_THAT(status.error_message(), HasSubstr("resume at next_key 0x"));
  } else {
    EXPECT_EQ(status.error_code(), StatusCode::CANCELLED);
  }
  WaitForStreams(0);
}

TEST_F(StreamsTest, ACancelledReaderLetsItsViewGo) {
  Start();
  ApplyMany(3000, 0);
  engine_->HoldScans(true);
  auto reader = state_->StreamAccounts(&context_, {});
  EXPECT_TRUE(Eventually([&] { return engine_->live_views() == 1; }));
  context_.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::CANCELLED);
  engine_->HoldScans(false);
  EXPECT_TRUE(Eventually([&] { return engine_->live_views() == 0; }));
  WaitForStreams(0);
}

TEST_F(StreamsTest, StreamsCountAsCalls) {
  options_.limits.max_concurrent_calls = 2;
  Start();
  grpc::ClientContext c1, c2, c3;
  auto r1 = state_->StreamBlocks(&c1, {});
  auto r2 = state_->StreamBlocks(&c2, {});
  WaitForStreams(2);
  const grpc::Status refused = state_->StreamBlocks(&c3, {})->Finish();
  EXPECT_EQ(refused.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_GT(DetailOf<google::rpc::RetryInfo>(refused).retry_delay().nanos(), 0);
  c1.TryCancel();
  c2.TryCancel();
  r1->Finish();
  r2->Finish();
  WaitForStreams(0);
}

TEST_F(StreamsTest, ShutdownEndsStreamsAndLetsCallsFinish) {
  Start();
  ApplyTo(1);
  grpc::ClientContext follow_context, apply_context;
  auto follower = state_->StreamBlocks(&follow_context, {});
  WaitForStreams(1);  // or it would begin behind block 2
  auto applier = state_->ApplyStateChangesStream(&apply_context);
  ASSERT_TRUE(applier->Write(Wrapped(BlockRequest(2))));
  pb::ApplyStateChangesStreamResponse acknowledgement;
  ASSERT_TRUE(applier->Read(&acknowledgement));
  WaitForStreams(2);
  engine_->HoldApplies(true);
  grpc::Status unary;
  std::thread caller([&] {
    pb::ApplyStateChangesResponse response;
    unary = Call(&Stub::ApplyStateChanges, BlockRequest(3), &response);
  });
  EXPECT_TRUE(Eventually([&] { return engine_->applies_waiting() == 1; }));
  std::thread stopper([&] { EXPECT_TRUE(daemon_->Stop().ok()); });
  EXPECT_EQ(Next(follower), "2");  // gRPC tells the status after the last message
  EXPECT_EQ(Next(follower), "end");
  EXPECT_EQ(follower->Finish().error_code(), StatusCode::UNAVAILABLE);
  EXPECT_FALSE(applier->Read(&acknowledgement));
  const grpc::Status status = applier->Finish();
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status).reason(), "SHUTTING_DOWN");
  engine_->HoldApplies(false);
  caller.join();
  stopper.join();
  EXPECT_TRUE(unary.ok()) << unary.error_message();
}

TEST_F(StreamsTest, ShutdownDeliversTheAcknowledgementOfARunningBlock) {
  Start();
  auto applier = state_->ApplyStateChangesStream(&context_);
  engine_->HoldApplies(true);
  ASSERT_TRUE(applier->Write(Wrapped(BlockRequest(1))));
  EXPECT_TRUE(Eventually([&] { return engine_->applies_waiting() == 1; }));
  std::thread stopper([&] { EXPECT_TRUE(daemon_->Stop().ok()); });
  absl::SleepFor(absl::Milliseconds(50));
  engine_->HoldApplies(false);
  pb::ApplyStateChangesStreamResponse acknowledgement;
  EXPECT_TRUE(applier->Read(&acknowledgement));
  EXPECT_EQ(acknowledgement.result().block().number(), 1u);
  EXPECT_FALSE(applier->Read(&acknowledgement));
  EXPECT_EQ(applier->Finish().error_code(), StatusCode::UNAVAILABLE);
  stopper.join();
}

TEST_F(StreamsTest, AfterTheGracePeriodCallsAreCancelled) {
  options_.shutdown_grace = absl::Milliseconds(100);
  Start();
  engine_->HoldApplies(true);
  grpc::Status unary;
  std::thread caller([&] {
    pb::ApplyStateChangesResponse response;
    unary = Call(&Stub::ApplyStateChanges, BlockRequest(1), &response);
  });
  EXPECT_TRUE(Eventually([&] { return engine_->applies_waiting() == 1; }));
  EXPECT_TRUE(daemon_->Stop().ok()) << "nothing else would ever end the call";
  caller.join();
  EXPECT_FALSE(unary.ok());
}

}  // namespace
}  // namespace mptd
