// The common part of all server-streaming calls: one message is written at a time, the next is made when it is gone,
// and nothing piles up for a reader who is slow. A reader who takes nothing for limits.max_stream_stall loses the
// stream: what it holds is let go then; the reader gets the reason if it reads on within as long again, and else the
// call is cut off.
//
// A stream owns itself: it is deleted by gRPC's OnDone. Its methods come from gRPC's threads, the registry's and a
// pool's, all at once; `mutex_` guards the state.
#pragma once

#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/mutex.h"
#include "server/rpc.h"
#include "server/stream_registry.h"

namespace mptd {

class OutStream : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public RegisteredStream {
 public:
  // Starts a stream that has just been made with new, or ends it with `status`. Call once, and return the result to
  // gRPC.
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Begin(const absl::Status& status);

  void OnWriteDone(bool ok) final;
  void OnCancel() final;
  void OnDone() final;
  void OnDrain() final;
  void OnTick(absl::Time now) override;

 protected:
  enum class Step { kMessage, kWait, kEnd };

  // Begin ends a stream that `trace` does not admit. Whoever makes one must not have done anything for it before.
  OutStream(Rpc& rpc, Method method, grpc::CallbackServerContext* context, CallTrace trace)
      : rpc_(rpc), method_(method), context_(context), trace_(std::move(trace)) {}
  ~OutStream() override = default;

  // Makes the next message, or says that Pump will be called when there is one, or ends the stream with `end` (OK at
  // first).
  virtual Step Produce(grpc::ByteBuffer& message, absl::Status& end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  // Asked when nothing has ended the stream: true has RunJob called once on the pool, without the lock. There is one
  // job at a time, and the stream does not end before its job.
  virtual bool WantsJob() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return false; }
  virtual TaskPool& JobPool() { return rpc_.readers(); }
  virtual void RunJob() {}

  // Called once when the stream is going to end although a message is still on its way: lets go of what it holds.
  virtual void LetGo() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {}
  // Ends the stream with `status` as soon as the message that is on its way has gone, if it does not end before.
  void EndSoon(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Goes on as far as is possible. The stream may be gone when it returns, unless a job of it is running.
  void Pump() { Advance(/*job_done=*/false); }
  // True when nobody wants what a job is doing any more.
  bool Abandoned();
  bool job_running() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return job_running_; }

  Rpc& rpc_;
  const Method method_;
  grpc::CallbackServerContext* const context_;
  Mutex mutex_;

 private:
  void Advance(bool job_done);
  // Why the stream has to end although it is not at its end.
  absl::Status Interruption() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const absl::Time begun_ = absl::Now();
  const CallTrace trace_;
  grpc::ByteBuffer message_;  // gRPC's while writing_
  bool entered_ = false;      // written by Begin only
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time write_begun_ ABSL_GUARDED_BY(mutex_);  // when writing_
  bool job_running_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

// What a stream ends with whose reader has taken nothing for limits.max_stream_stall.
absl::Status Stalled(absl::Duration after);

}  // namespace mptd
