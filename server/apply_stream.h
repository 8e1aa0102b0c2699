// The reactor of ApplyStateChangesStream: blocks are applied in the order they come, one acknowledgement each; the
// first that is refused ends the stream with its status, after the acknowledgements of those before. One block is read
// ahead while another is applied, both counted as memory that requests hold; a client that does not read its
// acknowledgements is not read from either, and loses the stream after limits.max_stream_stall.
//
// It owns itself and is deleted by gRPC's OnDone. `mutex_` guards the state.
#pragma once

#include <deque>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/mutex.h"
#include "server/rpc.h"
#include "server/stream_registry.h"

namespace mptd {

class ApplyStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>, public RegisteredStream {
 public:
  ApplyStream(Rpc& rpc, grpc::CallbackServerContext* context)
      : rpc_(rpc), context_(context), trace_(rpc.access(), Method::kApplyStateChangesStream, *context) {}
  // Call once, after new, and return the result to gRPC.
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Begin();

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  void OnDrain() override;
  void OnTick(absl::Time now) override;

 private:
  void Advance();
  // The decisions of Advance: starts what can be started, and returns the final status when all is done.
  std::optional<absl::Status> Decide(bool& apply) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Act(bool apply, const std::optional<absl::Status>& finish);
  void TakeRead(bool ok) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // On a pool's thread: applies the block in applying_bytes_.
  void ApplyOne();
  absl::StatusOr<grpc::ByteBuffer> ApplyBytes(const grpc::ByteBuffer& bytes, BlockTimes& times);

  Rpc& rpc_;
  grpc::CallbackServerContext* const context_;
  const absl::Time begun_ = absl::Now();
  bool entered_ = false;  // written by Begin only
  CallTrace trace_;       // the job's while applying_; whoever ends the stream has it then

  Mutex mutex_;
  grpc::ByteBuffer read_bytes_;      // gRPC's while reading_
  grpc::ByteBuffer applying_bytes_;  // the job's while applying_
  size_t applying_size_ = 0;         // its length, likewise
  grpc::ByteBuffer written_bytes_;   // gRPC's while writing_
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool have_block_ ABSL_GUARDED_BY(mutex_) = false;  // in read_bytes_
  bool no_more_blocks_ ABSL_GUARDED_BY(mutex_) = false;
  bool applying_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time write_begun_ ABSL_GUARDED_BY(mutex_);  // when writing_
  size_t read_size_ ABSL_GUARDED_BY(mutex_) = 0;    // of the block in read_bytes_, which counts as held
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<grpc::ByteBuffer> acknowledgements_ ABSL_GUARDED_BY(mutex_);  // to be written
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mptd
