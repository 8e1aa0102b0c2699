// What readers ask of a view, on an engine of 100,000 accounts: reads, proofs, roots.
#include <benchmark/benchmark.h>

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "bench/workload.h"
#include "core/engine/engine.h"

namespace mptd::bench {
namespace {

constexpr uint64_t kAccounts = 100'000;
constexpr uint64_t kBlocks = 140;

// Made when the first benchmark asks for it, and gone at the end of the program.
class Fixture {
 public:
  Fixture()
      : workload_(Spec()),
        dir_(std::filesystem::temp_directory_path() / ("mptd-micro-bench-" + std::to_string(getpid()))) {
    std::filesystem::remove_all(dir_);
    EngineOptions options;
    options.data_dir = dir_.string();
    options.durability = Durability::kAsync;
    absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(options);
    if (!engine.ok()) Fail(engine.status());
    engine_ = *std::move(engine);
    for (uint64_t i = 0; i < workload_.preload_blocks(); ++i) Apply(workload_.Preload(i));
    BlockDraws draws(workload_, 42);
    for (uint64_t i = 0; i < kBlocks; ++i) Apply(draws.Next());
    if (absl::Status status = engine_->Flush().status(); !status.ok()) Fail(status);
  }
  ~Fixture() {
    engine_.reset();
    std::filesystem::remove_all(dir_);
  }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;

  static Fixture& Get() {
    static Fixture fixture;
    return fixture;
  }
  const Workload& workload() const { return workload_; }
  StateViewPtr View(uint64_t blocks_back) const {
    return *engine_->View(blocks_back == 0 ? BlockSelector(LatestBlock{}) : BlockSelector(number_ - blocks_back));
  }
  const StateEngine& engine() const { return *engine_; }

 private:
  static WorkloadSpec Spec() {
    WorkloadSpec spec;
    spec.accounts = kAccounts;
    return spec;
  }
  [[noreturn]] static void Fail(const absl::Status& status) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    std::exit(1);
  }
  void Apply(std::vector<AccountChange> changes) {
    BlockChanges block;
    block.number = ++number_;
    block.changes = std::move(changes);
    if (absl::Status status = engine_->Apply(std::move(block)).status(); !status.ok()) Fail(status);
  }

  const Workload workload_;
  const std::filesystem::path dir_;
  std::unique_ptr<StateEngine> engine_;
  uint64_t number_ = 0;
};

void BM_View(benchmark::State& state) {
  const StateEngine& engine = Fixture::Get().engine();
  for (auto _ : state) benchmark::DoNotOptimize(engine.View(LatestBlock{}));
}

// The argument of the following is how many blocks back the view is.
void BM_GetAccount(benchmark::State& state) {
  const Fixture& fixture = Fixture::Get();
  const StateViewPtr view = fixture.View(static_cast<uint64_t>(state.range(0)));
  Rng rng(7);
  for (auto _ : state) benchmark::DoNotOptimize(view->GetAccount(fixture.workload().Target(rng.Next())));
}

void BM_GetAccounts100(benchmark::State& state) {
  const Fixture& fixture = Fixture::Get();
  const StateViewPtr view = fixture.View(static_cast<uint64_t>(state.range(0)));
  Rng rng(7);
  std::vector<Address> addresses(100);
  for (auto _ : state) {
    for (Address& address : addresses) address = fixture.workload().Target(rng.Next());
    benchmark::DoNotOptimize(view->GetAccounts(addresses));
  }
  state.SetItemsProcessed(state.iterations() * 100);
}

void BM_GetProof(benchmark::State& state) {
  const Fixture& fixture = Fixture::Get();
  const StateViewPtr view = fixture.View(static_cast<uint64_t>(state.range(0)));
  Rng rng(9);
  for (auto _ : state) benchmark::DoNotOptimize(view->GetProof(fixture.workload().Target(rng.Next()), {}));
}

void BM_ComputeRoot1000(benchmark::State& state) {
  const Fixture& fixture = Fixture::Get();
  const StateViewPtr view = fixture.View(static_cast<uint64_t>(state.range(0)));
  BlockDraws draws(fixture.workload(), 11);
  const std::vector<AccountChange> changes = draws.Next();
  for (auto _ : state) benchmark::DoNotOptimize(view->ComputeRoot(changes, false));
}

BENCHMARK(BM_View);
BENCHMARK(BM_GetAccount)->Arg(0)->Arg(128);
BENCHMARK(BM_GetAccounts100)->Arg(0)->Arg(128);
BENCHMARK(BM_GetProof)->Arg(0)->Arg(128);
BENCHMARK(BM_ComputeRoot1000)->Arg(0)->Arg(128)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace mptd::bench
