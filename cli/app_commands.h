// The subcommands' arguments and help texts. Used by one thread; only app.cc needs it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "cli/session.h"

namespace mptd::cli {

// The command line while it is built and read.
struct CommandLine {
  CLI::App app;
  GlobalOptions global;
  bool block_given = false;  // --at was used
  // Set by the subcommand that was asked for.
  std::function<ExitCode(Session&)> action;
  // The subcommands that --at means something to.
  std::vector<const CLI::App*> reads_block;

  bool ReadsBlock(const CLI::App* command) const;
};

void AddReadCommands(CommandLine& line);
void AddProofCommands(CommandLine& line);
void AddListCommands(CommandLine& line);
void AddWriteCommands(CommandLine& line);
void AddAdminCommands(CommandLine& line);
void AddCheckpointCommands(CommandLine& line);
void AddAuditCommands(CommandLine& line);

// The script that makes `shell` (bash, zsh or fish) complete this command line.
std::string CompletionScript(const CommandLine& line, const std::string& shell);

}  // namespace mptd::cli
