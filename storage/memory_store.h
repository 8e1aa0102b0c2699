// A KeyValueStore in memory, with the same contract as the one on disk except that nothing outlives the process. For
// tests.
#pragma once

#include <memory>

#include "storage/kv_store.h"

namespace mptd::storage {

// A new, empty store. Iterators may outlive it.
std::unique_ptr<KeyValueStore> NewMemoryStore();

}  // namespace mptd::storage
