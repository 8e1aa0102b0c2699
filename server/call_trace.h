// Who a call is: its request id and its place in a distributed trace, for every line that is logged on its behalf, its
// caller and whether that may make it, and where its time went, for clients that ask. In metadata:
//
//   x-request-id  from the client, or made here; comes back in the initial metadata
//   traceparent   from the client, as W3C Trace Context has it; ignored when it is malformed
//   mptd-timing   from the client: "1" asks for the times
//   server-timing in the trailing metadata, when asked for: "validate;dur=0.012, ..., total;dur=1.5", in milliseconds;
//                 what comes before the total adds up to it
//
// A CallTrace is used by one thread at a time.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "metrics/log.h"
#include "server/access.h"
#include "server/rpc_methods.h"
#include "server/state_calls.h"

namespace mptd {

// Letters, digits and "-_.:/", at most 128 of them: nothing that could be misread in a log.
bool IsRequestId(std::string_view text);
// Different for every call of this process, and most likely of any other.
std::string MakeRequestId();

struct TraceParent {
  std::string trace_id;   // 32 hexadecimal digits
  std::string parent_id;  // 16
};
// nullopt when it is not a valid "traceparent".
std::optional<TraceParent> ParseTraceParent(std::string_view text);

class CallTrace {
 public:
  // Reads the client's metadata, puts the request id into the answer's, and asks `access` about the caller. Whoever
  // makes one must do nothing for the call but finish it when it is not admitted.
  CallTrace(AccessControl& access, Method method, grpc::CallbackServerContext& context);

  const std::string& request_id() const { return request_id_; }
  const absl::Status& admitted() const { return admission_.status; }
  // Empty when nobody keeps a record of callers.
  const std::string& caller() const { return admission_.caller; }
  // Of the blocks that this call has applied, together.
  void AddBlock(const BlockTimes& times);
  // Before the call is finished: tells the client where its time went, if it asked.
  void Answer(grpc::CallbackServerContext& context, absl::Duration total) const;

  // For LogScope: who the call is, and with a `total` where that went, if it has blocks. They refer to this.
  std::vector<LogField> Fields(std::optional<absl::Duration> total = std::nullopt) const;

 private:
  std::string request_id_;
  std::optional<TraceParent> parent_;
  bool wants_times_ = false;
  std::optional<BlockTimes> times_;
  Admission admission_;
};

// Fields of one block's times, of `total` in all, in milliseconds.
void AppendTimes(const BlockTimes& times, absl::Duration total, std::vector<LogField>& fields);

}  // namespace mptd
