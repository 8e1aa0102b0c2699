// What one caller may ask for, how much of it may be going on at once, and how often either was refused. docs/LIMITS.md
// has the table. CallerLimits is a plain value; Gate and LimitRefusals are safe from any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "metrics/metrics.h"

namespace mptd {

struct CallerLimits {
  size_t accounts_per_read = 100'000;  // of GetAccounts
  size_t slots_per_read = 100'000;     // of GetStorage
  size_t proof_keys = 10'000;          // accounts and slots of GetProof and GetMultiProof; each is some kilobytes
  size_t page_rows = 10'000;           // of StreamAccounts and StreamStorage
  size_t streams = 1024;
  size_t pinned_views = 256;                       // by StreamAccounts and StreamStorage
  absl::Duration stream_age = absl::Minutes(10);   // of streams that pin a view
  absl::Duration stream_stall = absl::Minutes(1);  // of a reader that takes nothing
  size_t watch_backlog = 4096;                     // heads that a reader of StreamBlocks is behind
  size_t root_calls = 256;                         // of ComputeStateRoot, waiting or running
  size_t root_changes = 4'000'000;                 // accounts and slots of those that run
};

// The limits whose refusals are counted: the last parts of their keys.
inline constexpr std::array<std::string_view, 22> kLimitNames = {"max_message_bytes",
                                                                 "max_concurrent_calls",
                                                                 "max_waiting_calls",
                                                                 "max_connections",
                                                                 "max_memory_bytes",
                                                                 "queue_bytes",
                                                                 "max_accounts_per_transition",
                                                                 "max_slots_per_transition",
                                                                 "max_storage_slots_per_account",
                                                                 "max_accounts_per_read",
                                                                 "max_slots_per_read",
                                                                 "max_proof_keys",
                                                                 "max_page_rows",
                                                                 "max_streams",
                                                                 "max_pinned_views",
                                                                 "max_stream_age",
                                                                 "max_stream_stall",
                                                                 "max_watch_backlog",
                                                                 "max_root_calls",
                                                                 "max_root_changes",
                                                                 "max_reads_per_second",
                                                                 "max_writes_per_second"};

class LimitRefusals {
 public:
  // Counts `status` when it names a limit; every call and stream ends with one.
  void Count(const absl::Status& status);
  // `limit` is one of kLimitNames.
  void CountOne(std::string_view limit);
  uint64_t count(std::string_view limit) const;
  void Write(MetricsWriter& writer) const;

 private:
  std::array<std::atomic<uint64_t>, kLimitNames.size()> counts_{};
};

// Lets so much in at once. What is let in holds a Ticket for as long as it is there.
class Gate {
 public:
  class Ticket {
   public:
    Ticket() = default;
    Ticket(Ticket&& other) noexcept
        : gate_(std::exchange(other.gate_, nullptr)), count_(std::exchange(other.count_, 0)) {}
    Ticket& operator=(Ticket&& other) noexcept {
      std::swap(gate_, other.gate_);
      std::swap(count_, other.count_);
      return *this;
    }
    ~Ticket() {
      if (gate_ != nullptr) gate_->inside_.fetch_sub(count_, std::memory_order_relaxed);
    }
    explicit operator bool() const { return gate_ != nullptr; }

   private:
    friend class Gate;
    Ticket(Gate* gate, size_t count) : gate_(gate), count_(count) {}
    Gate* gate_ = nullptr;  // null when it was not let in
    size_t count_ = 0;
  };

  explicit Gate(size_t max) : max_(max) {}
  // An empty ticket when `count` more would be too much. The gate must outlive its tickets.
  Ticket Enter(size_t count = 1);
  size_t inside() const { return inside_.load(std::memory_order_relaxed); }
  size_t max() const { return max_; }

 private:
  const size_t max_;
  std::atomic<size_t> inside_{0};
};

// RESOURCE_EXHAUSTED with a time to wait, for what has room again when others are done.
absl::Status NoRoom(std::string_view message, std::string_view limit);

}  // namespace mptd
