// Rows that readers have fetched from the tables, on their way into the index of rows, whose one writer is elsewhere.
// An offer is not worth waiting for: when there is no room, or somebody else is at it, it is dropped. Internal to
// core/engine.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/types.h"
#include "storage/kv_store.h"
#include "storage/version_index.h"

namespace mptd {

class RowOffers {
 public:
  // Any thread. The row is what the tables had at some time after `flushed` was the sequence of the last flush.
  void Offer(storage::Table table, BytesView key, std::optional<BytesView> value, uint64_t flushed);
  // The index's owner: puts what may still be so into the index. `flushed` is the sequence of the last flush now. A row
  // that was changed and flushed since it was read could be gone from the index again, and be taken for new.
  void MoveInto(storage::VersionIndex& rows, uint64_t flushed);
  // `call` is called by a reader whose offer has made it half full, under this object's lock. Null takes it back: views
  // may outlive the one who asked for it.
  void OnHalfFull(std::function<void()> call);

 private:
  struct Item {
    uint64_t flushed;
    uint32_t begin;
    uint32_t value_size;  // RowBlob::kAbsent: no row
    uint8_t key_size;
    storage::Table table;
  };
  struct Batch {
    std::vector<Item> items;
    Bytes bytes;
  };

  absl::Mutex mutex_;
  Batch offered_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> on_half_full_ ABSL_GUARDED_BY(mutex_);
  Batch taken_;  // the owner's; keeps its memory
};

}  // namespace mptd
