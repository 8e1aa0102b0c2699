#include "server/access_interceptor.h"

#include <string>
#include <string_view>

#include "grpc/grpc.h"
#include "grpcpp/server_context.h"

namespace mptd {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::InterceptorBatchMethods;
using grpc::experimental::ServerRpcInfo;

bool IsFree(std::string_view method) { return method.starts_with("/grpc.health.v1.Health/"); }
bool IsOurs(std::string_view method) { return method.starts_with("/mptd.v1."); }

// An interceptor cannot answer a call in its handler's place, but it can end it with a status: what the handler sends
// later goes nowhere.
void End(grpc::ServerContextBase* context, const absl::Status& status) {
  grpc_call* call = nullptr;
  if (auto* callback = dynamic_cast<grpc::CallbackServerContext*>(context)) call = callback->c_call();
  if (auto* sync = dynamic_cast<grpc::ServerContext*>(context)) call = sync->c_call();
  if (call == nullptr) {
    context->TryCancel();
    return;
  }
  const std::string message(status.message());
  grpc_call_cancel_with_status(call, static_cast<grpc_status_code>(status.code()), message.c_str(), nullptr);
}

class AccessInterceptor final : public grpc::experimental::Interceptor {
 public:
  AccessInterceptor(AccessControl& access, ServerRpcInfo* info) : access_(access), info_(info) {}

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      const Admission admission =
          access_.AdmitForeign(info_->method(), IsFree(info_->method()), *info_->server_context());
      if (!admission.status.ok()) End(info_->server_context(), admission.status);
    }
    methods->Proceed();
  }

 private:
  AccessControl& access_;
  ServerRpcInfo* const info_;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(AccessControl& access) : access_(access) {}

  // gRPC takes null for "not this call", and deletes what it gets.
  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    const std::string_view method = info->method();
    if (IsOurs(method)) return nullptr;
    return std::make_unique<AccessInterceptor>(access_, info).release();
  }

 private:
  AccessControl& access_;
};

}  // namespace

std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> AccessInterceptors(
    AccessControl& access) {
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> out;
  out.push_back(std::make_unique<Factory>(access));
  return out;
}

}  // namespace mptd
