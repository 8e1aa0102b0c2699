// Fills the memory for trie nodes after a start: reads the rows of the account trie's branches in their order, a
// microsecond each where a block that needs one pays several, and links them into the newest trie until all are there
// or the memory is full. One thread, which begins with the object and ends by itself or with it. Internal to
// core/engine.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "absl/status/statusor.h"
#include "core/engine/flusher.h"
#include "core/engine/state_store.h"
#include "core/engine/view_impl.h"

namespace mptd {

class CacheWarmer {
 public:
  // `head` answers with the newest view; it and the flusher must outlive this.
  CacheWarmer(std::shared_ptr<StateStore> store, Flusher& flusher,
              std::function<std::shared_ptr<const ViewImpl>()> head);
  // Waits for the piece that is being read.
  ~CacheWarmer();
  CacheWarmer(const CacheWarmer&) = delete;
  CacheWarmer& operator=(const CacheWarmer&) = delete;

  // False when it has come to an end.
  bool running() const { return running_.load(std::memory_order_acquire); }
  // So many nodes were linked.
  uint64_t linked() const { return linked_.load(std::memory_order_relaxed); }

 private:
  void Run();
  // Reads some rows from `next` on, and moves it behind them. False when there is nothing left to do. An error ends the
  // work and is nobody's: whoever needs the row meets it again.
  absl::StatusOr<bool> WarmSome(Bytes& next);
  absl::Status LinkRow(const ViewImpl& view, BranchNode* root, BytesView path, BytesView row);

  const std::shared_ptr<StateStore> store_;
  Flusher& flusher_;
  const std::function<std::shared_ptr<const ViewImpl>()> head_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> running_{true};
  std::atomic<uint64_t> linked_{0};
  std::thread thread_;
};

}  // namespace mptd
