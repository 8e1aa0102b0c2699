// The daemon's reads against those of a server that does nothing, called the same way.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "bench/child_process.h"
#include "bench/daemon_client.h"
#include "bench/questions.h"

namespace mptd::bench {
namespace {

constexpr uint64_t kSeed = 7;
constexpr int kCallers = 8;
constexpr size_t kAccountsACall = 100;

struct Reads {
  double unary = 0;         // a second, one caller
  double unary_p50_us = 0;  // of one caller
  double concurrent = 0;    // a second, kCallers at once
  double many = 0;          // accounts a second, one caller
  double many_callers = 0;  // accounts a second, kCallers at once
};

// `One` reads an account and `Many` kAccountsACall of them.
template <typename One, typename Many>
absl::StatusOr<Reads> Measure(const Questions& ask, const One& one, const Many& many) {
  const uint64_t calls = ask.options.reads / 10 + 1;
  const auto draw = [&](int caller, uint64_t i) {
    return ask.workload.Target(Rng(kSeed + i * kCallers + static_cast<uint64_t>(caller)).Next());
  };
  const auto read_one = [&](int caller, uint64_t i) { return one(draw(caller, i)); };
  const auto read_many = [&](int caller, uint64_t i) {
    std::vector<Address> addresses;
    for (size_t k = 0; k < kAccountsACall; ++k) addresses.push_back(draw(caller, i * kAccountsACall + k));
    return many(addresses);
  };
  Reads out;
  for (const int callers : {1, kCallers}) {
    // Once without counting, so that connections and threads are there and rows have been read.
    absl::StatusOr<Throughput> unary = TimeCallers(callers, calls / 4 + 1, read_one);
    if (unary.ok()) unary = TimeCallers(callers, calls, read_one);
    if (!unary.ok()) return unary.status();
    absl::StatusOr<Throughput> batches = TimeCallers(callers, calls / 40 + 1, read_many);
    if (batches.ok()) batches = TimeCallers(callers, calls / 10 + 1, read_many);
    if (!batches.ok()) return batches.status();
    const double accounts = batches->PerSecond() * static_cast<double>(kAccountsACall);
    (callers == 1 ? out.unary : out.concurrent) = unary->PerSecond();
    (callers == 1 ? out.many : out.many_callers) = accounts;
    if (callers == 1) out.unary_p50_us = unary->microseconds.Percentile(0.5);
  }
  return out;
}

void Add(Report& report, const std::string& name, const std::string& who, const Reads& reads) {
  report.Add(name + "_unary_per_s", who + ", unary reads", "/s", reads.unary);
  report.Add(name + "_unary_p50_us", who + ", unary read, p50", "us", reads.unary_p50_us);
  report.Add(name + "_concurrent_per_s", who + ", unary reads, 8 callers", "/s", reads.concurrent);
  report.Add(name + "_many_per_s", who + ", accounts, 100 a call", "/s", reads.many);
  report.Add(name + "_many_concurrent_per_s", who + ", accounts, 100 a call, 8 callers", "/s", reads.many_callers);
}

}  // namespace

absl::Status MeasureAgainstEmptyServer(const Questions& ask) {
  if (ask.options.target == TargetKind::kEngine || ask.options.reads == 0) return absl::OkStatus();
  if (ask.workload.spec().profile == Profile::kOneContract) return absl::OkStatus();
  std::string address = absl::StrCat("unix:", ask.options.engine.data_dir, ".empty.sock");
  if (ask.options.target == TargetKind::kTcp) {
    const absl::StatusOr<int> port = FreePort();
    if (!port.ok()) return port.status();
    address = absl::StrFormat("127.0.0.1:%d", *port);
  }
  absl::StatusOr<ChildProcess> server = ChildProcess::Start({ask.options.self, "--serve-empty", address});
  if (!server.ok()) return server.status();
  const DaemonClient client(address);
  if (!client.WaitForConnection(absl::Now() + absl::Seconds(30))) {
    return absl::DeadlineExceededError("the empty server does not answer");
  }
  const absl::StatusOr<Reads> empty = Measure(
      ask, [&](const Address& a) { return client.Read(a, std::nullopt); },
      [&](std::span<const Address> a) { return client.ReadMany(a); });
  if (!empty.ok()) return empty.status();
  const absl::StatusOr<Reads> ours = Measure(
      ask, [&](const Address& a) { return ask.target.Read(a, std::nullopt); },
      [&](std::span<const Address> a) { return ask.target.ReadMany(a); });
  if (!ours.ok()) return ours.status();
  Add(ask.report, "empty", "empty server", *empty);
  Add(ask.report, "daemon", "daemon", *ours);
  ask.report.Add("unary_ratio", "unary reads, part of the empty server's", "", ours->unary / empty->unary);
  ask.report.Add("concurrent_ratio", "unary reads, 8 callers, part of the empty server's", "",
                 ours->concurrent / empty->concurrent);
  return absl::OkStatus();
}

}  // namespace mptd::bench
