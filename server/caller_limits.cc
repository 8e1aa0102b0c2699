#include "server/caller_limits.h"

#include <algorithm>
#include <optional>
#include <string>

#include "core/errors.h"

namespace mptd {
namespace {

constexpr absl::Duration kRetryDelay = absl::Milliseconds(100);

}  // namespace

void LimitRefusals::Count(const absl::Status& status) {
  if (status.ok()) return;
  if (const std::optional<std::string> limit = LimitOf(status); limit.has_value()) CountOne(*limit);
}

void LimitRefusals::CountOne(std::string_view limit) {
  const auto* const found = std::find(kLimitNames.begin(), kLimitNames.end(), limit);
  if (found == kLimitNames.end()) return;
  counts_[static_cast<size_t>(found - kLimitNames.begin())].fetch_add(1, std::memory_order_relaxed);
}

uint64_t LimitRefusals::count(std::string_view limit) const {
  const auto* const found = std::find(kLimitNames.begin(), kLimitNames.end(), limit);
  if (found == kLimitNames.end()) return 0;
  return counts_[static_cast<size_t>(found - kLimitNames.begin())].load(std::memory_order_relaxed);
}

void LimitRefusals::Write(MetricsWriter& writer) const {
  for (size_t i = 0; i < kLimitNames.size(); ++i) {
    writer.Counter("mptd_limit_refusals_total", "Calls refused and streams ended because of a limit.",
                   static_cast<double>(counts_[i].load(std::memory_order_relaxed)),
                   {{"limit", std::string(kLimitNames[i])}});
  }
}

Gate::Ticket Gate::Enter(size_t count) {
  size_t inside = inside_.load(std::memory_order_relaxed);
  do {
    if (count > max_ || inside > max_ - count) return {};
  } while (!inside_.compare_exchange_weak(inside, inside + count, std::memory_order_relaxed));
  return {this, count};
}

absl::Status NoRoom(std::string_view message, std::string_view limit) {
  return WithLimit(RetryLater(message, kRetryDelay), limit);
}

}  // namespace mptd
