// The arguments of `mptctl audit`.
#include <memory>
#include <string>

#include "cli/app_building.h"
#include "cli/commands.h"

namespace mptd::cli {

void AddAuditCommands(CommandLine& line) {
  CLI::App* audit = Add(line, "audit", "Check the daemon's audit log, offline", "audit verify /var/log/mptd/audit.log");
  audit->require_subcommand(1);
  auto args = std::make_shared<AuditVerifyArgs>();
  CLI::App* command =
      AddTo(*audit, "verify", "Check that no line was changed, removed or moved; exit code 1 when one was",
            "audit verify /var/log/mptd/audit.log.1 /var/log/mptd/audit.log\n"
            "audit verify audit.log --expect-last $(mptctl status -o json | jq -r .audit_head)");
  Positional(command, "FILE", args->files, "The files of one log, the oldest first")->required();
  command
      ->add_option("--expect-last", args->expect_last,
                   "The hash of the newest line as the daemon has told it (status, or its log): one that must be there")
      ->type_name("HASH")
      ->check(CLI::Validator(
          [](std::string& text) {
            const bool good = text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
            return good ? std::string() : "\"" + text + "\" is not 64 hexadecimal digits";
          },
          "", "hash"));
  Runs(line, command, args, RunAuditVerify);
}

}  // namespace mptd::cli
