// Other people's chains through the engine: the states of ethereum/tests with the roots that their headers carry, and a
// chain that go-ethereum made with the proofs that it gave at the time. Where they come from: tests/testdata/README.md.
#include <gtest/gtest.h>

#include "core/eip1186_json.h"
#include "core/engine/engine.h"
#include "core/hex.h"
#include "tests/engine/engine_testing.h"
#include "tests/model/testdata.h"

namespace mptd::testing {
namespace {

// What turns one state into another.
std::vector<AccountChange> Difference(const model::NaiveState& from, const model::NaiveState& to) {
  std::vector<AccountChange> changes;
  for (const auto& [address, account] : from.accounts) {
    if (to.accounts.contains(address)) continue;
    changes.emplace_back().address = address;
    changes.back().remove = true;
  }
  for (const auto& [address, account] : to.accounts) {
    const auto it = from.accounts.find(address);
    if (it != from.accounts.end() && it->second == account) continue;
    const model::NaiveAccount before = it == from.accounts.end() ? model::NaiveAccount{} : it->second;
    AccountChange& change = changes.emplace_back();
    change.address = address;
    if (account.nonce != before.nonce) change.nonce = account.nonce;
    if (account.balance != before.balance) change.balance = account.balance;
    if (account.code != before.code) change.code = account.code;
    for (const auto& [slot, value] : before.storage) {
      if (!account.storage.contains(slot)) change.slots.push_back({slot, U256{}});
    }
    for (const auto& [slot, value] : account.storage) {
      const auto old = before.storage.find(slot);
      if (old == before.storage.end() || old->second != value) change.slots.push_back({slot, value});
    }
  }
  return changes;
}

// Each state is made of the one before, changed, and its change taken back; the model gives the roots in between their
// names.
TEST(ChainVectors, BlockchainStates) {
  TempDir dir;
  EngineOptions options;
  options.data_dir = dir.path() + "/data";
  options.block_cache_bytes = 8u << 20;
  TwinChain chain(options);
  const auto apply = [&](const model::NaiveState& to, const Hash& root) {
    BlockChanges block = chain.Next(Difference(chain.entries().empty() ? model::NaiveState{} : chain.head().state, to));
    block.keep_empty_accounts = true;
    block.expected_root = root;
    ASSERT_NO_FATAL_FAILURE(chain.Apply(block));
    ASSERT_EQ(chain.head().info.state_root, root);
  };
  const nlohmann::json vectors = model::LoadJson("blockchain_states.json.gz");
  ASSERT_EQ(vectors.size(), 1340u);
  const size_t stride = Scaled(5) == 5 ? 1 : 5;
  for (size_t i = 0; i < vectors.size(); i += stride) {
    const nlohmann::json& vector = vectors[i];
    SCOPED_TRACE(vector["name"].get<std::string>());
    const model::NaiveState pre = model::StateOf(vector["pre"]);
    const model::NaiveState post = model::StateOf(vector["post"]);
    const Hash pre_root = model::HashOf(vector["pre_root"]);
    ASSERT_NO_FATAL_FAILURE(apply(pre, pre_root));
    const uint64_t number = chain.head().info.number;
    const std::vector<AccountChange> difference = Difference(pre, post);
    absl::StatusOr<Hash> dry = (*chain.engine().View(LatestBlock{}))->ComputeRoot(difference, true);
    ASSERT_TRUE(dry.ok()) << dry.status();
    EXPECT_EQ(*dry, model::HashOf(vector["post_root"]));
    ASSERT_NO_FATAL_FAILURE(apply(post, model::HashOf(vector["post_root"])));
    if (i % 7 == 0) {
      ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
    }
    if (i % 11 == 0) {
      ASSERT_TRUE(chain.engine().Flush().ok());
    }
    ASSERT_NO_FATAL_FAILURE(chain.Rollback(number));
    ASSERT_EQ((*chain.engine().View(LatestBlock{}))->block().state_root, pre_root);
    if (i % 13 == 0) {
      ASSERT_NO_FATAL_FAILURE(chain.ExpectHead());
    }
    if (i % 250 == 0) {
      ASSERT_NO_FATAL_FAILURE(chain.Reopen());
    }
  }
  EXPECT_EQ(chain.engine().Verify({})->difference, "");
}

BlockChanges BlockOf(const nlohmann::json& vector) {
  BlockChanges block;
  block.number = vector["number"].get<uint64_t>();
  block.hash = model::HashOf(vector["hash"]);
  block.parent_hash = model::HashOf(vector["parent_hash"]);
  block.expected_root = model::HashOf(vector["state_root"]);
  block.keep_empty_accounts = block.number == 0;
  for (const auto& [address, fields] : vector["changes"].items()) {
    AccountChange& change = block.changes.emplace_back();
    change.address = *AddressFromHex(address);
    if (fields.contains("delete")) change.remove = fields["delete"].get<bool>();
    if (fields.contains("balance")) change.balance = model::QuantityOf(fields["balance"]);
    if (fields.contains("nonce")) change.nonce = *ParseUint64(fields["nonce"].get<std::string>());
    if (fields.contains("code")) change.code = model::BytesOf(fields["code"]);
    if (!fields.contains("storage")) continue;
    for (const auto& [slot, value] : fields["storage"].items()) {
      change.slots.push_back({model::SlotOf(slot), model::QuantityOf(value)});
    }
  }
  return block;
}

struct Counts {
  size_t accounts = 0;
  size_t slots = 0;
};

void ExpectProofs(const StateEngine& engine, const nlohmann::json& vector, Counts& counts) {
  const auto number = vector["number"].get<uint64_t>();
  SCOPED_TRACE(::testing::Message() << "block " << number);
  absl::StatusOr<StateViewPtr> view = engine.View(number);
  ASSERT_TRUE(view.ok()) << view.status();
  ASSERT_EQ((*view)->block().hash, model::HashOf(vector["hash"]));
  ASSERT_EQ((*view)->block().state_root, model::HashOf(vector["state_root"]));
  for (const nlohmann::json& answer : vector["proofs"]) {
    absl::StatusOr<AccountProof> expected = ParseEip1186(answer.dump());
    ASSERT_TRUE(expected.ok()) << expected.status();
    std::vector<Hash> slots;
    for (const StorageProof& slot : expected->storage) slots.push_back(slot.key);
    absl::StatusOr<AccountProof> proof = (*view)->GetProof(expected->address, slots);
    ASSERT_TRUE(proof.ok()) << proof.status();
    ASSERT_EQ(proof->proof, expected->proof) << ToHex(expected->address);
    ASSERT_EQ(proof->account.nonce, expected->account.nonce);
    ASSERT_EQ(proof->account.balance, expected->account.balance);
    absl::StatusOr<std::optional<Account>> account = (*view)->GetAccount(expected->address);
    ASSERT_TRUE(account.ok());
    if (account->has_value()) {
      ASSERT_EQ(proof->account, expected->account);
    }
    for (size_t i = 0; i < slots.size(); ++i) {
      ASSERT_EQ(proof->storage[i].value, expected->storage[i].value);
      ASSERT_EQ(proof->storage[i].proof, expected->storage[i].proof)
          << ToHex(expected->address) << " " << ToHex(slots[i]);
    }
    ++counts.accounts;
    counts.slots += slots.size();
  }
}

void ExpectAllProofs(const StateEngine& engine, const nlohmann::json& blocks) {
  Counts counts;
  for (const nlohmann::json& vector : blocks) ASSERT_NO_FATAL_FAILURE(ExpectProofs(engine, vector, counts));
  EXPECT_EQ(counts.accounts, 611u);
  EXPECT_EQ(counts.slots, 329u);
}

// Byte for byte: when each block is the head, from history in memory or on disk, and after a restart.
TEST(ChainVectors, GoEthereumsChainAndProofs) {
  const nlohmann::json chain = model::LoadJson("geth_chain.json.gz");
  const nlohmann::json& blocks = chain["blocks"];
  ASSERT_EQ(blocks.size(), 152u);
  for (const bool history_in_memory : {true, false}) {
    SCOPED_TRACE(history_in_memory ? "history in memory" : "history on disk");
    TempDir dir;
    EngineOptions options;
    options.data_dir = dir.path() + "/data";
    options.keep_blocks = 200;
    if (!history_in_memory) {
      options.history_memory_bytes = 1;
      options.flush_blocks = 10;
      options.row_cache_bytes = options.node_cache_bytes = 0;
    }
    absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    Counts counts;
    for (const nlohmann::json& vector : blocks) {
      absl::StatusOr<ApplyResult> result = (*engine)->Apply(BlockOf(vector));
      ASSERT_TRUE(result.ok()) << result.status();
      ASSERT_NO_FATAL_FAILURE(ExpectProofs(**engine, vector, counts));
    }
    EXPECT_EQ(counts.accounts, 611u);
    EXPECT_EQ(counts.slots, 329u);
    ASSERT_NO_FATAL_FAILURE(ExpectAllProofs(**engine, blocks));
    ASSERT_TRUE((*engine)->Flush().ok());
    ASSERT_NO_FATAL_FAILURE(ExpectAllProofs(**engine, blocks));
    engine->reset();
    engine = StateEngine::Open(options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    ASSERT_NO_FATAL_FAILURE(ExpectAllProofs(**engine, blocks));
    EXPECT_EQ((*engine)->Status().genesis_root, model::HashOf(blocks[0]["state_root"]));
    EXPECT_EQ((*engine)->Verify({})->difference, "");
  }
}

}  // namespace
}  // namespace mptd::testing
