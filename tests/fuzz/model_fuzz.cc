// Random operations on a real engine, whose folder is in memory, beside the naive model of tests/model: blocks with all
// kinds of changes, rollbacks, reorganisations, flushes, prunings, restarts, dry runs, proofs. The input chooses the
// options and the operations; what differs from the model ends the run.
#include <gtest/gtest.h>

#include <array>
#include <set>

#include "tests/engine/engine_testing.h"
#include "tests/fuzz/fuzzing.h"

namespace mptd::fuzz {
namespace {

using testing::AddressOf;
using testing::SlotOf;
using testing::TwinChain;

constexpr int kMostOperations = 16;
constexpr size_t kAccounts = 24;
constexpr size_t kSlots = 12;
// Quantities whose encodings differ in length; short ones make leaves that stand in their parent.
constexpr std::array<uint64_t, 8> kValues = {0, 1, 2, 0x7f, 0x80, 0xffff, 1ull << 32, UINT64_MAX};

EngineOptions OptionsOf(Input& input) {
  EngineOptions options;
  constexpr std::array kModes = {Durability::kAsync, Durability::kBatched, Durability::kSync};
  options.durability = kModes[input.Below(kModes.size())];
  options.worker_threads = 1 + static_cast<int>(input.Below(2));
  const uint8_t flags = input.Byte();
  if ((flags & 1) != 0) options.node_cache_bytes = 0;
  if ((flags & 2) != 0) options.row_cache_bytes = 0;
  if ((flags & 4) != 0) options.history_memory_bytes = 0;
  if ((flags & 8) != 0) options.flush_blocks = 1 + input.Below(4);
  if ((flags & 16) != 0) options.keep_blocks = 1 + input.Below(12);
  if ((flags & 32) != 0) options.prune_interval_blocks = 1 + input.Below(4);
  options.archive = (flags & 64) != 0;
  return options;
}

AccountChange ChangeOf(Input& input, uint64_t account) {
  AccountChange change = testing::Touch(account);
  const uint8_t flags = input.Byte();
  if (flags % 8 == 0) {
    change.remove = true;
    return change;
  }
  if ((flags & 8) != 0) change.nonce = kValues[input.Below(kValues.size())];
  if ((flags & 16) != 0) change.balance = U256::FromUint64(kValues[input.Below(kValues.size())]);
  if ((flags & 32) != 0) change.code = Bytes(input.Below(4), 'c');
  change.reset_storage = (flags & 64) != 0;
  if ((flags & 128) != 0) {
    std::set<size_t> slots;
    for (size_t n = 1 + input.Below(6); n > 0; --n) slots.insert(input.Below(kSlots));
    for (const size_t slot : slots) {
      change.slots.push_back({SlotOf(slot), U256::FromUint64(kValues[input.Below(kValues.size())])});
    }
  }
  return change;
}

std::vector<AccountChange> ChangesOf(Input& input) {
  std::set<size_t> accounts;
  for (size_t n = input.Below(10); n > 0; --n) accounts.insert(input.Below(kAccounts));
  std::vector<AccountChange> out;
  for (const size_t account : accounts) out.push_back(ChangeOf(input, account));
  return out;
}

class Run {
 public:
  explicit Run(Input& input) : input_(input), chain_(OptionsIn(dir_.path(), input)) {}

  void Go() {
    for (int i = 0; i < kMostOperations && !input_.empty(); ++i) {
      if (chain_.entries().empty()) {
        Apply();
      } else {
        Step();
      }
    }
    if (chain_.entries().empty()) return;
    chain_.Reopen();
    chain_.ExpectAll();
    const absl::StatusOr<VerifyReport> report = chain_.engine().Verify({});
    Require(report.ok() && report->difference.empty());
  }

 private:
  static EngineOptions OptionsIn(const std::string& dir, Input& input) {
    EngineOptions options = OptionsOf(input);
    options.data_dir = dir + "/data";
    return options;
  }

  void Step() {
    switch (input_.Below(16)) {
      case 0:
        return chain_.Rollback(Served());
      case 1:
      case 2:
        return Reorganize();
      case 3:
        return Require(chain_.engine().Flush().ok());
      case 4:
        return chain_.Reopen();
      case 5:
        return Prune();
      case 6:
        return DryRun();
      case 7:
        return chain_.ExpectAt(Served());
      case 8:
        return Refused();
      default:
        return Apply();
    }
  }

  // The number of a block that is served.
  uint64_t Served() {
    const uint64_t head = chain_.head().info.number;
    const uint64_t oldest = chain_.engine().Status().oldest_served_number;
    return head - input_.Byte() % (head - oldest + 1);
  }

  BlockChanges Next() {
    BlockChanges block = chain_.Next(ChangesOf(input_));
    block.keep_empty_accounts = input_.Below(8) == 0;
    return block;
  }

  void Apply() { chain_.Apply(Next()); }

  void Reorganize() {
    const uint64_t parent = Served();
    if (parent == chain_.head().info.number) return;
    chain_.Apply(chain_.Replacing(parent + 1, ChangesOf(input_)));
  }

  void Prune() { Require(chain_.engine().Prune(input_.Below(8)).ok()); }

  void DryRun() {
    const uint64_t number = Served();
    BlockChanges block;
    block.changes = ChangesOf(input_);
    const absl::StatusOr<StateViewPtr> view = chain_.engine().View(number);
    Require(view.ok());
    const absl::StatusOr<Hash> root = (*view)->ComputeRoot(block.changes, false);
    model::NaiveState state = chain_.at(number).state;
    testing::ApplyToModel(state, block);
    Require(root.ok() && *root == state.Root());
  }

  // Another root is expected: nothing changes, which the next look at the head shows.
  void Refused() {
    BlockChanges block = Next();
    block.expected_root = SlotOf(1);
    Require(absl::IsFailedPrecondition(chain_.engine().Apply(block).status()));
    chain_.ExpectHead();
  }

  Input& input_;
  testing::TempDir dir_;
  TwinChain chain_;
};

}  // namespace
}  // namespace mptd::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // What the model's helpers find ends the run, as Require does.
  GTEST_FLAG_SET(break_on_failure, true);
  mptd::fuzz::Input input(data, size);
  mptd::fuzz::Run(input).Go();
  return 0;
}
