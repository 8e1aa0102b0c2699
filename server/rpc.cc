#include "server/rpc.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "absl/strings/str_format.h"
#include "core/errors.h"
#include "core/hex.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "grpcpp/support/slice.h"

namespace mptd {
namespace {

constexpr size_t kOperatorThreads = 3;
constexpr size_t kOperatorsWaiting = 8;

}  // namespace

CallMetrics MakeCallMetrics() {
  std::vector<std::string> methods(kMethodNames.begin(), kMethodNames.end());
  std::vector<std::string> codes;
  codes.reserve(CallMetrics::kCodes);
  for (int code = 0; code < static_cast<int>(CallMetrics::kCodes); ++code) {
    codes.push_back(absl::StatusCodeToString(static_cast<absl::StatusCode>(code)));
  }
  return {std::move(methods), std::move(codes)};
}

Rpc::Rpc(StateEngine& engine, Logger& log, CallMetrics& metrics, AccessControl& access, RpcLimits limits)
    : engine_(engine),
      log_(log),
      metrics_(metrics),
      access_(access),
      limits_(limits),
      events_(engine, log),
      calls_(engine, blocks_, events_, limits.caller),
      slow_call_ns_(absl::ToInt64Nanoseconds(limits.slow_call)),
      memory_(engine, log, ResidentMemoryBytes, GiveBackFreeMemory),
      pinned_views_(limits.caller.pinned_views),
      root_calls_(limits.caller.root_calls),
      root_changes_(limits.caller.root_changes),
      streams_(engine, limits.caller.streams),
      readers_("mptd-read", limits.read_threads, limits.max_waiting_calls),
      writers_("mptd-write", limits.write_threads, limits.max_waiting_calls),
      prover_("mptd-proof", 1, limits.max_waiting_calls),
      operators_("mptd-admin", kOperatorThreads, kOperatorsWaiting) {}

void Rpc::Stop() {
  readers_.Stop();
  writers_.Stop();
  prover_.Stop();
  operators_.Stop();
}

bool Rpc::TryEnter(size_t bytes) {
  // Never above the limit, not even for a moment: that would refuse others, and show in the metric.
  size_t running = running_.load(std::memory_order_relaxed);
  do {
    if (running >= limits_.max_concurrent_calls) return false;
  } while (!running_.compare_exchange_weak(running, running + 1, std::memory_order_relaxed));
  request_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  return true;
}

void Rpc::Record(Method method, const absl::Status& status, absl::Duration duration, const CallTrace& trace) {
  metrics_.Record(static_cast<size_t>(method), static_cast<size_t>(status.code()), duration);
  refusals_.Count(status);
  if (status.ok() && AccessOf(method).audited == Audited::kCall) {
    access_.Audit({.time = absl::Now(),
                   .event = "call",
                   .caller = trace.caller(),
                   .method = std::string(Name(method)),
                   .code = "OK",
                   .request_id = trace.request_id()});
  }
  const bool slow = IsSlow(duration);
  const LogLevel level = slow ? LogLevel::kWarn : LogLevel::kDebug;
  if (!log_.Enabled(level, LogModule::kRpc)) return;
  const std::vector<LogField> fields = trace.Fields(duration);
  const LogScope scope(fields);
  log_.Log(level, LogModule::kRpc, slow ? LogName("slow_call") : LogName("call"),
           {{"method", Name(method)},
            {"code", absl::StatusCodeToString(status.code())},
            {"duration_ms", duration},
            {"message", status.message()}});
}

void Rpc::RecordStream(Method method, const absl::Status& status, absl::Duration duration, const CallTrace& trace) {
  metrics_.RecordCode(static_cast<size_t>(method), static_cast<size_t>(status.code()));
  refusals_.Count(status);
  if (!log_.Enabled(LogLevel::kDebug, LogModule::kRpc)) return;
  const std::vector<LogField> fields = trace.Fields(duration);
  const LogScope scope(fields);
  log_.Debug(LogModule::kRpc, "stream_ended",
             {{"method", Name(method)},
              {"code", absl::StatusCodeToString(status.code())},
              {"duration_ms", duration},
              {"message", status.message()}});
}

void Rpc::RecordStreamedBlock(absl::Duration duration, const BlockTimes& times, const CallTrace& trace) {
  metrics_.RecordLatency(static_cast<size_t>(Method::kApplyStateChangesStream), duration);
  if (!IsSlow(duration) || !log_.Enabled(LogLevel::kWarn, LogModule::kRpc)) return;
  std::vector<LogField> fields;
  AppendTimes(times, duration, fields);
  for (const LogField& field : trace.Fields()) fields.push_back(field);
  const LogScope scope(fields);
  log_.Warn(LogModule::kRpc, "slow_block",
            {{"method", Name(Method::kApplyStateChangesStream)}, {"block", times.block}, {"duration_ms", duration}});
}

void Rpc::RecordRefusedBlock(uint64_t number, const absl::Status& status) {
  if (ErrorReason(status) != kRootMismatch) return;
  blocks_.RecordRootMismatch();
  log_.Error(LogModule::kEngine, "state_root_mismatch", {{"block", number}, {"reason", status.message()}});
}

void Rpc::AuditBlock(std::string_view event, Method method, const pb::Block& block, const CallTrace& trace) {
  if (access_.audit() == nullptr) return;
  access_.Audit({.time = absl::Now(),
                 .event = std::string(event),
                 .caller = trace.caller(),
                 .method = std::string(Name(method)),
                 .block = block.number(),
                 .root = ToHex(block.state_root()),
                 .code = "OK",
                 .request_id = trace.request_id()});
}

void Rpc::RecordRollback(const pb::Block& head, const CallTrace& trace) {
  AuditBlock("rolled_back", Method::kRollbackTo, head, trace);
}

void Rpc::RecordBlock(Method method, const pb::ApplyStateChangesResponse& applied, const BlockTimes& times,
                      const CallTrace& trace) {
  if (applied.already_applied()) return;
  AuditBlock("block_applied", method, applied.block(), trace);
  if (!log_.Enabled(LogLevel::kInfo, LogModule::kEngine)) return;
  log_.Info(LogModule::kEngine, "state_root_computed",
            {{"block", applied.block().number()},
             {"state_root", ToHex(applied.block().state_root())},
             {"accounts_modified", applied.accounts_changed()},
             {"slots_modified", applied.slots_changed()},
             {"nodes_hashed", applied.nodes_hashed()},
             {"duration_ms", times.engine.read + times.engine.tries}});
}

void Rpc::WriteLoad(MetricsWriter& writer) const {
  const std::pair<const char*, const TaskPool*> pools[] = {
      {"read", &readers_}, {"write", &writers_}, {"proof", &prover_}, {"admin", &operators_}};
  for (const auto& [name, pool] : pools) {
    writer.Gauge("mptd_grpc_waiting_calls", "Calls that no thread has begun yet.", static_cast<double>(pool->waiting()),
                 {{"pool", name}});
  }
  writer.Gauge("mptd_grpc_pinned_views", "Streams that may pin a view.", static_cast<double>(pinned_views_.inside()));
  writer.Gauge("mptd_grpc_root_calls", "Calls of ComputeStateRoot that wait or run.",
               static_cast<double>(root_calls_.inside()));
  refusals_.Write(writer);
}

absl::Status TooBusy() {
  return NoRoom("as many calls are running as server.max_concurrent_calls allows; try again later",
                "max_concurrent_calls");
}

absl::Status QueueFull() {
  return NoRoom("as many calls are waiting as server.max_waiting_calls allows; try again later", "max_waiting_calls");
}

absl::Time CallDeadline(const grpc::CallbackServerContext& context) {
  const std::chrono::system_clock::time_point deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return absl::FromChrono(deadline);
}

absl::Status CheckAlive(const grpc::CallbackServerContext& context) {
  // Looked at first: at the deadline gRPC cancels the call, too.
  if (CallDeadline(context) <= absl::Now()) return absl::DeadlineExceededError("the deadline has passed");
  if (context.IsCancelled()) return absl::CancelledError("the call was cancelled");
  return absl::OkStatus();
}

CallBounds WriteBounds(const grpc::CallbackServerContext& context, const RpcLimits& limits) {
  const absl::Time now = absl::Now();
  absl::Time deadline = CallDeadline(context);
  if (deadline == absl::InfiniteFuture()) {
    if (limits.default_deadline > absl::ZeroDuration()) deadline = now + limits.default_deadline;
  } else {
    // gRPC sends the time that is left in three digits, rounded up: of a long one that is more than the way back takes.
    const absl::Duration left = std::max(deadline - now, absl::ZeroDuration());
    deadline -= std::min(left / 10, absl::Milliseconds(50) + left / 100);
  }
  return {.deadline = deadline, .cancelled = [&context] { return !CheckAlive(context).ok(); }};
}

google::protobuf::ArenaOptions RequestArena() {
  google::protobuf::ArenaOptions options;
  options.start_block_size = 4096;
  options.max_block_size = 256 << 10;
  return options;
}

absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite& message) {
  bool parsed = false;
  if (!bytes.Valid() || bytes.Length() == 0) {
    parsed = message.ParseFromArray(nullptr, 0);
  } else if (grpc::Slice slice; bytes.TrySingleSlice(&slice).ok()) {
    parsed = message.ParseFromArray(slice.begin(), static_cast<int>(slice.size()));
  } else {
    grpc::ByteBuffer copy = bytes;  // shares the bytes; the reader wants one to change
    grpc::ProtoBufferReader reader(&copy);
    parsed = message.ParseFromZeroCopyStream(&reader);
  }
  if (parsed) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("the request's bytes are not a message of type %s", message.GetTypeName()));
}

absl::Status SerializeMessage(const google::protobuf::MessageLite& message, size_t max_bytes, grpc::ByteBuffer& bytes) {
  const size_t size = message.ByteSizeLong();
  if (size > max_bytes) {
    return WithLimit(absl::InvalidArgumentError(absl::StrFormat(
                         "the answer has %d bytes, more than the %d of server.max_message_bytes; ask for less at once",
                         size, max_bytes)),
                     "max_message_bytes");
  }
  const grpc::Slice slice(size);
  // A slice that nobody else has is filled in place, as grpc::GenericSerialize does.
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
  bytes = grpc::ByteBuffer(&slice, 1);
  return absl::OkStatus();
}

}  // namespace mptd
