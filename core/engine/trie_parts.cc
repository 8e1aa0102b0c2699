#include "core/engine/trie_parts.h"

namespace mptd {
namespace {

absl::Status RunPart(TriePart& part, const TrieJob& job) {
  TrieUpdate& update = *part.update;
  if (absl::Status s = update.PrepareChildren(job.account, job.root.node, part.groups); !s.ok()) return s;
  if (part.prepared) {
    if (absl::Status s = part.prepared(); !s.ok()) return s;
  }
  if (absl::Status s = update.ApplyChildren(job.account, job.root.node, part.groups); !s.ok()) return s;
  if (absl::Status s = update.HashAll(); !s.ok()) return s;
  update.TakeChildren(part.groups);
  return absl::OkStatus();
}

}  // namespace

std::vector<TrieUpdate::ChildGroup> GroupsOf(std::span<LeafOp> ops) {
  std::vector<TrieUpdate::ChildGroup> groups;
  for (size_t i = 0; i < ops.size();) {
    const int nibble = ops[i].key->bytes[0] >> 4;
    size_t j = i + 1;
    while (j < ops.size() && ops[j].key->bytes[0] >> 4 == nibble) ++j;
    groups.emplace_back().nibble = nibble;
    groups.back().ops = ops.subspan(i, j - i);
    i = j;
  }
  return groups;
}

absl::StatusOr<bool> UpdateInParts(const TrieSource& source, uint64_t sequence, TrieUpdate::Purpose purpose,
                                   WorkerPool& pool, TrieJob& job, std::span<TriePart> parts, TrieChanges& changes) {
  pool.Run(static_cast<int>(parts.size()), [&](int i) {
    TriePart& part = parts[static_cast<size_t>(i)];
    part.status = RunPart(part, job);
  });
  std::vector<TrieUpdate::ChildGroup> groups;
  for (const TriePart& part : parts) {
    if (!part.status.ok()) return part.status;
    groups.insert(groups.end(), part.groups.begin(), part.groups.end());
  }
  TrieUpdate top(source, sequence, purpose);
  if (!top.Combine(job, groups)) return false;
  if (absl::Status s = top.HashAll(); !s.ok()) return s;
  for (size_t i = parts.size(); i-- > 0;) parts[i].update->Commit(changes);
  top.Commit(changes);
  return true;
}

}  // namespace mptd
