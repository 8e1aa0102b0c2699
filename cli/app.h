// The command line of mptctl: options and subcommands, read with CLI11, and the action that they ask for.
// Used by one thread.
#pragma once

#include <string>
#include <vector>

#include "cli/session.h"
#include "cli/terminal.h"

namespace mptd::cli {

// Runs one command: `args` without the program's name. Everything that is printed goes through `terminal`.
ExitCode RunMptctl(const std::vector<std::string>& args, Terminal& terminal);

}  // namespace mptd::cli
