// The benchmark itself: its workload against known draws and the naive model, a whole small run, and what it prints.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "bench/daemon_settings.h"
#include "bench/measure.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/run.h"
#include "bench/target.h"
#include "bench/workload.h"
#include "core/hex.h"
#include "nlohmann/json.hpp"
#include "tests/engine/engine_testing.h"

namespace mptd::bench {
namespace {

using mptd::testing::TempDir;

// The outputs for seed 0 that Sebastiano Vigna's splitmix64.c is known by.
TEST(RngTest, IsSplitmix64) {
  Rng rng(0);
  EXPECT_EQ(rng.Next(), 0xe220a8397b1dcdafu);
  EXPECT_EQ(rng.Next(), 0x6e789e6aa1b965f4u);
  EXPECT_EQ(rng.Next(), 0x06c45d188009454fu);
}

TEST(WorkloadTest, AddressesAreLittleEndianDraws) {
  EXPECT_EQ(ToHex(AddressOf(0)), "0xafcd1d7b39a820e2f465b9a16a9e786e4f450980");
}

TEST(WorkloadTest, BalancesDoNotWrap) {
  EXPECT_EQ(ToHexQuantity(BalanceOf(0)), "0xde0b6b3a7640000");
  EXPECT_EQ(ToHexQuantity(BalanceOf(UINT64_MAX)), "0x10de0b6b3a763ffff");
}

WorkloadSpec SmallSpec(Profile profile) {
  WorkloadSpec spec;
  spec.profile = profile;
  spec.accounts = 700;
  spec.updates = 60;
  spec.slots = 500;
  spec.contracts = 90;
  spec.contract_slots = 4;
  spec.preload_block = 150;
  return spec;
}

void ApplyChanges(model::NaiveState& state, std::vector<AccountChange> changes) {
  BlockChanges block;
  block.changes = std::move(changes);
  mptd::testing::ApplyToModel(state, block);
}

// Of the preload and `blocks` more, by the model.
Hash ModelRoot(const WorkloadSpec& spec, uint64_t blocks) {
  const Workload workload(spec);
  BlockDraws draws(workload, 42);
  model::NaiveState state;
  for (uint64_t i = 0; i < workload.preload_blocks() + blocks; ++i) {
    ApplyChanges(state, i < workload.preload_blocks() ? workload.Preload(i) : draws.Next());
  }
  return state.Root();
}

TEST(WorkloadTest, RestoringDrawsGiveThePreloadBack) {
  for (const Profile profile : {Profile::kAccounts, Profile::kOneContract, Profile::kManyContracts}) {
    const Workload workload(SmallSpec(profile));
    model::NaiveState state;
    for (uint64_t i = 0; i < workload.preload_blocks(); ++i) {
      ApplyChanges(state, workload.Preload(i));
    }
    const Hash before = state.Root();
    BlockDraws change(workload, 43);
    BlockDraws restore(workload, 43, BlockDraws::Values::kPreload);
    ApplyChanges(state, change.Next());
    EXPECT_NE(state.Root(), before);
    ApplyChanges(state, restore.Next());
    EXPECT_EQ(state.Root(), before);
  }
}

TEST(WorkloadTest, KnowsThePublishedRoots) {
  WorkloadSpec spec;
  EXPECT_TRUE(PublishedPreloadRoot(spec));
  EXPECT_TRUE(PublishedRoot(spec, 300));
  EXPECT_FALSE(PublishedRoot(spec, 299));
  spec.profile = Profile::kOneContract;
  EXPECT_FALSE(PublishedPreloadRoot(spec));
  EXPECT_FALSE(PublishedRoot(spec, 300));
}

std::string Mptd() { return std::string(std::getenv("MPTD_BIN")) + "/mptd"; }

class RunTest : public ::testing::TestWithParam<Profile> {};

// All phases of a run, and the root against the model's.
TEST_P(RunTest, HasTheModelsRootAndAllFigures) {
  const TempDir dir;
  BenchOptions options;
  options.workload = SmallSpec(GetParam());
  options.engine.data_dir = dir.path() + "/bench";
  options.blocks = 12;
  options.warmup = 2;
  options.settle = true;
  options.reads = 400;
  options.proofs = 50;
  options.root_calls = 4;
  options.beside_blocks = 3;
  options.mptd = Mptd();
  options.engine.queue_bytes = 1u << 20;
  options.quiet = true;
  bench::Run run(options);
  ASSERT_EQ(run.Measure(), absl::OkStatus());
  const nlohmann::json record = nlohmann::json::parse(run.report().Json());
  EXPECT_EQ(record["root"], ToHex(ModelRoot(options.workload, options.blocks)));
  // With those beside the reader, after the restart and before the kill.
  EXPECT_EQ(run.root(), ModelRoot(options.workload, options.blocks + 5 + record["kill_blocks"].get<uint64_t>()));
  EXPECT_GE(record["kill_queue_mb"].get<double>() * 1e6, options.engine.queue_bytes);
  EXPECT_EQ(record["block_ms"].size(), options.blocks);
  EXPECT_EQ(record["last_block_nodes"], record["last_block_nodes_hashed"]);
  EXPECT_GT(record["restart_s"], record["open_s"]);
  EXPECT_GT(record["kill_restart_s"], record["kill_open_s"]);
  for (const char* key :
       {"preload_s", "updates_per_s", "read_warm_per_s", "proof_warm_per_s", "root_p50_ms", "open_s", "cold_block_ms",
        "kill_blocks", "kill_open_s", "kill_peak_mb", "disk_compacted_mb", "hash_floor_ms", "empty_mb", "peak_mb"}) {
    EXPECT_GT(record[key].get<double>(), 0) << key;
  }
  EXPECT_FALSE(std::filesystem::exists(options.engine.data_dir));
}

BenchOptions TinyRun(const TempDir& dir) {
  BenchOptions options;
  options.workload = SmallSpec(Profile::kAccounts);
  options.engine.data_dir = dir.path() + "/bench";
  options.engine.queue_bytes = 1u << 20;
  options.mptd = Mptd();
  options.blocks = 3;
  options.reads = options.proofs = options.root_calls = 0;
  options.quiet = true;
  return options;
}

TEST(RunKillTest, TheDaemonItselfIsKilledAndRestarted) {
  const TempDir dir;
  BenchOptions options = TinyRun(dir);
  options.target = TargetKind::kUnix;
  options.engine.durability = Durability::kSync;
  bench::Run run(options);
  ASSERT_EQ(run.Measure(), absl::OkStatus());
  const nlohmann::json record = nlohmann::json::parse(run.report().Json());
  EXPECT_GT(record["kill_blocks"], 0);
  EXPECT_EQ(run.root(), ModelRoot(options.workload, options.blocks + 2 + record["kill_blocks"].get<uint64_t>()));
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(RunKillTest, IsLeftOut) {
  const TempDir dir;
  BenchOptions options = TinyRun(dir);
  options.kill = false;
  options.mptd = "/nonexistent";
  bench::Run run(options);
  ASSERT_EQ(run.Measure(), absl::OkStatus());
  EXPECT_FALSE(nlohmann::json::parse(run.report().Json()).contains("kill_restart_s"));
}

TEST(RunKillTest, SaysThatThereIsNoDaemonToKill) {
  const TempDir dir;
  BenchOptions options = TinyRun(dir);
  options.mptd = "/nonexistent";
  bench::Run run(options);
  EXPECT_EQ(run.Measure().code(), absl::StatusCode::kNotFound);
}

TEST(TargetTest, ADaemonThatGoesWhileOpenIsKilled) {
  const TempDir dir;
  BenchOptions options = TinyRun(dir);
  options.target = TargetKind::kUnix;
  options.engine.flush_interval = absl::Hours(1);
  std::unique_ptr<Target> target = MakeTarget(options);
  ASSERT_EQ(target->Open(), absl::OkStatus());
  BlockChanges block;
  block.number = 1;
  block.changes = Workload(options.workload).Preload(0);
  const absl::StatusOr<BlockReply> reply = target->Apply(target->PrepareBlock(std::move(block)));
  ASSERT_EQ(reply.status(), absl::OkStatus());
  target.reset();
  // A daemon that was stopped leaves nothing to recover.
  uint64_t recovered = 0;
  options.engine.on_event = [&](const EngineEvent& event) {
    if (event.kind == EngineEvent::Kind::kRecovered) recovered = event.a;
  };
  const std::unique_ptr<Target> engine = MakeEngineTarget(options.engine);
  ASSERT_EQ(engine->Open(), absl::OkStatus());
  EXPECT_EQ(recovered, 1);
  EXPECT_EQ(engine->GetHead()->root, reply->root);
}

TEST(OptionsTest, KillIsOnUnlessRefused) {
  int exit_code = 0;
  std::string words[] = {"mptd-bench", "--no-kill"};
  char* arguments[] = {words[0].data(), words[1].data()};
  EXPECT_TRUE(ParseOptions(1, arguments, exit_code)->kill);
  EXPECT_FALSE(ParseOptions(2, arguments, exit_code)->kill);
}

// By blocks and again as a snapshot: the run itself compares the two roots, and its blocks go on from the second.
TEST_P(RunTest, ImportsThePreload) {
  const TempDir dir;
  BenchOptions options;
  options.workload = SmallSpec(GetParam());
  options.engine.data_dir = dir.path() + "/bench";
  options.preload = PreloadKind::kBoth;
  options.blocks = 3;
  options.reads = options.proofs = options.root_calls = options.beside_blocks = 0;
  options.kill = false;
  options.quiet = true;
  bench::Run run(options);
  ASSERT_EQ(run.Measure(), absl::OkStatus());
  const nlohmann::json record = nlohmann::json::parse(run.report().Json());
  EXPECT_EQ(record["preload_root"], ToHex(ModelRoot(options.workload, 0)));
  EXPECT_EQ(record["root"], ToHex(ModelRoot(options.workload, 3)));
  for (const char* key : {"preload_s", "import_s", "import_accounts_per_s", "import_floor_s"}) {
    EXPECT_GT(record[key].get<double>(), 0) << key;
  }
}

std::optional<BenchOptions> Parsed(std::vector<std::string> words) {
  words.insert(words.begin(), "mptd-bench");
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  int exit_code = 0;
  std::optional<BenchOptions> options = ParseOptions(static_cast<int>(arguments.size()), arguments.data(), exit_code);
  EXPECT_EQ(exit_code, options ? 0 : 2);
  return options;
}

TEST(OptionsTest, APresetDecidesWhatIsNotGiven) {
  const auto options = Parsed({"--target", "unix", "--preset", "archival", "--queue-bytes", "1MB"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->engine.durability, Durability::kSync);
  EXPECT_EQ(options->engine.compression, TableCompression::kZstd);
  EXPECT_EQ(options->engine.queue_bytes, 1u << 20);
  EXPECT_THAT(DaemonFlags(*options),
              ::testing::ElementsAre("--logging.level=warn", "--data-dir=./mptd-bench-data/mptd-bench",
                                     "--preset=archival", "--persistence.queue_bytes=1048576"));
  EXPECT_THAT(DaemonFlags(*Parsed({"--target", "unix"})),
              ::testing::AllOf(::testing::Contains("--persistence.mode=batched"),
                               ::testing::Contains("--pruning.keep_recent_states=128")));
}

TEST(OptionsTest, RefusesAPresetThatNoDaemonWouldTake) {
  EXPECT_FALSE(Parsed({"--preset", "archival"}));
  EXPECT_FALSE(Parsed({"--target", "tcp", "--preset", "fast"}));
  EXPECT_FALSE(Parsed({"--target", "tcp", "--preset", "low_memory", "--node-cache-bytes", "1GB"}));
}

TEST(PresetTest, TheDaemonRunsWithIt) {
  const TempDir dir;
  BenchOptions options = TinyRun(dir);
  options.target = TargetKind::kUnix;
  options.preset = "low_memory";
  options.engine.queue_bytes = 1u << 20;
  options.given = {"persistence.queue_bytes"};
  options.blocks = 40;
  ASSERT_EQ(TakePreset(options), absl::OkStatus());
  bench::Run run(options);
  ASSERT_EQ(run.Measure(), absl::OkStatus());
  const nlohmann::json record = nlohmann::json::parse(run.report().Json());
  EXPECT_EQ(record["preset"], "low_memory");
  EXPECT_EQ(record["history_blocks"], 32);
  EXPECT_LT(record["cache_limit_mb"], 300);
  EXPECT_GT(record["kill_blocks"], 0);
}

INSTANTIATE_TEST_SUITE_P(Profiles, RunTest,
                         ::testing::Values(Profile::kAccounts, Profile::kOneContract, Profile::kManyContracts));

TEST(LatenciesTest, Percentiles) {
  Latencies latencies;
  EXPECT_EQ(latencies.Percentile(0.5), 0);
  for (const int value : {5, 1, 4, 2, 3}) latencies.Add(value);
  EXPECT_EQ(latencies.Percentile(0), 1);
  EXPECT_EQ(latencies.Percentile(0.5), 3);
  EXPECT_EQ(latencies.Percentile(1), 5);
}

TEST(ReportTest, TableAndJson) {
  Report report;
  report.Add("a", "first", "s", 0.01234);
  report.Add("b", "a longer name", "/s", 1234567.8);
  report.Add("c", "text", "words");
  report.AddSeries("d", {1, 2.5});
  EXPECT_EQ(report.Table(),
            "first                0.0123 s\n"
            "a longer name     1,234,568 /s\n"
            "text           words\n");
  EXPECT_EQ(report.Json(), R"({"a":0.01234,"b":1234567.8,"c":"words","d":[1.0,2.5]})");
}

TEST(MeasureTest, KnowsThisProcess) {
  EXPECT_GT(PeakMemoryBytes(getpid()), uint64_t{1} << 20);
  EXPECT_GE(CpuSeconds(getpid()), 0);
  EXPECT_EQ(DiskBytes("/nonexistent"), 0);
}

}  // namespace
}  // namespace mptd::bench
