// Checks the EIP-1186 proof on standard input against the state root in the first argument.
#include <iostream>
#include <iterator>

#include "core/eip1186_json.h"
#include "core/hex.h"

int main(int argc, char** argv) {
  const auto root = mptd::HashFromHex(argc == 2 ? argv[1] : "");
  const auto proof = mptd::ParseEip1186(std::string(std::istreambuf_iterator<char>(std::cin), {}));
  if (!root.ok() || !proof.ok()) return 2;
  const absl::Status verdict = mptd::VerifyAccountProof(*root, *proof);
  std::cout << verdict << "\n";
  return verdict.ok() ? 0 : 1;
}
