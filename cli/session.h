// What every command works with: the terminal, the global options, the daemon. Used by one thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/at.h"
#include "cli/client.h"
#include "cli/terminal.h"
#include "nlohmann/json.hpp"

namespace mptd::cli {

// Scripts rely on these numbers; never change.
enum class ExitCode {
  kOk = 0,
  kNo = 1,       // the answer is no: a proof or a check failed, a question was answered no
  kFailing = 2,  // of doctor: something has failed (and kNo: something is about to)
  kUsage = 2,    // the arguments or the input cannot be understood
  kRefused = 3,  // the daemon refused, failed or cannot be reached
};

struct GlobalOptions {
  std::string server = "127.0.0.1:7300";
  std::optional<absl::Duration> timeout;
  TlsFlags tls;       // as CheckTlsFlags takes them
  TokenSource token;  // empty: calls bring none
  bool json = false;
  At at;
};

class Session {
 public:
  // `options.server` as ServerTarget returns it. `terminal` outlives this object.
  Session(Terminal& terminal, GlobalOptions options);

  Terminal& terminal() { return terminal_; }
  const GlobalOptions& options() const { return options_; }
  bool json() const { return options_.json; }
  // Made on the first use: commands that work offline never touch gRPC.
  Client& client();

  // Prints one line of JSON.
  bool PrintJson(const nlohmann::ordered_json& value) { return terminal_.Print(value.dump() + "\n"); }

  // The block that --at names.
  absl::StatusOr<v1::BlockRef> At() { return Resolve(options_.at); }
  // Asks the daemon whether 32 bytes are a block hash or a state root, when it is not said. The error's message is
  // complete.
  absl::StatusOr<v1::BlockRef> Resolve(const cli::At& at);

  // Print the error and return the code to end with.
  ExitCode Refused(const grpc::Status& status, Patience patience = Patience::kShort);
  ExitCode Fail(ExitCode code, std::string_view message);
  ExitCode Refused(const absl::Status& status) { return Fail(ExitCode::kRefused, std::string(status.message())); }

 private:
  Terminal& terminal_;
  const GlobalOptions options_;
  std::optional<Client> client_;
};

}  // namespace mptd::cli
