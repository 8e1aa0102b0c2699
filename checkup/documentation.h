// Whether what an operator reads at night came with the program, and fits it. Reads files alone; safe from any thread.
#pragma once

#include <span>
#include <string>

#include "checkup/finding.h"

namespace mptd::checkup {

// The folder that this program was installed below: /usr of /usr/bin/mptd. Empty when the system does not say.
std::string InstalledBelow();

// Looks below `prefix` for the pages, a runbook for every alert, a description of each of `settings` (their names) and
// the manual pages. A warning when the program has been started from where it was built, and nothing is there.
Finding CheckDocumentation(const std::string& prefix, std::span<const std::string> settings);

}  // namespace mptd::checkup
