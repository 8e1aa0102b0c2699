// Any text as a state that go-ethereum dumped. What is taken holds what core/import/geth_dump.h promises.
#include <sstream>

#include "core/import/geth_dump.h"
#include "core/types.h"
#include "tests/fuzz/fuzzing.h"

using mptd::fuzz::Require;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::istringstream in(mptd::fuzz::Copy(data, size));
  mptd::GethDump dump(in, "fuzz");
  if (const auto root = dump.ReadRoot(); !root.ok()) {
    Require(absl::IsInvalidArgument(root.status()));
    return 0;
  }
  while (true) {
    mptd::DumpedAccount account;
    const auto more = dump.Next(account);
    if (!more.ok()) {
      Require(absl::IsInvalidArgument(more.status()) || absl::IsFailedPrecondition(more.status()));
      return 0;
    }
    if (!*more) return 0;
    // Whether it is the right code is looked at where it is imported.
    Require(!account.code.empty() || account.account.code_hash == mptd::kEmptyCodeHash);
    for (size_t i = 0; i < account.slots.size(); ++i) {
      Require(!account.slots[i].second.IsZero());
      Require(i == 0 || account.slots[i - 1].first < account.slots[i].first);
    }
  }
}
