#include "server/call_trace.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mptd {
namespace {

constexpr char kRequestId[] = "x-request-id";
constexpr char kTraceParent[] = "traceparent";
constexpr char kWantsTimes[] = "mptd-timing";
constexpr char kTimes[] = "server-timing";
constexpr size_t kMaxRequestId = 128;

// What the client sent under a name, unless it sent it twice.
std::optional<std::string_view> Sent(const grpc::CallbackServerContext& context, const char* name) {
  const auto [begin, end] = context.client_metadata().equal_range(name);
  if (begin == end || std::next(begin) != end) return std::nullopt;
  return std::string_view(begin->second.data(), begin->second.size());
}

bool IsHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsZero(std::string_view hex) { return hex.find_first_not_of('0') == std::string_view::npos; }

// What of `total` is in none of the parts: waiting for a thread, gRPC, logging, answering.
absl::Duration OtherTime(const BlockTimes& times, absl::Duration total) {
  const ApplyTimes& engine = times.engine;
  const absl::Duration parts = times.validate + engine.queue + engine.read + engine.tries + engine.log + engine.publish;
  return std::max(total - parts, absl::ZeroDuration());
}

void AppendSpan(std::string_view name, absl::Duration duration, std::string& out) {
  absl::StrAppendFormat(&out, "%s%s;dur=%.3f", out.empty() ? "" : ", ", name, absl::ToDoubleMilliseconds(duration));
}

}  // namespace

bool IsRequestId(std::string_view text) {
  return !text.empty() && text.size() <= kMaxRequestId && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("-_.:/").find(c) != std::string_view::npos;
  });
}

// A count, scrambled by splitmix64's finaliser, which maps no two numbers to the same one.
std::string MakeRequestId() {
  static const uint64_t seed = (uint64_t{std::random_device{}()} << 32) | std::random_device{}();
  static std::atomic<uint64_t> count{0};
  uint64_t x = seed + count.fetch_add(1, std::memory_order_relaxed) * 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  x ^= x >> 31;
  return absl::StrCat(absl::Hex(x, absl::kZeroPad16));
}

// version "-" trace-id "-" parent-id "-" flags; a version that is not known yet may be followed by "-" and more.
std::optional<TraceParent> ParseTraceParent(std::string_view text) {
  constexpr size_t kLength = 55;
  if (text.size() < kLength || text[2] != '-' || text[35] != '-' || text[52] != '-') return std::nullopt;
  const std::string_view version = text.substr(0, 2);
  const std::string_view trace = text.substr(3, 32);
  const std::string_view parent = text.substr(36, 16);
  if (!IsHex(version) || !IsHex(trace) || !IsHex(parent) || !IsHex(text.substr(53, 2))) return std::nullopt;
  if (version == "ff" || IsZero(trace) || IsZero(parent)) return std::nullopt;
  if (text.size() > kLength && (version == "00" || text[kLength] != '-')) return std::nullopt;
  return TraceParent{.trace_id = std::string(trace), .parent_id = std::string(parent)};
}

CallTrace::CallTrace(AccessControl& access, Method method, grpc::CallbackServerContext& context) {
  const std::optional<std::string_view> id = Sent(context, kRequestId);
  request_id_ = id.has_value() && IsRequestId(*id) ? std::string(*id) : MakeRequestId();
  if (const auto parent = Sent(context, kTraceParent); parent.has_value()) parent_ = ParseTraceParent(*parent);
  wants_times_ = Sent(context, kWantsTimes) == "1";
  context.AddInitialMetadata(kRequestId, request_id_);
  admission_ = access.Admit(method, context, request_id_);
}

void CallTrace::AddBlock(const BlockTimes& times) {
  if (!times_.has_value()) times_.emplace();
  times_->validate += times.validate;
  times_->engine.queue += times.engine.queue;
  times_->engine.read += times.engine.read;
  times_->engine.tries += times.engine.tries;
  times_->engine.log += times.engine.log;
  times_->engine.publish += times.engine.publish;
}

void CallTrace::Answer(grpc::CallbackServerContext& context, absl::Duration total) const {
  if (!wants_times_) return;
  std::string text;
  if (times_.has_value()) {
    AppendSpan("validate", times_->validate, text);
    AppendSpan("queue", times_->engine.queue, text);
    AppendSpan("read", times_->engine.read, text);
    AppendSpan("hash", times_->engine.tries, text);
    AppendSpan("log", times_->engine.log, text);
    AppendSpan("publish", times_->engine.publish, text);
    AppendSpan("other", OtherTime(*times_, total), text);
  }
  AppendSpan("total", total, text);
  context.AddTrailingMetadata(kTimes, text);
}

std::vector<LogField> CallTrace::Fields(std::optional<absl::Duration> total) const {
  std::vector<LogField> out;
  if (total.has_value() && times_.has_value()) AppendTimes(*times_, *total, out);
  out.push_back(LogField("request_id", request_id_));
  if (!admission_.caller.empty()) out.push_back(LogField("caller", admission_.caller));
  if (parent_.has_value()) {
    out.push_back(LogField("trace_id", parent_->trace_id));
    out.push_back(LogField("parent_id", parent_->parent_id));
  }
  return out;
}

void AppendTimes(const BlockTimes& times, absl::Duration total, std::vector<LogField>& fields) {
  fields.push_back(LogField("validate_ms", times.validate));
  fields.push_back(LogField("queue_ms", times.engine.queue));
  fields.push_back(LogField("read_ms", times.engine.read));
  fields.push_back(LogField("hash_ms", times.engine.tries));
  fields.push_back(LogField("log_ms", times.engine.log));
  fields.push_back(LogField("publish_ms", times.engine.publish));
  fields.push_back(LogField("other_ms", OtherTime(times, total)));
}

}  // namespace mptd
