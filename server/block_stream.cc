#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "mptd/v1/state.pb.h"
#include "server/block_cursor.h"
#include "server/converters.h"
#include "server/out_stream.h"
#include "server/streams.h"

namespace mptd {
namespace {

class BlockStream final : public OutStream {
 public:
  // `cursor` is empty when Begin is to refuse the stream.
  BlockStream(Rpc& rpc, grpc::CallbackServerContext* context, CallTrace trace, std::optional<BlockCursor> cursor,
              bool stop_at_head)
      : OutStream(rpc, Method::kStreamBlocks, context, std::move(trace)),
        cursor_(cursor),
        stop_at_head_(stop_at_head) {}

  void OnHeads() override { Pump(); }
  void OnTick(absl::Time now) override;

 protected:
  Step Produce(grpc::ByteBuffer& message, absl::Status& end) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

 private:
  std::optional<BlockCursor> cursor_ ABSL_GUARDED_BY(mutex_);
  const bool stop_at_head_;
};

// Of a stream that waits for its reader nobody asks the cursor.
void BlockStream::OnTick(absl::Time now) {
  {
    const MutexLock lock(mutex_);
    if (cursor_.has_value()) {
      if (const absl::Status status = cursor_->CheckBacklog(); !status.ok()) EndSoon(status);
    }
  }
  Pump();
  OutStream::OnTick(now);
}

OutStream::Step BlockStream::Produce(grpc::ByteBuffer& message, absl::Status& end) {
  const absl::StatusOr<std::optional<HeadEvent>> event = cursor_->Next();
  if (!event.ok()) {
    end = event.status();
    return Step::kEnd;
  }
  if (!event->has_value()) return stop_at_head_ ? Step::kEnd : Step::kWait;
  const HeadEvent& head = **event;
  pb::StreamBlocksResponse response;
  FillBlock(head.block, rpc_.engine().IsDurable(head.block.number), response.mutable_block());
  response.set_rolled_back(head.rolled_back);
  end = SerializeMessage(response, rpc_.limits().max_message_bytes, message);
  return end.ok() ? Step::kMessage : Step::kEnd;
}

}  // namespace

WriteReactor* StartBlockStream(Rpc& rpc, grpc::CallbackServerContext* context, const grpc::ByteBuffer& request) {
  CallTrace trace(rpc.access(), Method::kStreamBlocks, *context);
  absl::Status status = trace.admitted();
  pb::StreamBlocksRequest parsed;
  if (status.ok()) status = ParseMessage(request, parsed);
  std::optional<BlockCursor> cursor;
  if (status.ok()) {
    std::optional<uint64_t> from;
    if (parsed.has_from_number()) from = parsed.from_number();
    const absl::StatusOr<BlockCursor> started =
        BlockCursor::Start(rpc.engine(), from, rpc.limits().caller.watch_backlog);
    status = started.status();
    if (started.ok()) cursor = *started;
  }
  return (new BlockStream(rpc, context, std::move(trace), cursor, parsed.stop_at_head()))->Begin(status);
}

}  // namespace mptd
