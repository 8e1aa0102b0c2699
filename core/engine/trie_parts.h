// One trie worked out by several threads: its operations are cut between the children of the root, each part has a
// TrieUpdate of its own, and the root is put together at the end. Internal to core/engine; belongs to the thread that
// works out the transition.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "core/engine/worker_pool.h"
#include "core/trie/trie_update.h"

namespace mptd {

// Cuts items, sorted by the keys that `key_of` tells, into at most about `parts` runs of similar size, each of whole
// first nibbles.
template <typename T, typename KeyOf>
std::vector<std::span<T>> SplitByNibble(std::span<T> items, size_t parts, const KeyOf& key_of) {
  std::vector<std::span<T>> result;
  const size_t target = items.size() / parts + 1;
  size_t begin = 0;
  for (size_t i = 1; i <= items.size(); ++i) {
    const bool boundary = i == items.size() || key_of(items[i]).bytes[0] >> 4 != key_of(items[i - 1]).bytes[0] >> 4;
    if (boundary && (i - begin >= target || i == items.size())) {
      result.push_back(items.subspan(begin, i - begin));
      begin = i;
    }
  }
  return result;
}

// The children of a root without extension that sorted operations are below.
std::vector<TrieUpdate::ChildGroup> GroupsOf(std::span<LeafOp> ops);

struct TriePart {
  TrieUpdate* update = nullptr;
  std::vector<TrieUpdate::ChildGroup> groups;
  // Called on the part's thread when its paths are loaded, before they are changed; may be empty.
  std::function<absl::Status()> prepared;
  absl::Status status;
};

// Works out `job`, whose root is a branch in memory without extension, from its parts, and gives what they made to
// `changes`. False when the root does not stay a branch: then nothing has been given, and one thread is to do it all.
absl::StatusOr<bool> UpdateInParts(const TrieSource& source, uint64_t sequence, TrieUpdate::Purpose purpose,
                                   WorkerPool& pool, TrieJob& job, std::span<TriePart> parts, TrieChanges& changes);

}  // namespace mptd
