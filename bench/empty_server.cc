#include "bench/empty_server.h"

#include <signal.h>

#include <cstdio>
#include <memory>

#include "bench/workload.h"
#include "grpcpp/grpcpp.h"
#include "mptd/v1/state.grpc.pb.h"

namespace mptd::bench {
namespace {

void FillAnswer(v1::Account& account) {
  account.set_nonce(1);
  account.set_balance(std::string(BalanceOf(1).minimal()));
  account.set_storage_root(std::string(kEmptyRoot.view()));
  account.set_code_hash(std::string(kEmptyCodeHash.view()));
}

void FillBlock(v1::Block& block) {
  block.set_number(400);
  block.set_hash(std::string(kEmptyRoot.view()));
  block.set_parent_hash(std::string(kEmptyRoot.view()));
  block.set_state_root(std::string(kEmptyRoot.view()));
  block.set_durable(true);
}

class EmptyService final : public v1::StateService::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetAccount(grpc::CallbackServerContext* context, const v1::GetAccountRequest*,
                                       v1::GetAccountResponse* response) override {
    FillBlock(*response->mutable_block());
    response->set_exists(true);
    FillAnswer(*response->mutable_account());
    return Finish(context);
  }

  grpc::ServerUnaryReactor* GetAccounts(grpc::CallbackServerContext* context, const v1::GetAccountsRequest* request,
                                        v1::GetAccountsResponse* response) override {
    FillBlock(*response->mutable_block());
    for (const std::string& address : request->addresses()) {
      v1::AccountEntry& entry = *response->add_accounts();
      entry.set_address(address);
      entry.set_exists(true);
      FillAnswer(*entry.mutable_account());
    }
    return Finish(context);
  }

 private:
  static grpc::ServerUnaryReactor* Finish(grpc::CallbackServerContext* context) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

}  // namespace

int ServeEmptyAnswers(const std::string& address) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  EmptyService service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    std::fprintf(stderr, "mptd-bench: cannot listen on %s\n", address.c_str());
    return 1;
  }
  int signal = 0;
  sigwait(&signals, &signal);
  server->Shutdown();
  return 0;
}

}  // namespace mptd::bench
