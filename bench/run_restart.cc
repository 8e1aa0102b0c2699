// Restarts of a run: after a clean stop, after kill -9 with a full queue, and the first block after one.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/run.h"
#include "core/hex.h"

namespace mptd::bench {
namespace {

// A queue so much larger than the run's own begins to flush only at twice the run's limit.
constexpr uint64_t kRoomForMore = 4;
constexpr uint64_t kNeverByBlocks = 1'000'000;
constexpr absl::Duration kNeverByTime = absl::Hours(1);

double Megabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

}  // namespace

absl::Status Run::Restart() {
  Say("restart");
  const Stopwatch closing;
  if (absl::Status status = target_->Close(); !status.ok()) return status;
  report_.Add("close_s", "closing", "s", closing.Seconds());
  report_.Add("disk_mb", "disk after closing", "MB", Megabytes(DiskBytes(options_.engine.data_dir)));
  return OpenUntilItAnswers("", "");
}

// Opens, and asks for the head, an account and a proof. ABORTED when the head is not the last acknowledged block.
absl::Status Run::OpenUntilItAnswers(const std::string& name, const std::string& text) {
  const Address account = workload_.Target(0);
  const std::optional<Hash> slot = workload_.TargetSlot(0);
  const Stopwatch watch;
  if (absl::Status status = target_->Open(); !status.ok()) return status;
  const double open_s = watch.Seconds();
  const absl::StatusOr<Head> head = target_->GetHead();
  if (!head.ok()) return head.status();
  if (absl::Status status = target_->Read(account, slot); !status.ok()) return status;
  if (absl::Status status = target_->Prove(account, slot, std::nullopt).status(); !status.ok()) return status;
  const double restart_s = watch.Seconds();
  report_.Add(absl::StrCat(name, "open_s"), absl::StrCat("opening", text), "s", open_s);
  report_.Add(absl::StrCat(name, "restart_s"), absl::StrCat("opening", text, ", until it answers"), "s", restart_s);
  return CheckHead(*head);
}

absl::Status Run::CheckHead(const Head& head) const {
  if (head.number == number_ && head.root == root_) return absl::OkStatus();
  return absl::AbortedError(absl::StrFormat(
      "the restart found block %d with root %s, and the last one acknowledged was block %d with root %s", head.number,
      ToHex(head.root), number_, ToHex(root_)));
}

// The first block after a restart finds nothing in memory.
absl::Status Run::ColdBlock() {
  Say("cold block");
  if (absl::Status status = Reopen(); !status.ok()) return status;
  Latencies times;
  for (int i = 0; i < 2; ++i) {
    if (absl::Status status = Apply(draws_.Next(), &times); !status.ok()) return status;
  }
  report_.Add("cold_block_ms", "the first block after a restart", "ms", times.values()[0]);
  report_.Add("second_block_ms", "the second block after a restart", "ms", times.values()[1]);
  TakePeakMemory("restart_peak_mb", "restart, peak memory");
  return absl::OkStatus();
}

// Killed is always a daemon, as nothing is left of this process when it is killed.
absl::Status Run::Kill() {
  if (!options_.kill) return absl::OkStatus();
  Say("kill");
  if (absl::Status status = target_->Close(); !status.ok()) return status;
  BenchOptions held = options_;
  if (held.target == TargetKind::kEngine) held.target = TargetKind::kTcp;
  held.engine.queue_bytes *= kRoomForMore;
  held.engine.flush_blocks = kNeverByBlocks;
  held.engine.flush_interval = kNeverByTime;
  held.given.insert({"persistence.queue_bytes", "persistence.flush_blocks", "persistence.flush_interval"});
  target_ = MakeTarget(held);
  if (absl::Status status = FillQueue(); !status.ok()) return status;
  target_.reset();
  target_ = MakeTarget(options_);
  if (absl::Status status = OpenUntilItAnswers("kill_", " after kill -9 with a full queue"); !status.ok())
    return status;
  report_.Add("kill_peak_mb", "opening after kill -9, peak memory, which the whole run's leaves out", "MB",
              Megabytes(PeakMemoryBytes(target_->process_id())));
  return absl::OkStatus();
}

// Blocks that stay in the queue, until it holds as much as the run's own may.
absl::Status Run::FillQueue() {
  const uint64_t before = number_;
  if (absl::Status status = target_->Open(); !status.ok()) return status;
  Head head;
  while (head.queue_bytes < options_.engine.queue_bytes) {
    if (absl::Status status = Apply(draws_.Next(), nullptr); !status.ok()) return status;
    const absl::StatusOr<Head> now = target_->GetHead();
    if (!now.ok()) return now.status();
    head = *now;
    if (head.flushed_number != before) {
      return absl::FailedPreconditionError(
          absl::StrFormat("block %d went to the tables while the queue was being filled", head.flushed_number));
    }
  }
  report_.Add("kill_blocks", "blocks in the queue at kill -9", "", static_cast<double>(number_ - before));
  report_.Add("kill_queue_mb", "the queue at kill -9", "MB", Megabytes(head.queue_bytes));
  return absl::OkStatus();
}

}  // namespace mptd::bench
