// What all calls of all services share: the engine, the threads, limits, and the record that each call leaves in the
// metrics and the log. Safe from any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/engine/engine.h"
#include "google/protobuf/arena.h"
#include "google/protobuf/message_lite.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "metrics/log.h"
#include "metrics/metrics.h"
#include "server/access.h"
#include "server/block_metrics.h"
#include "server/call_trace.h"
#include "server/caller_limits.h"
#include "server/memory_guard.h"
#include "server/rpc_methods.h"
#include "server/state_calls.h"
#include "server/stream_registry.h"
#include "server/task_pool.h"

namespace mptd {

// The labels of CallMetrics.
CallMetrics MakeCallMetrics();

struct RpcLimits {
  size_t max_message_bytes = size_t{256} << 20;
  size_t max_concurrent_calls = 1024;
  absl::Duration default_deadline = absl::Seconds(30);  // of writes that bring none; zero: no limit
  absl::Duration slow_call = absl::Seconds(1);          // logged; zero: never. What SetSlowCall is at first
  size_t read_threads = 4;
  bool parallel_proofs = true;  // false: proofs are made one after the other
  size_t page_size = 1000;      // of StreamAccounts and StreamStorage, where the caller does not say
  size_t write_threads = 8;
  size_t max_waiting_calls = 512;  // of each pool
  CallerLimits caller;
};

class Rpc {
 public:
  // All arguments must outlive this.
  Rpc(StateEngine& engine, Logger& log, CallMetrics& metrics, AccessControl& access, RpcLimits limits);

  StateEngine& engine() { return engine_; }
  // Asked by every CallTrace.
  AccessControl& access() { return access_; }
  StateCalls& calls() { return calls_; }
  StateEvents& events() { return events_; }
  const BlockMetrics& blocks() const { return blocks_; }
  StreamRegistry& streams() { return streams_; }
  // Threads for reads that are too long for a polling thread, for calls that wait for the writer, and for operators'
  // work.
  TaskPool& readers() { return readers_; }
  TaskPool& writers() { return writers_; }
  TaskPool& operators() { return operators_; }
  TaskPool& provers() { return limits_.parallel_proofs ? readers_ : prover_; }
  MemoryGuard& memory() { return memory_; }
  // What there may be of at once.
  Gate& pinned_views() { return pinned_views_; }
  Gate& root_calls() { return root_calls_; }
  Gate& root_changes() { return root_changes_; }
  LimitRefusals& refusals() { return refusals_; }
  const RpcLimits& limits() const { return limits_; }

  // Ends streams with UNAVAILABLE as soon as what they are doing is done, and refuses new ones.
  void Drain() { streams_.Drain(); }
  // After the server has shut down, before the engine goes: runs what is queued and ends the threads.
  void Stop();

  // From now on, calls of this duration or longer are logged as slow; zero: none.
  void SetSlowCall(absl::Duration duration) {
    slow_call_ns_.store(absl::ToInt64Nanoseconds(duration), std::memory_order_relaxed);
  }

  // Counts calls that wait or stream against max_concurrent_calls, and what their requests take of the memory.
  bool TryEnter(size_t bytes = 0);
  void Leave(size_t bytes = 0) {
    running_.fetch_sub(1, std::memory_order_relaxed);
    request_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  }
  // RESOURCE_EXHAUSTED when there is no memory for the requests that have entered and what streams hold.
  absl::Status AdmitMemory() const { return memory_.Admit(request_bytes_.load(std::memory_order_relaxed)); }
  // What a stream has read and not worked off, beside its entry.
  void Hold(size_t bytes) { request_bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  void Release(size_t bytes) { request_bytes_.fetch_sub(bytes, std::memory_order_relaxed); }
  size_t running() const { return running_.load(std::memory_order_relaxed); }

  // Every unary call ends here, and every stream in the latter; `status` is as the client gets it.
  void Record(Method method, const absl::Status& status, absl::Duration duration, const CallTrace& trace);
  void RecordStream(Method method, const absl::Status& status, absl::Duration duration, const CallTrace& trace);
  // One block of ApplyStateChangesStream.
  void RecordStreamedBlock(absl::Duration duration, const BlockTimes& times, const CallTrace& trace);
  // A block that was refused, by whatever call: a root that differs is counted and logged, for the caller and the
  // daemon disagree about the state.
  void RecordRefusedBlock(uint64_t number, const absl::Status& status);
  // What waits for a thread, and what is going on of what there is a limit for.
  void WriteLoad(MetricsWriter& writer) const;
  // A block that was applied, or rolled back to, by whatever call: for the log and the audit log.
  void RecordBlock(Method method, const pb::ApplyStateChangesResponse& applied, const BlockTimes& times,
                   const CallTrace& trace);
  void RecordRollback(const pb::Block& head, const CallTrace& trace);

 private:
  void AuditBlock(std::string_view event, Method method, const pb::Block& block, const CallTrace& trace);
  bool IsSlow(absl::Duration duration) const {
    const absl::Duration slow = absl::Nanoseconds(slow_call_ns_.load(std::memory_order_relaxed));
    return slow > absl::ZeroDuration() && duration >= slow;
  }

  StateEngine& engine_;
  Logger& log_;
  CallMetrics& metrics_;
  AccessControl& access_;
  const RpcLimits limits_;
  BlockMetrics blocks_;
  StateEvents events_;
  StateCalls calls_;
  std::atomic<int64_t> slow_call_ns_;
  std::atomic<size_t> running_{0};
  std::atomic<size_t> request_bytes_{0};
  MemoryGuard memory_;
  LimitRefusals refusals_;
  Gate pinned_views_;
  Gate root_calls_;
  Gate root_changes_;
  StreamRegistry streams_;
  TaskPool readers_;
  TaskPool writers_;
  TaskPool prover_;
  TaskPool operators_;
};

// The refusals of a call when too many are running, or waiting for a thread.
absl::Status TooBusy();
absl::Status QueueFull();

// When the call must be over; the infinite future when the client has set no deadline.
absl::Time CallDeadline(const grpc::CallbackServerContext& context);
// DEADLINE_EXCEEDED or CANCELLED when nobody waits for the answer any more.
absl::Status CheckAlive(const grpc::CallbackServerContext& context);
// For calls that write: the bounds that the engine gets. It is to give up a little before the client does, so that its
// reason arrives.
CallBounds WriteBounds(const grpc::CallbackServerContext& context, const RpcLimits& limits);

// For requests that may be as long as a block of changes.
google::protobuf::ArenaOptions RequestArena();

// INVALID_ARGUMENT when `bytes` is not such a message. (A typed gRPC handler would answer UNIMPLEMENTED without a
// word.)
absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite& message);
// INVALID_ARGUMENT when it is longer than `max_bytes`: no later call would get it either.
absl::Status SerializeMessage(const google::protobuf::MessageLite& message, size_t max_bytes, grpc::ByteBuffer& bytes);

}  // namespace mptd
