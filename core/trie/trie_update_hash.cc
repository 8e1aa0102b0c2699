// The references of all new nodes, bottom-up, many at once.
#include <array>

#include "core/trie/branch_record.h"
#include "core/trie/prefetch.h"
#include "core/trie/trie_update.h"

namespace mptd {
namespace {

// So many nodes are encoded before they are hashed: enough to fill the lanes, few enough that what was written is still
// in the processor's nearest caches when it is read.
constexpr size_t kHashedTogether = 128;

// So many nodes before a node is encoded it is asked for.
constexpr size_t kAhead = 3;

// Calls `hash` with a few of `jobs` after the other.
template <typename Job, typename HashSome>
void InBatches(std::vector<Job>& jobs, const HashSome& hash) {
  for (std::span<const Job> rest = jobs; !rest.empty();) {
    const size_t count = std::min(rest.size(), kHashedTogether);
    hash(rest.first(count));
    rest = rest.subspan(count);
  }
  jobs.clear();
}

}  // namespace

void TrieUpdate::Deliver(const Target& target, BytesView encoded) {
  ++nodes_hashed_;
  const bool embed = encoded.size() < 32 && (target.out == nullptr || !target.out->always_hash);
  uint8_t* ref = nullptr;
  if (target.out != nullptr) {
    target.out->embedded = embed;
    ref = target.out->ref.data();
  } else {
    BranchNode* parent = fresh_[target.parent];
    if (embed) parent->shape.embedded = static_cast<uint16_t>(parent->shape.embedded | 1u << target.nibble);
    ref = parent->ref(target.nibble);
  }
  if (embed) {
    std::memcpy(ref, encoded.data(), encoded.size());
  } else {
    permutations_ += KeccakBlocks(encoded.size());
    batch_.push_back({encoded, ref});
  }
}

void TrieUpdate::HashBatch() {
  Keccak256Batch(batch_);
  batch_.clear();
}

void TrieUpdate::HashLeaves(std::span<const LeafHashJob> jobs) {
  scratch_.clear();
  std::array<size_t, kHashedTogether> ends;
  for (size_t i = 0; i < jobs.size(); ++i) {
    const PendingLeaf& leaf = leaves_[jobs[i].leaf];
    AppendLeafRlp(scratch_, *leaf.key, jobs[i].depth, leaf.value);
    ends[i] = scratch_.size();
  }
  size_t begin = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    Deliver(jobs[i].target, BytesView(scratch_).substr(begin, ends[i] - begin));
    begin = ends[i];
  }
  HashBatch();
}

void TrieUpdate::HashBranches(std::span<const BranchHashJob> jobs) {
  scratch_.clear();
  std::array<size_t, kHashedTogether> ends;
  std::array<RefOut, kHashedTogether> inner;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (i + kAhead < jobs.size()) PrefetchBytes(fresh_[jobs[i + kAhead].fresh], 0, kLargestNode);
    AppendBranchRlp(scratch_, *fresh_[jobs[i].fresh]);
    ends[i] = scratch_.size();
  }
  // Branches below an extension are hashed for the extension's sake, whose own hash is what the parent wants.
  bool extended = false;
  size_t begin = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    const BytesView encoded = BytesView(scratch_).substr(begin, ends[i] - begin);
    begin = ends[i];
    const bool below = fresh_[jobs[i].fresh]->extension_size != 0;
    extended |= below;
    Deliver(below ? Target{&inner[i], 0, 0} : jobs[i].target, encoded);
  }
  HashBatch();
  if (!extended) return;
  scratch_.clear();
  for (size_t i = 0; i < jobs.size(); ++i) {
    const BranchNode& node = *fresh_[jobs[i].fresh];
    if (node.extension_size != 0) {
      AppendExtensionRlp(scratch_, node.extension(), RefView(inner[i].embedded, inner[i].ref.data()),
                         inner[i].embedded);
    }
    ends[i] = scratch_.size();
  }
  begin = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (ends[i] != begin) Deliver(jobs[i].target, BytesView(scratch_).substr(begin, ends[i] - begin));
    begin = ends[i];
  }
  HashBatch();
}

absl::Status TrieUpdate::HashAll() {
  InBatches(leaf_jobs_, [this](std::span<const LeafHashJob> some) { HashLeaves(some); });
  for (size_t depth = branch_jobs_.size(); depth-- > 0;) {
    InBatches(branch_jobs_[depth], [this](std::span<const BranchHashJob> some) { HashBranches(some); });
  }
  return absl::OkStatus();
}

}  // namespace mptd
