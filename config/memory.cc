#include "config/memory.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace mptd::config {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kMostPercent = 75;

constexpr MemoryShare kShares[] = {
    {"cache.node_cache_bytes", 24},    {"cache.row_cache_bytes", 8},   {"cache.block_cache_bytes", 6},
    {"cache.history_memory_bytes", 6}, {"persistence.queue_bytes", 6},
};

}  // namespace

std::span<const MemoryShare> MemoryShares() { return kShares; }

std::string ShareOf(const MemoryShare& share, uint64_t max_memory_bytes) {
  return absl::StrFormat("%dMiB", std::max<uint64_t>(max_memory_bytes / 100 * share.percent / kMiB, 1));
}

std::string CheckMemory(const Settings& settings) {
  const uint64_t limit = settings.limits.max_memory_bytes;
  if (limit == 0) return "";
  if (limit < kLeastMemoryBytes) {
    return absl::StrFormat("is too small: at least %dMiB, or 0 for no limit", kLeastMemoryBytes / kMiB);
  }
  const Settings::Cache& cache = settings.cache;
  const uint64_t used = cache.node_cache_bytes + cache.row_cache_bytes + cache.block_cache_bytes +
                        cache.history_memory_bytes + settings.persistence.queue_bytes;
  if (used / kMostPercent <= limit / 100) return "";
  return absl::StrFormat(
      "is too small for the caches and the queue, which together take %dMiB; they may take %d %% of it, so write at "
      "least %dMiB, or make cache.node_cache_bytes smaller",
      used / kMiB, kMostPercent, used / kMostPercent * 100 / kMiB + 1);
}

}  // namespace mptd::config
