// The interface's messages as JSON for programs and as table cells for people. Pure functions; safe from any thread.
// JSON: names as in the .proto files; bytes and quantities are 0x-hex, block numbers and counts are numbers.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/proof_verifier.h"
#include "mptd/v1/admin.pb.h"
#include "mptd/v1/state.pb.h"
#include "nlohmann/json.hpp"

namespace mptd::cli {

using Json = nlohmann::ordered_json;
using Fields = std::vector<std::pair<std::string, std::string>>;

// "0x..." of any bytes; an absent hash is null in JSON and "-" in a table.
Json HexOrNull(const std::string& bytes);
std::string HexOrDash(const std::string& bytes);

Json BlockJson(const v1::Block& block);
// "block 17 0x12ab... (durable)" on one line; rows for FieldLines.
std::string BlockLine(const v1::Block& block);
Fields BlockFields(const v1::Block& block);

// {"address","exists","nonce","balance","storage_root","code_hash"}; only the first two when it does not exist.
Json AccountJson(const std::string& address, bool exists, const v1::Account& account);
// The last four of them.
void AddAccountJson(const v1::Account& account, Json& out);
Fields AccountFields(const std::string& address, bool exists, const v1::Account& account);

Json ApplyJson(const v1::ApplyStateChangesResponse& result);
Json StatusJson(const v1::GetStatusResponse& status);
Fields StatusFields(const std::string& server, const v1::GetStatusResponse& status);

// A GetProof answer as the proof library knows it. DATA_LOSS when the daemon sent a field of a wrong length.
absl::StatusOr<AccountProof> ToAccountProof(const v1::GetProofResponse& response);

}  // namespace mptd::cli
