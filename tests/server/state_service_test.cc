// The unary calls of StateService, over TCP.
#include <chrono>
#include <thread>

#include <grpcpp/generic/generic_stub.h>

#include "core/keccak.h"
#include "core/types.h"
#include "tests/server/test_daemon.h"

namespace mptd {
namespace {

using testing::AddressOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Key;
using Stub = pb::StateService::Stub;
using grpc::StatusCode;

class StateServiceTest : public testing::DaemonTest {
 protected:
  void SetUp() override { Start(); }

  // Block 1: account 1 with everything, account 2 with a balance.
  void ApplyRichBlock() {
    pb::ApplyStateChangesRequest request;
    request.set_number(1);
    request.set_hash(Key(101));
    pb::AccountChange* change = request.add_changes();
    change->set_address(AddressOf(1));
    change->set_nonce(5);
    change->set_balance("\x64");
    change->set_code("code of one");
    pb::SlotChange* slot = change->add_slots();
    slot->set_key(Key(1));
    slot->set_value("\x07");
    change = request.add_changes();
    change->set_address(AddressOf(2));
    change->set_balance("\x01");
    const grpc::Status status = Call(&Stub::ApplyStateChanges, request, &applied_);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  uint64_t Head() {
    pb::GetStateRootResponse response;
    EXPECT_TRUE(Call(&Stub::GetStateRoot, pb::GetStateRootRequest(), &response).ok());
    return response.block().number();
  }

  pb::ApplyStateChangesResponse applied_;
};

TEST_F(StateServiceTest, ApplyAnswersTheBlockAndItsDurability) {
  engine_->set_durable_lag(1);
  ApplyRichBlock();
  EXPECT_EQ(applied_.block().number(), 1u);
  EXPECT_EQ(applied_.block().hash(), Key(101));
  EXPECT_EQ(applied_.block().state_root().size(), 32u);
  EXPECT_FALSE(applied_.block().durable());
  EXPECT_EQ(applied_.durable_number(), 0u);
  EXPECT_FALSE(applied_.already_applied());
  EXPECT_EQ(applied_.accounts_changed(), 1u);
  EXPECT_EQ(applied_.slots_changed(), 2u);
  EXPECT_EQ(applied_.nodes_hashed(), 3u);

  pb::GetBlockResponse block;
  EXPECT_TRUE(Call(&Stub::GetBlock, pb::GetBlockRequest(), &block).ok());
  EXPECT_FALSE(block.block().durable());
  engine_->set_durable_lag(0);
  EXPECT_TRUE(Call(&Stub::GetBlock, pb::GetBlockRequest(), &block).ok());
  EXPECT_TRUE(block.block().durable());
}

TEST_F(StateServiceTest, TheSameBlockAgain) {
  ApplyRichBlock();
  const std::string root = applied_.block().state_root();
  ApplyRichBlock();
  EXPECT_TRUE(applied_.already_applied());
  EXPECT_EQ(applied_.block().state_root(), root);
}

TEST_F(StateServiceTest, RefusedBlocksSayWhyAndChangeNothing) {
  ApplyTo(2);
  pb::ApplyStateChangesResponse response;

  auto request = BlockRequest(4);
  grpc::Status status = Call(&Stub::ApplyStateChanges, request, &response);
  EXPECT_EQ(status.error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status).reason(), "PARENT_MISMATCH");
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status).domain(), "mptd");

  request = BlockRequest(3);
  request.set_expected_root(Key(9));
  status = Call(&Stub::ApplyStateChanges, request, &response);
  EXPECT_EQ(status.error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status).reason(), "ROOT_MISMATCH");

  request = BlockRequest(3);
  request.add_changes()->set_address("short");
  EXPECT_EQ(FieldOf(Call(&Stub::ApplyStateChanges, request, &response)), "changes[1].address");

  request = BlockRequest(3);
  request.add_changes()->set_address(AddressOf(1));
  EXPECT_EQ(FieldOf(Call(&Stub::ApplyStateChanges, request, &response)), "changes[1].address");

  engine_->set_read_only("a sync failed");
  status = Call(&Stub::ApplyStateChanges, BlockRequest(3), &response);
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(Head(), 2u);
}

TEST_F(StateServiceTest, AReorganisation) {
  ApplyTo(3);
  auto request = BlockRequest(2);
  request.set_hash(Key(77));
  request.set_reorganize(true);
  pb::ApplyStateChangesResponse response;
  EXPECT_TRUE(Call(&Stub::ApplyStateChanges, request, &response).ok());
  EXPECT_EQ(response.block().hash(), Key(77));
  EXPECT_EQ(Head(), 2u);
}

TEST_F(StateServiceTest, ADeadlineThatHasPassedChangesNothing) {
  ApplyTo(1);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() - std::chrono::seconds(1));
  pb::ApplyStateChangesResponse response;
  EXPECT_EQ(state_->ApplyStateChanges(&context, BlockRequest(2), &response).error_code(),
            StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(Head(), 1u);
}

// The engine is told to give up before the client does, however the client's deadline is rounded on its way.
TEST_F(StateServiceTest, AFullQueueIsReportedBeforeTheDeadline) {
  ApplyTo(1);
  engine_->HoldApplies(true);
  const absl::Time begin = absl::Now();
  const absl::Time deadline = begin + absl::Milliseconds(200'100);
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(deadline));
  grpc::Status status;
  std::thread caller([&] {
    pb::ApplyStateChangesResponse response;
    status = state_->ApplyStateChanges(&context, BlockRequest(2), &response);
  });
  EXPECT_TRUE(Eventually([&] { return engine_->applies_waiting() == 1; }));
  // The daemon learns the time that is left, and cannot know how long the call was on its way.
  const absl::Duration on_its_way = absl::Now() - begin;
  EXPECT_LT(engine_->apply_deadline(), deadline + on_its_way);
  EXPECT_GT(engine_->apply_deadline(), deadline - absl::Seconds(5));
  engine_->GiveUpApplies();
  caller.join();
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_EQ(DetailOf<google::rpc::RetryInfo>(status).retry_delay().nanos(), 250'000'000);
  engine_->HoldApplies(false);
  EXPECT_EQ(Head(), 1u);
}

TEST_F(StateServiceTest, ACancelledApplyChangesNothing) {
  ApplyTo(1);
  engine_->HoldApplies(true);
  grpc::ClientContext context;
  std::thread canceller([&] {
    EXPECT_TRUE(Eventually([&] { return engine_->applies_waiting() == 1; }));
    context.TryCancel();
  });
  pb::ApplyStateChangesResponse response;
  EXPECT_EQ(state_->ApplyStateChanges(&context, BlockRequest(2), &response).error_code(), StatusCode::CANCELLED);
  canceller.join();
  EXPECT_TRUE(Eventually([&] { return engine_->applies_waiting() == 0; }));
  engine_->HoldApplies(false);
  EXPECT_EQ(Head(), 1u);
}

TEST_F(StateServiceTest, ComputeStateRootAppliesNothing) {
  ApplyTo(2);
  pb::ComputeStateRootRequest request;
  *request.mutable_changes() = BlockRequest(3).changes();
  pb::ComputeStateRootResponse dry;
  ASSERT_TRUE(Call(&Stub::ComputeStateRoot, request, &dry).ok());
  EXPECT_EQ(dry.block().number(), 2u);
  EXPECT_EQ(Head(), 2u);
  ApplyTo(3);
  pb::GetStateRootResponse root;
  ASSERT_TRUE(Call(&Stub::GetStateRoot, pb::GetStateRootRequest(), &root).ok());
  EXPECT_EQ(root.block().state_root(), dry.state_root());

  request.add_changes()->set_address(AddressOf(1));
  EXPECT_EQ(FieldOf(Call(&Stub::ComputeStateRoot, request, &dry)), "changes[1].address");
}

TEST_F(StateServiceTest, Rollback) {
  ApplyTo(3);
  pb::RollbackToRequest request;
  pb::RollbackToResponse response;
  EXPECT_EQ(FieldOf(Call(&Stub::RollbackTo, request, &response)), "block");
  request.mutable_block()->set_number(1);
  EXPECT_TRUE(Call(&Stub::RollbackTo, request, &response).ok());
  EXPECT_EQ(response.block().number(), 1u);
  EXPECT_EQ(Head(), 1u);
  request.mutable_block()->set_number(3);
  EXPECT_EQ(Call(&Stub::RollbackTo, request, &response).error_code(), StatusCode::OUT_OF_RANGE);
}

TEST_F(StateServiceTest, GetAccount) {
  ApplyRichBlock();
  pb::GetAccountRequest request;
  request.set_address(AddressOf(1));
  pb::GetAccountResponse response;
  ASSERT_TRUE(Call(&Stub::GetAccount, request, &response).ok());
  EXPECT_EQ(response.block().number(), 1u);
  EXPECT_TRUE(response.exists());
  EXPECT_EQ(response.account().nonce(), 5u);
  EXPECT_EQ(response.account().balance(), "\x64");
  EXPECT_EQ(response.account().code_hash(), Keccak256("code of one").view());

  request.set_address(AddressOf(99));
  response.Clear();
  ASSERT_TRUE(Call(&Stub::GetAccount, request, &response).ok());
  EXPECT_FALSE(response.exists());
  EXPECT_FALSE(response.has_account());

  request.set_address(std::string(21, 'a'));
  EXPECT_EQ(FieldOf(Call(&Stub::GetAccount, request, &response)), "address");
}

TEST_F(StateServiceTest, BlocksAreNamedInFourWays) {
  ApplyRichBlock();
  const std::string root = applied_.block().state_root();
  BlockChanges second;
  second.number = 2;
  second.parent_hash = Hash::FromView(Key(101));
  ASSERT_TRUE(engine_->Apply(second, absl::InfiniteFuture(), {}).ok());
  pb::GetBlockRequest request;
  pb::GetBlockResponse response;
  const auto number_of = [&] {
    const grpc::Status status = Call(&Stub::GetBlock, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.block().number();
  };
  EXPECT_EQ(number_of(), 2u);
  request.mutable_block()->set_latest(true);
  EXPECT_EQ(number_of(), 2u);
  request.mutable_block()->set_number(1);
  EXPECT_EQ(number_of(), 1u);
  request.mutable_block()->set_hash(Key(101));
  EXPECT_EQ(number_of(), 1u);
  request.mutable_block()->set_state_root(root);
  EXPECT_EQ(number_of(), 2u);  // the newest with this root
}

TEST_F(StateServiceTest, BlocksThatAreNotServed) {
  ApplyTo(2);
  pb::GetBlockRequest request;
  pb::GetBlockResponse response;
  request.mutable_block()->set_number(9);
  grpc::Status status = Call(&Stub::GetBlock, request, &response);
  EXPECT_EQ(status.error_code(), StatusCode::OUT_OF_RANGE);
  EXPECT_THAT(status.error_message(), HasSubstr("blocks 1 to 2"));
  request.mutable_block()->set_hash(Key(66));
  status = Call(&Stub::GetBlock, request, &response);
  EXPECT_EQ(status.error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status).reason(), "UNKNOWN_HASH");
  request.mutable_block()->set_hash("short");
  EXPECT_EQ(FieldOf(Call(&Stub::GetBlock, request, &response)), "block.hash");
}

TEST_F(StateServiceTest, GetAccountsInTheOrderAsked) {
  ApplyRichBlock();
  pb::GetAccountsRequest request;
  for (const int i : {2, 99, 1}) request.add_addresses(AddressOf(static_cast<uint8_t>(i)));
  pb::GetAccountsResponse response;
  ASSERT_TRUE(Call(&Stub::GetAccounts, request, &response).ok());
  ASSERT_EQ(response.accounts_size(), 3);
  EXPECT_EQ(response.accounts(0).address(), AddressOf(2));
  EXPECT_EQ(response.accounts(0).account().balance(), "\x01");
  EXPECT_FALSE(response.accounts(1).exists());
  EXPECT_EQ(response.accounts(1).address(), AddressOf(99));
  EXPECT_EQ(response.accounts(2).account().nonce(), 5u);
  // So many that they are read on the pool.
  for (int i = 0; i < 1000; ++i) request.add_addresses(AddressOf(1));
  ASSERT_TRUE(Call(&Stub::GetAccounts, request, &response).ok());
  EXPECT_EQ(response.accounts_size(), 1003);
  EXPECT_TRUE(response.accounts(1002).exists());
  for (size_t i = 0; i < 100'000; ++i) request.add_addresses(AddressOf(1));
  EXPECT_EQ(FieldOf(Call(&Stub::GetAccounts, request, &response)), "addresses");
}

TEST_F(StateServiceTest, GetStorageInTheOrderAsked) {
  ApplyRichBlock();
  pb::GetStorageRequest request;
  request.set_address(AddressOf(1));
  request.add_slots(Key(2));
  request.add_slots(Key(1));
  pb::GetStorageResponse response;
  ASSERT_TRUE(Call(&Stub::GetStorage, request, &response).ok());
  EXPECT_THAT(response.values(), ElementsAre("", "\x07"));
  for (int i = 0; i < 100; ++i) request.add_slots(Key(1));
  ASSERT_TRUE(Call(&Stub::GetStorage, request, &response).ok());
  EXPECT_EQ(response.values_size(), 102);
  request.set_slots(1, "short");
  EXPECT_EQ(FieldOf(Call(&Stub::GetStorage, request, &response)), "slots[1]");
  request.set_address("short");
  EXPECT_EQ(FieldOf(Call(&Stub::GetStorage, request, &response)), "address");
}

TEST_F(StateServiceTest, GetCodeByAccountAndByHash) {
  ApplyRichBlock();
  pb::GetCodeRequest request;
  pb::GetCodeResponse response;
  EXPECT_EQ(FieldOf(Call(&Stub::GetCode, request, &response)), "address");
  const auto get = [&] {
    response.Clear();
    const grpc::Status status = Call(&Stub::GetCode, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
  };
  request.set_address(AddressOf(1));
  get();
  EXPECT_TRUE(response.exists());
  EXPECT_EQ(response.code(), "code of one");
  request.set_code_hash(response.code_hash());
  get();
  EXPECT_EQ(response.code(), "code of one");
  request.set_address(AddressOf(2));  // has none
  get();
  EXPECT_TRUE(response.exists());
  EXPECT_EQ(response.code(), "");
  EXPECT_EQ(response.code_hash(), kEmptyCodeHash.view());
  request.set_address(AddressOf(99));
  get();
  EXPECT_FALSE(response.exists());
  EXPECT_EQ(response.code_hash(), "");
  request.set_code_hash(Key(1));
  get();
  EXPECT_FALSE(response.exists());
  request.set_code_hash("short");
  EXPECT_EQ(FieldOf(Call(&Stub::GetCode, request, &response)), "code_hash");
}

TEST_F(StateServiceTest, GetProof) {
  ApplyRichBlock();
  pb::GetProofRequest request;
  request.set_address(AddressOf(1));
  request.add_slots(Key(2));
  request.add_slots(Key(1));
  pb::GetProofResponse response;
  ASSERT_TRUE(Call(&Stub::GetProof, request, &response).ok());
  EXPECT_EQ(response.block().number(), 1u);
  EXPECT_TRUE(response.exists());
  EXPECT_EQ(response.nonce(), 5u);
  EXPECT_THAT(response.account_proof(), ElementsAre("root node", "leaf"));
  ASSERT_EQ(response.storage_proofs_size(), 2);
  EXPECT_EQ(response.storage_proofs(0).key(), Key(2));
  EXPECT_EQ(response.storage_proofs(0).proof_size(), 0);
  EXPECT_EQ(response.storage_proofs(1).value(), "\x07");
  request.set_address(AddressOf(99));
  ASSERT_TRUE(Call(&Stub::GetProof, request, &response).ok());
  EXPECT_FALSE(response.exists());
  EXPECT_EQ(response.storage_root(), kEmptyRoot.view());
  request.add_slots("short");
  EXPECT_EQ(FieldOf(Call(&Stub::GetProof, request, &response)), "slots[2]");
}

TEST_F(StateServiceTest, AnAccountThatIsKeptEmptyExistsInItsProof) {
  auto request = BlockRequest(1);
  request.mutable_changes(0)->clear_nonce();
  request.set_keep_empty_accounts(true);
  ASSERT_TRUE(Call(&Stub::ApplyStateChanges, request, &applied_).ok());
  pb::GetProofRequest proof;
  proof.set_address(AddressOf(1));
  pb::GetProofResponse response;
  ASSERT_TRUE(Call(&Stub::GetProof, proof, &response).ok());
  EXPECT_TRUE(response.exists());
}

TEST_F(StateServiceTest, GetMultiProof) {
  ApplyRichBlock();
  pb::GetMultiProofRequest request;
  request.add_targets()->set_address(AddressOf(99));
  pb::ProofTarget* target = request.add_targets();
  target->set_address(AddressOf(1));
  target->add_slots(Key(1));
  pb::GetMultiProofResponse response;
  ASSERT_TRUE(Call(&Stub::GetMultiProof, request, &response).ok());
  EXPECT_EQ(response.nodes_size(), 3);
  ASSERT_EQ(response.accounts_size(), 2);
  EXPECT_FALSE(response.accounts(0).exists());
  EXPECT_THAT(response.accounts(1).values(), ElementsAre("\x07"));
}

TEST_F(StateServiceTest, BytesThatAreNoMessage) {
  for (const char* method : {"/mptd.v1.StateService/GetAccount", "/mptd.v1.StateService/ApplyStateChanges",
                             "/mptd.v1.StateService/StreamBlocks", "/mptd.v1.AdminService/Flush"}) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const grpc::Slice slice("\xff\xff\xff not protobuf");
    const auto call = stub.PrepareUnaryCall(&context, method, grpc::ByteBuffer(&slice, 1), &queue);
    call->StartCall();
    grpc::ByteBuffer answer;
    grpc::Status status;
    call->Finish(&answer, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok));
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT) << method;
    EXPECT_THAT(status.error_message(), HasSubstr("not a message of type mptd.v1."));
  }
}

TEST_F(StateServiceTest, UnknownFieldsAreIgnored) {
  ApplyRichBlock();
  pb::GetAccountRequest request;
  request.set_address(AddressOf(1));
  request.GetReflection()->MutableUnknownFields(&request)->AddVarint(1000, 1);
  pb::GetAccountResponse response;
  EXPECT_TRUE(Call(&Stub::GetAccount, request, &response).ok());
  EXPECT_TRUE(response.exists());
}

class SmallLimitsTest : public StateServiceTest {
 protected:
  void SetUp() override {
    options_.grpc.max_message_bytes = options_.limits.max_message_bytes = 64 << 10;
    options_.limits.max_concurrent_calls = 3;
    options_.limits.write_threads = 1;
    Start();
  }
};

TEST_F(SmallLimitsTest, RequestsThatAreTooLong) {
  auto request = BlockRequest(1);
  request.mutable_changes(0)->set_code(std::string(65 << 10, 'c'));
  EXPECT_EQ(Call(&Stub::ApplyStateChanges, request, &applied_).error_code(), StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(SmallLimitsTest, AnswersThatAreTooLong) {
  ApplyRichBlock();
  pb::GetAccountsRequest request;
  for (int i = 0; i < 2000; ++i) request.add_addresses(AddressOf(1));
  pb::GetAccountsResponse response;
  const grpc::Status status = Call(&Stub::GetAccounts, request, &response);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("server.max_message_bytes"));
}

TEST_F(SmallLimitsTest, TooManyCallsAtOnce) {
  ApplyTo(1);
  engine_->HoldApplies(true);
  std::vector<std::thread> threads;
  std::atomic<int> refused{0};
  std::atomic<int> done{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      // Connections of their own.
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      const auto stub = pb::StateService::NewStub(
          grpc::CreateCustomChannel(daemon_->grpc_addresses()[0], grpc::InsecureChannelCredentials(), arguments));
      grpc::ClientContext context;
      pb::ApplyStateChangesResponse response;
      const grpc::Status status = stub->ApplyStateChanges(&context, BlockRequest(2), &response);
      if (status.error_code() == StatusCode::RESOURCE_EXHAUSTED) {
        EXPECT_GT(DetailOf<google::rpc::RetryInfo>(status).retry_delay().nanos(), 0);
        ++refused;
      }
      ++done;
    });
  }
  EXPECT_TRUE(Eventually([&] { return done == 5; }));
  EXPECT_EQ(refused, 5);
  // Short reads go on meanwhile.
  EXPECT_EQ(Head(), 1u);
  engine_->HoldApplies(false);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(refused, 5);
  EXPECT_EQ(Head(), 2u);
}

}  // namespace
}  // namespace mptd
