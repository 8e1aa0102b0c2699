#include "bench/questions.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mptd::bench {
namespace {

constexpr uint64_t kReadSeed = 7;
constexpr uint64_t kProofSeed = 9;
constexpr uint64_t kRootSeed = 11;
constexpr uint64_t kAccountsACall = 100;
constexpr uint64_t kServedBehind = 128;
constexpr int kRootCallers = 2;

// How fast and how long a kind of call is: three lines of the report.
void AddThroughput(Report& report, const std::string& name, const std::string& text, const Throughput& measured) {
  report.Add(name + "_per_s", text, "/s", measured.PerSecond());
  report.Add(name + "_p50_us", text + ", p50", "us", measured.microseconds.Percentile(0.5));
  report.Add(name + "_p99_us", text + ", p99", "us", measured.microseconds.Percentile(0.99));
}

absl::StatusOr<Throughput> ReadPass(const Questions& ask, uint64_t count) {
  Rng rng(kReadSeed);
  return TimeCalls(count, [&](uint64_t) {
    const uint64_t draw = rng.Next();
    return ask.target.Read(ask.workload.Target(draw), ask.workload.TargetSlot(draw));
  });
}

absl::StatusOr<Throughput> ReadManyPass(const Questions& ask) {
  Rng rng(kReadSeed);
  std::vector<Address> addresses(kAccountsACall);
  return TimeCalls(ask.options.reads / kAccountsACall, [&](uint64_t) {
    for (Address& address : addresses) address = ask.workload.Target(rng.Next());
    return ask.target.ReadMany(addresses);
  });
}

absl::StatusOr<Throughput> ProofPass(const Questions& ask, std::optional<uint64_t> number) {
  Rng rng(kProofSeed);
  return TimeCalls(ask.options.proofs, [&](uint64_t) {
    const uint64_t draw = rng.Next();
    return ask.target.Prove(ask.workload.Target(draw), ask.workload.TargetSlot(draw), number).status();
  });
}

}  // namespace

absl::StatusOr<Throughput> TimeCalls(uint64_t count, const std::function<absl::Status(uint64_t)>& call) {
  Throughput out;
  out.microseconds.Reserve(count);
  const Stopwatch all;
  for (uint64_t i = 0; i < count; ++i) {
    const Stopwatch one;
    if (absl::Status status = call(i); !status.ok()) return status;
    out.microseconds.Add(1e6 * one.Seconds());
  }
  out.seconds = all.Seconds();
  return out;
}

absl::StatusOr<Throughput> TimeCallers(int callers, uint64_t count,
                                       const std::function<absl::Status(int caller, uint64_t)>& call) {
  std::vector<absl::StatusOr<Throughput>> results(static_cast<size_t>(callers));
  const Stopwatch all;
  {
    std::vector<std::jthread> threads;
    for (int caller = 0; caller < callers; ++caller) {
      threads.emplace_back([&, caller] {
        results[static_cast<size_t>(caller)] = TimeCalls(count, [&](uint64_t i) { return call(caller, i); });
      });
    }
  }
  Throughput out;
  out.seconds = all.Seconds();
  for (const absl::StatusOr<Throughput>& result : results) {
    if (!result.ok()) return result.status();
    out.microseconds.Add(result->microseconds);
  }
  return out;
}

absl::Status MeasureReads(const Questions& ask) {
  if (ask.options.reads == 0) return absl::OkStatus();
  for (const std::string pass : {"cold", "warm"}) {
    const absl::StatusOr<Throughput> measured = ReadPass(ask, ask.options.reads);
    if (!measured.ok()) return measured.status();
    AddThroughput(ask.report, absl::StrCat("read_", pass), absl::StrCat("reads, ", pass), *measured);
  }
  if (ask.workload.spec().profile == Profile::kOneContract) return absl::OkStatus();
  const absl::StatusOr<Throughput> many = ReadManyPass(ask);
  if (!many.ok()) return many.status();
  ask.report.Add("read_many_per_s", "accounts read, 100 a call", "/s",
                 many->PerSecond() * static_cast<double>(kAccountsACall));
  return absl::OkStatus();
}

absl::Status MeasureProofs(const Questions& ask, const Head& head) {
  if (ask.options.proofs == 0) return absl::OkStatus();
  double warm_p50 = 0;
  for (const std::string pass : {"cold", "warm"}) {
    const absl::StatusOr<Throughput> measured = ProofPass(ask, std::nullopt);
    if (!measured.ok()) return measured.status();
    AddThroughput(ask.report, absl::StrCat("proof_", pass), absl::StrCat("proofs, ", pass), *measured);
    warm_p50 = measured->microseconds.Percentile(0.5);
  }
  if (head.number < head.oldest_number + kServedBehind) return absl::OkStatus();
  Throughput old;
  for (int pass = 0; pass < 2; ++pass) {
    absl::StatusOr<Throughput> measured = ProofPass(ask, head.number - kServedBehind);
    if (!measured.ok()) return measured.status();
    old = *std::move(measured);
  }
  AddThroughput(ask.report, "proof_128_back", "proofs of the block 128 back", old);
  ask.report.Add("proof_128_back_ratio", "proof of the block 128 back, times the head's p50", "",
                 old.microseconds.Percentile(0.5) / warm_p50);
  return absl::OkStatus();
}

absl::Status MeasureRoots(const Questions& ask) {
  if (ask.options.root_calls == 0) return absl::OkStatus();
  // Few sets of changes, over and over: keeping one for every call would cost more memory than the engine.
  constexpr uint64_t kSets = 16;
  BlockDraws draws(ask.workload, kRootSeed);
  std::vector<std::unique_ptr<Prepared>> sets;
  for (uint64_t i = 0; i < kSets; ++i) sets.push_back(ask.target.PrepareRoot(draws.Next()));
  const auto call = [&](int caller, uint64_t i) {
    const size_t set = (i + static_cast<uint64_t>(caller) * kSets / kRootCallers) % kSets;
    return ask.target.ComputeRoot(*sets[set]).status();
  };
  double alone = 0;
  for (const int callers : {1, kRootCallers}) {
    const absl::StatusOr<Throughput> measured = TimeCallers(callers, ask.options.root_calls, call);
    if (!measured.ok()) return measured.status();
    if (callers == 1) {
      alone = measured->PerSecond();
      ask.report.Add("root_p50_ms", "ComputeStateRoot, p50", "ms", measured->microseconds.Percentile(0.5) / 1e3);
      ask.report.Add("root_p99_ms", "ComputeStateRoot, p99", "ms", measured->microseconds.Percentile(0.99) / 1e3);
    } else {
      ask.report.Add("root_two_callers_ratio", "ComputeStateRoot, two callers at once, times one", "",
                     measured->PerSecond() / alone);
    }
  }
  return absl::OkStatus();
}

absl::Status MeasureReaderBesideBlocks(const Questions& ask, const std::function<absl::StatusOr<double>()>& apply) {
  if (ask.options.beside_blocks == 0 || ask.options.reads == 0) return absl::OkStatus();
  const uint64_t reads = std::max<uint64_t>(1, ask.options.reads / 4);
  const absl::StatusOr<Throughput> idle = ReadPass(ask, reads);
  if (!idle.ok()) return idle.status();
  std::atomic<bool> done = false;
  Latencies times;
  absl::Status read_status;
  Latencies blocks;
  absl::Status apply_status;
  {
    std::jthread reader([&] {
      // The same questions as alone, over and over.
      Rng rng(kReadSeed);
      for (uint64_t i = 0; !done.load(std::memory_order_relaxed) && read_status.ok(); ++i) {
        if (i % reads == 0) rng = Rng(kReadSeed);
        const uint64_t draw = rng.Next();
        const Stopwatch one;
        read_status = ask.target.Read(ask.workload.Target(draw), ask.workload.TargetSlot(draw));
        times.Add(1e6 * one.Seconds());
      }
    });
    for (uint64_t i = 0; i < ask.options.beside_blocks && apply_status.ok(); ++i) {
      absl::StatusOr<double> block = apply();
      apply_status = block.status();
      if (block.ok()) blocks.Add(*block);
    }
    done = true;
  }
  if (!read_status.ok()) return read_status;
  if (!apply_status.ok()) return apply_status;
  const double idle_p99 = idle->microseconds.Percentile(0.99);
  ask.report.Add("reader_idle_p99_us", "a reader alone, p99", "us", idle_p99);
  ask.report.Add("reader_beside_p99_us", "a reader beside blocks, p99", "us", times.Percentile(0.99));
  ask.report.Add("reader_beside_p999_us", "a reader beside blocks, p99.9", "us", times.Percentile(0.999));
  ask.report.Add("reader_beside_ratio", "a reader's p99 beside blocks, times alone", "",
                 times.Percentile(0.99) / idle_p99);
  ask.report.Add("block_beside_p50_ms", "a block beside a reader, p50", "ms", blocks.Percentile(0.5));
  return absl::OkStatus();
}

}  // namespace mptd::bench
