// EIP-1186 answers as JSON, the way go-ethereum's eth_getProof writes them.
// Pure functions; safe from any thread. No exception leaves this file and no input makes it abort.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/proof_verifier.h"

namespace mptd {

// Takes one JSON object with address, accountProof, balance, codeHash, nonce, storageHash and storageProof (key, value,
// proof); other members are ignored, one that comes twice is refused. Byte strings and quantities start with 0x. A
// slot's key may be short ("0x0"), as clients echo what they were asked; it means the number, padded to 32 bytes. Only
// the form is checked: VerifyAccountProof says whether the proof holds. INVALID_ARGUMENT names the field, e.g.
// "storageProof[1].proof[0]" (InvalidFieldPath of core/errors.h); text that is not a JSON object at all has no field.
absl::StatusOr<AccountProof> ParseEip1186(std::string_view json);

// The same object on one line, its members in go-ethereum's order and every key with all of its 32 bytes.
std::string WriteEip1186(const AccountProof& proof);

}  // namespace mptd
