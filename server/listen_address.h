// Addresses to listen on, looked at before a library is given them: gRPC and civetweb say little about what is wrong,
// and gRPC takes a unix socket away from a daemon that is using it. The functions look at the network and the file
// system; any thread may call them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mptd {

inline constexpr std::string_view kUnixScheme = "unix:";

// The numeric forms, "127.0.0.1:7301" or "[::1]:7301", of "host:port" or "[v6]:port" that can be listened on; never
// empty. The port may be 0. FAILED_PRECONDITION says why not: in use, not an address of this machine, not permitted, an
// unknown name.
absl::StatusOr<std::vector<std::string>> ResolveListenAddress(const std::string& address);

// Connects to a numeric address and hangs up, to wake a thread that waits for connections there.
void PokeListener(const std::string& address);

// Makes way for a socket at `path`: removes one that nobody listens on. FAILED_PRECONDITION when somebody does, or when
// something else is there.
absl::Status PrepareUnixSocket(const std::string& path);

// Lets the owner and the group of a socket connect, and nobody else.
absl::Status RestrictUnixSocket(const std::string& path);

}  // namespace mptd
