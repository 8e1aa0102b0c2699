// mptd.v1.StateService on gRPC's callback interface. Short reads run on the polling thread that they arrive on, all
// else on the pools of Rpc. What the calls do is in state_calls.h, the streams are in read_streams.h and
// apply_stream.h.
#pragma once

#include <memory>

#include "grpcpp/impl/service_type.h"
#include "server/rpc.h"

namespace mptd {

// `rpc` must outlive the service, and the service the server that it is registered with.
std::unique_ptr<grpc::Service> MakeStateService(Rpc& rpc);

}  // namespace mptd
