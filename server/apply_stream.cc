#include "server/apply_stream.h"

#include <utility>

#include "core/errors.h"
#include "mptd/v1/state.pb.h"
#include "server/out_stream.h"
#include "server/status_mapping.h"

namespace mptd {
namespace {

constexpr Method kMethod = Method::kApplyStateChangesStream;
constexpr size_t kMaxUnsentAcknowledgements = 16;

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ApplyStream::Begin() {
  absl::Status refusal = trace_.admitted();
  if (refusal.ok()) {
    entered_ = rpc_.TryEnter();
    if (!entered_) refusal = TooBusy();
  }
  // The caller learns its request id before its first block. Later, the stream might be gone.
  if (refusal.ok()) StartSendInitialMetadata();
  if (refusal.ok()) refusal = rpc_.streams().Add(this);
  if (!refusal.ok()) {
    const MutexLock lock(mutex_);
    end_ = refusal;
  }
  Advance();
  return this;
}

void ApplyStream::OnReadDone(bool ok) {
  {
    const MutexLock lock(mutex_);
    TakeRead(ok);
  }
  Advance();
}

void ApplyStream::TakeRead(bool ok) {
  reading_ = false;
  (ok ? have_block_ : no_more_blocks_) = true;
  if (!ok) return;
  read_size_ = read_bytes_.Length();
  rpc_.Hold(read_size_);
  // However many streams send ahead: what they have sent is in memory.
  if (absl::Status status = rpc_.AdmitMemory(); !status.ok() && !end_.has_value()) end_ = status;
}

void ApplyStream::OnWriteDone(bool ok) {
  {
    const MutexLock lock(mutex_);
    writing_ = false;
    if (!ok) cancelled_ = true;
  }
  Advance();
}

void ApplyStream::OnCancel() {
  {
    const MutexLock lock(mutex_);
    cancelled_ = true;
  }
  Advance();
}

void ApplyStream::OnDrain() {
  {
    const MutexLock lock(mutex_);
    draining_ = true;
  }
  Advance();
}

void ApplyStream::OnDone() {
  {
    // Before anything else: what other threads wrote is seen by whoever had the lock after them.
    const MutexLock lock(mutex_);
    rpc_.RecordStream(kMethod, end_.value_or(absl::OkStatus()), absl::Now() - begun_, trace_);
    rpc_.Release(std::exchange(read_size_, 0));
  }
  rpc_.streams().Remove(this);
  if (entered_) rpc_.Leave();
  delete this;
}

void ApplyStream::OnTick(absl::Time now) {
  const absl::Duration stall = rpc_.limits().caller.stream_stall;
  bool cut_off = false;
  {
    const MutexLock lock(mutex_);
    if (!writing_ || now - write_begun_ < stall) return;
    if (!end_.has_value()) end_ = Stalled(stall);
    cut_off = now - write_begun_ >= 2 * stall;
  }
  if (cut_off) context_->TryCancel();
}

std::optional<absl::Status> ApplyStream::Decide(bool& apply) {
  if (cancelled_) {
    acknowledgements_.clear();
    if (!end_.has_value()) {
      const absl::Status status = CheckAlive(*context_);
      end_ = status.ok() ? absl::CancelledError("the client is gone") : status;
    }
  }
  if (!end_.has_value() && draining_) end_ = ShuttingDown();
  if (!end_.has_value() && have_block_ && !applying_ && acknowledgements_.size() < kMaxUnsentAcknowledgements) {
    applying_bytes_.Swap(&read_bytes_);
    applying_size_ = std::exchange(read_size_, 0);
    have_block_ = false;
    applying_ = apply = true;
  }
  if (!end_.has_value() && no_more_blocks_ && !have_block_ && !applying_) end_ = absl::OkStatus();
  // Reads and writes start under the lock, so that they come before a Finish that another thread decides on.
  if (!end_.has_value() && !reading_ && !have_block_ && !no_more_blocks_) {
    reading_ = true;
    StartRead(&read_bytes_);
  }
  if (!writing_ && !acknowledgements_.empty()) {
    written_bytes_.Swap(&acknowledgements_.front());
    acknowledgements_.pop_front();
    writing_ = true;
    write_begun_ = absl::Now();
    StartWrite(&written_bytes_);
  }
  if (end_.has_value() && !applying_ && !writing_ && acknowledgements_.empty()) {
    finished_ = true;
    return end_;
  }
  return std::nullopt;
}

void ApplyStream::Advance() {
  bool apply = false;
  std::optional<absl::Status> finish;
  {
    const MutexLock lock(mutex_);
    if (finished_) return;
    finish = Decide(apply);
  }
  // With neither, another thread may have ended the stream by now.
  if (apply || finish.has_value()) Act(apply, finish);
}

void ApplyStream::Act(bool apply, const std::optional<absl::Status>& finish) {
  // The stream does not end while a block is being applied; after Finish it may be gone.
  if (apply) rpc_.writers().Submit([this] { ApplyOne(); });
  if (!finish.has_value()) return;
  trace_.Answer(*context_, absl::Now() - begun_);
  Finish(ToGrpcStatus(*finish));
}

absl::StatusOr<grpc::ByteBuffer> ApplyStream::ApplyBytes(const grpc::ByteBuffer& bytes, BlockTimes& times) {
  if (absl::Status status = CheckAlive(*context_); !status.ok()) return status;
  if (absl::Status status = rpc_.AdmitMemory(); !status.ok()) return status;
  if (absl::Status status = rpc_.access().AdmitBlock(kMethod, trace_.caller(), trace_.request_id()); !status.ok()) {
    return status;
  }
  google::protobuf::Arena arena(RequestArena());
  auto& request = *google::protobuf::Arena::CreateMessage<pb::ApplyStateChangesStreamRequest>(&arena);
  if (absl::Status status = ParseMessage(bytes, request); !status.ok()) return status;
  if (!request.has_block()) return InvalidField("block", "must be set");
  pb::ApplyStateChangesStreamResponse response;
  const absl::Status applied = rpc_.calls().ApplyStateChanges(WriteBounds(*context_, rpc_.limits()), request.block(),
                                                              *response.mutable_result(), times);
  if (!applied.ok()) {
    rpc_.RecordRefusedBlock(request.block().number(), applied);
    return WithFieldPrefix(applied, "block");
  }
  rpc_.RecordBlock(kMethod, response.result(), times, trace_);
  grpc::ByteBuffer out;
  if (absl::Status status = SerializeMessage(response, rpc_.limits().max_message_bytes, out); !status.ok())
    return status;
  return out;
}

void ApplyStream::ApplyOne() {
  const absl::Time start = absl::Now();
  BlockTimes times;
  absl::StatusOr<grpc::ByteBuffer> result = absl::UnknownError("not run");
  {
    const std::vector<LogField> fields = trace_.Fields();
    const LogScope scope(fields);
    result = ApplyBytes(applying_bytes_, times);
  }
  applying_bytes_.Clear();
  rpc_.Release(applying_size_);
  trace_.AddBlock(times);
  rpc_.RecordStreamedBlock(absl::Now() - start, times, trace_);
  bool apply = false;
  std::optional<absl::Status> finish;
  {
    const MutexLock lock(mutex_);
    applying_ = false;
    if (result.ok()) {
      acknowledgements_.push_back(*std::move(result));
    } else if (!end_.has_value()) {
      end_ = result.status();
    }
    finish = Decide(apply);
  }
  // With neither, another thread may have ended the stream by now.
  if (apply || finish.has_value()) Act(apply, finish);
}

}  // namespace mptd
