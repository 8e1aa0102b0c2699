// From settings to what the parts want, and the genesis that a folder starts from. Called by main() before threads of
// the daemon are there.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "config/config.h"
#include "core/engine/engine.h"
#include "core/genesis.h"
#include "metrics/log.h"
#include "server/daemon.h"
#include "server/engine_watch.h"

namespace mptd {

LogOptions ToLogOptions(const config::Settings& settings);
// Those that say where and how an engine keeps its data.
EngineOptions ToDataOptions(const config::Settings& settings);
// Its events go nowhere.
EngineOptions ToEngineOptions(const config::Settings& settings);
// The engine's events go to `watch`, which must outlive it.
EngineOptions ToEngineOptions(const config::Settings& settings, EngineWatch& watch);
ServerTlsOptions ToTlsOptions(const config::Settings& settings);
storage::KeySource ToKeySource(const config::Settings& settings);
// With a master key: the process leaves no core file, where keys of open files would be found.
void ForbidCoreFiles(const config::Settings& settings);
HealthOptions ToHealthOptions(const config::Settings& settings);
RuntimeSettings ToRuntimeSettings(const config::Loaded& loaded);
CallerLimits ToCallerLimits(const config::Settings::Limits& limits);
DaemonOptions ToDaemonOptions(const config::Loaded& loaded, std::string_view version);

// The root of the genesis' accounts, worked out without a database.
Hash GenesisRoot(const Genesis& genesis);
// The root that a chain of this genesis starts with: the one that it names, else worked out.
Hash NamedRoot(const Genesis& genesis);

// Makes sure that the engine's chain starts from `genesis`: applies it when there are no blocks, and makes it durable.
// FAILED_PRECONDITION, with both roots, when the chain starts from another one.
absl::Status StartFromGenesis(StateEngine& engine, Genesis genesis, Logger& log);

}  // namespace mptd
