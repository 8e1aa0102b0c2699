// How a transition changes the size of the state, and the row of `meta` that remembers it. Internal to core/engine.
#pragma once

#include <optional>

#include "core/engine/statistics.h"
#include "core/engine/transition.h"

namespace mptd {

// What a transition adds to StateCounts; negative where it takes away.
struct StateCountsChange {
  int64_t accounts = 0;
  int64_t slots = 0;
  int64_t branches = 0;
  int64_t extensions = 0;
};
StateCountsChange CountChanges(const Transition& transition);
// Counts that were estimated may fall short of what is taken away: never below zero.
void AddTo(StateCounts& counts, const StateCountsChange& change);

// The row "counts" of `meta`, true of the tables while the row "state" names the same sequence: a program that does not
// know of counts leaves it behind.
inline constexpr std::string_view kCountsKey = "counts";
Bytes EncodeCounts(uint64_t sequence, const StateCounts& counts);
// nullopt when the row is of another sequence, or none of ours.
std::optional<StateCounts> DecodeCounts(BytesView row, uint64_t sequence);

}  // namespace mptd
