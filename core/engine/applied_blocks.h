// Which block of the chain is the newest that is durable: the blocks from that one on, also those that are not served
// any more. A value; guarded by whoever has it. Internal to core/engine.
#pragma once

#include <cstdint>
#include <deque>

namespace mptd {

class AppliedBlocks {
 public:
  // A block or, with `rolled_back`, the return to one, by the transition `sequence`. Forgets what is older than the
  // newest block that `durable`, the newest durable transition, has made durable.
  void Add(uint64_t sequence, uint64_t number, bool rolled_back, uint64_t durable) {
    while (rolled_back && !blocks_.empty() && blocks_.back().number >= number) blocks_.pop_back();
    blocks_.push_back({sequence, number});
    while (blocks_.size() > 1 && blocks_[1].sequence <= durable) blocks_.pop_front();
  }

  // The number of the newest block that is durable; 0 when there is none.
  uint64_t NewestDurable(uint64_t durable) const {
    for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block) {
      if (block->sequence <= durable) return block->number;
    }
    // A rollback that is not durable went below the newest durable block, whose ancestors are durable, or there was
    // none: before the first block there is nothing to lose.
    return blocks_.empty() || blocks_.front().number == 0 ? 0 : blocks_.front().number - 1;
  }

 private:
  struct Block {
    uint64_t sequence;
    uint64_t number;
  };
  std::deque<Block> blocks_;  // of the chain, oldest first
};

}  // namespace mptd
