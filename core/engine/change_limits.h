// How much one block, or one dry run, may change. Pure functions and values; safe from any thread.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "core/engine/block.h"
#include "core/engine/engine.h"

namespace mptd {

struct ChangeLimits {
  uint64_t max_accounts = 0;  // 0, here and below: no limit
  uint64_t max_slots = 0;     // of all accounts together
  uint64_t max_slots_per_account = 0;
};

ChangeLimits ChangeLimitsOf(const EngineLimits& limits);

// INVALID_ARGUMENT with the field and the limit when there are more.
absl::Status CheckChangeLimits(std::span<const AccountChange> changes, const ChangeLimits& limits);

}  // namespace mptd
