// The ids ("jti") of tokens that were used, so that nobody uses one twice. Safe from any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "storage/mutex.h"

namespace mptd::security {

class ReplayGuard {
 public:
  enum class Use { kFirst, kReplayed, kFull };

  // At most `most` ids are remembered. When there are more that have not expired, new ones are refused: a token that
  // cannot be remembered could be used twice.
  explicit ReplayGuard(size_t most = 100'000) : most_(most) {}

  // Remembers the id until `expires`, when its token is refused anyway.
  Use TryUse(std::string_view id, absl::Time expires, absl::Time now);
  size_t size() const;

 private:
  void Forget(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t most_;
  mutable storage::Mutex mutex_;
  absl::flat_hash_map<std::string, absl::Time> expires_ ABSL_GUARDED_BY(mutex_);
  absl::Time next_sweep_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

}  // namespace mptd::security
