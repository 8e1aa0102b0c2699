// The checks of what the machine offers: disk, memory, files, addresses, clock, processor, kernel.
#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_format.h"
#include "checkup/checks.h"
#include "checkup/notes.h"

namespace mptd::checkup {
namespace {

// A block waits for a sync in the mode `sync`; in the others the change log falls behind when one takes longer than
// the time between two of them.
constexpr absl::Duration kSlowSync = absl::Milliseconds(5);
constexpr absl::Duration kSlowTail = absl::Milliseconds(50);
constexpr absl::Duration kUselessSync = absl::Milliseconds(100);

// Tables need their own size again for a moment while they are rewritten, and writing stops before the disk is full.
constexpr uint64_t kLowSpace = uint64_t{16} << 30;
constexpr uint64_t kLowestSpace = uint64_t{1} << 30;
constexpr uint64_t kLowFilesPercent = 5;

// What is left of the memory is for calls, for snapshots of readers and for the kernel's own cache of files.
constexpr uint64_t kMemoryPercent = 80;

// Half of the descriptors are for table files, of which up to 4096 stay open; the rest is for connections.
constexpr uint64_t kEnoughFiles = 8192;
constexpr uint64_t kFewestFiles = 512;

constexpr uint64_t kHighSwappiness = 10;
constexpr uint64_t kHighDirtyRatio = 20;
constexpr uint64_t kHighDirtyBackgroundRatio = 10;
constexpr uint64_t kNeverOvercommit = 2;

std::string Milliseconds(absl::Duration duration) {
  return absl::StrFormat("%.2f ms", absl::ToDoubleMilliseconds(duration));
}

uint64_t Percent(uint64_t part, uint64_t whole) {
  return whole == 0
             ? 0
             : static_cast<uint64_t>(std::llround(100.0 * static_cast<double>(part) / static_cast<double>(whole)));
}

void JudgeRatio(Notes& notes, std::string_view name, const std::optional<uint64_t>& ratio, uint64_t highest) {
  if (!ratio.has_value()) return;
  notes.Measured(absl::StrFormat("%s %d", name, *ratio));
  notes.Expected(absl::StrFormat("%s at most %d", name, highest));
  if (*ratio <= highest) return;
  notes.Wrong(
      Outcome::kWarning,
      absl::StrFormat("sysctl -w %s=%d: a sync waits for other files' data that was left to pile up", name, highest));
}

// Swap makes a cache slower than the disk that it stands for.
void JudgeSwap(Notes& notes, const KernelReading& kernel, const MemoryReading& memory) {
  if (!kernel.swappiness.has_value()) return;
  notes.Measured(absl::StrFormat("vm.swappiness %d with %s", *kernel.swappiness,
                                 memory.swap_bytes == 0 ? "no swap" : SizeText(memory.swap_bytes) + " of swap"));
  notes.Expected(absl::StrFormat("vm.swappiness at most %d, or no swap", kHighSwappiness));
  if (memory.swap_bytes == 0 || *kernel.swappiness <= kHighSwappiness) return;
  notes.Wrong(Outcome::kWarning,
              absl::StrFormat("sysctl -w vm.swappiness=%d: a cache that is swapped out is slower than the disk",
                              kHighSwappiness));
}

}  // namespace

Finding CheckDiskSpeed(const absl::StatusOr<SyncTimes>& sync) {
  Notes notes("disk_speed");
  notes.Expected(absl::StrFormat("fdatasync of 64 KiB: p50 up to %s, p99 up to %s", Milliseconds(kSlowSync),
                                 Milliseconds(kSlowTail)));
  // That the folder cannot be used is told by the check of permissions.
  if (absl::IsPermissionDenied(sync.status()) || absl::IsNotFound(sync.status()))
    return notes.Skip(Text(sync.status()));
  if (!sync.ok()) {
    notes.Measured(Text(sync.status()));
    notes.Wrong(Outcome::kFailed, "free space on the disk, or replace it: a file could not be written and synced");
    return notes.Take();
  }
  notes.Measured(absl::StrFormat("p50 %s, p99 %s of %d syncs of 64 KiB", Milliseconds(sync->p50),
                                 Milliseconds(sync->p99), sync->samples));
  if (sync->p50 > kUselessSync) {
    notes.Wrong(Outcome::kFailed, "use a local SSD for server.data_dir: the change log cannot keep pace on this disk");
  } else if (sync->p50 > kSlowSync || sync->p99 > kSlowTail) {
    notes.Wrong(Outcome::kWarning,
                "use a local SSD with power-loss protection that nothing else writes to, or expect slow blocks with "
                "persistence.mode sync");
  }
  return notes.Take();
}

Finding CheckSpace(const absl::StatusOr<DiskSpace>& space, const config::Settings& settings) {
  Notes notes("space");
  // Segments of the change log are made ahead, and the queue has to find its place.
  const uint64_t least =
      std::max(kLowestSpace, 4 * (settings.persistence.queue_bytes + settings.persistence.log_segment_bytes));
  const uint64_t enough = std::max(kLowSpace, 2 * least);
  notes.Expected(absl::StrFormat("%s free, never less than %s", SizeText(enough), SizeText(least)));
  if (!space.ok()) {
    notes.Measured(Text(space.status()));
    notes.Wrong(Outcome::kFailed, "make the folder above server.data_dir reachable for this user");
    return notes.Take();
  }
  notes.Measured(absl::StrFormat("%s of %s free", SizeText(space->free_bytes), SizeText(space->total_bytes)));
  if (space->free_bytes < enough) {
    notes.Wrong(space->free_bytes < least ? Outcome::kFailed : Outcome::kWarning,
                settings.pruning.enable_pruning
                    ? "free space or use a larger disk: blocks are refused when it is full"
                    : "free space or use a larger disk: an archive grows with every block, and blocks are refused "
                      "when it is full");
  }
  const uint64_t free_files = Percent(space->free_files, space->total_files);
  if (space->total_files != 0 && free_files < kLowFilesPercent) {
    notes.Measured(absl::StrFormat("%d of %d inodes free", space->free_files, space->total_files));
    notes.Wrong(space->free_files == 0 ? Outcome::kFailed : Outcome::kWarning,
                "remove small files from that file system: it has almost no inodes left");
  }
  return notes.Take();
}

Finding CheckMemory(const MemoryReading& memory, const config::Settings& settings) {
  Notes notes("memory");
  const config::Settings::Cache& cache = settings.cache;
  const uint64_t wanted = cache.node_cache_bytes + cache.row_cache_bytes + cache.block_cache_bytes +
                          cache.history_memory_bytes + settings.persistence.queue_bytes;
  notes.Expected(absl::StrFormat("caches and queue in at most %d %% of the memory", kMemoryPercent));
  if (memory.limit_bytes == 0) {
    return notes.Skip(absl::StrFormat("%s for caches and queue; this machine does not say how much memory there is",
                                      SizeText(wanted)));
  }
  notes.Measured(absl::StrFormat("%s for caches and queue, %d %% of %s", SizeText(wanted),
                                 Percent(wanted, memory.limit_bytes), SizeText(memory.limit_bytes)));
  if (memory.available_bytes != 0) notes.Measured(SizeText(memory.available_bytes) + " available now");
  constexpr char kLess[] = "lower cache.* and persistence.queue_bytes, or give the daemon more memory";
  if (wanted > memory.limit_bytes) {
    notes.Wrong(Outcome::kFailed, kLess);
  } else if (Percent(wanted, memory.limit_bytes) > kMemoryPercent) {
    notes.Wrong(Outcome::kWarning, kLess);
  } else if (memory.available_bytes != 0 && wanted > memory.available_bytes) {
    notes.Wrong(Outcome::kWarning, "stop what else uses this machine's memory, or lower cache.*");
  }
  return notes.Take();
}

Finding CheckFileLimits(const FileLimits& files, const config::Settings& settings) {
  Notes notes("file_limits");
  const uint64_t enough = std::max(kEnoughFiles, 4096 + 2 * settings.server.max_concurrent_calls);
  notes.Measured(absl::StrFormat("%d open files (hard limit %d)", files.soft, files.hard));
  notes.Expected(absl::StrFormat("at least %d: half for tables, half for connections", enough));
  if (files.soft < enough) {
    notes.Wrong(
        files.soft < kFewestFiles ? Outcome::kFailed : Outcome::kWarning,
        absl::StrFormat("raise the limit: LimitNOFILE=%d in the systemd unit, or ulimit -n %d", enough, enough));
  }
  return notes.Take();
}

Finding CheckPorts(const std::vector<ListenReading>& listen) {
  Notes notes("ports");
  notes.Expected("every address of server.listen, server.admin_listen and server.http_listen can be listened on");
  for (const ListenReading& one : listen) {
    notes.Measured(one.status.ok() ? one.address + " is free" : Text(one.status));
    if (one.status.ok()) continue;
    notes.Wrong(Outcome::kFailed, absl::StrFormat("stop what uses %s (ss -ltnp and ss -lxp show it) or choose another "
                                                  "address of this machine",
                                                  one.address));
  }
  return notes.Take();
}

Finding CheckClock(const ClockReading& clock) {
  Notes notes("clock");
  notes.Expected("synchronised wall clock (times in the log and in alerts); a fast source of the monotonic clock");
  if (!clock.synchronised.ok()) {
    notes.Measured(Text(clock.synchronised.status()));
    notes.Wrong(Outcome::kWarning, "look with timedatectl whether the clock is synchronised");
  } else if (!*clock.synchronised) {
    notes.Measured("not synchronised");
    notes.Wrong(Outcome::kWarning, "run chrony or systemd-timesyncd on this machine, or on the host of the container");
  } else {
    notes.Measured(absl::StrFormat("synchronised, error at most %s", Milliseconds(clock.max_error)));
  }
  if (!clock.source.empty()) notes.Measured("source " + clock.source);
  constexpr std::string_view kSlow[] = {"hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit"};
  if (std::find(std::begin(kSlow), std::end(kSlow), clock.source) != std::end(kSlow)) {
    notes.Wrong(Outcome::kWarning,
                "find out why the kernel does not use tsc (dmesg | grep -i clocksource): every timing costs "
                "microseconds");
  }
  return notes.Take();
}

Finding CheckCpu(const CpuReading& cpu, const config::Settings& settings) {
  Notes notes("cpu");
  notes.Measured(absl::StrFormat("Keccak uses %s; %d threads", KeccakImplName(cpu.keccak), cpu.threads));
  notes.Expected("AVX2 or AVX-512; performance.worker_threads not above the processor's");
  if (cpu.keccak == KeccakImpl::kScalar) {
    notes.Wrong(Outcome::kWarning,
                "use a processor with AVX2, or let the virtual machine show it (CPU model host): hashing is about four "
                "times slower without");
  }
  if (cpu.threads != 0 && settings.performance.worker_threads > cpu.threads) {
    notes.Measured(absl::StrFormat("performance.worker_threads %d", settings.performance.worker_threads));
    notes.Wrong(Outcome::kWarning, "set performance.worker_threads to 0, which is one a core");
  }
  return notes.Take();
}

Finding CheckKernel(const KernelReading& kernel, const MemoryReading& memory) {
  Notes notes("kernel");
  JudgeSwap(notes, kernel, memory);
  if (!kernel.transparent_huge_pages.empty()) {
    notes.Measured("transparent huge pages " + kernel.transparent_huge_pages);
    notes.Expected("transparent huge pages madvise or always");
    if (kernel.transparent_huge_pages == "never") {
      notes.Wrong(Outcome::kWarning,
                  "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled: trie nodes are visited in no order, and "
                  "small pages make each visit slower");
    }
  }
  if (kernel.overcommit_memory.has_value()) {
    notes.Measured(absl::StrFormat("vm.overcommit_memory %d", *kernel.overcommit_memory));
    notes.Expected("vm.overcommit_memory 0 or 1");
    if (*kernel.overcommit_memory == kNeverOvercommit) {
      notes.Wrong(Outcome::kWarning,
                  "sysctl -w vm.overcommit_memory=0: the allocator reserves more addresses than it uses, and would be "
                  "refused memory that is free");
    }
  }
  JudgeRatio(notes, "vm.dirty_ratio", kernel.dirty_ratio, kHighDirtyRatio);
  JudgeRatio(notes, "vm.dirty_background_ratio", kernel.dirty_background_ratio, kHighDirtyBackgroundRatio);
  const bool unknown = kernel.transparent_huge_pages.empty() && !kernel.swappiness.has_value() &&
                       !kernel.overcommit_memory.has_value() && !kernel.dirty_ratio.has_value();
  return unknown ? notes.Skip("the kernel's settings cannot be read here") : notes.Take();
}

}  // namespace mptd::checkup
