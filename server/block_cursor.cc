#include "server/block_cursor.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "core/errors.h"
#include "server/caller_limits.h"

namespace mptd {

absl::StatusOr<BlockCursor> BlockCursor::Start(const StateEngine& engine, std::optional<uint64_t> from,
                                               uint64_t max_backlog) {
  // The index first: what happens after this line is seen as an event.
  BlockCursor cursor(engine, engine.NextHeadIndex(), max_backlog);
  const EngineStatus status = engine.Status();
  if (!status.has_blocks) {
    // The first block may have any number.
    cursor.next_number_ = cursor.behind_until_ = from.value_or(0);
    return cursor;
  }
  cursor.behind_until_ = status.head.number + 1;
  cursor.next_number_ = from.value_or(cursor.behind_until_);
  if (cursor.next_number_ != cursor.behind_until_) {
    const absl::StatusOr<StateViewPtr> view = engine.View(cursor.next_number_);
    if (!view.ok()) return view.status();
  }
  return cursor;
}

absl::Status BlockCursor::TooFarBehind() const {
  return WithReason(NoRoom(absl::StrFormat("the stream is too far behind (limits.max_watch_backlog); start another one "
                                           "from block %d",
                                           next_number_),
                           "max_watch_backlog"),
                    "STREAM_TOO_FAR_BEHIND");
}

absl::Status BlockCursor::CheckBacklog() const {
  return engine_->NextHeadIndex() - next_index_ > max_backlog_ ? TooFarBehind() : absl::OkStatus();
}

absl::StatusOr<std::optional<HeadEvent>> BlockCursor::PollEvent() {
  if (next_index_ >= engine_->NextHeadIndex()) return std::nullopt;
  if (absl::Status status = CheckBacklog(); !status.ok()) return status;
  absl::StatusOr<std::optional<HeadEvent>> event = engine_->WaitForHead(next_index_, absl::InfinitePast());
  if (event.ok() && event->has_value()) ++next_index_;
  if (absl::IsOutOfRange(event.status())) return TooFarBehind();
  return event;
}

std::optional<HeadEvent> BlockCursor::Take(const HeadEvent& event) {
  const uint64_t number = event.block.number;
  if (event.rolled_back) {
    behind_until_ = std::min(behind_until_, number + 1);
    if (number + 1 >= next_number_) return std::nullopt;  // nothing that was reported is undone
    next_number_ = number + 1;
    behind_until_ = next_number_;
    return event;
  }
  if (number < next_number_) return std::nullopt;  // already reported, or before what was asked for
  if (next_number_ < behind_until_) {              // it waits its turn
    behind_until_ = number + 1;
    return std::nullopt;
  }
  next_number_ = behind_until_ = number + 1;
  return event;
}

absl::StatusOr<std::optional<HeadEvent>> BlockCursor::Next() {
  while (true) {
    absl::StatusOr<std::optional<HeadEvent>> event = PollEvent();
    if (!event.ok()) return event.status();
    if (event->has_value()) {
      if (std::optional<HeadEvent> report = Take(**event); report.has_value()) return report;
      continue;
    }
    if (next_number_ >= behind_until_) return std::nullopt;
    const absl::StatusOr<StateViewPtr> view = engine_->View(next_number_);
    // A rollback may have come between: then it is an event by now, and what was read may be of the wrong branch.
    if (next_index_ < engine_->NextHeadIndex()) {
      event = PollEvent();
      if (!event.ok()) return event.status();
      if (event->has_value()) {
        if (std::optional<HeadEvent> report = Take(**event); report.has_value()) return report;
        continue;
      }
    }
    if (!view.ok()) return view.status();
    ++next_number_;
    return HeadEvent{.block = (*view)->block(), .rolled_back = false};
  }
}

}  // namespace mptd
