// The server-streaming calls. Each function starts the call and returns what gRPC wants of its handler; a request that
// is refused is a stream that ends at once. `rpc` must outlive the streams. Safe from any thread.
#pragma once

#include <atomic>

#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/rpc.h"

namespace mptd {

using WriteReactor = grpc::ServerWriteReactor<grpc::ByteBuffer>;

// Follows the chain. Between messages it holds nothing but its place.
WriteReactor* StartBlockStream(Rpc& rpc, grpc::CallbackServerContext* context, const grpc::ByteBuffer& request);

// The rows of one block, page by page. One page is being sent while the next is read, and no more are read than that.
// The view is let go when the last page has been read, or when the stream is too old: a reader that is dead or too slow
// does not pin it for ever.
WriteReactor* StartAccountStream(Rpc& rpc, grpc::CallbackServerContext* context, const grpc::ByteBuffer& request);
WriteReactor* StartStorageStream(Rpc& rpc, grpc::CallbackServerContext* context, const grpc::ByteBuffer& request);

// The progress of a verification, and its result. There is one at a time: `busy` says that one is running, or is set
// until this one is over.
WriteReactor* StartVerifyStream(Rpc& rpc, grpc::CallbackServerContext* context, const grpc::ByteBuffer& request,
                                std::atomic<bool>& busy);

}  // namespace mptd
