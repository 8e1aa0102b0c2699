// How unary calls run. They are raw gRPC methods: bytes are parsed and serialised here, so that a request that is no
// protobuf gets a proper status and short reads need no allocation for their messages.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "google/protobuf/arena.h"
#include "grpcpp/support/server_callback.h"
#include "server/rpc.h"
#include "server/status_mapping.h"

namespace mptd {

// Runs `handler(const Request&, Response&) -> absl::Status` on the polling thread that the call arrived on. For short
// calls only: there are but a few such threads. gRPC's own reactor is used because it is the one that needs no further
// thread.
template <typename Request, typename Response, typename Handler>
grpc::ServerUnaryReactor* RunInline(Rpc& rpc, Method method, grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* in, grpc::ByteBuffer* out, Handler&& handler) {
  const absl::Time start = absl::Now();
  const CallTrace trace(rpc.access(), method, *context);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::Status status = trace.admitted();
  if (status.ok()) status = CheckAlive(*context);
  if (status.ok()) {
    Request request;
    status = ParseMessage(*in, request);
    if (status.ok()) {
      Response response;
      const std::vector<LogField> fields = trace.Fields();
      const LogScope scope(fields);
      status = handler(request, response);
      if (status.ok()) status = SerializeMessage(response, rpc.limits().max_message_bytes, *out);
    }
  }
  const absl::Duration duration = absl::Now() - start;
  rpc.Record(method, status, duration, trace);
  trace.Answer(*context, duration);
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

// Ends a call that is not begun.
inline grpc::ServerUnaryReactor* Refuse(Rpc& rpc, Method method, grpc::CallbackServerContext* context,
                                        const CallTrace& trace, const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  rpc.Record(method, status, absl::ZeroDuration(), trace);
  trace.Answer(*context, absl::ZeroDuration());
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

// The part of RunOnPool that runs on the pool's thread.
template <typename Request, typename Response, typename Handler>
absl::Status ServePooled(const Rpc& rpc, const grpc::CallbackServerContext& context, grpc::ByteBuffer* in,
                         grpc::ByteBuffer* out, CallTrace& trace, Handler& handler) {
  if (absl::Status status = CheckAlive(context); !status.ok()) return status;
  google::protobuf::Arena arena(RequestArena());
  auto* request = google::protobuf::Arena::CreateMessage<Request>(&arena);
  if (absl::Status status = ParseMessage(*in, *request); !status.ok()) return status;
  in->Clear();  // a block of changes may be large, and is here twice now
  auto* response = google::protobuf::Arena::CreateMessage<Response>(&arena);
  const std::vector<LogField> fields = trace.Fields();
  const LogScope scope(fields);
  absl::Status handled;
  if constexpr (std::is_invocable_v<Handler&, const Request&, Response&, CallTrace&>) {
    handled = handler(*request, *response, trace);
  } else {
    handled = handler(*request, *response);
  }
  if (!handled.ok()) return handled;
  return SerializeMessage(*response, rpc.limits().max_message_bytes, *out);
}

// Runs the handler, which may take the CallTrace as well, on `pool`, whose queue is bounded: RESOURCE_EXHAUSTED at once
// when it is full. `trace` is the call's, for those who have to know whether it is admitted before that.
template <typename Request, typename Response, typename Handler>
grpc::ServerUnaryReactor* RunOnPool(Rpc& rpc, TaskPool& pool, Method method, grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* in, grpc::ByteBuffer* out,
                                    const std::shared_ptr<CallTrace>& trace, Handler handler) {
  const absl::Time start = absl::Now();
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const auto finish = [&rpc, method, start, context, trace, reactor](const absl::Status& status) {
    const absl::Duration duration = absl::Now() - start;
    rpc.Record(method, status, duration, *trace);
    trace->Answer(*context, duration);
    reactor->Finish(ToGrpcStatus(status));
  };
  if (!trace->admitted().ok()) {
    finish(trace->admitted());
    return reactor;
  }
  const size_t length = in->Length();
  if (!rpc.TryEnter(length)) {
    finish(TooBusy());
    return reactor;
  }
  // Operators get through: theirs are the calls that help.
  if (&pool != &rpc.operators()) {
    if (absl::Status status = rpc.AdmitMemory(); !status.ok()) {
      rpc.Leave(length);
      finish(status);
      return reactor;
    }
  }
  // gRPC hands out `in` as const, but it is this call's alone and stays until Finish; so do the context and `out`.
  auto* bytes = const_cast<grpc::ByteBuffer*>(in);
  TaskPool::Task task = [&rpc, context, bytes, length, out, finish, trace, handler = std::move(handler)]() mutable {
    const absl::Status status = ServePooled<Request, Response>(rpc, *context, bytes, out, *trace, handler);
    rpc.Leave(length);
    finish(status);
  };
  if (!pool.TrySubmit(task)) {
    rpc.Leave(length);
    finish(QueueFull());
  }
  return reactor;
}

template <typename Request, typename Response, typename Handler>
grpc::ServerUnaryReactor* RunOnPool(Rpc& rpc, TaskPool& pool, Method method, grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* in, grpc::ByteBuffer* out, Handler handler) {
  return RunOnPool<Request, Response>(rpc, pool, method, context, in, out,
                                      std::make_shared<CallTrace>(rpc.access(), method, *context), std::move(handler));
}

}  // namespace mptd
