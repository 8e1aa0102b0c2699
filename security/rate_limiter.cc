#include "security/rate_limiter.h"

#include <algorithm>

namespace mptd::security {

void RateLimiter::SetLimits(const RateLimits& limits) {
  const storage::MutexLock lock(mutex_);
  limits_ = limits;
}

double RateLimiter::Rate(Kind kind) const {
  return static_cast<double>(kind == Kind::kRead ? limits_.reads_per_second : limits_.writes_per_second);
}

RateLimiter::Caller& RateLimiter::Find(std::string_view name) {
  if (const auto found = by_name_.find(name); found != by_name_.end()) {
    by_use_.splice(by_use_.begin(), by_use_, found->second);
    return by_use_.front();
  }
  if (by_use_.size() >= most_) {
    by_name_.erase(by_use_.back().name);
    by_use_.pop_back();
  }
  by_use_.push_front(Caller{.name = std::string(name), .buckets = {}});
  by_name_.emplace(by_use_.front().name, by_use_.begin());
  return by_use_.front();
}

absl::Duration RateLimiter::Take(std::string_view caller, Kind kind, absl::Time now) {
  const storage::MutexLock lock(mutex_);
  const double rate = Rate(kind);
  if (rate == 0) return absl::ZeroDuration();
  Bucket& bucket = Find(caller).buckets[static_cast<size_t>(kind)];
  if (bucket.filled == absl::InfinitePast()) {
    bucket.calls = rate;
  } else if (now > bucket.filled) {  // the clock may have been set back
    bucket.calls += absl::ToDoubleSeconds(now - bucket.filled) * rate;
  }
  bucket.calls = std::min(bucket.calls, rate);
  bucket.filled = now;
  if (bucket.calls < 1) return absl::Seconds((1 - bucket.calls) / rate);
  bucket.calls -= 1;
  return absl::ZeroDuration();
}

size_t RateLimiter::callers() const {
  const storage::MutexLock lock(mutex_);
  return by_use_.size();
}

}  // namespace mptd::security
