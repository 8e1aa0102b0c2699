// What happens to the state, as log lines of level debug: blocks with the accounts that they change, proofs, caches.
// Where the level is not enabled an event costs a comparison. Balances are in wei, decimal. Safe from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/engine/engine.h"
#include "core/proof_verifier.h"
#include "metrics/log.h"

namespace mptd {

class StateEvents {
 public:
  // Both must outlive this and every Transition.
  StateEvents(const StateEngine& engine, Logger& log) : engine_(engine), log_(log) {}

  // A block from the call's arrival until it is answered.
  class Transition {
   public:
    void Applied(const ApplyResult& result) const;
    void Refused(const absl::Status& status) const;

   private:
    friend class StateEvents;
    struct Touched {
      Address address;
      U256 balance;  // before the block
    };

    Transition(const StateEvents& events, const BlockChanges& block);
    void LogAccounts() const;

    const StateEvents& events_;
    const bool enabled_;
    const uint64_t number_;
    const absl::Time begin_ = absl::Now();
    std::vector<Touched> touched_;
  };
  Transition Begin(const BlockChanges& block) const { return {*this, block}; }

  struct ProofSize {
    uint64_t accounts = 0;
    uint64_t slots = 0;
    uint64_t nodes = 0;
    uint64_t bytes = 0;
  };
  void ProofGenerated(uint64_t block, const ProofSize& size, absl::Duration duration) const;

  // Where proofs are logged, each is also checked before it leaves, and an error is logged when it does not hold.
  void VerifyProof(const BlockInfo& block, const AccountProof& proof) const;
  void VerifyProof(const BlockInfo& block, std::span<const ProofTargetSpec> targets, const MultiProof& proof) const;

  // What the caches answered, and by how much the tries grew, since the last lines of this kind; at most once every ten
  // seconds.
  void Regularly(absl::Time now);

 private:
  bool enabled() const { return log_.Enabled(LogLevel::kDebug, LogModule::kEngine); }
  void ProofVerified(const BlockInfo& block, const absl::Status& verified, absl::Duration duration) const;

  const StateEngine& engine_;
  Logger& log_;

  std::mutex mutex_;
  // Guarded by mutex_.
  absl::Time next_lines_ = absl::InfinitePast();
  std::array<CacheLookups, kCacheKinds> last_lookups_{};
  std::optional<uint64_t> last_nodes_;
};

}  // namespace mptd
