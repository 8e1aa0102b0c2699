#include "server/block_metrics.h"

namespace mptd {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

}  // namespace

void BlockMetrics::Record(const ApplyResult& result) {
  if (result.already_applied) return;
  const ApplyTimes& times = result.times;
  const std::array<absl::Duration, kPartNames.size()> durations = {times.queue, times.read, times.tries, times.log,
                                                                   times.publish};
  absl::Duration whole;
  for (size_t i = 0; i < durations.size(); ++i) {
    parts_[i].Record(durations[i]);
    whole += durations[i];
  }
  whole_.Record(whole);
  accounts_.fetch_add(result.accounts_changed, kRelaxed);
  slots_.fetch_add(result.slots_changed, kRelaxed);
  nodes_hashed_.fetch_add(result.nodes_hashed, kRelaxed);
  last_applied_.store(absl::ToUnixNanos(absl::Now()), kRelaxed);
}

absl::Time BlockMetrics::last_applied() const {
  const int64_t nanoseconds = last_applied_.load(kRelaxed);
  return nanoseconds == 0 ? absl::InfinitePast() : absl::FromUnixNanos(nanoseconds);
}

void BlockMetrics::Write(MetricsWriter& writer) const {
  writer.Histogram("mptd_block_seconds", "Time of a block in the engine, from its turn in the queue to its readers.",
                   whole_.Read());
  for (size_t i = 0; i < parts_.size(); ++i) {
    writer.Histogram("mptd_block_part_seconds",
                     "The parts of it: waiting for the writer, reading what changes, new branches and their hashes, "
                     "the change log, showing it to readers.",
                     parts_[i].Read(), {{"part", kPartNames[i]}});
  }
  writer.Counter("mptd_blocks_applied_total", "Blocks applied.", static_cast<double>(whole_.Read().total()));
  writer.Counter("mptd_accounts_changed_total", "Accounts that they changed.", static_cast<double>(accounts_.load()));
  writer.Counter("mptd_slots_changed_total", "Slots that they changed.", static_cast<double>(slots_.load()));
  writer.Counter("mptd_nodes_hashed_total", "Trie nodes hashed for them.", static_cast<double>(nodes_hashed_.load()));
  writer.Counter("state_root_mismatches_total", "Blocks refused because their root was not expected_root.",
                 static_cast<double>(root_mismatches_.load()));
  const absl::Time last = last_applied();
  writer.Gauge("mptd_last_block_timestamp_seconds", "When a block was applied last; 0: not since the start.",
               last == absl::InfinitePast() ? 0 : static_cast<double>(absl::ToUnixMillis(last)) / 1e3);
}

}  // namespace mptd
