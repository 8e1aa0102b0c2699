// A gRPC server of the same interface that has nothing to do: what is left is what gRPC, protobuf and sockets cost.
#pragma once

#include <string>

namespace mptd::bench {

// Answers GetAccount and GetAccounts with one and the same account on `address` until SIGTERM; returns the exit code.
int ServeEmptyAnswers(const std::string& address);

}  // namespace mptd::bench
