// Any bytes as what `mptctl apply`, `mptctl import` and `mptctl compute-root` read. What they take, the daemon takes,
// too: nothing but its rules about a block as a whole is left to refuse it.
#include "cli/changes_json.h"
#include "server/converters.h"
#include "tests/fuzz/file_in_memory.h"
#include "tests/fuzz/fuzzing.h"

namespace {

using mptd::fuzz::FileInMemory;
using mptd::fuzz::Require;
using namespace mptd::cli;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const FileInMemory file({reinterpret_cast<const char*>(data), size});
  {
    const auto input = InputFile::Open(file.path());
    Require(input.ok());
    const absl::Status read = ReadBlocks(
        **input, {},
        [](const InputBlock& block) {
          Require(mptd::ToBlockChanges(block.request).ok());
          return absl::OkStatus();
        },
        [](const std::string&) {});
    Require(read.ok() || !read.message().empty());
  }
  const auto input = InputFile::Open(file.path());
  Require(input.ok());
  const auto changes = ReadChangeSet(**input);
  if (!changes.ok()) return 0;
  Require(mptd::ToAccountChanges(changes->changes).ok());
  Require(!changes->expected_root.has_value() || changes->expected_root->size() == 32);
  return 0;
}
