// Keeps the `history_index` table: for each row, which blocks replaced it and what they replaced, taken from the undo
// records of blocks that leave memory but are still served. Also the rows of `meta` that find those blocks by hash and
// root. Belongs to the flusher's thread. Internal to core/engine.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/engine/flush_batch.h"
#include "core/types.h"
#include "storage/kv_store.h"

namespace mptd {

// Adds the index rows of blocks (`after`, `through`] and the names of these and `after` to the batch, all of whose undo
// records are in the tables; fewer when they are large. Returns the last block done.
absl::StatusOr<uint64_t> IndexBlocks(const storage::KeyValueStore& kv, uint64_t after, uint64_t through,
                                     FlushBatch& batch);

// Blocks (`number`, `indexed_through`] have been rolled back: what the index says of them goes. Their undo records must
// still be in the tables.
absl::Status CutIndex(const storage::KeyValueStore& kv, uint64_t number, uint64_t indexed_through, FlushBatch& batch);

// What the index covers: undo records from `oldest` to `through`.
struct IndexedBlocks {
  uint64_t oldest;
  uint64_t through;
};

// Blocks below `oldest` are not served any more: the rows of `meta` that find them go, and the whole index when it
// speaks of nothing else. Its single rows are left to expire (IsExpired): finding each of them would cost more than
// they do. The undo records of blocks from `indexed.oldest` up to `oldest` must still be in the tables.
absl::Status PruneIndex(const storage::KeyValueStore& kv, const IndexedBlocks& indexed, uint64_t oldest,
                        FlushBatch& batch);

// Indexed blocks are found by rows of `meta` without a value: the key is one of these and the block's number,
// big-endian. Several blocks may have one root.
Bytes HashName(const Hash& block_hash);
Bytes RootName(const Hash& state_root);

}  // namespace mptd
