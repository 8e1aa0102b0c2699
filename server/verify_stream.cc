#include <atomic>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/errors.h"
#include "mptd/v1/admin.pb.h"
#include "server/converters.h"
#include "server/out_stream.h"
#include "server/streams.h"

namespace mptd {
namespace {

constexpr absl::Duration kProgressInterval = absl::Milliseconds(500);

class VerifyStream final : public OutStream {
 public:
  VerifyStream(Rpc& rpc, grpc::CallbackServerContext* context, CallTrace trace)
      : OutStream(rpc, Method::kVerify, context, std::move(trace)) {}
  ~VerifyStream() override {
    if (busy_ != nullptr) busy_->store(false);
  }

  // Before Begin: sets `busy` until the stream is gone, unless another one has it.
  absl::Status Occupy(std::atomic<bool>& busy) {
    if (busy.exchange(true)) return RetryLater("a verification is running already", absl::Seconds(10));
    busy_ = &busy;
    return absl::OkStatus();
  }

 protected:
  Step Produce(grpc::ByteBuffer& message, absl::Status& end) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool WantsJob() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  TaskPool& JobPool() override { return rpc_.operators(); }
  void RunJob() override;

 private:
  bool OnProgress(const VerifyProgress& progress);

  std::atomic<bool>* busy_ = nullptr;  // written before Begin only
  absl::Time last_progress_;           // the job's
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  bool result_sent_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<VerifyProgress> progress_ ABSL_GUARDED_BY(mutex_);  // not sent
  std::optional<absl::StatusOr<VerifyReport>> result_ ABSL_GUARDED_BY(mutex_);
};

OutStream::Step VerifyStream::Produce(grpc::ByteBuffer& message, absl::Status& end) {
  if (result_sent_) return Step::kEnd;
  pb::VerifyResponse response;
  if (result_.has_value()) {
    if (!result_->ok()) {
      end = result_->status();
      return Step::kEnd;
    }
    const VerifyReport& report = **result_;
    FillBlock(report.block, rpc_.engine().IsDurable(report.block.number), response.mutable_block());
    progress_ = report.checked;
    response.set_done(true);
    response.set_ok(report.difference.empty());
    response.set_difference(report.difference);
    result_sent_ = true;
  }
  if (!progress_.has_value()) return Step::kWait;
  response.set_accounts_checked(progress_->accounts);
  response.set_slots_checked(progress_->slots);
  response.set_nodes_checked(progress_->nodes);
  progress_.reset();
  end = SerializeMessage(response, rpc_.limits().max_message_bytes, message);
  return end.ok() ? Step::kMessage : Step::kEnd;
}

bool VerifyStream::WantsJob() { return !std::exchange(started_, true); }

bool VerifyStream::OnProgress(const VerifyProgress& progress) {
  if (Abandoned()) return false;
  const absl::Time now = absl::Now();
  if (now - last_progress_ < kProgressInterval) return true;
  last_progress_ = now;
  {
    const MutexLock lock(mutex_);
    progress_ = progress;
  }
  Pump();
  return true;
}

void VerifyStream::RunJob() {
  absl::StatusOr<VerifyReport> report =
      rpc_.engine().Verify([this](const VerifyProgress& progress) { return OnProgress(progress); });
  const MutexLock lock(mutex_);
  result_ = std::move(report);
}

}  // namespace

WriteReactor* StartVerifyStream(Rpc& rpc, grpc::CallbackServerContext* context, const grpc::ByteBuffer& request,
                                std::atomic<bool>& busy) {
  CallTrace trace(rpc.access(), Method::kVerify, *context);
  absl::Status status = trace.admitted();
  pb::VerifyRequest parsed;
  if (status.ok()) status = ParseMessage(request, parsed);
  auto* stream = new VerifyStream(rpc, context, std::move(trace));
  if (status.ok()) status = stream->Occupy(busy);
  return stream->Begin(status);
}

}  // namespace mptd
