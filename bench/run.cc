#include "bench/run.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "bench/snapshot.h"
#include "core/hex.h"
#include "core/keccak.h"

namespace mptd::bench {
namespace {

constexpr uint64_t kBlockSeed = 42;
constexpr uint64_t kWarmupSeed = 43;
constexpr double kMega = 1e6;

Hash HashOfBlock(uint64_t number) {
  Hash out;
  for (size_t i = 0; i < 8; ++i) out.bytes[i] = static_cast<uint8_t>(number >> (8 * i));
  out.bytes[31] = 1;
  return out;
}

double ToDouble(uint64_t value) { return static_cast<double>(value); }

}  // namespace

Run::Run(const BenchOptions& options)
    : options_(options), workload_(options.workload), draws_(workload_, kBlockSeed), target_(MakeTarget(options)) {}

void Run::Say(std::string_view what) const {
  if (!options_.quiet) std::fprintf(stderr, "mptd-bench: %s\n", std::string(what).c_str());
}

absl::Status Run::Measure() {
  Describe();
  absl::Status status;
  for (absl::Status (Run::*phase)() : {&Run::Preload, &Run::Warmup, &Run::Blocks, &Run::HashFloor, &Run::Restart,
                                       &Run::Ask, &Run::ColdBlock, &Run::Kill, &Run::Compact}) {
    status = (this->*phase)();
    if (!status.ok()) break;
  }
  status.Update(target_->Close());
  report_.Add("peak_mb", "peak memory", "MB", ToDouble(most_memory_) / kMega);
  std::error_code error;
  if (!options_.keep) std::filesystem::remove_all(options_.engine.data_dir, error);
  return status;
}

void Run::Describe() {
  const WorkloadSpec& spec = workload_.spec();
  static constexpr std::string_view kTargets[] = {"engine", "unix", "tcp"};
  static constexpr std::string_view kModes[] = {"sync", "batched", "async"};
  std::string what;
  switch (spec.profile) {
    case Profile::kAccounts:
      what = absl::StrFormat("%d accounts", spec.accounts);
      break;
    case Profile::kOneContract:
      what = absl::StrFormat("one contract of %d slots", spec.slots);
      break;
    case Profile::kManyContracts:
      what = absl::StrFormat("%d contracts of %d slots", spec.contracts, spec.contract_slots);
      break;
  }
  report_.Add("workload", "workload",
              absl::StrFormat("%s, %d blocks of %d updates", what, options_.blocks, workload_.updates_per_block()));
  report_.Add("target", "target", kTargets[static_cast<size_t>(options_.target)]);
  if (!options_.preset.empty()) report_.Add("preset", "preset", options_.preset);
  report_.Add("durability", "durability", kModes[static_cast<size_t>(options_.engine.durability)]);
  const EngineOptions& engine = options_.engine;
  report_.Add("cache_limit_mb", "limit of all caches", "MB",
              ToDouble(engine.node_cache_bytes + engine.row_cache_bytes + engine.block_cache_bytes +
                       engine.history_memory_bytes) /
                  kMega);
  report_.Add("cpu", "processor", DescribeCpu());
  report_.Add("keccak", "Keccak-256", KeccakImplName(BestKeccakImpl()));
}

// One block on top of the head.
absl::Status Run::Apply(std::vector<AccountChange> changes, Latencies* times) {
  BlockChanges block;
  block.number = number_ + 1;
  block.hash = HashOfBlock(block.number);
  if (number_ > 0) block.parent_hash = HashOfBlock(number_);
  block.changes = std::move(changes);
  std::unique_ptr<Prepared> prepared = target_->PrepareBlock(std::move(block));
  const Stopwatch watch;
  absl::StatusOr<BlockReply> reply = target_->Apply(std::move(prepared));
  if (times != nullptr) times->Add(watch.Milliseconds());
  if (!reply.ok()) return reply.status();
  ++number_;
  root_ = reply->root;
  nodes_hashed_ = reply->nodes_hashed;
  if (reply->times) phases_.push_back(*reply->times);
  return absl::OkStatus();
}

void Run::ReportPhases() {
  struct Phase {
    std::string_view name;
    std::string_view text;
    absl::Duration ApplyTimes::*time;
  };
  constexpr Phase kPhases[] = {{"block_queue_ms", "of it behind the block before, p50", &ApplyTimes::queue},
                               {"block_read_ms", "of it hashing keys and reading, p50", &ApplyTimes::read},
                               {"block_tries_ms", "of it tries and hashes, p50", &ApplyTimes::tries},
                               {"block_log_ms", "of it the change log and recording, p50", &ApplyTimes::log},
                               {"block_publish_ms", "of it showing it, p50", &ApplyTimes::publish}};
  if (phases_.empty()) return;
  for (const Phase& phase : kPhases) {
    Latencies times;
    for (const ApplyTimes& block : phases_) times.Add(absl::ToDoubleMilliseconds(block.*phase.time));
    report_.Add(phase.name, phase.text, "ms", times.Percentile(0.5));
  }
  phases_.clear();
}

absl::Status Run::Reopen() {
  if (absl::Status status = target_->Close(); !status.ok()) return status;
  return target_->Open();
}

// The most since the last time.
void Run::TakePeakMemory(std::string_view name, std::string_view text) {
  const uint64_t memory = PeakMemoryBytes(target_->process_id());
  ResetPeakMemory(target_->process_id());
  most_memory_ = std::max(most_memory_, memory);
  report_.Add(name, text, "MB", ToDouble(memory) / kMega);
}

// With --reuse: rolls an earlier run's data back to where their preload ended.
absl::Status Run::TakeOldPreload(bool& taken) {
  taken = false;
  const absl::StatusOr<Head> head = target_->GetHead();
  if (!head.ok()) return head.status();
  const uint64_t wanted = workload_.preload_blocks();
  if (!head->has_blocks || head->number < wanted) return absl::OkStatus();
  if (head->number > wanted) {
    if (absl::Status status = target_->RollbackTo(wanted); !status.ok()) {
      Say(absl::StrFormat("cannot take the old data: %s", status.ToString()));
      return absl::OkStatus();
    }
  }
  const absl::StatusOr<Head> now = target_->GetHead();
  if (!now.ok()) return now.status();
  number_ = wanted;
  root_ = now->root;
  taken = true;
  return absl::OkStatus();
}

absl::Status Run::PreloadBlocks() {
  Say(absl::StrFormat("preload: %d blocks", workload_.preload_blocks()));
  TakePeakMemory("empty_mb", "memory before the first block");
  const uint64_t written = WrittenBytes(target_->process_id());
  uint64_t change_bytes = 0;
  const Stopwatch watch;
  Latencies times;
  for (uint64_t block = 0; block < workload_.preload_blocks(); ++block) {
    std::vector<AccountChange> changes = workload_.Preload(block);
    change_bytes += Workload::ChangeBytes(changes);
    if (absl::Status status = Apply(std::move(changes), &times); !status.ok()) return status;
  }
  report_.Add("preload_s", "preload", "s", watch.Seconds());
  if (absl::Status status = target_->Flush(); !status.ok()) return status;
  report_.Add("preload_drained_s", "preload, until all is in the tables", "s", watch.Seconds());
  report_.Add("preload_block_max_ms", "preload, slowest block", "ms", times.Percentile(1));
  report_.Add("preload_written_ratio", "preload, bytes written a byte of change", "",
              ToDouble(WrittenBytes(target_->process_id()) - written) / ToDouble(change_bytes));
  report_.AddSeries("preload_ms", times.values());
  return absl::OkStatus();
}

// The preload as a snapshot, in a new folder: sorted before the clock starts, durable when it stops.
absl::Status Run::Import() {
  Say("import: sorting");
  const Snapshot snapshot(workload_);
  const ImportedBlock block{workload_.preload_blocks(), HashOfBlock(workload_.preload_blocks()), std::nullopt,
                            std::nullopt};
  ResetPeakMemory(target_->process_id());
  Say("import");
  const double cpu = CpuSeconds(target_->process_id());
  const Stopwatch watch;
  const absl::StatusOr<ImportReport> imported = snapshot.Import(options_.engine, block);
  if (!imported.ok()) return imported.status();
  const double seconds = watch.Seconds();
  number_ = block.number;
  root_ = imported->block.state_root;
  report_.Add("import_s", "import of the same as a sorted snapshot", "s", seconds);
  report_.Add("import_accounts_per_s", "import, accounts", "/s", ToDouble(imported->accounts) / seconds);
  report_.Add("import_slots_per_s", "import, slots", "/s", ToDouble(imported->slots) / seconds);
  report_.Add("import_cpu_s", "import, processor time", "s", CpuSeconds(target_->process_id()) - cpu);
  report_.Add("import_peak_mb", "import, peak memory, with the snapshot itself", "MB",
              ToDouble(PeakMemoryBytes(target_->process_id())) / kMega);
  report_.Add("import_floor_s", "import, its hashes alone, one core", "s", snapshot.HashFloorSeconds());
  report_.Add("import_disk_mb", "import, disk", "MB", ToDouble(DiskBytes(options_.engine.data_dir)) / kMega);
  ResetPeakMemory(target_->process_id());
  return absl::OkStatus();
}

absl::Status Run::Preload() {
  std::error_code error;
  const auto clear = [&] { std::filesystem::remove_all(options_.engine.data_dir, error); };
  if (!options_.reuse) clear();
  std::filesystem::create_directories(std::filesystem::path(options_.engine.data_dir).parent_path(), error);
  if (options_.preload != PreloadKind::kImport) {
    if (absl::Status status = target_->Open(); !status.ok()) return status;
    bool taken = false;
    if (options_.reuse) {
      if (absl::Status status = TakeOldPreload(taken); !status.ok()) return status;
      if (!taken) {
        if (absl::Status status = target_->Close(); !status.ok()) return status;
        clear();
        if (absl::Status status = target_->Open(); !status.ok()) return status;
      }
    }
    if (!taken) {
      if (absl::Status status = PreloadBlocks(); !status.ok()) return status;
    }
    TakePeakMemory("preload_peak_mb", "preload, peak memory");
  }
  const Hash by_blocks = root_;
  if (options_.preload != PreloadKind::kBlocks) {
    if (absl::Status status = target_->Close(); !status.ok()) return status;
    clear();
    if (absl::Status status = Import(); !status.ok()) return status;
    if (absl::Status status = target_->Open(); !status.ok()) return status;
  }
  report_.Add("preload_root", "preload, root", ToHex(root_));
  if (options_.preload == PreloadKind::kBoth && root_ != by_blocks) {
    return absl::AbortedError(
        absl::StrFormat("the import has root %s, the blocks gave %s", ToHex(root_), ToHex(by_blocks)));
  }
  return CheckRoot(PublishedPreloadRoot(workload_.spec()), "after the preload");
}

absl::Status Run::WaitUntilWarm() {
  if (!options_.engine.warm_up) return absl::OkStatus();
  const Stopwatch watch;
  while (true) {
    const absl::StatusOr<Head> head = target_->GetHead();
    if (!head.ok()) return head.status();
    if (!head->warming) break;
    absl::SleepFor(absl::Milliseconds(10));
  }
  report_.Add("warm_up_s", "reading nodes into memory", "s", watch.Seconds());
  return absl::OkStatus();
}

absl::Status Run::Warmup() {
  if (options_.settle) {
    Say("close and open");
    if (absl::Status status = Reopen(); !status.ok()) return status;
  }
  if (absl::Status status = WaitUntilWarm(); !status.ok()) return status;
  if (options_.warmup == 0) return absl::OkStatus();
  Say("warmup");
  for (const BlockDraws::Values values : {BlockDraws::Values::kNew, BlockDraws::Values::kPreload}) {
    BlockDraws draws(workload_, kWarmupSeed, values);
    for (uint64_t i = 0; i < options_.warmup; ++i) {
      if (absl::Status status = Apply(draws.Next(), nullptr); !status.ok()) return status;
    }
  }
  return target_->Flush();
}

absl::Status Run::Blocks() {
  Say("blocks");
  phases_.clear();
  const uint64_t written = WrittenBytes(target_->process_id());
  uint64_t change_bytes = 0;
  uint64_t nodes = 0;
  Latencies times;
  const double cpu = CpuSeconds(target_->process_id());
  const Stopwatch watch;
  for (uint64_t block = 0; block < options_.blocks; ++block) {
    std::vector<AccountChange> changes = draws_.Next();
    change_bytes += Workload::ChangeBytes(changes);
    if (block + 1 == options_.blocks) last_changes_ = changes;
    if (absl::Status status = Apply(std::move(changes), &times); !status.ok()) return status;
    nodes += nodes_hashed_;
  }
  const double applied_s = watch.Seconds();
  if (absl::Status status = target_->Flush(); !status.ok()) return status;
  const double drained_s = watch.Seconds();
  const absl::StatusOr<Head> head = target_->GetHead();
  if (!head.ok()) return head.status();
  const double updates = ToDouble(options_.blocks * workload_.updates_per_block());
  report_.Add("block_p50_ms", "a block, p50", "ms", times.Percentile(0.5));
  report_.Add("block_p90_ms", "a block, p90", "ms", times.Percentile(0.9));
  report_.Add("block_p99_ms", "a block, p99", "ms", times.Percentile(0.99));
  report_.Add("block_max_ms", "a block, slowest", "ms", times.Percentile(1));
  ReportPhases();
  report_.Add("applied_per_s", "updates until the last reply", "/s", updates / applied_s);
  report_.Add("updates_per_s", "updates until all is in the tables", "/s", updates / drained_s);
  report_.Add("blocks_cpu_s", "processor time of the blocks", "s", CpuSeconds(target_->process_id()) - cpu);
  report_.Add("blocks_written_ratio", "bytes written a byte of change", "",
              ToDouble(WrittenBytes(target_->process_id()) - written) / ToDouble(change_bytes));
  report_.Add("nodes_per_block", "nodes hashed a block", "", ToDouble(nodes) / ToDouble(options_.blocks));
  report_.Add("history_blocks", "blocks served behind the head", "", ToDouble(head->number - head->oldest_number));
  report_.AddSeries("block_ms", times.values());
  TakePeakMemory("blocks_peak_mb", "blocks, peak memory");
  report_.Add("root", "root", ToHex(root_));
  return CheckRoot(PublishedRoot(workload_.spec(), options_.blocks), "after the blocks");
}

absl::Status Run::CheckRoot(std::optional<std::string_view> published, std::string_view when) {
  if (!published || ToHex(root_) == absl::StrFormat("0x%s", *published)) return absl::OkStatus();
  return absl::AbortedError(absl::StrFormat("the root %s is %s, and others have 0x%s", when, ToHex(root_), *published));
}

}  // namespace mptd::bench
