// Any bytes as a genesis file, plain or gzip'd. What is accepted holds what genesis.h promises.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/genesis.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto genesis = mptd::ParseGenesis("fuzz", {reinterpret_cast<const char*>(data), size});
  if (!genesis.ok()) return 0;
  const mptd::Address* previous = nullptr;
  for (const mptd::AccountChange& change : genesis->changes) {
    const bool ascending = previous == nullptr || *previous < change.address;
    if (!ascending || !change.nonce || !change.balance || change.remove) std::abort();
    if (change.code && change.code->empty()) std::abort();
    for (const mptd::SlotChange& slot : change.slots) {
      if (slot.value.IsZero()) std::abort();
    }
    previous = &change.address;
  }
  return 0;
}
