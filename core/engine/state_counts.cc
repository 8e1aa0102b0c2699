#include "core/engine/state_counts.h"

#include <algorithm>

#include "core/byte_io.h"

namespace mptd {
namespace {

int64_t Difference(bool before, bool after) { return static_cast<int64_t>(after) - static_cast<int64_t>(before); }

void Add(uint64_t& count, int64_t change) {
  count = static_cast<uint64_t>(std::max<int64_t>(static_cast<int64_t>(count) + change, 0));
}

}  // namespace

StateCountsChange CountChanges(const Transition& transition) {
  StateCountsChange change;
  for (const FlatAccount& account : transition.accounts) {
    change.accounts += Difference(account.before.has_value(), account.after.has_value());
    for (const FlatSlot& slot : account.slots) change.slots += Difference(!slot.before.IsZero(), !slot.after.IsZero());
  }
  transition.trie.ForEachNode([&](const NodeChange& node) {
    change.branches += Difference(node.before != nullptr, node.after != nullptr);
    change.extensions += Difference(node.before_extended, node.after_extended);
  });
  return change;
}

void AddTo(StateCounts& counts, const StateCountsChange& change) {
  Add(counts.accounts, change.accounts);
  Add(counts.slots, change.slots);
  Add(counts.branches, change.branches);
  Add(counts.extensions, change.extensions);
}

Bytes EncodeCounts(uint64_t sequence, const StateCounts& counts) {
  Bytes row;
  ByteWriter out(row);
  out.U64(sequence);
  out.U64(counts.accounts);
  out.U64(counts.slots);
  out.U64(counts.branches);
  out.U64(counts.extensions);
  out.U8(counts.estimated ? 1 : 0);
  return row;
}

std::optional<StateCounts> DecodeCounts(BytesView row, uint64_t sequence) {
  ByteReader in(row);
  const bool current = in.U64() == sequence;
  StateCounts counts;
  counts.accounts = in.U64();
  counts.slots = in.U64();
  counts.branches = in.U64();
  counts.extensions = in.U64();
  counts.estimated = in.U8() != 0;
  if (!current || !in.done()) return std::nullopt;
  return counts;
}

}  // namespace mptd
