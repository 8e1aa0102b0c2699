#include "server/admin_service.h"

#include <atomic>
#include <utility>

#include "core/errors.h"
#include "mptd/v1/admin.grpc.pb.h"
#include "server/converters.h"
#include "server/streams.h"
#include "server/unary.h"

namespace mptd {
namespace {

using grpc::ByteBuffer;
using Context = grpc::CallbackServerContext;
using Unary = grpc::ServerUnaryReactor;
using Stub = pb::AdminService;

// clang-format off
using RawAdminService =
    Stub::WithRawCallbackMethod_GetStatus<
    Stub::WithRawCallbackMethod_Flush<
    Stub::WithRawCallbackMethod_Checkpoint<
    Stub::WithRawCallbackMethod_Prune<
    Stub::WithRawCallbackMethod_Verify<
    Stub::WithRawCallbackMethod_SetLogLevel<
    Stub::WithRawCallbackMethod_GetConfig<
    Stub::WithRawCallbackMethod_GetMetrics<
    Stub::WithRawCallbackMethod_ReloadConfig<
    Stub::WithRawCallbackMethod_RotateKeys<
    Stub::Service>>>>>>>>>>;
// clang-format on

class AdminServiceImpl final : public RawAdminService {
 public:
  AdminServiceImpl(Rpc& rpc, AdminOptions options) : rpc_(rpc), options_(std::move(options)) {}

  Unary* GetStatus(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return RunInline<pb::GetStatusRequest, pb::GetStatusResponse>(
        rpc_, Method::kGetStatus, c, in, out, [this](const auto&, auto& response) { return DoGetStatus(response); });
  }
  Unary* Flush(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return RunOnPool<pb::FlushRequest, pb::FlushResponse>(
        rpc_, rpc_.operators(), Method::kFlush, c, in, out,
        [this](const auto&, auto& response) { return Answer(rpc_.engine().Flush(), response.mutable_block()); });
  }
  Unary* Checkpoint(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return RunOnPool<pb::CheckpointRequest, pb::CheckpointResponse>(
        rpc_, rpc_.operators(), Method::kCheckpoint, c, in, out,
        [this](const auto& request, auto& response) { return DoCheckpoint(request, response); });
  }
  Unary* Prune(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return RunOnPool<pb::PruneRequest, pb::PruneResponse>(
        rpc_, rpc_.operators(), Method::kPrune, c, in, out,
        [this](const auto& request, auto& response) { return DoPrune(request, response); });
  }
  WriteReactor* Verify(Context* c, const ByteBuffer* in) override {
    return StartVerifyStream(rpc_, c, *in, verifying_);
  }
  Unary* SetLogLevel(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return RunInline<pb::SetLogLevelRequest, pb::SetLogLevelResponse>(
        rpc_, Method::kSetLogLevel, c, in, out, [this](const auto& request, auto& response) {
          absl::StatusOr<std::string> previous = options_.set_log_level(request.level(), request.module());
          if (!previous.ok()) return previous.status();
          response.set_previous_level(*std::move(previous));
          return absl::OkStatus();
        });
  }
  Unary* GetConfig(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return RunInline<pb::GetConfigRequest, pb::GetConfigResponse>(
        rpc_, Method::kGetConfig, c, in, out, [this](const auto&, auto& response) {
          const std::vector<pb::ConfigEntry> config = options_.config();
          response.mutable_entries()->Add(config.begin(), config.end());
          return absl::OkStatus();
        });
  }
  Unary* GetMetrics(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return RunOnPool<pb::GetMetricsRequest, pb::GetMetricsResponse>(rpc_, rpc_.operators(), Method::kGetMetrics, c, in,
                                                                    out, [this](const auto&, auto& response) {
                                                                      response = options_.metrics();
                                                                      return absl::OkStatus();
                                                                    });
  }
  Unary* ReloadConfig(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return RunOnPool<pb::ReloadConfigRequest, pb::ReloadConfigResponse>(
        rpc_, rpc_.operators(), Method::kReloadConfig, c, in, out, [this](const auto&, auto& response) {
          absl::StatusOr<pb::ReloadConfigResponse> done = options_.reload_config();
          if (!done.ok()) return done.status();
          response = *std::move(done);
          return absl::OkStatus();
        });
  }

  Unary* RotateKeys(Context* c, const ByteBuffer* in, ByteBuffer* out) override {
    return RunOnPool<pb::RotateKeysRequest, pb::RotateKeysResponse>(
        rpc_, rpc_.operators(), Method::kRotateKeys, c, in, out,
        [this](const auto& request, auto& response) { return DoRotateKeys(request, response); });
  }

 private:
  absl::Status Answer(const absl::StatusOr<BlockInfo>& block, pb::Block* out) {
    if (block.ok()) FillBlock(*block, rpc_.engine().IsDurable(block->number), out);
    return block.status();
  }

  absl::Status DoGetStatus(pb::GetStatusResponse& response) {
    const EngineStatus status = rpc_.engine().Status();
    const DaemonFacts facts{
        .version = options_.version, .persistence_mode = options_.persistence_mode, .uptime = absl::Now() - started_};
    FillStatus(status, rpc_.engine().IsDurable(status.head.number), facts, &response);
    FillHealth(options_.health(), &response);
    if (const auto head = options_.audit_head(); head.has_value()) {
      response.set_audit_lines(head->seq);
      response.set_audit_head(head->hash);
    }
    return absl::OkStatus();
  }

  absl::Status DoCheckpoint(const pb::CheckpointRequest& request, pb::CheckpointResponse& response) {
    if (!request.directory().starts_with('/')) return InvalidField("directory", "must be an absolute path");
    const absl::StatusOr<backup::Manifest> made = options_.make_checkpoint(request.directory(), request.verify());
    if (!made.ok()) return made.status();
    response.set_directory(request.directory());
    response.set_files(made->files.size());
    response.set_bytes(made->bytes());
    FillBlock(made->block, /*durable=*/true, response.mutable_block());
    return absl::OkStatus();
  }

  absl::Status DoRotateKeys(const pb::RotateKeysRequest& request, pb::RotateKeysResponse& response) {
    const absl::StatusOr<KeyReport> report =
        options_.rotate_keys({.new_data_key = request.new_data_key(), .rewrite_tables = request.rewrite_tables()});
    if (!report.ok()) return report.status();
    response.set_master_key(report->master_key);
    response.set_data_key(report->data_key);
    response.mutable_data_keys()->Add(report->data_keys.begin(), report->data_keys.end());
    return absl::OkStatus();
  }

  absl::Status DoPrune(const pb::PruneRequest& request, pb::PruneResponse& response) {
    // What a client sends who has forgotten the field.
    if (request.keep_blocks() == 0) return InvalidField("keep_blocks", "must be at least 1");
    const absl::StatusOr<uint64_t> pruned = rpc_.engine().Prune(request.keep_blocks());
    if (!pruned.ok()) return pruned.status();
    response.set_pruned_blocks(*pruned);
    response.set_oldest_served_number(rpc_.engine().Status().oldest_served_number);
    return absl::OkStatus();
  }

  Rpc& rpc_;
  const AdminOptions options_;
  const absl::Time started_ = absl::Now();
  std::atomic<bool> verifying_{false};
};

}  // namespace

std::unique_ptr<grpc::Service> MakeAdminService(Rpc& rpc, AdminOptions options) {
  return std::make_unique<AdminServiceImpl>(rpc, std::move(options));
}

}  // namespace mptd
