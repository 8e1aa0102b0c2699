// One run: preload, blocks, and everything that is asked afterwards, measured. Not thread-safe; use one Run once.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "bench/measure.h"
#include "bench/options.h"
#include "bench/questions.h"
#include "bench/report.h"
#include "bench/target.h"
#include "bench/workload.h"

namespace mptd::bench {

class Run {
 public:
  explicit Run(const BenchOptions& options);

  // The report has what was measured until an error. ABORTED when a root is not the published one.
  absl::Status Measure();
  const Report& report() const { return report_; }
  const Hash& root() const { return root_; }  // after the newest block

 private:
  void Describe();
  absl::Status Preload();
  absl::Status TakeOldPreload(bool& taken);
  absl::Status PreloadBlocks();
  absl::Status Import();
  absl::Status WaitUntilWarm();
  absl::Status Warmup();
  absl::Status Blocks();
  absl::Status HashFloor();
  absl::Status Restart();
  absl::Status Ask();
  absl::Status ColdBlock();
  absl::Status Kill();
  absl::Status FillQueue();
  absl::Status OpenUntilItAnswers(const std::string& name, const std::string& text);
  absl::Status CheckHead(const Head& head) const;
  absl::Status Compact();
  absl::Status CheckRoot(std::optional<std::string_view> published, std::string_view when);
  absl::Status Apply(std::vector<AccountChange> changes, Latencies* times);
  void ReportPhases();
  absl::Status Reopen();
  void TakePeakMemory(std::string_view name, std::string_view text);
  Questions questions() { return {options_, workload_, *target_, report_}; }
  void Say(std::string_view what) const;

  const BenchOptions options_;
  const Workload workload_;
  BlockDraws draws_;
  std::unique_ptr<Target> target_;
  Report report_;
  uint64_t number_ = 0;  // of the newest block
  Hash root_ = kEmptyRoot;
  uint64_t nodes_hashed_ = 0;                // of the newest block
  std::vector<ApplyTimes> phases_;           // of the blocks since ReportPhases
  std::vector<AccountChange> last_changes_;  // of the newest of the blocks that were measured
  uint64_t most_memory_ = 0;
};

}  // namespace mptd::bench
