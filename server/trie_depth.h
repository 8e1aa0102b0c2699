// How deep the account trie is, from a sample of its leaves. Safe from any thread.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "core/engine/state_view.h"

namespace mptd {

// In nibbles of the path above a leaf.
struct TrieDepth {
  double average = 0;
  uint64_t max = 0;
};

// The leaves after sixteen places that are spread evenly over the keys; all of them when they are few. Keys are hashes,
// so no part of the trie differs from the others. Zero for an empty trie and for a single leaf.
absl::StatusOr<TrieDepth> SampleDepth(const StateView& view);

}  // namespace mptd
