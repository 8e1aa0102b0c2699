// The arguments of `mptctl checkpoint`, which has commands of its own.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/app_building.h"
#include "cli/commands.h"

namespace mptd::cli {
namespace {

CLI::Validator IsAbsolute() {
  return CLI::Validator(
      [](std::string& text) {
        return text.starts_with('/') ? std::string()
                                     : absl::StrCat("\"", text, "\" is not an absolute path of the daemon's machine");
      },
      "", "path");
}

constexpr char kNewFolder[] = "An absolute path on the daemon's machine that does not exist yet";
constexpr char kVerifyHelp[] = "Have the daemon read the copy again and compare it before it answers";

}  // namespace

void AddCheckpointCommands(CommandLine& line) {
  CLI::App* checkpoint = Add(line, "checkpoint", "Copy the data to a new folder; list, check and restore such copies",
                             "checkpoint create /var/backups/mptd-2026-01-01\ncheckpoint list /var/backups/mptd\n"
                             "checkpoint verify /var/backups/mptd-2026-01-01\n"
                             "checkpoint restore /var/backups/mptd-2026-01-01 /var/lib/mptd/data");
  checkpoint->require_subcommand(0, 1);

  auto create = std::make_shared<CheckpointArgs>();
  CLI::App* command = AddTo(*checkpoint, "create", "Have the daemon copy its data, with a manifest, while it works",
                            "checkpoint create /var/backups/mptd-2026-01-01 --verify");
  Positional(command, "DIR", create->directory, kNewFolder)->required()->check(IsAbsolute());
  command->add_flag("--verify", create->verify, kVerifyHelp);
  Runs(line, command, create, RunCheckpoint);

  auto list = std::make_shared<CheckpointFolderArgs>();
  command = AddTo(*checkpoint, "list", "Show the checkpoints in a folder of this machine",
                  "checkpoint list /var/backups/mptd\ncheckpoint list /var/backups/mptd -o json");
  Positional(command, "DIR", list->directory, "The folder that they are in, as backup.dir")->required();
  Runs(line, command, list, RunCheckpointList);

  auto verify = std::make_shared<CheckpointFolderArgs>();
  command = AddTo(*checkpoint, "verify", "Compare every file with the manifest; exit code 1 when one differs",
                  "checkpoint verify /var/backups/mptd-2026-01-01");
  Positional(command, "DIR", verify->directory, "A checkpoint on this machine")->required();
  Runs(line, command, verify, RunCheckpointVerify);

  auto restore = std::make_shared<CheckpointRestoreArgs>();
  command = AddTo(*checkpoint, "restore",
                  "Check a checkpoint and make a data folder of it, on this machine; nothing is overwritten",
                  "checkpoint restore /var/backups/mptd-2026-01-01 /var/lib/mptd/data\n"
                  "checkpoint restore /var/backups/mptd-2026-01-01 /var/lib/mptd/data --full\n"
                  "checkpoint restore /var/backups/mptd-2026-01-01 /var/lib/mptd/data "
                  "--encryption-key-file /etc/mptd/master.key");
  Positional(command, "DIR", restore->checkpoint, "A checkpoint on this machine")->required();
  Positional(command, "DATA_DIR", restore->data_dir, "The data folder to make: not there yet, or empty")->required();
  command->add_flag("--full", restore->full, "Recompute every trie before the data folder is made");
  AddMasterKeyOptions(command, restore->key, "The master key's file, when the data is encrypted or is to be");
  Runs(line, command, restore, RunCheckpointRestore);

  // `checkpoint DIR` is short for `checkpoint create DIR`.
  auto direct = std::make_shared<CheckpointArgs>();
  CLI::Option* dir = Positional(checkpoint, "DIR", direct->directory, kNewFolder)->check(IsAbsolute());
  checkpoint->add_flag("--verify", direct->verify, kVerifyHelp);
  checkpoint->callback([&line, checkpoint, direct, dir] {
    if (!checkpoint->get_subcommands().empty()) {
      // What a command of its own had no place for has fallen through to here.
      if (dir->count() > 0) throw CLI::ExtrasError({direct->directory});
      return;
    }
    if (dir->count() == 0) throw CLI::RequiredError("DIR");
    line.action = [direct](Session& session) { return RunCheckpoint(session, *direct); };
  });
}

}  // namespace mptd::cli
