// One page over HTTP. Safe from any thread.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mptd::cli {

struct HttpUrl {
  std::string host;  // without brackets
  int port = 80;
  std::string path = "/";
};

// "http://host:port/path"; INVALID_ARGUMENT says what is wrong.
absl::StatusOr<HttpUrl> ParseHttpUrl(std::string_view text);

// The body of a page that is answered with 200 and has at most 16 MiB; otherwise UNAVAILABLE with the reason.
absl::StatusOr<std::string> HttpGet(const HttpUrl& url, absl::Duration timeout);

}  // namespace mptd::cli
