// Where views tell of damaged data that they have met: the engine then stops all writing, as what is derived from
// damage would be damaged too. Shared by an engine and its views, of which some may be alive when it goes. Thread-safe.
#pragma once

#include <functional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace mptd {

class DamageReports {
 public:
  // Gets each DATA_LOSS; must not call back. Null when the engine goes: the one before is not being called any more.
  void SetListener(std::function<void(const absl::Status&)> listener) {
    absl::MutexLock lock(&mutex_);
    listener_ = std::move(listener);
  }

  // Returns what it is given.
  absl::Status Tell(absl::Status status) const {
    if (absl::IsDataLoss(status)) Listen(status);
    return status;
  }
  template <typename T>
  absl::StatusOr<T> Tell(absl::StatusOr<T> result) const {
    if (absl::IsDataLoss(result.status())) Listen(result.status());
    return result;
  }

 private:
  void Listen(const absl::Status& status) const {
    absl::MutexLock lock(&mutex_);
    if (listener_ != nullptr) listener_(status);
  }

  mutable absl::Mutex mutex_;
  std::function<void(const absl::Status&)> listener_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mptd
