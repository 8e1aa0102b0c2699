#include "core/engine/change_limits.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/errors.h"

namespace mptd {

ChangeLimits ChangeLimitsOf(const EngineLimits& limits) {
  return {.max_accounts = limits.max_changes_per_block,
          .max_slots = limits.max_slots_per_block,
          .max_slots_per_account = limits.max_slots_per_account};
}

absl::Status CheckChangeLimits(std::span<const AccountChange> changes, const ChangeLimits& limits) {
  if (limits.max_accounts != 0 && changes.size() > limits.max_accounts) {
    return OverLimit("changes",
                     absl::StrFormat("%d accounts, the limit for one block is %d; split the block or raise "
                                     "limits.max_accounts_per_transition",
                                     changes.size(), limits.max_accounts),
                     "max_accounts_per_transition");
  }
  uint64_t slots = 0;
  for (size_t i = 0; i < changes.size(); ++i) {
    slots += changes[i].slots.size();
    if (limits.max_slots_per_account != 0 && changes[i].slots.size() > limits.max_slots_per_account) {
      return OverLimit(absl::StrCat("changes[", i, "].slots"),
                       absl::StrFormat("%d slots, the limit for one account is %d", changes[i].slots.size(),
                                       limits.max_slots_per_account),
                       "max_storage_slots_per_account");
    }
  }
  if (limits.max_slots != 0 && slots > limits.max_slots) {
    return OverLimit("changes",
                     absl::StrFormat("%d slots in all, the limit for one block is %d; split the block or raise "
                                     "limits.max_slots_per_transition",
                                     slots, limits.max_slots),
                     "max_slots_per_transition");
  }
  return absl::OkStatus();
}

}  // namespace mptd
