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
  static absl::StatusOr<BlockCursor> Start(const StateEngine& engine, std::optional<uint64_t> from);

  // The next block, or that the head went back to a block below one that was passed; nullopt when there is none yet.
  // OUT_OF_RANGE when the follower is so slow that its place is not served any more.
  absl::StatusOr<std::optional<HeadEvent>> Next();

 private:
  BlockCursor(const StateEngine& engine, uint64_t next_index) : engine_(&engine), next_index_(next_index) {}

  // Takes one head event; nullopt when it is nothing to report (yet).
  std::optional<HeadEvent> Take(const HeadEvent& event);
  absl::StatusOr<std::optional<HeadEvent>> PollEvent();

  const StateEngine* engine_;
  uint64_t next_index_;       // of the engine's head events
  uint64_t next_number_ = 0;  // of the block to report next
  // Blocks below this are there but not reported: they are read by number, while new events only move this bound.
  uint64_t behind_until_ = 0;
};

}  // namespace mptd
