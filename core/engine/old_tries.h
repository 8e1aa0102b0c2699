// Account tries of blocks behind the newest ones, as far as readers have rebuilt them: who serves proofs of one old
// block asks for its upper branches again and again. Internal to core/engine.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/trie/branch_node.h"

namespace mptd {

// One block's trie. It only grows, and goes as a whole when nobody holds it. Any thread.
class OldTrie {
 public:
  explicit OldTrie(int64_t max_bytes) : max_bytes_(max_bytes) {}
  ~OldTrie();
  OldTrie(const OldTrie&) = delete;
  OldTrie& operator=(const OldTrie&) = delete;

  // Null until somebody has brought it.
  BranchNode* root() const { return root_.load(std::memory_order_acquire); }
  // Keeps the root that has been rebuilt, if it is the first. Returns the one that is there.
  BranchNode* SetRoot(OwnedBranch root);
  bool HasRoom() const { return bytes_.load(std::memory_order_relaxed) < max_bytes_; }
  void Count(size_t bytes) { bytes_.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed); }

 private:
  const int64_t max_bytes_;
  std::atomic<BranchNode*> root_{nullptr};
  std::atomic<int64_t> bytes_{0};
};

// The tries of the blocks that were asked for last. Any thread.
class OldTries {
 public:
  // All of them together stay below `max_bytes`, but for those that views still hold.
  explicit OldTries(int64_t max_bytes);

  // The trie of the block that transition `sequence` made. A full one gives way to a new one.
  std::shared_ptr<OldTrie> Of(uint64_t sequence);

 private:
  struct Kept {
    uint64_t sequence;
    std::shared_ptr<OldTrie> trie;
  };

  const int64_t max_bytes_each_;
  absl::Mutex mutex_;
  std::deque<Kept> kept_ ABSL_GUARDED_BY(mutex_);  // the last used one in front
};

}  // namespace mptd
