// Loads the project's test vectors. The folder is MPTD_TESTDATA of the environment (ctest sets it), else tests/testdata
// of the source tree that was built. A vector that is missing or malformed throws, which fails the test that asked.
#pragma once

#include <string>
#include <string_view>

#include "nlohmann/json.hpp"
#include "tests/model/naive_trie.h"

namespace mptd::model {

// The path of a file in the folder.
std::string TestdataPath(std::string_view name);
// A JSON file, gzip'd or not: "trie/trietest.json", "proofs.json.gz".
nlohmann::json LoadJson(std::string_view name);

// Values of the vectors.
Bytes BytesOf(const nlohmann::json& hex);    // an even number of digits, 0x optional
Hash HashOf(const nlohmann::json& hex);      // exactly 32 bytes
U256 QuantityOf(const nlohmann::json& hex);  // "0x" counts as zero
Hash SlotOf(std::string_view hex);           // a slot's key, padded to 32 bytes
// {address: {"balance", "nonce", "code", "storage": {slot: value}}}, all four optional.
NaiveState StateOf(const nlohmann::json& accounts);

}  // namespace mptd::model
