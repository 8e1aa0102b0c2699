// A whole state put into an empty data folder, faster than blocks could: rows and tries are made in one pass over
// sorted accounts and written as files that the tables take over as they are. Memory does not grow with the state.
//
// Used by one thread, on a folder that no engine has. An import that does not finish leaves a folder that is marked as
// such: neither an engine nor another import takes it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/engine/block.h"
#include "core/engine/engine.h"
#include "core/types.h"

namespace mptd {

struct ImportedAccount {
  Hash key;  // hashed address
  uint64_t nonce = 0;
  U256 balance;
  Hash code_hash = kEmptyCodeHash;
  std::optional<Hash> storage_root;  // compared with that of the slots
};

// The block that the state is after.
struct ImportedBlock {
  uint64_t number = 0;
  std::optional<Hash> hash;
  std::optional<Hash> parent_hash;
  std::optional<Hash> expected_root;
};

struct ImportReport {
  BlockInfo block;
  uint64_t accounts = 0;
  uint64_t slots = 0;
  uint64_t codes = 0;  // written; the same code of accounts far from each other counts again
  uint64_t branches = 0;
};

class StateImport {
 public:
  // Makes the folder when absent. FAILED_PRECONDITION when it holds blocks or an import that did not finish, or when
  // another process has it; other errors as StateEngine::Open. Of the options, those of the folder and its tables
  // count.
  static absl::StatusOr<std::unique_ptr<StateImport>> Begin(const EngineOptions& options);
  virtual ~StateImport() = default;

  // Accounts in strictly ascending order of their keys, empty ones too if the state has them; `code` is what
  // `code_hash` is of. INVALID_ARGUMENT, naming both keys, when it is out of order, or naming the account when its code
  // has another hash. FAILED_PRECONDITION, naming both roots, when an earlier account's slots do not give its storage
  // root. After any error all that follows is refused with the same.
  virtual absl::Status AddAccount(const ImportedAccount& account, BytesView code) = 0;
  // A slot of the account that was added last, in strictly ascending order of hashed slot keys; zero is no value.
  // INVALID_ARGUMENT as above.
  virtual absl::Status AddSlot(const Hash& key, const U256& value) = 0;
  // Makes the state that of `block`, durably and at once; history begins there. FAILED_PRECONDITION, naming both, when
  // the root is not the expected one. Nothing may be called after it.
  virtual absl::StatusOr<ImportReport> Finish(const ImportedBlock& block) = 0;
};

}  // namespace mptd
