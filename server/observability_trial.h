// Whether operators would see a daemon of these settings: one is started on made-up data, asked over HTTP, and stopped.
// Called by `mptd check` alone, before other threads are there.
#pragma once

#include <string>
#include <string_view>

#include "checkup/finding.h"
#include "checkup/trial.h"
#include "config/config.h"

namespace mptd {

// Listens on free ports of this machine alone, without TLS and tokens; the data and the log, in the form that the
// settings ask for, are in the trials' folder.
checkup::Finding TryObservability(const config::Loaded& loaded, std::string_view version,
                                  const checkup::TrialOptions& trial);

}  // namespace mptd
