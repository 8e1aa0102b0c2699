// AdminService, over TCP.
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "backup/manifest.h"
#include "core/types.h"
#include "tests/server/test_daemon.h"

namespace mptd {
namespace {

using ::testing::HasSubstr;
using Stub = pb::AdminService::Stub;
using grpc::StatusCode;

class AdminServiceTest : public testing::DaemonTest {
 protected:
  void SetUp() override {
    pb::ConfigEntry entry;
    entry.set_key("persistence.mode");
    entry.set_value("sync");
    entry.set_source("flag");
    options_.runtime.config.push_back(entry);
    Start();
  }
};

TEST_F(AdminServiceTest, StatusOfAnEmptyAndOfAFullDaemon) {
  pb::GetStatusResponse status;
  ASSERT_TRUE(Call(&Stub::GetStatus, pb::GetStatusRequest(), &status).ok());
  EXPECT_FALSE(status.has_blocks());
  EXPECT_FALSE(status.has_head());
  EXPECT_EQ(status.version(), "9.9");
  EXPECT_EQ(status.persistence_mode(), "sync");

  engine_->set_durable_lag(1);
  ApplyTo(3);
  ASSERT_TRUE(Call(&Stub::GetStatus, pb::GetStatusRequest(), &status).ok());
  EXPECT_TRUE(status.has_blocks());
  EXPECT_EQ(status.head().number(), 3u);
  EXPECT_FALSE(status.head().durable());
  EXPECT_EQ(status.durable_number(), 2u);
  EXPECT_EQ(status.oldest_served_number(), 1u);
  EXPECT_EQ(status.queue_blocks(), 4u);
  EXPECT_EQ(status.queue_bytes(), 5u);
  EXPECT_EQ(status.disk_bytes(), 6u);
  EXPECT_EQ(status.node_cache_bytes(), 7u);
  EXPECT_EQ(status.row_cache_bytes(), 8u);
  EXPECT_EQ(status.change_log_bytes(), 10u);
  EXPECT_EQ(status.format_version(), 1u);
  EXPECT_FALSE(status.read_only());
  engine_->set_read_only("a sync failed");
  ASSERT_TRUE(Call(&Stub::GetStatus, pb::GetStatusRequest(), &status).ok());
  EXPECT_TRUE(status.read_only());
  EXPECT_EQ(status.read_only_reason(), "a sync failed");
}

TEST_F(AdminServiceTest, FlushAnswersTheHead) {
  ApplyTo(2);
  pb::FlushResponse response;
  ASSERT_TRUE(Call(&Stub::Flush, pb::FlushRequest(), &response).ok());
  EXPECT_EQ(response.block().number(), 2u);
  EXPECT_TRUE(response.block().durable());
  EXPECT_EQ(engine_->flushes(), 1);
}

TEST_F(AdminServiceTest, Checkpoint) {
  ApplyTo(2);
  pb::CheckpointRequest request;
  pb::CheckpointResponse response;
  EXPECT_EQ(FieldOf(Call(&Stub::Checkpoint, request, &response)), "directory");
  request.set_directory("relative/path");
  EXPECT_EQ(FieldOf(Call(&Stub::Checkpoint, request, &response)), "directory");
  std::string scratch = (std::filesystem::temp_directory_path() / "mptd-admin-XXXXXX").string();
  ASSERT_NE(::mkdtemp(scratch.data()), nullptr);
  request.set_directory(scratch);
  EXPECT_EQ(Call(&Stub::Checkpoint, request, &response).error_code(), StatusCode::ALREADY_EXISTS);
  request.set_directory(scratch + "/new");
  request.set_verify(true);
  ASSERT_TRUE(Call(&Stub::Checkpoint, request, &response).ok());
  EXPECT_EQ(response.directory(), scratch + "/new");
  EXPECT_EQ(response.block().number(), 2u);
  EXPECT_EQ(response.files(), 2u);
  const absl::StatusOr<backup::Manifest> manifest = backup::ReadManifest(scratch + "/new");
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->block.number, 2u);
  EXPECT_EQ(manifest->daemon_version, "9.9");
  EXPECT_EQ(response.bytes(), manifest->bytes());
  std::filesystem::remove_all(scratch);
}

TEST_F(AdminServiceTest, Prune) {
  ApplyTo(10);
  pb::PruneRequest request;
  pb::PruneResponse response;
  EXPECT_EQ(FieldOf(Call(&Stub::Prune, request, &response)), "keep_blocks");
  request.set_keep_blocks(4);
  ASSERT_TRUE(Call(&Stub::Prune, request, &response).ok());
  EXPECT_EQ(response.pruned_blocks(), 5u);
  EXPECT_EQ(response.oldest_served_number(), 6u);
}

TEST_F(AdminServiceTest, VerifyEndsWithItsResult) {
  ApplyTo(2);
  grpc::ClientContext context;
  auto reader = admin_->Verify(&context, {});
  pb::VerifyResponse response;
  bool done = false;
  while (reader->Read(&response)) {
    EXPECT_FALSE(done) << "a message after the last";
    done = response.done();
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_TRUE(done);
  EXPECT_TRUE(response.ok());
  EXPECT_EQ(response.block().number(), 2u);
  EXPECT_EQ(response.accounts_checked(), 30u);
  EXPECT_EQ(response.slots_checked(), 60u);
  EXPECT_EQ(response.nodes_checked(), 90u);
  EXPECT_EQ(response.difference(), "");
}

TEST_F(AdminServiceTest, OneVerificationAtATimeAndItCanBeCancelled) {
  ApplyTo(1);
  engine_->set_verify_steps(1'000'000);
  grpc::ClientContext context;
  auto reader = admin_->Verify(&context, {});
  pb::VerifyResponse response;
  ASSERT_TRUE(reader->Read(&response));  // progress
  EXPECT_FALSE(response.done());
  EXPECT_GT(response.accounts_checked(), 0u);
  {
    grpc::ClientContext second;
    const grpc::Status refused = admin_->Verify(&second, {})->Finish();
    EXPECT_EQ(refused.error_code(), StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_THAT(refused.error_message(), HasSubstr("running already"));
  }
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::CANCELLED);
  engine_->set_verify_steps(1);
  EXPECT_TRUE(Eventually([&] {
    grpc::ClientContext again;
    auto next = admin_->Verify(&again, {});
    while (next->Read(&response)) {
    }
    return next->Finish().ok();
  }));
}

TEST_F(AdminServiceTest, ShutdownStopsAVerification) {
  ApplyTo(1);
  engine_->set_verify_steps(1'000'000);
  grpc::ClientContext context;
  auto reader = admin_->Verify(&context, {});
  pb::VerifyResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_TRUE(daemon_->Stop().ok());
  while (reader->Read(&response)) EXPECT_FALSE(response.done());
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::UNAVAILABLE);
}

TEST_F(AdminServiceTest, SetLogLevel) {
  pb::SetLogLevelRequest request;
  pb::SetLogLevelResponse response;
  EXPECT_EQ(FieldOf(Call(&Stub::SetLogLevel, request, &response)), "level");
  request.set_level("debug");
  request.set_module("nothing");
  EXPECT_EQ(FieldOf(Call(&Stub::SetLogLevel, request, &response)), "module");
  request.set_module("engine");
  ASSERT_TRUE(Call(&Stub::SetLogLevel, request, &response).ok());
  EXPECT_EQ(response.previous_level(), "off");
  EXPECT_EQ(log_->level(LogModule::kEngine), LogLevel::kDebug);
  EXPECT_EQ(log_->level(LogModule::kRpc), LogLevel::kOff);
  request.set_level("warn");
  request.clear_module();
  ASSERT_TRUE(Call(&Stub::SetLogLevel, request, &response).ok());
  EXPECT_EQ(log_->level(LogModule::kEngine), LogLevel::kWarn);
  EXPECT_EQ(log_->level(LogModule::kRpc), LogLevel::kWarn);
}

TEST_F(AdminServiceTest, GetMetrics) {
  ApplyTo(3);
  engine_->set_read_only("a sync failed");
  pb::GetMetricsResponse response;
  ASSERT_TRUE(Call(&Stub::GetMetrics, pb::GetMetricsRequest(), &response).ok());
  EXPECT_EQ(response.trie().state_root().size(), 32u);
  EXPECT_EQ(response.trie().total_accounts(), 11u);
  EXPECT_EQ(response.trie().total_nodes(), 50u);
  EXPECT_EQ(response.trie().dirty_nodes(), 15u);
  const pb::LatencySummary& update = response.performance().update_latency_ms();
  EXPECT_EQ(update.count(), 3u);
  EXPECT_GT(update.p50(), 0);
  EXPECT_GE(update.p999(), update.p50());
  EXPECT_GE(update.max(), update.avg());
  EXPECT_EQ(response.performance().batch_process_time_ms().count(), 3u);
  EXPECT_EQ(response.performance().root_compute_latency_ms().count(), 3u);
  EXPECT_EQ(response.performance().lookup_latency_ms().count(), 0u);
  EXPECT_GT(response.performance().throughput_ops_per_sec(), 0);
  EXPECT_EQ(response.cache().account_cache_hit_rate(), 0.75);
  EXPECT_EQ(response.cache().node_cache_hit_rate(), 0.9);
  EXPECT_EQ(response.cache().cache_size(), 18u);
  EXPECT_EQ(response.cache().cache_evictions(), 39u);
  EXPECT_EQ(response.cache().cache_memory_bytes(), 24u);
  EXPECT_EQ(response.persistence().pending_queue_depth(), 4u);
  EXPECT_EQ(response.persistence().disk_usage_bytes(), 6u);
  EXPECT_EQ(response.health().health_level(), "Critical");
  EXPECT_GT(response.health().memory_usage_percent(), 0);
  EXPECT_GT(response.health().last_state_update(), 0u);
  EXPECT_FALSE(response.health().state_corruption_detected());
}

TEST_F(AdminServiceTest, GetConfig) {
  pb::GetConfigResponse response;
  ASSERT_TRUE(Call(&Stub::GetConfig, pb::GetConfigRequest(), &response).ok());
  ASSERT_EQ(response.entries_size(), 1);
  EXPECT_EQ(response.entries(0).key(), "persistence.mode");
  EXPECT_EQ(response.entries(0).value(), "sync");
  EXPECT_EQ(response.entries(0).source(), "flag");
}

}  // namespace
}  // namespace mptd
