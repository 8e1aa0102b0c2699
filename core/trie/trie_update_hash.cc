// The references of all new nodes, bottom-up, many at once.
#include "core/trie/branch_record.h"
#include "core/trie/trie_update.h"

namespace mptd {

void TrieUpdate::Deliver(const Target& target, BytesView encoded, std::vector<KeccakJob>& batch) {
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
    batch.push_back({encoded, ref});
  }
}

void TrieUpdate::HashLeaves() {
  scratch_.clear();
  std::vector<size_t> ends;
  ends.reserve(leaf_jobs_.size());
  for (const LeafHashJob& job : leaf_jobs_) {
    const PendingLeaf& leaf = leaves_[job.leaf];
    AppendLeafRlp(scratch_, *leaf.key, job.depth, leaf.value);
    ends.push_back(scratch_.size());
  }
  std::vector<KeccakJob> batch;
  batch.reserve(leaf_jobs_.size());
  size_t begin = 0;
  for (size_t i = 0; i < leaf_jobs_.size(); ++i) {
    Deliver(leaf_jobs_[i].target, BytesView(scratch_).substr(begin, ends[i] - begin), batch);
    begin = ends[i];
  }
  Keccak256Batch(batch);
  leaf_jobs_.clear();
}

void TrieUpdate::HashBranches(std::vector<BranchHashJob>& jobs) {
  scratch_.clear();
  std::vector<size_t> ends;
  ends.reserve(jobs.size());
  for (const BranchHashJob& job : jobs) {
    AppendBranchRlp(scratch_, *fresh_[job.fresh]);
    ends.push_back(scratch_.size());
  }
  std::vector<KeccakJob> batch;
  batch.reserve(jobs.size());
  // Branches below an extension are hashed for the extension's sake, whose own hash is what the parent wants.
  std::vector<std::pair<const BranchHashJob*, RefOut>> extended;
  for (const BranchHashJob& job : jobs) {
    if (fresh_[job.fresh]->extension_size != 0) extended.emplace_back(&job, RefOut{});
  }
  size_t begin = 0;
  size_t next_extended = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    const BytesView encoded = BytesView(scratch_).substr(begin, ends[i] - begin);
    begin = ends[i];
    if (fresh_[jobs[i].fresh]->extension_size != 0) {
      Deliver(Target{&extended[next_extended++].second, 0, 0}, encoded, batch);
    } else {
      Deliver(jobs[i].target, encoded, batch);
    }
  }
  Keccak256Batch(batch);
  if (!extended.empty()) {
    scratch_.clear();
    ends.clear();
    batch.clear();
    for (const auto& [job, inner] : extended) {
      AppendExtensionRlp(scratch_, fresh_[job->fresh]->extension(), RefView(inner.embedded, inner.ref.data()),
                         inner.embedded);
      ends.push_back(scratch_.size());
    }
    begin = 0;
    for (size_t i = 0; i < extended.size(); ++i) {
      Deliver(extended[i].first->target, BytesView(scratch_).substr(begin, ends[i] - begin), batch);
      begin = ends[i];
    }
    Keccak256Batch(batch);
  }
  jobs.clear();
}

absl::Status TrieUpdate::HashAll() {
  HashLeaves();
  for (size_t depth = branch_jobs_.size(); depth-- > 0;) {
    if (!branch_jobs_[depth].empty()) HashBranches(branch_jobs_[depth]);
  }
  return absl::OkStatus();
}

}  // namespace mptd
