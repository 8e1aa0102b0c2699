#include "security/replay_guard.h"

namespace mptd::security {
namespace {

// A sweep looks at every id, so a full table must not make each call pay for one.
constexpr absl::Duration kBetweenSweeps = absl::Seconds(1);

}  // namespace

void ReplayGuard::Forget(absl::Time now) {
  if (now < next_sweep_) return;
  next_sweep_ = now + kBetweenSweeps;
  absl::erase_if(expires_, [now](const auto& entry) { return entry.second <= now; });
}

ReplayGuard::Use ReplayGuard::TryUse(std::string_view id, absl::Time expires, absl::Time now) {
  const storage::MutexLock lock(mutex_);
  if (expires_.size() >= most_) Forget(now);
  const auto found = expires_.find(absl::string_view(id.data(), id.size()));
  if (found != expires_.end() && found->second > now) return Use::kReplayed;
  if (found == expires_.end() && expires_.size() >= most_) return Use::kFull;
  expires_.insert_or_assign(std::string(id), expires);
  return Use::kFirst;
}

size_t ReplayGuard::size() const {
  const storage::MutexLock lock(mutex_);
  return expires_.size();
}

}  // namespace mptd::security
