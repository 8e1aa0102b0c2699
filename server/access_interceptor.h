// The gate for calls of services that are not ours, such as reflection: a gRPC interceptor that refuses whoever may not
// read. Health is free for everybody whose connection is good: load balancers and probes have no role. Calls of our own
// services pass, for CallTrace is their gate.
#pragma once

#include <memory>
#include <vector>

#include "grpcpp/support/server_interceptor.h"
#include "server/access.h"

namespace mptd {

// `access` must outlive the server that gets it.
std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> AccessInterceptors(
    AccessControl& access);

}  // namespace mptd
