// `mptd import`: makes a data folder from a state that another program has dumped, without starting a daemon. Called by
// main() alone.
#pragma once

#include <string_view>

namespace mptd {

// Whether the first argument asks for an import.
bool AsksForImport(int argc, const char* const* argv);

// Imports, says on standard error how far it is when that is a terminal, and prints a summary. Returns the exit code: 0
// all is there, 1 it failed, 2 the arguments or the configuration cannot be understood. Takes the arguments, the
// environment and the version as config::Load does, and its own besides.
int RunImportCommand(int argc, const char* const* argv, const char* const* environment, std::string_view version);

}  // namespace mptd
