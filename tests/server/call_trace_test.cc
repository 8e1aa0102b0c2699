// Request ids, traces and times: what is accepted, what comes back, what is logged.
#include <mutex>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "server/call_trace.h"
#include "tests/server/test_daemon.h"

namespace mptd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kTrace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST(RequestIdTest, WhatIsAccepted) {
  EXPECT_TRUE(IsRequestId("a"));
  EXPECT_TRUE(IsRequestId("6f1c0f0e-3b6a-4a7e-9d8b-0123456789ab"));
  EXPECT_TRUE(IsRequestId(std::string(128, 'x')));
  for (const std::string& bad :
       {std::string(), std::string(129, 'x'), std::string("a b"), std::string("a=b"), std::string("a\nb"),
        std::string("a\0b", 3), std::string("\xc3\xa4"), std::string("\"")}) {
    EXPECT_FALSE(IsRequestId(bad)) << bad;
  }
}

TEST(RequestIdTest, MadeOnesDifferAndAreAccepted) {
  std::set<std::string> made;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = MakeRequestId();
    EXPECT_TRUE(IsRequestId(id)) << id;
    EXPECT_EQ(id.size(), 16u);
    EXPECT_TRUE(made.insert(id).second);
  }
}

TEST(TraceParentTest, AValidOne) {
  const auto parent = ParseTraceParent(kTrace);
  ASSERT_TRUE(parent.has_value());
  EXPECT_EQ(parent->trace_id, "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(parent->parent_id, "b7ad6b7169203331");
  EXPECT_TRUE(ParseTraceParent("cc" + std::string(kTrace + 2) + "-what-the-future-will-be").has_value());
}

// The cases of the W3C test suite.
TEST(TraceParentTest, MalformedOnes) {
  const std::string good = kTrace;
  const std::vector<std::string> malformed = {std::string(),
                                              good.substr(0, 54),
                                              good + "-extra",
                                              good + "x",
                                              "ff" + good.substr(2),
                                              "0G" + good.substr(2),
                                              "cc" + good.substr(2) + ".more",
                                              "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                                              "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                                              "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                                              "00-0af7651916cd43dd8448eb211c80319.-b7ad6b7169203331-01",
                                              "00_" + good.substr(3),
                                              " " + good.substr(1),
                                              good.substr(0, 53) + "0x"};
  for (const std::string& bad : malformed) {
    EXPECT_FALSE(ParseTraceParent(bad).has_value()) << bad;
  }
}

class TracedCallTest : public testing::DaemonTest {
 protected:
  TracedCallTest() {
    LogOptions log;
    log.level = "debug";
    log.capture = [this](std::string_view line) {
      const std::lock_guard lock(mutex_);
      (lines_ += line) += '\n';
    };
    log_ = *Logger::Open(log);
  }
  ~TracedCallTest() override {
    daemon_.reset();
    log_.reset();
  }

  using Metadata = std::vector<std::pair<std::string, std::string>>;
  // What the server sent under a name; "" when it did not.
  static std::string Sent(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata, const char* name) {
    const auto found = metadata.find(name);
    return found == metadata.end() ? "" : std::string(found->second.data(), found->second.size());
  }
  struct Answered {
    std::string request_id;
    std::string timing;
  };
  Answered Root(const Metadata& metadata) {
    grpc::ClientContext context;
    for (const auto& [name, value] : metadata) context.AddMetadata(name, value);
    pb::GetStateRootResponse response;
    EXPECT_TRUE(state_->GetStateRoot(&context, {}, &response).ok());
    return {Sent(context.GetServerInitialMetadata(), "x-request-id"),
            Sent(context.GetServerTrailingMetadata(), "server-timing")};
  }
  std::string Lines() {
    log_->Flush();
    const std::lock_guard lock(mutex_);
    return lines_;
  }

  std::mutex mutex_;
  std::string lines_;
};

TEST_F(TracedCallTest, TheRequestIdComesBackAndIsLogged) {
  Start();
  EXPECT_EQ(Root({{"x-request-id", "client-7"}}).request_id, "client-7");
  const std::string made = Root({{"x-request-id", "not sane"}}).request_id;
  EXPECT_TRUE(IsRequestId(made));
  EXPECT_NE(Root({}).request_id, Root({}).request_id);
  EXPECT_THAT(Root({{"x-request-id", "a"}, {"x-request-id", "b"}}).request_id, ::testing::SizeIs(16));
  EXPECT_THAT(Lines(), HasSubstr("debug rpc call method=GetStateRoot code=OK"));
  EXPECT_THAT(Lines(), HasSubstr("request_id=client-7"));
  EXPECT_THAT(Lines(), HasSubstr("request_id=" + made));
  EXPECT_THAT(Lines(), Not(HasSubstr("not sane")));
}

TEST_F(TracedCallTest, TheTraceIsLoggedWhenItIsValid) {
  Start();
  Root({{"traceparent", "00-zz"}});
  EXPECT_THAT(Lines(), Not(HasSubstr("trace_id")));
  Root({{"traceparent", kTrace}});
  EXPECT_THAT(Lines(), HasSubstr("trace_id=0af7651916cd43dd8448eb211c80319c parent_id=b7ad6b7169203331"));
}

TEST_F(TracedCallTest, TimesAreAnsweredOnRequest) {
  Start();
  EXPECT_EQ(Root({}).timing, "");
  EXPECT_THAT(Root({{"mptd-timing", "1"}}).timing, ::testing::MatchesRegex("total;dur=[0-9.]+"));
  grpc::ClientContext context;
  context.AddMetadata("mptd-timing", "1");
  pb::ApplyStateChangesResponse response;
  ASSERT_TRUE(state_->ApplyStateChanges(&context, BlockRequest(1), &response).ok());
  EXPECT_THAT(Sent(context.GetServerTrailingMetadata(), "server-timing"),
              ::testing::MatchesRegex("validate;dur=[0-9.]+, queue;dur=.*, read;dur=.*, hash;dur=.*, log;dur=.*, "
                                      "publish;dur=.*, other;dur=.*, total;dur=[0-9.]+"));
}

TEST_F(TracedCallTest, TheTimesOfABlockAddUp) {
  Start();
  grpc::ClientContext context;
  context.AddMetadata("mptd-timing", "1");
  pb::ApplyStateChangesResponse response;
  ASSERT_TRUE(state_->ApplyStateChanges(&context, BlockRequest(1), &response).ok());
  double sum = 0;
  double total = 0;
  const std::vector<std::string> parts =
      absl::StrSplit(Sent(context.GetServerTrailingMetadata(), "server-timing"), ", ");
  for (const std::string& part : parts) {
    const std::vector<std::string> split = absl::StrSplit(part, ";dur=");
    double milliseconds = -1;
    ASSERT_TRUE(split.size() == 2 && absl::SimpleAtod(split[1], &milliseconds)) << part;
    EXPECT_GE(milliseconds, 0) << part;
    (split[0] == "total" ? total : sum) += milliseconds;
  }
  constexpr double kRounding = 7 * 0.001;  // of seven parts, to a microsecond each
  EXPECT_NEAR(sum, total, kRounding);
}

// A reader who waits for the next block knows what to ask about.
TEST_F(TracedCallTest, TheRequestIdOfAStreamComesBeforeItsFirstMessage) {
  Start();
  grpc::ClientContext watching;
  watching.AddMetadata("x-request-id", "watch-1");
  auto blocks = state_->StreamBlocks(&watching, {});
  blocks->WaitForInitialMetadata();
  EXPECT_EQ(Sent(watching.GetServerInitialMetadata(), "x-request-id"), "watch-1");
  watching.TryCancel();
  EXPECT_FALSE(blocks->Finish().ok());

  grpc::ClientContext applying;
  auto acknowledgements = state_->ApplyStateChangesStream(&applying);
  acknowledgements->WaitForInitialMetadata();
  EXPECT_THAT(Sent(applying.GetServerInitialMetadata(), "x-request-id"), ::testing::SizeIs(16));
  acknowledgements->WritesDone();
  EXPECT_TRUE(acknowledgements->Finish().ok());
}

TEST_F(TracedCallTest, ABlockIsLoggedWithItsCallAndItsTimesWhenSlow) {
  options_.limits.slow_call = absl::Nanoseconds(1);
  Start();
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "block-1");
  pb::ApplyStateChangesResponse response;
  ASSERT_TRUE(state_->ApplyStateChanges(&context, BlockRequest(1), &response).ok());
  const std::string lines = Lines();
  EXPECT_THAT(lines, HasSubstr("info engine state_root_computed block=1 state_root=0x"));
  EXPECT_THAT(lines, HasSubstr("accounts_modified=1 slots_modified=2 nodes_hashed=3 duration_ms="));
  EXPECT_THAT(lines, ::testing::ContainsRegex("state_root_computed .* request_id=block-1"));
  EXPECT_THAT(lines, ::testing::ContainsRegex("slow_call method=ApplyStateChanges .* validate_ms=[^ ]* queue_ms=[^ ]* "
                                              "read_ms=[^ ]* hash_ms=[^ ]* log_ms=[^ ]* publish_ms=[^ ]* "
                                              "other_ms=[^ ]* request_id=block-1"));
}

TEST_F(TracedCallTest, WhatIsSlowChangesAtRunTime) {
  options_.limits.slow_call = absl::ZeroDuration();
  RuntimeSettings next = options_.runtime;
  next.slow_call = absl::Nanoseconds(1);
  options_.load_settings = [&next]() -> absl::StatusOr<RuntimeSettings> { return next; };
  Start();
  Root({});
  ASSERT_TRUE(daemon_->ReloadConfig().ok());
  EXPECT_THAT(Lines(), Not(HasSubstr("slow_call")));
  Root({});
  EXPECT_THAT(Lines(), HasSubstr("warn rpc slow_call method=GetStateRoot"));
}

TEST_F(TracedCallTest, ARootThatDiffersIsLoggedAndCounted) {
  Start();
  pb::ApplyStateChangesStreamRequest wrong;
  *wrong.mutable_block() = BlockRequest(1);
  wrong.mutable_block()->set_expected_root(testing::Key(9));
  pb::ApplyStateChangesResponse response;
  EXPECT_FALSE(Call(&pb::StateService::Stub::ApplyStateChanges, wrong.block(), &response).ok());
  EXPECT_THAT(Lines(), HasSubstr("error engine state_root_mismatch block=1 reason="));
  EXPECT_THAT(daemon_->RenderMetrics(), HasSubstr("\nstate_root_mismatches_total 1\n"));

  grpc::ClientContext context;
  auto stream = state_->ApplyStateChangesStream(&context);
  EXPECT_TRUE(stream->Write(wrong));
  EXPECT_FALSE(stream->Finish().ok());
  EXPECT_THAT(daemon_->RenderMetrics(), HasSubstr("\nstate_root_mismatches_total 2\n"));

  ApplyTo(1);  // and 7 is no child of it, which is another matter
  EXPECT_FALSE(Call(&pb::StateService::Stub::ApplyStateChanges, BlockRequest(7), &response).ok());
  EXPECT_THAT(daemon_->RenderMetrics(), HasSubstr("\nstate_root_mismatches_total 2\n"));
}

TEST_F(TracedCallTest, StreamsToo) {
  options_.limits.slow_call = absl::Nanoseconds(1);
  Start();
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "stream-1");
  context.AddMetadata("mptd-timing", "1");
  auto stream = state_->ApplyStateChangesStream(&context);
  pb::ApplyStateChangesStreamRequest request;
  *request.mutable_block() = BlockRequest(1);
  ASSERT_TRUE(stream->Write(request));
  pb::ApplyStateChangesStreamResponse response;
  ASSERT_TRUE(stream->Read(&response));
  stream->WritesDone();
  ASSERT_TRUE(stream->Finish().ok());
  EXPECT_EQ(Sent(context.GetServerInitialMetadata(), "x-request-id"), "stream-1");
  EXPECT_THAT(Sent(context.GetServerTrailingMetadata(), "server-timing"), HasSubstr("hash;dur="));
  EXPECT_TRUE(Eventually([&] { return Lines().find("stream_ended") != std::string::npos; }));
  EXPECT_THAT(Lines(),
              ::testing::ContainsRegex("slow_block method=ApplyStateChangesStream block=1 .* request_id=stream-1"));
  EXPECT_THAT(Lines(), ::testing::ContainsRegex("stream_ended .* duration_ms=.* request_id=stream-1"));

  grpc::ClientContext refused;
  refused.AddMetadata("x-request-id", "stream-2");
  pb::StreamStorageRequest bad;
  EXPECT_FALSE(state_->StreamStorage(&refused, bad)->Finish().ok());
  EXPECT_TRUE(Eventually([&] { return Lines().find("request_id=stream-2") != std::string::npos; }));
}

}  // namespace
}  // namespace mptd
