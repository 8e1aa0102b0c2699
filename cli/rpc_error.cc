#include "cli/rpc_error.h"

#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/values.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace mptd::cli {
namespace {

const char* CodeName(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::CANCELLED:
      return "CANCELLED";
    case grpc::StatusCode::INVALID_ARGUMENT:
      return "INVALID_ARGUMENT";
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "DEADLINE_EXCEEDED";
    case grpc::StatusCode::NOT_FOUND:
      return "NOT_FOUND";
    case grpc::StatusCode::ALREADY_EXISTS:
      return "ALREADY_EXISTS";
    case grpc::StatusCode::PERMISSION_DENIED:
      return "PERMISSION_DENIED";
    case grpc::StatusCode::UNAUTHENTICATED:
      return "UNAUTHENTICATED";
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return "RESOURCE_EXHAUSTED";
    case grpc::StatusCode::FAILED_PRECONDITION:
      return "FAILED_PRECONDITION";
    case grpc::StatusCode::ABORTED:
      return "ABORTED";
    case grpc::StatusCode::OUT_OF_RANGE:
      return "OUT_OF_RANGE";
    case grpc::StatusCode::UNIMPLEMENTED:
      return "UNIMPLEMENTED";
    case grpc::StatusCode::INTERNAL:
      return "INTERNAL";
    case grpc::StatusCode::UNAVAILABLE:
      return "UNAVAILABLE";
    case grpc::StatusCode::DATA_LOSS:
      return "DATA_LOSS";
    default:
      return "UNKNOWN";
  }
}

// What to do, for the codes whose message leaves that open.
std::string Advice(grpc::StatusCode code, const ErrorDetails& details) {
  if (details.retry_delay.has_value()) {
    return absl::StrCat("try again in ", absl::FormatDuration(*details.retry_delay));
  }
  switch (code) {
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::OUT_OF_RANGE:
    case grpc::StatusCode::NOT_FOUND:
      return "`mptctl status` shows the head and the served blocks";
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return "try again a little later";
    case grpc::StatusCode::UNAVAILABLE:
      return "`mptctl status` says whether the daemon is read-only and why";
    case grpc::StatusCode::DATA_LOSS:
      return "`mptctl check` names the damaged row; go back to a checkpoint";
    default:
      return {};
  }
}

// The part after the last ": " of gRPC's nested connection errors, "Connection refused" in most cases.
std::string LastCause(const std::string& message) {
  const size_t colon = message.rfind(": ");
  return colon == std::string::npos ? message : message.substr(colon + 2);
}

// What a connection that failed has to do with TLS, by what OpenSSL and gRPC say of it; empty when nothing.
std::string TlsProblem(const std::string& message, const Destination& to) {
  if (absl::StrContains(message, "certificate verify failed")) {
    return absl::StrCat("the certificate of ", to.server,
                        " was issued by no CA in the file that --tls-ca names, or has expired");
  }
  if (absl::StrContains(message, "is not in peer certificate")) {
    return absl::StrCat("the certificate of ", to.server, " has another name (", OneLine(LastCause(message)),
                        "); give the one that it has with --tls-server-name");
  }
  if (to.tls && absl::StrContains(message, "wrong version number")) {
    return absl::StrCat(to.server, " speaks no TLS; leave --tls-ca out");
  }
  if (!absl::StrContains(message, "Socket closed")) return {};
  if (!to.tls) return absl::StrCat(to.server, " hung up; if it speaks TLS, name its CA's file with --tls-ca");
  return absl::StrCat(to.server,
                      " hung up after the handshake: it wants a certificate (--tls-cert and --tls-key), or refuses the "
                      "one that it got; its log says why");
}

std::string Unreachable(const grpc::Status& status, const Destination& to) {
  const std::string& message = status.error_message();
  if (absl::StrContains(message, "http1.x") || absl::StrContains(message, "HTTP/1")) {
    return absl::StrCat(to.server, " answers, but not over gRPC: give the daemon's --listen address, not its HTTP one");
  }
  if (!absl::StrContains(message, "connect") && !absl::StrContains(message, "resol")) {
    return absl::StrCat("the connection to mptd at ", to.server, " was lost (", OneLine(message),
                        "); look at its log, then try again");
  }
  if (std::string problem = TlsProblem(message, to); !problem.empty()) return problem;
  return absl::StrCat("cannot reach mptd at ", to.server, " (", OneLine(LastCause(message)),
                      "); is it running? start it with `mptd --data-dir ./mptd-data --listen ", to.server,
                      "`, or name another address with --server");
}

}  // namespace

ErrorDetails DecodeErrorDetails(const std::string& serialised) {
  ErrorDetails out;
  google::rpc::Status status;
  if (!status.ParseFromString(serialised)) return out;
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest bad;
  google::rpc::RetryInfo retry;
  for (const google::protobuf::Any& detail : status.details()) {
    if (detail.UnpackTo(&info)) {
      out.reason = info.reason();
    } else if (detail.UnpackTo(&bad)) {
      for (const auto& violation : bad.field_violations()) {
        out.fields.emplace_back(violation.field(), violation.description());
      }
    } else if (detail.UnpackTo(&retry)) {
      out.retry_delay = absl::Seconds(retry.retry_delay().seconds()) + absl::Nanoseconds(retry.retry_delay().nanos());
    }
  }
  return out;
}

std::string DescribeRpcError(const grpc::Status& status, const Destination& to) {
  const ErrorDetails details = DecodeErrorDetails(status.error_details());
  const bool from_daemon = !status.error_details().empty();
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE && !from_daemon && !to.connected) {
    return Unreachable(status, to);
  }
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED && !from_daemon) {
    const std::string within =
        to.timeout == absl::InfiniteDuration() ? "" : " within " + absl::FormatDuration(to.timeout);
    return absl::StrCat("mptd at ", to.server, " did not answer", within, "; give it longer with --timeout");
  }
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    return absl::StrCat("the program at ", to.server, " does not know this call (", OneLine(status.error_message()),
                        "); is it an mptd of this version?");
  }
  std::string out = absl::StrCat("refused (", CodeName(status.error_code()));
  if (!details.reason.empty()) absl::StrAppend(&out, ", ", details.reason);
  absl::StrAppend(&out, "): ", OneLine(status.error_message()));
  for (const auto& [path, problem] : details.fields) {
    if (absl::StrContains(status.error_message(), path)) continue;
    absl::StrAppend(&out, "; ", path, ": ", OneLine(problem));
  }
  const std::string advice = Advice(status.error_code(), details);
  if (!advice.empty()) absl::StrAppend(&out, "; ", advice);
  return out;
}

}  // namespace mptd::cli
