#include "server/out_stream.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "core/errors.h"
#include "server/status_mapping.h"

namespace mptd {

absl::Status Stalled(absl::Duration after) {
  return WithReason(
      NoRoom(absl::StrFormat("the reader has taken nothing for %s (limits.max_stream_stall); open another "
                             "stream from where this one got",
                             absl::FormatDuration(after)),
             "max_stream_stall"),
      "STREAM_STALLED");
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* OutStream::Begin(const absl::Status& status) {
  absl::Status refusal = trace_.admitted();
  refusal.Update(status);
  if (refusal.ok()) {
    entered_ = rpc_.TryEnter();
    if (!entered_) refusal = TooBusy();
  }
  // The caller learns its request id before there is anything to tell. Later, the stream might be gone.
  if (refusal.ok()) StartSendInitialMetadata();
  if (refusal.ok()) refusal = rpc_.streams().Add(this);
  if (!refusal.ok()) {
    const MutexLock lock(mutex_);
    end_ = refusal;
  }
  Pump();
  return this;
}

void OutStream::OnWriteDone(bool ok) {
  {
    const MutexLock lock(mutex_);
    writing_ = false;
    if (!ok) cancelled_ = true;
  }
  Pump();
}

void OutStream::OnCancel() {
  {
    const MutexLock lock(mutex_);
    cancelled_ = true;
  }
  Pump();
}

void OutStream::OnDrain() {
  {
    const MutexLock lock(mutex_);
    draining_ = true;
  }
  Pump();
}

void OutStream::OnDone() {
  {
    // Before anything else: what other threads wrote is seen by whoever had the lock after them.
    const MutexLock lock(mutex_);
    rpc_.RecordStream(method_, end_.value_or(absl::OkStatus()), absl::Now() - begun_, trace_);
  }
  rpc_.streams().Remove(this);
  if (entered_) rpc_.Leave();
  delete this;
}

void OutStream::EndSoon(const absl::Status& status) {
  if (end_.has_value() || finished_) return;
  end_ = status;
  LetGo();
}

void OutStream::OnTick(absl::Time now) {
  const absl::Duration stall = rpc_.limits().caller.stream_stall;
  bool cut_off = false;
  {
    const MutexLock lock(mutex_);
    if (!writing_ || now - write_begun_ < stall) return;
    EndSoon(Stalled(stall));
    cut_off = now - write_begun_ >= 2 * stall;
  }
  if (cut_off) context_->TryCancel();
}

bool OutStream::Abandoned() {
  const MutexLock lock(mutex_);
  return cancelled_ || draining_ || end_.has_value();
}

absl::Status OutStream::Interruption() const {
  if (cancelled_) {
    absl::Status status = CheckAlive(*context_);
    return status.ok() ? absl::CancelledError("the client is gone") : status;
  }
  return draining_ ? ShuttingDown() : absl::OkStatus();
}

void OutStream::Advance(bool job_done) {
  bool write = false;
  bool job = false;
  absl::Status end;
  {
    const MutexLock lock(mutex_);
    if (job_done) job_running_ = false;
    if (finished_ || writing_) return;
    if (!end_.has_value()) {
      if (const absl::Status interruption = Interruption(); !interruption.ok()) end_ = interruption;
    }
    if (!end_.has_value()) {
      const Step step = Produce(message_, end);
      if (step == Step::kEnd) end_ = end;
      write = writing_ = step == Step::kMessage;
      if (write) write_begun_ = absl::Now();
    }
    if (end_.has_value()) {
      if (job_running_) return;
      finished_ = true;
      end = *end_;
    } else if (!job_running_ && WantsJob()) {
      job = job_running_ = true;
    }
    if (!finished_ && !write && !job) return;
  }
  // Neither a write nor a job lets the stream end before it is done; after Finish it may be gone.
  if (write) StartWrite(&message_);
  if (job) {
    JobPool().Submit([this] {
      RunJob();
      Advance(/*job_done=*/true);
    });
  }
  if (write || job) return;
  trace_.Answer(*context_, absl::Now() - begun_);
  Finish(ToGrpcStatus(end));
}

}  // namespace mptd
