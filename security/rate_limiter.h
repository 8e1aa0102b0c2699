// How many calls each caller may make: a token bucket a caller, one for reads and one for writes. Safe from any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "storage/mutex.h"

namespace mptd::security {

struct RateLimits {
  uint64_t reads_per_second = 0;  // 0: no limit
  uint64_t writes_per_second = 0;

  bool operator==(const RateLimits&) const = default;
};

class RateLimiter {
 public:
  enum class Kind : uint8_t { kRead, kWrite };

  // Of more callers than `most`, the one that has been silent for longest is forgotten; when it calls again, it has a
  // full bucket.
  explicit RateLimiter(size_t most = 10'000) : most_(most) {}

  // Buckets keep what is in them, at most what the new limits allow.
  void SetLimits(const RateLimits& limits);

  // Takes one call out of the caller's bucket and returns zero, or returns how long to wait until there is one. A full
  // bucket holds the calls of one second.
  absl::Duration Take(std::string_view caller, Kind kind, absl::Time now);
  size_t callers() const;

 private:
  struct Bucket {
    double calls = 0;
    absl::Time filled = absl::InfinitePast();  // as of when `calls` is right
  };
  struct Caller {
    std::string name;
    std::array<Bucket, 2> buckets;
  };

  double Rate(Kind kind) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Caller& Find(std::string_view name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t most_;
  mutable storage::Mutex mutex_;
  RateLimits limits_ ABSL_GUARDED_BY(mutex_);
  std::list<Caller> by_use_ ABSL_GUARDED_BY(mutex_);  // the latest first
  // The keys are the names in by_use_.
  absl::flat_hash_map<std::string_view, std::list<Caller>::iterator> by_name_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mptd::security
