#include "cli/http_get.h"

#include <algorithm>
#include <array>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "civetweb.h"

namespace mptd::cli {
namespace {

constexpr size_t kMostBytes = size_t{16} << 20;

using Connection = std::unique_ptr<mg_connection, decltype(&mg_close_connection)>;

absl::Status Unavailable(const HttpUrl& url, std::string_view why) {
  return absl::UnavailableError(absl::StrFormat("http://%s:%d%s: %s", url.host, url.port, url.path, why));
}

}  // namespace

absl::StatusOr<HttpUrl> ParseHttpUrl(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return absl::InvalidArgumentError(absl::StrFormat("\"%s\" %s; write http://host:port/metrics", text, why));
  };
  constexpr std::string_view kScheme = "http://";
  if (!text.starts_with(kScheme)) return bad("does not begin with http://");
  const size_t slash = text.find('/', kScheme.size());
  std::string host(text.substr(kScheme.size(), std::min(slash, text.size()) - kScheme.size()));
  HttpUrl out;
  if (slash != std::string_view::npos) out.path = std::string(text.substr(slash));
  const size_t bracket = host.starts_with('[') ? host.find(']') : 0;
  if (bracket == std::string::npos) return bad("has no closing bracket");
  if (const size_t colon = host.find(':', bracket); colon != std::string::npos) {
    if (!absl::SimpleAtoi(host.substr(colon + 1), &out.port) || out.port < 1 || out.port > 65535) {
      return bad("has no port number after the colon");
    }
    host.resize(colon);
  }
  out.host = bracket > 0 ? host.substr(1, bracket - 1) : host;
  if (out.host.empty()) return bad("has no host");
  // Nothing that could end the line of the request.
  const bool printable = std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
  if (!printable) return bad("has blanks or bytes that are no ASCII");
  return out;
}

absl::StatusOr<std::string> HttpGet(const HttpUrl& url, absl::Duration timeout) {
  std::array<char, 256> error{};
  mg_init_library(0);
  const Connection connection(mg_connect_client(url.host.c_str(), url.port, 0, error.data(), error.size()),
                              &mg_close_connection);
  if (connection == nullptr) return Unavailable(url, error.data());
  mg_printf(connection.get(), "GET %s HTTP/1.0\r\nHost: %s:%d\r\n\r\n", url.path.c_str(), url.host.c_str(), url.port);
  const auto milliseconds =
      static_cast<int>(std::clamp<int64_t>(absl::ToInt64Milliseconds(timeout), 1, int64_t{1} << 30));
  if (mg_get_response(connection.get(), error.data(), error.size(), milliseconds) < 0) {
    return Unavailable(url, error.data());
  }
  const int status = mg_get_response_info(connection.get())->status_code;
  if (status != 200) return Unavailable(url, absl::StrFormat("answered with status %d", status));
  std::string body;
  std::array<char, 16384> part{};
  while (true) {
    const int got = mg_read(connection.get(), part.data(), part.size());
    if (got < 0) return Unavailable(url, "the answer was cut off");
    if (got == 0) return body;
    body.append(part.data(), static_cast<size_t>(got));
    if (body.size() > kMostBytes) return Unavailable(url, "the answer is too long for metrics");
  }
}

}  // namespace mptd::cli
