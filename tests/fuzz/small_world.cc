#include "tests/fuzz/small_world.h"

#include <cstdlib>
#include <filesystem>

#include "core/keccak.h"
#include "tests/fuzz/fuzzing.h"

namespace mptd::fuzz {
namespace {

constexpr uint64_t kBlocks = 6;
constexpr uint64_t kAccounts = 12;
constexpr uint64_t kSlots = 6;

Hash HashOfBlock(uint64_t number) { return Keccak256("block " + std::to_string(number)); }

BlockChanges BlockOf(uint64_t number) {
  BlockChanges block;
  block.number = number;
  block.hash = HashOfBlock(number);
  if (number > 1) block.parent_hash = HashOfBlock(number - 1);
  for (uint64_t i = number; i < kAccounts; i += 2) {
    AccountChange change = testing::SetBalance(i, 1000 * number + i);
    if (i % 3 == 0) change.code = "code " + std::to_string(i);
    for (uint64_t slot = 0; slot < i % kSlots; ++slot) {
      change.slots.push_back({testing::SlotOf(slot), U256::FromUint64(number * slot)});
    }
    block.changes.push_back(std::move(change));
  }
  return block;
}

}  // namespace

void UseMemoryForFolders() {
  constexpr char kMemory[] = "/dev/shm";
  if (std::getenv("TMPDIR") == nullptr && std::filesystem::is_directory(kMemory)) setenv("TMPDIR", kMemory, 0);
}

SmallWorld::SmallWorld() {
  EngineOptions options;
  options.data_dir = dir_.path() + "/data";
  options.durability = Durability::kAsync;
  options.worker_threads = 1;
  options.max_changes_per_block = 8;
  options.max_slots_per_account = 8;
  absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(options);
  Require(engine.ok());
  engine_ = *std::move(engine);
  for (uint64_t number = 1; number <= kBlocks; ++number) Require(engine_->Apply(BlockOf(number)).ok());
  Require(engine_->Flush().ok());
}

void SmallWorld::Restore() {
  uint64_t number = kBlocks;
  for (; number > 1; --number) {
    const absl::StatusOr<StateViewPtr> view = engine_->View(number);
    if (view.ok() && (*view)->block().hash == HashOfBlock(number)) break;
  }
  if (engine_->Status().head.hash != HashOfBlock(number)) Require(engine_->RollbackTo(number).ok());
  while (number < kBlocks) Require(engine_->Apply(BlockOf(++number)).ok());
}

std::vector<std::string> SmallWorld::KnownBytes() {
  std::vector<std::string> out = {"",
                                  std::string(1, '\1'),
                                  std::string(32, '\xff'),
                                  std::string(20, '\0'),
                                  std::string(kEmptyCodeHash.view()),
                                  std::string(kEmptyRoot.view())};
  for (uint64_t i = 0; i <= kAccounts; ++i) out.emplace_back(testing::AddressOf(i).view());
  for (uint64_t i = 0; i <= kSlots; ++i) out.emplace_back(testing::SlotOf(i).view());
  for (uint64_t i = 1; i <= kBlocks + 1; ++i) out.emplace_back(HashOfBlock(i).view());
  return out;
}

}  // namespace mptd::fuzz

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  mptd::fuzz::UseMemoryForFolders();
  return 0;
}
