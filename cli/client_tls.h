// How mptctl speaks TLS to a daemon: from its options to credentials. Reads files; safe from any thread.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/security/credentials.h"

namespace mptd::cli {

// As the user gave them; empty for none.
struct TlsFlags {
  std::string ca = {};    // TLS is spoken when this is there
  std::string cert = {};  // for a daemon that asks for one
  std::string key = {};
  std::string server_name = {};  // in the daemon's certificate, when it is not the host of --server
};

// Whether they go together; INVALID_ARGUMENT says what is missing. Looks at no file.
absl::Status CheckTlsFlags(const TlsFlags& flags);

// For a target as ServerTarget returns it. A unix socket has no TLS, whatever the flags say: its permissions are its
// protection. The error names the file that is bad.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(const std::string& target,
                                                                          const TlsFlags& flags);

}  // namespace mptd::cli
