// Trials of the program itself on this machine: a state engine on made-up data, with the settings that the daemon will
// have, in a folder of its own. They are the part of the checklist before a deployment that no look at the machine can
// replace: memory, processor and disk take part in each.
//
// A trial is run by one thread and may start others, which have ended when it returns.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "checkup/finding.h"
#include "core/engine/engine.h"

namespace mptd::checkup {

struct TrialOptions {
  // As the daemon would have it; but the data goes into `scratch`, and caches are no larger than such data needs.
  EngineOptions engine;
  std::function<absl::StatusOr<std::unique_ptr<StateEngine>>(EngineOptions)> open = StateEngine::Open;
  std::string scratch;  // a folder that is there; each trial uses another name in it, and leaves nothing behind
  // A state whose root everybody knows.
  std::vector<AccountChange> known_state;
  Hash known_root;
  // How much is tried.
  uint64_t accounts = 20'000;                // that the performance is measured with
  absl::Duration stress = absl::Seconds(1);  // how long writer and readers work beside each other
  absl::Duration patience = absl::Minutes(2);  // with what the engine does behind its answers
};

// One check each, named as in the checklist. A warning when it could not be tried for want of a folder or of space.
Finding TryTrieImplementation(const TrialOptions& options);
Finding TryStateRoot(const TrialOptions& options);
Finding TryMerkleProofs(const TrialOptions& options);
Finding TryCache(const TrialOptions& options);
Finding TryPersistence(const TrialOptions& options);
Finding TryPerformance(const TrialOptions& options);
Finding TryStressTest(const TrialOptions& options);
Finding TryDependencies(const TrialOptions& options);
Finding TryErrorRecovery(const TrialOptions& options);

// A folder for temporary files, in TMPDIR or /tmp, that is removed with its owner.
class ScratchFolder {
 public:
  // RESOURCE_EXHAUSTED when less than `bytes` are free there.
  static absl::StatusOr<ScratchFolder> Make(uint64_t bytes);
  ScratchFolder(ScratchFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder();
  const std::string& path() const { return path_; }

 private:
  explicit ScratchFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// An engine for one trial, whose folder goes away with it.
class Trial {
 public:
  // `change` may adapt the options further.
  static absl::StatusOr<std::unique_ptr<Trial>> Open(const TrialOptions& options, std::string_view name,
                                                     const std::function<void(EngineOptions&)>& change = {});
  ~Trial();
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  StateEngine& engine() { return *engine_; }
  const EngineOptions& options() const { return options_; }
  // As the next block.
  absl::StatusOr<BlockInfo> Apply(std::vector<AccountChange> changes);
  absl::Status Flush();
  absl::StatusOr<StateViewPtr> Head() const { return engine_->View(LatestBlock{}); }
  void Close() { engine_.reset(); }
  absl::Status Reopen();

 private:
  explicit Trial(const TrialOptions& options) : open_(options.open), options_(options.engine) {}

  const std::function<absl::StatusOr<std::unique_ptr<StateEngine>>(EngineOptions)> open_;
  EngineOptions options_;
  std::unique_ptr<StateEngine> engine_;
};

// `options`, with the limits of a trial, for data in `data_dir`.
EngineOptions ForTrial(EngineOptions options, std::string data_dir);

// What a trial has seen that must not be.
absl::Status Wrong(std::string_view what);

// What was shown, or why not, as a finding.
Finding ToFinding(std::string_view name, std::string_view expected, const absl::StatusOr<std::string>& shown);

Address TrialAddress(uint64_t i);
Hash TrialSlot(uint64_t i);
// An account that exists, and another one for each `i` and `salt`.
AccountChange TrialAccount(uint64_t i, uint64_t salt = 0);

}  // namespace mptd::checkup
