// The engine in this process.
#include <unistd.h>

#include <utility>

#include "bench/target.h"

namespace mptd::bench {
namespace {

struct PreparedBlock : Prepared {
  BlockChanges block;
};

struct PreparedChanges : Prepared {
  std::vector<AccountChange> changes;
};

class EngineTarget : public Target {
 public:
  explicit EngineTarget(const EngineOptions& options) : options_(options) {}

  absl::Status Open() override {
    absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(options_);
    if (!engine.ok()) return engine.status();
    engine_ = *std::move(engine);
    return absl::OkStatus();
  }

  absl::Status Close() override {
    engine_.reset();
    return absl::OkStatus();
  }

  std::unique_ptr<Prepared> PrepareBlock(BlockChanges block) const override {
    auto out = std::make_unique<PreparedBlock>();
    out->block = std::move(block);
    return out;
  }

  absl::StatusOr<BlockReply> Apply(std::unique_ptr<Prepared> block) override {
    absl::StatusOr<ApplyResult> result = engine_->Apply(std::move(static_cast<PreparedBlock&>(*block).block));
    if (!result.ok()) return result.status();
    return BlockReply{result->block.state_root, result->nodes_hashed, result->times};
  }

  absl::Status Flush() override { return engine_->Flush().status(); }
  absl::Status RollbackTo(uint64_t number) override { return engine_->RollbackTo(number).status(); }

  absl::StatusOr<Head> GetHead() override {
    const EngineStatus status = engine_->Status();
    return Head{status.has_blocks,  status.head.number,          status.head.state_root, status.flushed_number,
                status.queue_bytes, status.oldest_served_number, status.warming};
  }

  absl::Status Read(const Address& address, const std::optional<Hash>& slot) const override {
    const absl::StatusOr<StateViewPtr> view = engine_->View(LatestBlock{});
    if (!view.ok()) return view.status();
    if (slot) return (*view)->GetStorage(address, {&*slot, 1}).status();
    const absl::StatusOr<std::optional<Account>> account = (*view)->GetAccount(address);
    if (!account.ok()) return account.status();
    return account->has_value() ? absl::OkStatus() : absl::NotFoundError("an account that was written is not there");
  }

  absl::Status ReadMany(std::span<const Address> addresses) const override {
    const absl::StatusOr<StateViewPtr> view = engine_->View(LatestBlock{});
    if (!view.ok()) return view.status();
    const auto accounts = (*view)->GetAccounts(addresses);
    if (!accounts.ok()) return accounts.status();
    for (const std::optional<Account>& account : *accounts) {
      if (!account) return absl::NotFoundError("an account that was written is not there");
    }
    return absl::OkStatus();
  }

  absl::StatusOr<size_t> Prove(const Address& address, const std::optional<Hash>& slot,
                               std::optional<uint64_t> number) const override {
    const absl::StatusOr<StateViewPtr> view = engine_->View(number ? BlockSelector(*number) : LatestBlock{});
    if (!view.ok()) return view.status();
    const absl::StatusOr<AccountProof> proof =
        (*view)->GetProof(address, slot ? std::span<const Hash>(&*slot, 1) : std::span<const Hash>());
    if (!proof.ok()) return proof.status();
    return proof->proof.size() + (slot ? proof->storage[0].proof.size() : 0);
  }

  absl::StatusOr<std::vector<Bytes>> ProofNodes(std::span<const ProofTargetSpec> targets) const override {
    const absl::StatusOr<StateViewPtr> view = engine_->View(LatestBlock{});
    if (!view.ok()) return view.status();
    absl::StatusOr<MultiProof> proof = (*view)->GetMultiProof(targets);
    if (!proof.ok()) return proof.status();
    return std::move(proof->nodes);
  }

  std::unique_ptr<Prepared> PrepareRoot(std::vector<AccountChange> changes) const override {
    auto out = std::make_unique<PreparedChanges>();
    out->changes = std::move(changes);
    return out;
  }

  absl::StatusOr<Hash> ComputeRoot(const Prepared& changes) const override {
    const absl::StatusOr<StateViewPtr> view = engine_->View(LatestBlock{});
    if (!view.ok()) return view.status();
    return (*view)->ComputeRoot(static_cast<const PreparedChanges&>(changes).changes, false);
  }

  int process_id() const override { return getpid(); }

 private:
  const EngineOptions options_;
  std::unique_ptr<StateEngine> engine_;
};

}  // namespace

std::unique_ptr<Target> MakeEngineTarget(const EngineOptions& options) {
  return std::make_unique<EngineTarget>(options);
}

}  // namespace mptd::bench
