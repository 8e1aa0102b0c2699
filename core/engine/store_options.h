// How the engine has its tables opened. A pure function; safe from any thread.
#pragma once

#include "core/engine/engine.h"
#include "storage/rocksdb_store.h"

namespace mptd {

// For the tables in `dir`; all that is the same for an engine and for whatever else writes them.
storage::RocksDbOptions StoreOptions(const EngineOptions& options, const std::string& dir);

}  // namespace mptd
