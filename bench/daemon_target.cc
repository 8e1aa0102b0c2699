// A daemon of its own for the run, behind gRPC.
#include <filesystem>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "bench/child_process.h"
#include "bench/daemon_client.h"
#include "bench/daemon_settings.h"
#include "bench/target.h"

namespace mptd::bench {
namespace {

// A restart replays the change log, and opening ten million accounts takes its time on a busy machine.
constexpr absl::Duration kPatience = absl::Minutes(5);

struct PreparedBlock : Prepared {
  v1::ApplyStateChangesRequest request;
};

struct PreparedChanges : Prepared {
  v1::ComputeStateRootRequest request;
};

class DaemonTarget : public Target {
 public:
  explicit DaemonTarget(const BenchOptions& options) : options_(options) {}

  absl::Status Open() override;

  absl::Status Close() override {
    client_.reset();
    if (!process_) return absl::OkStatus();
    absl::Status status = process_->Stop(kPatience);
    process_.reset();
    return status;
  }

  std::unique_ptr<Prepared> PrepareBlock(BlockChanges block) const override {
    auto out = std::make_unique<PreparedBlock>();
    out->request = ToRequest(block);
    return out;
  }

  absl::StatusOr<BlockReply> Apply(std::unique_ptr<Prepared> block) override {
    return client_->Apply(static_cast<PreparedBlock&>(*block).request);
  }

  absl::Status Flush() override { return client_->Flush(); }
  absl::Status RollbackTo(uint64_t number) override { return client_->RollbackTo(number); }

  absl::StatusOr<Head> GetHead() override {
    const absl::StatusOr<v1::GetStatusResponse> status = client_->GetStatus();
    if (!status.ok()) return status.status();
    Head head{status->has_blocks(),     status->head().number(), kEmptyRoot,
              status->flushed_number(), status->queue_bytes(),   status->oldest_served_number()};
    if (status->head().state_root().size() == Hash::kSize) head.root = Hash::FromView(status->head().state_root());
    return head;
  }

  absl::Status Read(const Address& address, const std::optional<Hash>& slot) const override {
    return client_->Read(address, slot);
  }
  absl::Status ReadMany(std::span<const Address> addresses) const override { return client_->ReadMany(addresses); }
  absl::StatusOr<size_t> Prove(const Address& address, const std::optional<Hash>& slot,
                               std::optional<uint64_t> number) const override {
    return client_->Prove(address, slot, number);
  }
  absl::StatusOr<std::vector<Bytes>> ProofNodes(std::span<const ProofTargetSpec> targets) const override {
    return client_->ProofNodes(targets);
  }

  std::unique_ptr<Prepared> PrepareRoot(std::vector<AccountChange> changes) const override {
    auto out = std::make_unique<PreparedChanges>();
    out->request = ToRequest(changes);
    return out;
  }
  absl::StatusOr<Hash> ComputeRoot(const Prepared& changes) const override {
    return client_->ComputeRoot(static_cast<const PreparedChanges&>(changes).request);
  }

  int process_id() const override { return process_ ? process_->id() : 0; }

 private:
  std::vector<std::string> Words(const std::string& address) const;
  absl::Status WaitUntilServing();

  const BenchOptions options_;
  std::optional<ChildProcess> process_;
  std::unique_ptr<DaemonClient> client_;
};

std::vector<std::string> DaemonTarget::Words(const std::string& address) const {
  std::vector<std::string> words = DaemonFlags(options_);
  words.insert(words.begin(), {options_.mptd, "--listen=" + address, "--http-listen=off"});
  return words;
}

absl::Status DaemonTarget::Open() {
  std::string address = absl::StrFormat(
      "unix:%s", std::filesystem::absolute(options_.engine.data_dir + ".sock").lexically_normal().string());
  if (options_.target == TargetKind::kTcp) {
    const absl::StatusOr<int> port = FreePort();
    if (!port.ok()) return port.status();
    address = absl::StrFormat("127.0.0.1:%d", *port);
  }
  absl::StatusOr<ChildProcess> process = ChildProcess::Start(Words(address));
  if (!process.ok()) return process.status();
  process_ = *std::move(process);
  client_ = std::make_unique<DaemonClient>(address);
  return WaitUntilServing();
}

absl::Status DaemonTarget::WaitUntilServing() {
  const absl::Time deadline = absl::Now() + kPatience;
  while (absl::Now() < deadline) {
    if (!process_->Running()) return absl::UnavailableError("the daemon ended before it served");
    if (client_->WaitForConnection(absl::Now() + absl::Milliseconds(20)) && client_->GetStatus().ok()) {
      return absl::OkStatus();
    }
  }
  return absl::DeadlineExceededError("the daemon does not serve");
}

}  // namespace

std::unique_ptr<Target> MakeDaemonTarget(const BenchOptions& options) {
  return std::make_unique<DaemonTarget>(options);
}

std::unique_ptr<Target> MakeTarget(const BenchOptions& options) {
  return options.target == TargetKind::kEngine ? MakeEngineTarget(options.engine) : MakeDaemonTarget(options);
}

}  // namespace mptd::bench
