// Genesis allocations: the accounts that a chain starts with, from the networks that come with the project or from
// files. Pure functions but for reading the named file; safe from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/engine/block.h"
#include "core/types.h"

namespace mptd {

struct Genesis {
  std::string name;
  uint64_t number = 0;
  std::optional<Hash> hash;            // of the block, when known
  std::optional<Hash> state_root;      // that the accounts must give, when known
  std::vector<AccountChange> changes;  // ascending addresses; nonce and balance always set, no slot zero
};

// mainnet, sepolia, holesky, hoodi: what LoadGenesis knows without a file. Views of constants.
std::vector<std::string_view> GenesisNetworks();

// A network's name or the path of a file, gzip'd or plain, of one of two shapes:
// - go-ethereum's genesis.json: `alloc` holds the accounts, `number` is honoured, the rest of the header is ignored;
// - this project's: `accounts` holds them, `name`, `number`, `hash` and `state_root` may stand beside it.
// Accounts are keyed by address, "0x" optional. Each may have `balance` and `nonce` (hexadecimal or decimal, text or
// number), `code` and `storage`; names count in any case. NOT_FOUND when there is neither such a network nor such a
// file. INVALID_ARGUMENT for anything else, with the path inside the JSON: "accounts.0x12…34.balance: …".
absl::StatusOr<Genesis> LoadGenesis(std::string_view name_or_path);

// As LoadGenesis, from the content of a file. `name` is used when the content has none.
absl::StatusOr<Genesis> ParseGenesis(std::string_view name, std::string_view content);

// The genesis as a block to apply: empty accounts are kept and the root, when known, is expected.
BlockChanges GenesisBlock(Genesis genesis);

}  // namespace mptd
