// Who is measured: the engine in this process or a daemon behind gRPC, behind one interface.
// Open, Close, Apply and Flush are for one thread; everything else may be called by many at once while it is open.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/options.h"
#include "core/engine/block.h"
#include "core/engine/state_view.h"

namespace mptd::bench {

struct Head {
  bool has_blocks = false;
  uint64_t number = 0;
  Hash root;
  uint64_t flushed_number = 0;  // the newest block that is in the tables
  uint64_t queue_bytes = 0;     // of the blocks that are not
  uint64_t oldest_number = 0;   // that is served
  bool warming = false;         // where the target tells
};

struct BlockReply {
  Hash root;
  uint64_t nodes_hashed = 0;
  std::optional<ApplyTimes> times;  // where the target tells
};

// A request in the form that the target takes, so that making it is not measured.
class Prepared {
 public:
  virtual ~Prepared() = default;
};

class Target {
 public:
  virtual ~Target() = default;

  // On the data folder of the options; returns when it serves.
  virtual absl::Status Open() = 0;
  // Everything is on disk on return. OK when it is not open.
  virtual absl::Status Close() = 0;

  virtual std::unique_ptr<Prepared> PrepareBlock(BlockChanges block) const = 0;
  virtual absl::StatusOr<BlockReply> Apply(std::unique_ptr<Prepared> block) = 0;
  virtual absl::Status Flush() = 0;
  virtual absl::Status RollbackTo(uint64_t number) = 0;
  virtual absl::StatusOr<Head> GetHead() = 0;

  // One account and, if given, one of its slots. NOT_FOUND when there is no such account.
  virtual absl::Status Read(const Address& address, const std::optional<Hash>& slot) const = 0;
  // Many accounts with one call.
  virtual absl::Status ReadMany(std::span<const Address> addresses) const = 0;
  // Of the head, or of the block `number`. Returns how many nodes the proof has.
  virtual absl::StatusOr<size_t> Prove(const Address& address, const std::optional<Hash>& slot,
                                       std::optional<uint64_t> number) const = 0;
  virtual absl::StatusOr<std::vector<Bytes>> ProofNodes(std::span<const ProofTargetSpec> targets) const = 0;
  virtual std::unique_ptr<Prepared> PrepareRoot(std::vector<AccountChange> changes) const = 0;
  virtual absl::StatusOr<Hash> ComputeRoot(const Prepared& changes) const = 0;

  // Whose memory and disk traffic counts.
  virtual int process_id() const = 0;
};

std::unique_ptr<Target> MakeEngineTarget(const EngineOptions& options);
// A daemon that is open when its target goes is killed with SIGKILL, and has ended on return.
std::unique_ptr<Target> MakeDaemonTarget(const BenchOptions& options);
// The one that `options.target` names.
std::unique_ptr<Target> MakeTarget(const BenchOptions& options);

}  // namespace mptd::bench
