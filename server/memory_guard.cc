#include "server/memory_guard.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/errors.h"
#include "metrics/metrics.h"

// Of jemalloc, which only the programs are linked with, and no build with a sanitizer.
extern "C" __attribute__((weak)) int mallctl(const char* name, void* old, size_t* old_length, void* value,
                                             size_t length);

namespace mptd {
namespace {

constexpr std::chrono::milliseconds kInterval{50};
constexpr absl::Duration kRetryDelay = absl::Milliseconds(500);
// Of the limit, in percent: caches shrink above the first, grow below the second, calls are refused above the third.
constexpr uint64_t kShrinkAbove = 70;
constexpr uint64_t kGrowBelow = 55;
constexpr uint64_t kRefuseAbove = 80;
// The time that a smaller limit takes to show in the resident memory.
constexpr absl::Duration kStep = absl::Seconds(1);
// How often free memory is asked back above the third bound. Large messages that come and are refused leave hundreds of
// MiB a second with the allocator, of which it lets go after ten.
constexpr absl::Duration kGiveBackStep = absl::Milliseconds(100);
constexpr unsigned kMostShift = 4;
// What a block of 64 MiB takes while it is applied, in its lengths: as a message, the engine's changes, the change
// log's record, rows that wait for the flush, and the flush itself. 4.7 were measured for code, which is the same in
// all.
constexpr uint64_t kCopies = 5;

// Of all arenas: MALLCTL_ARENAS_ALL.
constexpr char kPurge[] = "arena.4096.purge";

}  // namespace

void GiveBackFreeMemory() {
  if (&mallctl != nullptr) mallctl(kPurge, nullptr, nullptr, nullptr, 0);
}

MemoryGuard::MemoryGuard(StateEngine& engine, Logger& log, std::function<uint64_t()> resident,
                         std::function<void()> give_back)
    : engine_(engine), log_(log), resident_(std::move(resident)), give_back_(std::move(give_back)), thread_([this] {
        Run();
      }) {}

MemoryGuard::~MemoryGuard() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void MemoryGuard::Configure(const EngineLimits& limits, uint64_t max_bytes) {
  const MutexLock lock(mutex_);
  limits_ = limits;
  max_bytes_.store(max_bytes, std::memory_order_relaxed);
  SetShift(max_bytes == 0 ? 0 : shift_);
}

uint64_t MemoryGuard::Limit() const {
  const uint64_t set = max_bytes_.load(std::memory_order_relaxed);
  const uint64_t given = MemoryLimitBytes();
  return set != 0 && (given == 0 || set < given) ? set : given;
}

absl::Status MemoryGuard::Admit(uint64_t bytes) const {
  const uint64_t limit = max_bytes_.load(std::memory_order_relaxed);
  if (limit == 0) return absl::OkStatus();
  const uint64_t used = resident_bytes_.load(std::memory_order_relaxed) + kCopies * bytes;
  if (used / kRefuseAbove < limit / 100) return absl::OkStatus();
  return WithLimit(
      RetryLater(
          absl::StrFormat("memory is short: %d of the %d bytes of limits.max_memory_bytes are in use or asked for",
                          used, limit),
          kRetryDelay),
      "max_memory_bytes");
}

void MemoryGuard::SetShift(unsigned shift) {
  shift_ = shift;
  EngineLimits limits = limits_;
  limits.node_cache_bytes >>= shift;
  limits.row_cache_bytes >>= shift;
  limits.block_cache_bytes >>= shift;
  limits.history_memory_bytes >>= shift;
  limits.queue_bytes >>= shift;
  engine_.SetLimits(limits);
}

void MemoryGuard::Check(absl::Time now) {
  const uint64_t limit = max_bytes_.load(std::memory_order_relaxed);
  if (limit == 0) return;
  uint64_t used = resident_();
  resident_bytes_.store(used, std::memory_order_relaxed);
  const MutexLock lock(mutex_);
  // Free memory that the allocator keeps for ten seconds more must not cost the caches their contents.
  const absl::Duration step = used / kRefuseAbove >= limit / 100 ? kGiveBackStep : kStep;
  if (used / kShrinkAbove >= limit / 100 && now - given_back_at_ >= step) {
    given_back_at_ = now;
    give_back_();
    used = resident_();
    resident_bytes_.store(used, std::memory_order_relaxed);
  }
  if (now - shifted_at_ < kStep) return;
  const bool shrink = used / kShrinkAbove >= limit / 100 && shift_ < kMostShift;
  const bool grow = used / kGrowBelow < limit / 100 && shift_ > 0;
  if (!shrink && !grow) return;
  shifted_at_ = now;
  SetShift(shrink ? shift_ + 1 : shift_ - 1);
  log_.Log(shrink ? LogLevel::kWarn : LogLevel::kInfo, LogModule::kServer,
           shrink ? LogName("memory_short") : LogName("memory_enough"),
           {{"resident_bytes", used}, {"limit_bytes", limit}, {"cache_percent", 100.0 / (1u << shift_)}});
}

void MemoryGuard::Run() {
  while (true) {
    Check(absl::Now());
    const MutexLock lock(mutex_);
    if (!stopping_) changed_.wait_for(mutex_, kInterval);
    if (stopping_) return;
  }
}

}  // namespace mptd
