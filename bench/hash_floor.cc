// How long the hashes of one block take by themselves.
#include <algorithm>

#include "bench/questions.h"
#include "core/keccak.h"

namespace mptd::bench {
namespace {

// Everything that a block has to hash: the nodes on the changed paths as they are now, and the changed keys.
std::vector<Bytes> HashedInputs(const std::vector<ProofTargetSpec>& targets, std::vector<Bytes> nodes) {
  for (const ProofTargetSpec& target : targets) {
    nodes.emplace_back(target.address.view());
    for (const Hash& slot : target.slots) nodes.emplace_back(slot.view());
  }
  return nodes;
}

}  // namespace

absl::Status MeasureHashFloor(const Questions& ask, const std::vector<AccountChange>& changes, uint64_t nodes_hashed) {
  constexpr int kRounds = 50;
  const std::vector<ProofTargetSpec> targets = Workload::Touched(changes);
  absl::StatusOr<std::vector<Bytes>> nodes = ask.target.ProofNodes(targets);
  if (!nodes.ok()) return nodes.status();
  const size_t node_count = nodes->size();
  const std::vector<Bytes> inputs = HashedInputs(targets, *std::move(nodes));
  std::vector<Hash> hashes(inputs.size());
  std::vector<KeccakJob> all;
  uint64_t permutations = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    all.push_back({inputs[i], hashes[i].bytes.data()});
    permutations += KeccakBlocks(inputs[i].size());
  }
  Latencies times;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<KeccakJob> jobs = all;
    const Stopwatch watch;
    Keccak256Batch(jobs);
    times.Add(watch.Milliseconds());
  }
  ask.report.Add("last_block_nodes_hashed", "nodes that the last block hashed", "", static_cast<double>(nodes_hashed));
  ask.report.Add("last_block_nodes", "nodes on the last block's paths", "", static_cast<double>(node_count));
  ask.report.Add("last_block_permutations", "Keccak permutations of these and the keys", "",
                 static_cast<double>(permutations));
  // The best round: what the permutations take when nobody else wants the core.
  ask.report.Add("hash_floor_ms", "these permutations alone, one core", "ms", times.Percentile(0));
  return absl::OkStatus();
}

}  // namespace mptd::bench
