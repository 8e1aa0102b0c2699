// An engine in a folder in memory, with a few blocks of a few accounts, for entries that keep one. One thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/engine/engine.h"
#include "tests/engine/engine_testing.h"

namespace mptd::fuzz {

// Makes temporary folders be in memory, where the machine has such a place.
void UseMemoryForFolders();

class SmallWorld {
 public:
  SmallWorld();

  StateEngine& engine() { return *engine_; }
  // Makes the chain what it was at first, whatever was applied, replaced or rolled back.
  void Restore();
  // Addresses, slots, quantities and hashes that are in it or nearly so.
  static std::vector<std::string> KnownBytes();

 private:
  testing::TempDir dir_;
  std::unique_ptr<StateEngine> engine_;
};

}  // namespace mptd::fuzz
