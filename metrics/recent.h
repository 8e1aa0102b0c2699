// What has happened lately, from running totals that are noted whenever somebody asks.
#pragma once

#include <deque>
#include <utility>

#include "absl/time/time.h"

namespace mptd {

// For one thread at a time. T is a value with `T Since(const T& earlier) const`, all zero when it is made.
template <typename T>
class Recent {
 public:
  explicit Recent(absl::Time start) { noted_.emplace_back(start, T{}); }

  struct Window {
    absl::Duration length;
    T happened;
  };
  // What has happened in the last minute, or as long before as somebody asked last. `current` are the totals now.
  Window Note(absl::Time now, const T& current) {
    // The oldest that is kept is the newest that is at least a minute old.
    while (noted_.size() >= 2 && now - noted_[1].first >= kLength) noted_.pop_front();
    Window window{now - noted_.front().first, current.Since(noted_.front().second)};
    // Those who ask may be many and hasty; one note a second is enough.
    if (now - noted_.back().first >= absl::Seconds(1)) noted_.emplace_back(now, current);
    return window;
  }

 private:
  static constexpr absl::Duration kLength = absl::Seconds(60);

  std::deque<std::pair<absl::Time, T>> noted_;
};

}  // namespace mptd
