#include "core/engine/old_tries.h"

#include <algorithm>

namespace mptd {
namespace {

constexpr size_t kMostTries = 8;

}  // namespace

OldTrie::~OldTrie() {
  if (BranchNode* root = root_.load(std::memory_order_relaxed)) FreeSubtree(root);
}

BranchNode* OldTrie::SetRoot(OwnedBranch root) {
  BranchNode* present = nullptr;
  if (!root_.compare_exchange_strong(present, root.get(), std::memory_order_acq_rel)) return present;
  Count(root->bytes());
  return root.release();
}

OldTries::OldTries(int64_t max_bytes) : max_bytes_each_(max_bytes / static_cast<int64_t>(kMostTries)) {}

std::shared_ptr<OldTrie> OldTries::Of(uint64_t sequence) {
  std::shared_ptr<OldTrie> gone;  // freed when the lock is not held any more
  absl::MutexLock lock(&mutex_);
  auto found = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& kept) { return kept.sequence == sequence; });
  Kept kept;
  if (found != kept_.end() && found->trie->HasRoom()) {
    kept = std::move(*found);
    kept_.erase(found);
  } else {
    if (found == kept_.end() && kept_.size() == kMostTries) found = std::prev(kept_.end());
    if (found != kept_.end()) {
      gone = std::move(found->trie);
      kept_.erase(found);
    }
    kept = {sequence, std::make_shared<OldTrie>(max_bytes_each_)};
  }
  kept_.push_front(kept);
  return kept.trie;
}

}  // namespace mptd
