// What is asked of a target that holds the workload's state, and how long the answers take. One thread calls these;
// some of them start more for themselves.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "bench/measure.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/target.h"
#include "bench/workload.h"

namespace mptd::bench {

// None of it changes while questions are asked, but for the report.
struct Questions {
  const BenchOptions& options;
  const Workload& workload;
  const Target& target;
  Report& report;
};

struct Throughput {
  double seconds = 0;
  Latencies microseconds;  // of the calls

  double PerSecond() const { return static_cast<double>(microseconds.size()) / seconds; }
};

// Calls `call(i)` for 0 <= i < `count`, one after the other, until one fails.
absl::StatusOr<Throughput> TimeCalls(uint64_t count, const std::function<absl::Status(uint64_t)>& call);
// The same by `callers` threads at once, `count` calls each; `call` also gets the caller's number.
absl::StatusOr<Throughput> TimeCallers(int callers, uint64_t count,
                                       const std::function<absl::Status(int caller, uint64_t)>& call);

// Single reads, a first and a second pass, and reads of 100 accounts a call.
absl::Status MeasureReads(const Questions& ask);
// Proofs of the head, a first and a second pass, and of the block 128 behind it when that is served.
absl::Status MeasureProofs(const Questions& ask, const Head& head);
// ComputeStateRoot on the head by one caller, and by two at once.
absl::Status MeasureRoots(const Questions& ask);
// A reader alone, and beside a writer: `apply` applies one block and says how long it took.
absl::Status MeasureReaderBesideBlocks(const Questions& ask, const std::function<absl::StatusOr<double>()>& apply);

// The hashes alone of a block that changed `changes` and is the head: how many nodes and permutations, and how long
// these permutations take with Keccak256Batch on one core.
absl::Status MeasureHashFloor(const Questions& ask, const std::vector<AccountChange>& changes, uint64_t nodes_hashed);

// For daemons: unary reads by one caller and by several, of the target and of a server that does nothing.
absl::Status MeasureAgainstEmptyServer(const Questions& ask);

}  // namespace mptd::bench
