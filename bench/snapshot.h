// The preload of a workload as a snapshot: its accounts in the order of their hashed addresses, imported into an empty
// folder. Functions for one thread.
#pragma once

#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/workload.h"
#include "core/engine/engine.h"
#include "core/import/state_import.h"

namespace mptd::bench {

class Snapshot {
 public:
  explicit Snapshot(const Workload& workload);

  // Into the folder of `options`, which must be empty.
  absl::StatusOr<ImportReport> Import(const EngineOptions& options, const ImportedBlock& block) const;
  // The time that one core takes to hash the nodes of all tries, and nothing else.
  double HashFloorSeconds() const;
  uint64_t accounts() const { return accounts_.size(); }

 private:
  // A hashed key, and the number of the account or slot.
  using Keyed = std::pair<Hash, uint64_t>;

  static std::vector<Keyed> Sorted(uint64_t count, Bytes (*key_of)(uint64_t));
  ImportedAccount AccountAt(size_t i) const;

  const WorkloadSpec spec_;
  std::vector<Keyed> accounts_;
  std::vector<Keyed> slots_;  // of each account
};

}  // namespace mptd::bench
