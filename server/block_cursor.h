// Walks along the chain for one follower: served blocks from a number on, then every new head, and every block that the
// head goes back to. Holds nothing but its place, so it costs the engine nothing. One thread at a time.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "core/engine/engine.h"

namespace mptd {

class BlockCursor {
 public:
  // `from` is the first block wanted; absent, the first is the next head. OUT_OF_RANGE with the served window when
  // `from` is not served any more, or beyond the block after the head. `engine` must outlive the cursor.
  // RESOURCE_EXHAUSTED from Next when the follower lags by more than `max_backlog` events of the engine.
  static absl::StatusOr<BlockCursor> Start(const StateEngine& engine, std::optional<uint64_t> from,
                                           uint64_t max_backlog = UINT64_MAX);

  // The next block, or that the head went back to a block below one that was passed; nullopt when there is none yet.
  // RESOURCE_EXHAUSTED when the follower is so slow that the engine has forgotten its place, or may soon.
  absl::StatusOr<std::optional<HeadEvent>> Next();
  // The same of a follower who does not come to ask.
  absl::Status CheckBacklog() const;

 private:
  BlockCursor(const StateEngine& engine, uint64_t next_index, uint64_t max_backlog)
      : engine_(&engine), max_backlog_(max_backlog), next_index_(next_index) {}

  // Takes one head event; nullopt when it is nothing to report (yet).
  std::optional<HeadEvent> Take(const HeadEvent& event);
  absl::StatusOr<std::optional<HeadEvent>> PollEvent();
  absl::Status TooFarBehind() const;

  const StateEngine* engine_;
  uint64_t max_backlog_;
  uint64_t next_index_;       // of the engine's head events
  uint64_t next_number_ = 0;  // of the block to report next
  // Blocks below this are there but not reported: they are read by number, while new events only move this bound.
  uint64_t behind_until_ = 0;
};

}  // namespace mptd
