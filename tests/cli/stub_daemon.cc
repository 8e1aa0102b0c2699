#include "tests/cli/stub_daemon.h"

#include <grpcpp/ext/health_check_service_server_builder_option.h>
#include <grpcpp/health_check_service_interface.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace mptd::cli {
namespace {

std::string Bytes32(uint64_t last) { return std::string(31, '\0') + static_cast<char>(last); }

grpc::Status NotFound(const std::string& what) { return {grpc::StatusCode::NOT_FOUND, what}; }

}  // namespace

v1::Block StubBlock(uint64_t number) {
  v1::Block out;
  out.set_number(number);
  out.set_hash(Bytes32(number));
  if (number > 0) out.set_parent_hash(Bytes32(number - 1));
  out.set_state_root(Bytes32(number + 0x80));
  out.set_durable(true);
  return out;
}

std::string StubAddress() { return std::string(20, '\xaa'); }

v1::Account StubAccount() {
  v1::Account out;
  out.set_nonce(7);
  out.set_balance("\x14\xd1\x12\x0d\x7b\x16\x00\x00", 8);  // 1.5 ether
  out.set_storage_root(std::string(32, '\x01'));
  out.set_code_hash(std::string(32, '\x02'));
  return out;
}

grpc::Status StubState::Find(const v1::BlockRef& ref, v1::Block& out) {
  asked_block = ref;
  if (!refuse.ok()) return refuse;
  if (ref.has_number() && ref.number() > head)
    return {grpc::StatusCode::OUT_OF_RANGE, absl::StrCat("blocks 0 to ", head, " are served")};
  uint64_t number = ref.has_number() ? ref.number() : head;
  if (ref.has_hash() || ref.has_state_root()) {
    for (number = 0; number <= head; ++number) {
      const v1::Block block = StubBlock(number);
      if (ref.has_hash() ? block.hash() == ref.hash() : block.state_root() == ref.state_root()) break;
    }
    if (number > head) return NotFound("no such block");
  }
  out = StubBlock(number);
  return grpc::Status::OK;
}

grpc::Status StubState::GetBlock(Context*, const v1::GetBlockRequest* request, v1::GetBlockResponse* response) {
  const std::lock_guard lock(mutex);
  return Find(request->block(), *response->mutable_block());
}

grpc::Status StubState::GetStateRoot(Context*, const v1::GetStateRootRequest* request,
                                     v1::GetStateRootResponse* response) {
  const std::lock_guard lock(mutex);
  return Find(request->block(), *response->mutable_block());
}

grpc::Status StubState::GetAccount(Context*, const v1::GetAccountRequest* request, v1::GetAccountResponse* response) {
  const std::lock_guard lock(mutex);
  response->set_exists(request->address() == StubAddress());
  if (response->exists()) *response->mutable_account() = StubAccount();
  return Find(request->block(), *response->mutable_block());
}

grpc::Status StubState::GetAccounts(Context*, const v1::GetAccountsRequest* request,
                                    v1::GetAccountsResponse* response) {
  const std::lock_guard lock(mutex);
  for (const std::string& address : request->addresses()) {
    v1::AccountEntry& entry = *response->add_accounts();
    entry.set_address(address);
    entry.set_exists(address == StubAddress());
    if (entry.exists()) *entry.mutable_account() = StubAccount();
  }
  return Find(request->block(), *response->mutable_block());
}

grpc::Status StubState::GetStorage(Context*, const v1::GetStorageRequest* request, v1::GetStorageResponse* response) {
  const std::lock_guard lock(mutex);
  // Each slot holds its own key's last byte.
  for (const std::string& slot : request->slots()) response->add_values(slot.back() == '\0' ? "" : slot.substr(31));
  return Find(request->block(), *response->mutable_block());
}

grpc::Status StubState::GetCode(Context*, const v1::GetCodeRequest* request, v1::GetCodeResponse* response) {
  const std::lock_guard lock(mutex);
  asked = request->ShortDebugString();
  response->set_exists(request->address() == StubAddress() || request->code_hash() == StubAccount().code_hash());
  if (response->exists()) {
    response->set_code_hash(StubAccount().code_hash());
    response->set_code("\x60\x01");
  }
  return Find(request->block(), *response->mutable_block());
}

grpc::Status StubState::GetProof(Context*, const v1::GetProofRequest* request, v1::GetProofResponse* response) {
  const std::lock_guard lock(mutex);
  asked = request->ShortDebugString();
  v1::Block block;
  const grpc::Status status = Find(request->block(), block);
  *response = proof;
  return status;
}

grpc::Status StubState::GetMultiProof(Context*, const v1::GetMultiProofRequest* request,
                                      v1::GetMultiProofResponse* response) {
  const std::lock_guard lock(mutex);
  response->add_nodes("\x80\x01");
  response->add_nodes("\x80\x02\x03");
  for (const v1::ProofTarget& target : request->targets()) {
    v1::MultiProofAccount& entry = *response->add_accounts();
    entry.set_address(target.address());
    entry.set_exists(target.address() == StubAddress());
    if (entry.exists()) *entry.mutable_account() = StubAccount();
    for (const std::string& slot : target.slots()) entry.add_values(slot.substr(31));
  }
  return Find(request->block(), *response->mutable_block());
}

grpc::Status StubState::StreamBlocks(Context*, const v1::StreamBlocksRequest* request,
                                     Stream<v1::StreamBlocksResponse>* stream) {
  const std::lock_guard lock(mutex);
  asked_blocks = *request;
  if (!refuse.ok()) return refuse;
  for (uint64_t i = request->has_from_number() ? request->from_number() : head + 1; i <= head; ++i) {
    v1::StreamBlocksResponse item;
    *item.mutable_block() = StubBlock(i);
    if (!stream->Write(item)) return grpc::Status::CANCELLED;
  }
  v1::StreamBlocksResponse back;
  *back.mutable_block() = StubBlock(head - 1);
  back.set_rolled_back(true);
  if (!request->stop_at_head()) stream->Write(back);
  return grpc::Status::OK;
}

grpc::Status StubState::StreamAccounts(Context*, const v1::StreamAccountsRequest* request,
                                       Stream<v1::StreamAccountsResponse>* stream) {
  const std::lock_guard lock(mutex);
  int i = request->has_start_key() ? static_cast<uint8_t>(request->start_key().back()) : 0;
  for (; i < listed; ++pages_sent) {
    v1::StreamAccountsResponse page;
    const grpc::Status status = Find(request->block(), *page.mutable_block());
    if (!status.ok()) return status;
    for (uint32_t n = 0; n < request->page_size() && i < listed; ++n, ++i) {
      page.add_accounts()->set_key(Bytes32(static_cast<uint64_t>(i)));
      *page.mutable_accounts(static_cast<int>(n))->mutable_account() = StubAccount();
    }
    if (i < listed) page.set_next_key(Bytes32(static_cast<uint64_t>(i)));
    if (!stream->Write(page)) return grpc::Status::CANCELLED;
  }
  return grpc::Status::OK;
}

grpc::Status StubState::StreamStorage(Context*, const v1::StreamStorageRequest* request,
                                      Stream<v1::StreamStorageResponse>* stream) {
  const std::lock_guard lock(mutex);
  int i = request->has_start_key() ? static_cast<uint8_t>(request->start_key().back()) : 0;
  for (; i < listed; ++pages_sent) {
    v1::StreamStorageResponse page;
    const grpc::Status status = Find(request->block(), *page.mutable_block());
    if (!status.ok()) return status;
    for (uint32_t n = 0; n < request->page_size() && i < listed; ++n, ++i) {
      v1::HashedSlot& slot = *page.add_slots();
      slot.set_key(Bytes32(static_cast<uint64_t>(i)));
      slot.set_value("\x05");
    }
    if (i < listed) page.set_next_key(Bytes32(static_cast<uint64_t>(i)));
    if (!stream->Write(page)) return grpc::Status::CANCELLED;
  }
  return grpc::Status::OK;
}

grpc::Status StubState::Apply(const v1::ApplyStateChangesRequest& request, v1::ApplyStateChangesResponse& out) {
  if (!refuse.ok()) return refuse;
  if (request.number() >= refuse_from) {
    return {grpc::StatusCode::FAILED_PRECONDITION, "expected root 0x01, the changes give 0x02"};
  }
  applied.push_back(request);
  *out.mutable_block() = StubBlock(request.number());
  out.set_durable_number(request.number());
  out.set_accounts_changed(static_cast<uint64_t>(request.changes_size()));
  out.set_nodes_hashed(1234);
  return grpc::Status::OK;
}

grpc::Status StubState::ApplyStateChanges(Context*, const v1::ApplyStateChangesRequest* request,
                                          v1::ApplyStateChangesResponse* response) {
  const std::lock_guard lock(mutex);
  return Apply(*request, *response);
}

grpc::Status StubState::ApplyStateChangesStream(
    Context*,
    grpc::ServerReaderWriter<v1::ApplyStateChangesStreamResponse, v1::ApplyStateChangesStreamRequest>* stream) {
  const std::lock_guard lock(mutex);
  v1::ApplyStateChangesStreamRequest request;
  while (stream->Read(&request)) {
    v1::ApplyStateChangesStreamResponse response;
    const grpc::Status status = Apply(request.block(), *response.mutable_result());
    if (!status.ok()) return status;
    if (!stream->Write(response)) return grpc::Status::CANCELLED;
  }
  return grpc::Status::OK;
}

grpc::Status StubState::ComputeStateRoot(Context*, const v1::ComputeStateRootRequest* request,
                                         v1::ComputeStateRootResponse* response) {
  const std::lock_guard lock(mutex);
  asked = request->ShortDebugString();
  response->set_state_root(computed_root);
  return Find(request->block(), *response->mutable_block());
}

grpc::Status StubState::RollbackTo(Context*, const v1::RollbackToRequest* request, v1::RollbackToResponse* response) {
  const std::lock_guard lock(mutex);
  asked = request->ShortDebugString();
  return Find(request->block(), *response->mutable_block());
}

grpc::Status StubAdmin::GetStatus(Context*, const v1::GetStatusRequest*, v1::GetStatusResponse* response) {
  const std::lock_guard lock(state_.mutex);
  response->set_version("9.9.9");
  response->set_format_version(3);
  response->set_persistence_mode("batched");
  response->set_has_blocks(has_blocks);
  if (has_blocks) {
    *response->mutable_head() = StubBlock(state_.head);
    response->set_durable_number(state_.head - 1);
    response->set_flushed_number(state_.head - 2);
    response->set_oldest_served_number(3);
  }
  response->set_queue_blocks(2);
  response->set_queue_bytes(3 << 20);
  response->set_health_level(2);
  response->add_health_checks()->set_name("storage");
  v1::HealthCheck& queue = *response->add_health_checks();
  queue.set_name("queue");
  queue.set_state("degraded");
  queue.set_reason("it is full");
  return grpc::Status::OK;
}

grpc::Status StubAdmin::Flush(Context*, const v1::FlushRequest*, v1::FlushResponse* response) {
  const std::lock_guard lock(state_.mutex);
  *response->mutable_block() = StubBlock(state_.head);
  return grpc::Status::OK;
}

grpc::Status StubAdmin::Checkpoint(Context*, const v1::CheckpointRequest* request, v1::CheckpointResponse* response) {
  const std::lock_guard lock(state_.mutex);
  response->set_directory(request->directory());
  response->set_files(request->verify() ? 12 : 11);
  *response->mutable_block() = StubBlock(state_.head);
  return grpc::Status::OK;
}

grpc::Status StubAdmin::RotateKeys(Context*, const v1::RotateKeysRequest* request, v1::RotateKeysResponse* response) {
  if (request->rewrite_tables()) {
    return {grpc::StatusCode::FAILED_PRECONDITION, "the data is not encrypted, so that there is no key to rotate"};
  }
  response->set_master_key("0123456789abcdef");
  response->add_data_keys(1);
  if (request->new_data_key()) response->add_data_keys(2);
  response->set_data_key(static_cast<uint32_t>(response->data_keys_size()));
  return grpc::Status::OK;
}

grpc::Status StubAdmin::Prune(Context*, const v1::PruneRequest* request, v1::PruneResponse* response) {
  const std::lock_guard lock(state_.mutex);
  response->set_pruned_blocks(1500);
  response->set_oldest_served_number(request->keep_blocks());
  return grpc::Status::OK;
}

grpc::Status StubAdmin::Verify(Context*, const v1::VerifyRequest*, grpc::ServerWriter<v1::VerifyResponse>* stream) {
  const std::lock_guard lock(state_.mutex);
  v1::VerifyResponse progress;
  *progress.mutable_block() = StubBlock(state_.head);
  progress.set_accounts_checked(500);
  stream->Write(progress);
  progress.set_accounts_checked(1000);
  progress.set_done(true);
  progress.set_ok(whole);
  if (!whole) progress.set_difference("account_nodes 0x12: expected 0x01, found 0x02");
  stream->Write(progress);
  return grpc::Status::OK;
}

grpc::Status StubAdmin::SetLogLevel(Context*, const v1::SetLogLevelRequest* request,
                                    v1::SetLogLevelResponse* response) {
  const std::lock_guard lock(state_.mutex);
  asked = request->ShortDebugString();
  response->set_previous_level("info");
  return grpc::Status::OK;
}

grpc::Status StubAdmin::GetConfig(Context*, const v1::GetConfigRequest*, v1::GetConfigResponse* response) {
  const std::lock_guard lock(state_.mutex);
  const auto add = [&](const char* key, const char* value, const char* source, const char* where, bool runtime) {
    v1::ConfigEntry& entry = *response->add_entries();
    entry.set_key(key);
    entry.set_value(value);
    entry.set_source(source);
    entry.set_where(where);
    entry.set_runtime(runtime);
  };
  add("persistence.mode", "batched", "flag", "--persistence.mode", false);
  add("logging.level", "debug", "file", "mptd.yaml:3:10", true);
  add("pruning.keep_recent_states", "128", "default", "", true);
  return grpc::Status::OK;
}

grpc::Status StubAdmin::ReloadConfig(Context*, const v1::ReloadConfigRequest*, v1::ReloadConfigResponse* response) {
  const std::lock_guard lock(state_.mutex);
  if (!settings_problems.empty()) return {grpc::StatusCode::INVALID_ARGUMENT, settings_problems};
  *response = reloaded;
  return grpc::Status::OK;
}

grpc::Status StubAdmin::GetMetrics(Context*, const v1::GetMetricsRequest*, v1::GetMetricsResponse* response) {
  const std::lock_guard lock(state_.mutex);
  response->mutable_trie()->set_state_root(std::string(32, '\x42'));
  response->mutable_trie()->set_total_accounts(1234);
  v1::LatencySummary& lookup = *response->mutable_performance()->mutable_lookup_latency_ms();
  lookup.set_p999(1.5);
  lookup.set_count(2000);
  response->mutable_cache()->set_account_cache_hit_rate(0.75);
  response->mutable_persistence()->mutable_persistence_latency_ms()->set_p50(7.25);
  response->mutable_health()->set_health_level("Healthy");
  return grpc::Status::OK;
}

StubDaemon::StubDaemon() {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&state);
  builder.RegisterService(&admin);
  builder.SetMaxReceiveMessageSize(-1);
  server_ = builder.BuildAndStart();
  address_ = absl::StrCat("127.0.0.1:", port);
}

StubDaemon::~StubDaemon() { server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(2)); }

void StubDaemon::HandOver() { const std::lock_guard lock(state.mutex); }

void StubDaemon::SetServing(bool serving) { server_->GetHealthCheckService()->SetServingStatus(serving); }

}  // namespace mptd::cli
