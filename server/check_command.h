// `mptd check`: looks at this machine with the settings that a daemon would have, and starts none. Called by main()
// alone.
#pragma once

#include <string_view>

namespace mptd {

// Whether the first argument asks for the checks.
bool AsksForCheck(int argc, const char* const* argv);

// Prints what was found, and returns the exit code: 0 all is well, 1 a warning, 2 a check failed or the configuration
// cannot be understood. Takes the arguments, the environment and the version as config::Load does, and -o besides.
int RunCheckCommand(int argc, const char* const* argv, const char* const* environment, std::string_view version);

}  // namespace mptd
