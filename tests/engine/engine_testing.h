// What the engine's tests share: folders, random blocks, and the same blocks applied to the naive model.
#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "core/engine/engine.h"
#include "storage/kv_store.h"
#include "tests/model/naive_trie.h"

namespace mptd::testing {

// A folder that goes away with its owner.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

// For data in `dir`: a small block cache, and no flush because of the time.
EngineOptions QuietOptions(const TempDir& dir);

Address AddressOf(uint64_t i);
Hash SlotOf(uint64_t i);

// The rules of applying a block, on the model. Written from EIP-161 and the interface's words, not from the engine.
void ApplyToModel(model::NaiveState& state, const BlockChanges& block);

// Every account and slot of a view, what it says of absent ones, and all their proofs, against the model.
void ExpectState(const StateView& view, const model::NaiveState& expected);

// The head of an engine and of the model, and the states before it, side by side.
class TwinChain {
 public:
  explicit TwinChain(EngineOptions options, std::optional<uint64_t> first_number = 1)
      : options_(std::move(options)), first_number_(first_number.value_or(1)) {
    Open();
  }

  struct Entry {
    BlockInfo info;
    model::NaiveState state;
  };

  void Open();
  void Close() { engine_.reset(); }
  void Reopen() {
    Close();
    Open();
  }
  StateEngine& engine() { return *engine_; }
  EngineOptions& options() { return options_; }

  // The block that would follow the head, or block `number`: its own hash, its parent's hash and root.
  BlockChanges Next(std::vector<AccountChange> changes) const;
  BlockChanges Replacing(uint64_t number, std::vector<AccountChange> changes);
  // Applies to both, and compares the roots.
  void Apply(std::vector<AccountChange> changes) { Apply(Next(std::move(changes))); }
  void Apply(const BlockChanges& block);
  // Applies to the model alone what the engine has taken.
  void Adopt(const BlockChanges& block);
  void Rollback(uint64_t number);

  const Entry& head() const { return entries_.back(); }
  // What the model has, also blocks that the engine does not serve any more.
  const std::vector<Entry>& entries() const { return entries_; }
  const Entry& at(uint64_t number) const { return entries_[number - entries_.front().info.number]; }

  void ExpectHead();
  void ExpectAt(uint64_t number);
  // From the oldest served one.
  void ExpectAll();

 private:
  EngineOptions options_;
  const uint64_t first_number_;
  uint64_t made_ = 0;
  std::unique_ptr<StateEngine> engine_;
  std::vector<Entry> entries_;
};

// Changes, for tests by name.
AccountChange Touch(uint64_t address);
AccountChange Remove(uint64_t address);
AccountChange SetBalance(uint64_t address, uint64_t balance);
AccountChange SetSlots(uint64_t address, std::vector<std::pair<uint64_t, uint64_t>> slots);
AccountChange SetCode(uint64_t address, Bytes code);
AccountChange Reset(AccountChange change);

// The rows of a folder that no engine has open, by table.
using TableRows = std::map<std::string, std::string>;
using AllTables = std::array<TableRows, storage::kTableCount>;
AllTables ReadTables(const std::string& data_dir);
// Names the first difference. `meta` is left out, unless `with_meta`.
void ExpectSameTables(const AllTables& actual, const AllTables& expected, bool with_meta = false);
void EditRow(const std::string& data_dir, storage::Table table, const std::string& key,
             std::optional<std::string> value);
// What a crash now would leave to the next start: the folder as it is on disk.
void CopyFolder(const std::string& from, const std::string& to);

// Random blocks on few accounts and slots, so that they meet often: created, changed, emptied, removed, created again.
class BlockMaker {
 public:
  explicit BlockMaker(uint64_t seed) : random_(seed) {}

  // On top of `parent`, whose number and hash it follows; absent for the first.
  BlockChanges Make(const std::optional<BlockInfo>& parent);
  uint64_t Below(uint64_t n) { return random_() % n; }
  std::mt19937_64& random() { return random_; }

 private:
  AccountChange MakeChange(const Address& address);

  std::mt19937_64 random_;
};

// Of a randomised test: MPTD_TEST_SEED, or another one each time.
uint64_t FirstSeed();

// How long the long tests run: MPTD_TEST_SCALE=short makes them shorter, for sanitizers.
int Scaled(int full);

}  // namespace mptd::testing
