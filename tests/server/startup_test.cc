#include "server/startup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/hex.h"
#include "tests/server/fake_engine.h"

namespace mptd {
namespace {

using testing::FakeEngine;
using ::testing::HasSubstr;

config::Loaded Load(std::vector<const char*> flags) {
  flags.insert(flags.begin(), "mptd");
  const char* const environment[] = {nullptr};
  const auto loaded = config::Load(static_cast<int>(flags.size()), flags.data(), environment, "9.9");
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return *loaded;
}

TEST(StartupTest, SettingsOfHealthAndOfTheLogFileArrive) {
  const auto loaded = Load({"--data-dir=/d", "--persistence.queue_bytes=11MiB", "--health.check_interval=1s",
                            "--health.check_timeout=2s", "--health.min_free_disk_bytes=3MiB",
                            "--health.max_memory_percent=4", "--health.max_sync_age=5s", "--server.drain_delay=6s",
                            "--logging.max_file_bytes=7MiB", "--logging.keep_files=8"});
  const DaemonOptions out = ToDaemonOptions(loaded, "9.9");
  EXPECT_EQ(out.health.data_dir, "/d");
  EXPECT_EQ(out.health.queue_limit_bytes, 11u << 20);
  EXPECT_EQ(out.health.interval, absl::Seconds(1));
  EXPECT_EQ(out.health.timeout, absl::Seconds(2));
  EXPECT_EQ(out.health.min_free_disk_bytes, 3u << 20);
  EXPECT_EQ(out.health.max_memory_percent, 4u);
  EXPECT_EQ(out.health.max_sync_age, absl::Seconds(5));
  EXPECT_EQ(out.drain_delay, absl::Seconds(6));
  EXPECT_EQ(ToLogOptions(loaded.settings).max_file_bytes, 7u << 20);
  EXPECT_EQ(ToLogOptions(loaded.settings).keep_files, 8u);
}

TEST(StartupTest, EveryEngineSettingArrives) {
  const auto loaded = Load(
      {"--data-dir=/d", "--persistence.mode=async", "--persistence.batch_timeout_ms=7ms", "--persistence.batch_size=8",
       "--persistence.enable_compression=true", "--persistence.flush_blocks=9", "--persistence.flush_interval=10s",
       "--persistence.queue_bytes=11MiB", "--persistence.log_segment_bytes=12MiB", "--cache.node_cache_bytes=13MiB",
       "--cache.row_cache_bytes=14MiB", "--cache.block_cache_bytes=15MiB", "--cache.history_memory_bytes=16MiB",
       "--pruning.enable_pruning=false", "--pruning.keep_recent_states=17", "--pruning.pruning_interval_blocks=18",
       "--performance.worker_threads=19", "--limits.max_accounts_per_transition=20",
       "--limits.max_storage_slots_per_account=21"});
  const auto log = Logger::Silent();
  EngineWatch watch(*log);
  const EngineOptions out = ToEngineOptions(loaded.settings, watch);
  EXPECT_EQ(out.data_dir, "/d");
  EXPECT_EQ(out.durability, Durability::kAsync);
  EXPECT_EQ(out.batch_timeout, absl::Milliseconds(7));
  EXPECT_EQ(out.batch_size, 8u);
  EXPECT_EQ(out.compression, TableCompression::kZstd);
  EXPECT_EQ(out.flush_blocks, 9u);
  EXPECT_EQ(out.flush_interval, absl::Seconds(10));
  EXPECT_EQ(out.queue_bytes, 11u << 20);
  EXPECT_EQ(out.log_segment_bytes, 12u << 20);
  EXPECT_EQ(out.node_cache_bytes, 13u << 20);
  EXPECT_EQ(out.row_cache_bytes, 14u << 20);
  EXPECT_EQ(out.block_cache_bytes, 15u << 20);
  EXPECT_EQ(out.history_memory_bytes, 16u << 20);
  EXPECT_TRUE(out.archive);
  EXPECT_EQ(out.keep_blocks, 17u);
  EXPECT_EQ(out.prune_interval_blocks, 18u);
  EXPECT_EQ(out.worker_threads, 19);
  EXPECT_EQ(out.max_changes_per_block, 20u);
  EXPECT_EQ(out.max_slots_per_account, 21u);
  out.on_event({.kind = EngineEvent::Kind::kCorruption, .a = 0, .b = 0, .duration = {}, .text = ""});
  EXPECT_EQ(watch.HealthLevel({}), 0);
}

TEST(StartupTest, EveryServerSettingArrives) {
  const auto loaded =
      Load({"--listen=127.0.0.1:1,unix:/s", "--http-listen=off", "--server.max_message_bytes=1MiB",
            "--server.max_concurrent_calls=5", "--server.default_deadline=6s", "--server.shutdown_grace=7s",
            "--logging.slow_call_ms=8ms", "--persistence.mode=sync", "--logging.format=json", "--logging.level=debug",
            "--backup.dir=/b", "--backup.interval=9s", "--backup.keep=10"});
  const DaemonOptions out = ToDaemonOptions(loaded, "9.9");
  EXPECT_EQ(out.version, "9.9");
  EXPECT_EQ(out.persistence_mode, "sync");
  EXPECT_EQ(out.grpc.listen, (std::vector<std::string>{"127.0.0.1:1", "unix:/s"}));
  EXPECT_EQ(out.grpc.max_message_bytes, 1u << 20);
  EXPECT_EQ(out.grpc.max_calls_per_connection, 1024u);
  EXPECT_EQ(out.http_listen, "");
  EXPECT_EQ(out.limits.max_message_bytes, 1u << 20);
  EXPECT_EQ(out.limits.max_concurrent_calls, 5u);
  EXPECT_EQ(out.limits.default_deadline, absl::Seconds(6));
  EXPECT_EQ(out.limits.slow_call, absl::Milliseconds(8));
  EXPECT_EQ(out.shutdown_grace, absl::Seconds(7));
  EXPECT_EQ(out.backup.dir, "/b");
  EXPECT_EQ(out.backup.interval, absl::Seconds(9));
  EXPECT_EQ(out.backup.keep, 10u);
  bool found = false;
  for (const pb::ConfigEntry& entry : out.runtime.config) {
    if (entry.key() != "persistence.mode") continue;
    found = true;
    EXPECT_EQ(entry.value(), "sync");
    EXPECT_EQ(entry.source(), "flag");
  }
  EXPECT_TRUE(found);
  EXPECT_EQ(ToLogOptions(loaded.settings).format, "json");
  EXPECT_EQ(ToLogOptions(loaded.settings).level, "debug");
  const DaemonOptions defaults = ToDaemonOptions(Load({}), "1");
  EXPECT_EQ(defaults.http_listen, "127.0.0.1:7301");
  EXPECT_EQ(defaults.drain_delay, absl::ZeroDuration());
}

// The roots that came with the networks' allocations are go-ethereum's.
TEST(GenesisTest, RootsOfTheKnownNetworks) {
  for (const std::string_view name : GenesisNetworks()) {
    const auto genesis = LoadGenesis(name);
    ASSERT_TRUE(genesis.ok()) << genesis.status();
    ASSERT_TRUE(genesis->state_root.has_value()) << name;
    EXPECT_EQ(ToHex(GenesisRoot(*genesis)), ToHex(*genesis->state_root)) << name;
  }
}

TEST(GenesisTest, RootOfNoAccounts) { EXPECT_EQ(GenesisRoot({}), kEmptyRoot); }

class StartFromGenesisTest : public ::testing::Test {
 protected:
  static Genesis Small(uint64_t balance) {
    Genesis out;
    out.name = "small";
    AccountChange& change = out.changes.emplace_back();
    change.nonce = 0;
    change.balance = U256::FromUint64(balance);
    return out;
  }
  absl::Status Start(Genesis genesis) { return StartFromGenesis(engine_, std::move(genesis), *log_); }

  std::unique_ptr<Logger> log_ = Logger::Silent();
  FakeEngine engine_;
};

TEST_F(StartFromGenesisTest, AnEmptyChainGetsItAndKeepsIt) {
  Genesis genesis = Small(0);  // an empty account, which is kept
  ASSERT_TRUE(Start(genesis).ok());
  const EngineStatus status = engine_.Status();
  EXPECT_TRUE(status.has_blocks);
  EXPECT_EQ(status.head.number, 0u);
  EXPECT_NE(status.head.state_root, kEmptyRoot);
  EXPECT_EQ(engine_.flushes(), 1);
  genesis.state_root = status.genesis_root;  // the fake's roots are its own
  EXPECT_TRUE(Start(genesis).ok());
  EXPECT_EQ(engine_.flushes(), 1);
}

TEST_F(StartFromGenesisTest, AnotherGenesisIsRefusedWithBothRoots) {
  ASSERT_TRUE(Start(Small(1)).ok());
  const absl::Status status = Start(Small(2));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr(ToHex(*engine_.Status().genesis_root)));
  EXPECT_THAT(std::string(status.message()), HasSubstr(ToHex(GenesisRoot(Small(2)))));
}

TEST_F(StartFromGenesisTest, AChainWithoutGenesisIsRefused) {
  BlockChanges block;
  block.number = 5;
  ASSERT_TRUE(engine_.Apply(block, absl::InfiniteFuture(), {}).ok());
  EXPECT_THAT(std::string(Start(Small(1)).message()), HasSubstr("does not start from a genesis"));
}

TEST_F(StartFromGenesisTest, AWrongExpectedRootIsRefused) {
  Genesis genesis = Small(1);
  genesis.state_root = kEmptyRoot;
  EXPECT_EQ(Start(genesis).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(engine_.Status().has_blocks);
}

}  // namespace
}  // namespace mptd
