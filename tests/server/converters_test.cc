#include "server/converters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/errors.h"

namespace mptd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Repeat(size_t n, char c = 'x') { return std::string(n, c); }

// Every status of a malformed field names it, once in the message and once for programs.
void ExpectField(const absl::Status& status, const std::string& path, const std::string& message) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), path + ": " + message);
  EXPECT_EQ(InvalidFieldPath(status), path);
}

pb::ApplyStateChangesRequest GoodBlock() {
  pb::ApplyStateChangesRequest request;
  request.set_number(7);
  pb::AccountChange* change = request.add_changes();
  change->set_address(Repeat(20, 'a'));
  return request;
}

TEST(ConvertersTest, AddressesAndHashesHaveExactLengths) {
  EXPECT_EQ(ToAddress(Repeat(20), "address")->view(), Repeat(20));
  EXPECT_EQ(ToHash(Repeat(32), "key")->view(), Repeat(32));
  for (const size_t wrong : {0u, 19u, 21u, 32u}) {
    ExpectField(ToAddress(Repeat(wrong), "address").status(), "address",
                "must have 20 bytes, has " + std::to_string(wrong));
  }
  for (const size_t wrong : {0u, 20u, 31u, 33u, 64u}) {
    ExpectField(ToHash(Repeat(wrong), "key").status(), "key", "must have 32 bytes, has " + std::to_string(wrong));
  }
}

TEST(ConvertersTest, QuantitiesAreMinimal) {
  EXPECT_TRUE(ToQuantity("", "v")->IsZero());
  EXPECT_EQ(*ToQuantity("\x01", "v"), U256::FromUint64(1));
  EXPECT_EQ(*ToQuantity(std::string("\x01\x00", 2), "v"), U256::FromUint64(256));
  EXPECT_EQ(ToQuantity(Repeat(32, '\xff'), "v")->minimal(), Repeat(32, '\xff'));
  ExpectField(ToQuantity(Repeat(33, '\x01'), "v").status(), "v", "may have at most 32 bytes, has 33");
  ExpectField(ToQuantity(std::string("\0", 1), "v").status(), "v", "must not have leading zeros; zero is empty");
  ExpectField(ToQuantity(std::string("\0\x01", 2), "v").status(), "v", "must not have leading zeros; zero is empty");
}

TEST(ConvertersTest, BlockReferences) {
  pb::BlockRef ref;
  EXPECT_TRUE(std::holds_alternative<LatestBlock>(*ToBlockSelector(ref)));
  ref.set_latest(true);
  EXPECT_TRUE(std::holds_alternative<LatestBlock>(*ToBlockSelector(ref)));
  ref.set_number(0);
  EXPECT_EQ(std::get<uint64_t>(*ToBlockSelector(ref)), 0u);
  ref.set_hash(Repeat(32, 'h'));
  EXPECT_EQ(std::get<BlockByHash>(*ToBlockSelector(ref)).hash.view(), Repeat(32, 'h'));
  ref.set_state_root(Repeat(32, 'r'));
  EXPECT_EQ(std::get<BlockByRoot>(*ToBlockSelector(ref)).root.view(), Repeat(32, 'r'));

  ref.set_latest(false);
  ExpectField(ToBlockSelector(ref).status(), "block.latest", "must be true when it is set");
  ref.set_hash(Repeat(31));
  ExpectField(ToBlockSelector(ref).status(), "block.hash", "must have 32 bytes, has 31");
  ref.set_hash("");
  ExpectField(ToBlockSelector(ref).status(), "block.hash", "must have 32 bytes, has 0");
  ref.set_state_root(Repeat(33));
  ExpectField(ToBlockSelector(ref).status(), "block.state_root", "must have 32 bytes, has 33");
}

TEST(ConvertersTest, ANamedBlockMustBeNamed) {
  pb::BlockRef ref;
  ExpectField(ToNamedBlock(false, ref).status(), "block", "must be set");
  ExpectField(ToNamedBlock(true, ref).status(), "block", "must be set");
  ref.set_number(3);
  EXPECT_EQ(std::get<uint64_t>(*ToNamedBlock(true, ref)), 3u);
}

TEST(ConvertersTest, ABlockWithEverything) {
  pb::ApplyStateChangesRequest request;
  request.set_number(7);
  request.set_hash(Repeat(32, 'h'));
  request.set_parent_hash(Repeat(32, 'p'));
  request.set_parent_root(Repeat(32, 'q'));
  request.set_expected_root(Repeat(32, 'e'));
  request.set_reorganize(true);
  request.set_keep_empty_accounts(true);
  pb::AccountChange* change = request.add_changes();
  change->set_address(Repeat(20, 'a'));
  change->set_nonce(0);
  change->set_balance("");
  change->set_code("");
  change->set_reset_storage(true);
  pb::SlotChange* slot = change->add_slots();
  slot->set_key(Repeat(32, 'k'));
  slot->set_value("\x05");
  change = request.add_changes();
  change->set_address(Repeat(20, 'b'));
  change->set_delete_(true);
  request.add_changes()->set_address(Repeat(20, 'c'));

  const absl::StatusOr<BlockChanges> block = ToBlockChanges(request);
  ASSERT_TRUE(block.ok()) << block.status();
  EXPECT_EQ(block->number, 7u);
  EXPECT_EQ(block->hash->view(), Repeat(32, 'h'));
  EXPECT_EQ(block->parent_hash->view(), Repeat(32, 'p'));
  EXPECT_EQ(block->parent_root->view(), Repeat(32, 'q'));
  EXPECT_EQ(block->expected_root->view(), Repeat(32, 'e'));
  EXPECT_TRUE(block->reorganize);
  EXPECT_TRUE(block->keep_empty_accounts);
  ASSERT_EQ(block->changes.size(), 3u);
  const AccountChange& first = block->changes[0];
  EXPECT_EQ(first.address.view(), Repeat(20, 'a'));
  EXPECT_EQ(first.nonce, 0u);  // set to zero, not kept
  EXPECT_EQ(first.balance, U256{});
  EXPECT_EQ(first.code, Bytes());
  EXPECT_TRUE(first.reset_storage);
  EXPECT_FALSE(first.remove);
  ASSERT_EQ(first.slots.size(), 1u);
  EXPECT_EQ(first.slots[0].key.view(), Repeat(32, 'k'));
  EXPECT_EQ(first.slots[0].value, U256::FromUint64(5));
  EXPECT_TRUE(block->changes[1].remove);
  const AccountChange& touched = block->changes[2];
  EXPECT_FALSE(touched.nonce.has_value() || touched.balance.has_value() || touched.code.has_value());
}

TEST(ConvertersTest, AbsentOptionalFieldsOfABlock) {
  const absl::StatusOr<BlockChanges> block = ToBlockChanges(GoodBlock());
  ASSERT_TRUE(block.ok());
  EXPECT_FALSE(block->hash.has_value());
  EXPECT_FALSE(block->parent_hash.has_value());
  EXPECT_FALSE(block->parent_root.has_value());
  EXPECT_FALSE(block->expected_root.has_value());
}

TEST(ConvertersTest, EveryHashOfABlockIsChecked) {
  for (const size_t wrong : {1u, 31u, 33u}) {
    const std::string message = "must have 32 bytes, has " + std::to_string(wrong);
    auto request = GoodBlock();
    request.set_hash(Repeat(wrong));
    ExpectField(ToBlockChanges(request).status(), "hash", message);
    request = GoodBlock();
    request.set_parent_hash(Repeat(wrong));
    ExpectField(ToBlockChanges(request).status(), "parent_hash", message);
    request = GoodBlock();
    request.set_parent_root(Repeat(wrong));
    ExpectField(ToBlockChanges(request).status(), "parent_root", message);
    request = GoodBlock();
    request.set_expected_root(Repeat(wrong));
    ExpectField(ToBlockChanges(request).status(), "expected_root", message);
  }
  auto request = GoodBlock();
  request.set_expected_root("");  // present, so it is not absent
  ExpectField(ToBlockChanges(request).status(), "expected_root", "must have 32 bytes, has 0");
}

TEST(ConvertersTest, PathsLeadToTheFieldOfAChange) {
  auto request = GoodBlock();
  request.add_changes()->set_address(Repeat(19));
  ExpectField(ToBlockChanges(request).status(), "changes[1].address", "must have 20 bytes, has 19");

  request = GoodBlock();
  request.mutable_changes(0)->set_balance(Repeat(33, '\x01'));
  ExpectField(ToBlockChanges(request).status(), "changes[0].balance", "may have at most 32 bytes, has 33");

  request = GoodBlock();
  pb::AccountChange* change = request.mutable_changes(0);
  change->add_slots()->set_key(Repeat(32));
  change->add_slots()->set_key(Repeat(31));
  ExpectField(ToBlockChanges(request).status(), "changes[0].slots[1].key", "must have 32 bytes, has 31");

  change->mutable_slots(1)->set_key(Repeat(32, 'y'));
  change->mutable_slots(1)->set_value(std::string("\0\x01", 2));
  ExpectField(ToBlockChanges(request).status(), "changes[0].slots[1].value",
              "must not have leading zeros; zero is empty");
  change->mutable_slots(1)->set_value(Repeat(33, '\x01'));
  ExpectField(ToBlockChanges(request).status(), "changes[0].slots[1].value", "may have at most 32 bytes, has 33");
}

TEST(ConvertersTest, DeleteStandsAlone) {
  const auto with = [](const std::function<void(pb::AccountChange&)>& set) {
    pb::ApplyStateChangesRequest request = GoodBlock();
    request.mutable_changes(0)->set_delete_(true);
    set(*request.mutable_changes(0));
    return ToBlockChanges(request).status();
  };
  EXPECT_TRUE(with([](pb::AccountChange&) {}).ok());
  const auto message = [](const char* field) {
    return std::string("nothing else may be set with it, but ") + field + " is";
  };
  const std::string path = "changes[0].delete";
  ExpectField(with([](pb::AccountChange& c) { c.set_nonce(0); }), path, message("nonce"));
  ExpectField(with([](pb::AccountChange& c) { c.set_balance(""); }), path, message("balance"));
  ExpectField(with([](pb::AccountChange& c) { c.set_code(""); }), path, message("code"));
  ExpectField(with([](pb::AccountChange& c) { c.set_reset_storage(true); }), path, message("reset_storage"));
  ExpectField(with([](pb::AccountChange& c) { c.add_slots(); }), path, message("slots"));
}

TEST(ConvertersTest, ListsOfKeys) {
  google::protobuf::RepeatedPtrField<std::string> list;
  EXPECT_TRUE(ToAddresses(list, "addresses", 2, "max_accounts_per_read")->empty());
  *list.Add() = Repeat(20, 'a');
  *list.Add() = Repeat(20, 'b');
  EXPECT_EQ(ToAddresses(list, "addresses", 2, "max_accounts_per_read")->size(), 2u);
  ExpectField(ToAddresses(list, "addresses", 1, "max_accounts_per_read").status(), "addresses",
              "may have at most 1 entries, has 2");
  ExpectField(ToSlots(list, "slots", 2, "max_slots_per_read").status(), "slots[0]", "must have 32 bytes, has 20");
  *list.Add() = Repeat(21);
  ExpectField(ToAddresses(list, "addresses", 3, "max_accounts_per_read").status(), "addresses[2]",
              "must have 20 bytes, has 21");
}

TEST(ConvertersTest, ProofTargets) {
  pb::GetMultiProofRequest request;
  pb::ProofTarget* target = request.add_targets();
  target->set_address(Repeat(20, 'a'));
  target->add_slots(Repeat(32, 's'));
  const auto targets = ToProofTargets(request.targets(), 10'000);
  ASSERT_TRUE(targets.ok());
  EXPECT_EQ(targets->front().slots.front().view(), Repeat(32, 's'));

  target->add_slots(Repeat(31));
  ExpectField(ToProofTargets(request.targets(), 10'000).status(), "targets[0].slots[1]", "must have 32 bytes, has 31");
  target->set_address("");
  ExpectField(ToProofTargets(request.targets(), 10'000).status(), "targets[0].address", "must have 20 bytes, has 0");
  for (size_t i = 0; i < 10'000; ++i) target->add_slots(Repeat(32));
  EXPECT_THAT(std::string(ToProofTargets(request.targets(), 10'000).status().message()),
              HasSubstr("targets: may have at most 10000 accounts and slots together, has 10003"));
}

TEST(ConvertersTest, PageSizes) {
  EXPECT_EQ(ToPageSize(0, 1000, 10'000).value(), 1000u);
  EXPECT_EQ(ToPageSize(1, 1000, 10'000).value(), 1u);
  EXPECT_EQ(ToPageSize(10'000, 1000, 10'000).value(), 10'000u);
  ExpectField(ToPageSize(10'001, 1000, 10'000).status(), "page_size", "may be at most 10000, is 10001");
  EXPECT_EQ(LimitOf(ToPageSize(10'001, 1000, 10'000).status()), "max_page_rows");
  EXPECT_EQ(ToPageSize(0, 1000, 10).value(), 10u);
}

TEST(ConvertersTest, BlocksOut) {
  pb::Block out;
  FillBlock({.number = 9, .hash = std::nullopt, .parent_hash = std::nullopt, .state_root = kEmptyRoot}, false, &out);
  EXPECT_EQ(out.number(), 9u);
  EXPECT_EQ(out.hash(), "");
  EXPECT_EQ(out.parent_hash(), "");
  EXPECT_EQ(out.state_root(), kEmptyRoot.view());
  EXPECT_FALSE(out.durable());
  out.Clear();
  const Hash hash = Hash::FromView(Repeat(32, 'h'));
  FillBlock({.number = 9, .hash = hash, .parent_hash = kEmptyRoot, .state_root = kEmptyRoot}, true, &out);
  EXPECT_EQ(out.hash(), hash.view());
  EXPECT_EQ(out.parent_hash(), kEmptyRoot.view());
  EXPECT_TRUE(out.durable());
}

TEST(ConvertersTest, AccountsOutHaveMinimalBalances) {
  pb::Account out;
  FillAccount({.nonce = 3, .balance = U256::FromUint64(256), .storage_root = kEmptyRoot, .code_hash = kEmptyCodeHash},
              &out);
  EXPECT_EQ(out.nonce(), 3u);
  EXPECT_EQ(out.balance(), std::string("\x01\0", 2));
  EXPECT_EQ(out.storage_root(), kEmptyRoot.view());
  EXPECT_EQ(out.code_hash(), kEmptyCodeHash.view());
  out.Clear();
  FillAccount({}, &out);
  EXPECT_EQ(out.balance(), "");
}

TEST(ConvertersTest, ProofsOut) {
  AccountProof proof{
      .address = Address::FromView(Repeat(20, 'a')),
      .account = {.nonce = 1, .balance = U256::FromUint64(2), .storage_root = kEmptyRoot, .code_hash = kEmptyCodeHash},
      .proof = {"one", "two"},
      .storage = {{.key = kEmptyRoot, .value = U256::FromUint64(7), .proof = {"three"}}}};
  pb::GetProofResponse out;
  FillProof(std::move(proof), true, &out);
  EXPECT_EQ(out.address(), Repeat(20, 'a'));
  EXPECT_THAT(out.account_proof(), ElementsAre("one", "two"));
  EXPECT_EQ(out.nonce(), 1u);
  EXPECT_EQ(out.balance(), "\x02");
  EXPECT_TRUE(out.exists());
  ASSERT_EQ(out.storage_proofs_size(), 1);
  EXPECT_EQ(out.storage_proofs(0).key(), kEmptyRoot.view());
  EXPECT_EQ(out.storage_proofs(0).value(), "\x07");
  EXPECT_THAT(out.storage_proofs(0).proof(), ElementsAre("three"));

  MultiProof multi{
      .nodes = {"root", "leaf"},
      .entries = {{.address = Address::FromView(Repeat(20, 'b')), .account = std::nullopt, .values = {U256{}}},
                  {.address = {}, .account = Account{}, .values = {U256::FromUint64(9)}}}};
  pb::GetMultiProofResponse multi_out;
  FillMultiProof(std::move(multi), &multi_out);
  EXPECT_THAT(multi_out.nodes(), ElementsAre("root", "leaf"));
  ASSERT_EQ(multi_out.accounts_size(), 2);
  EXPECT_FALSE(multi_out.accounts(0).exists());
  EXPECT_FALSE(multi_out.accounts(0).has_account());
  EXPECT_THAT(multi_out.accounts(0).values(), ElementsAre(""));
  EXPECT_TRUE(multi_out.accounts(1).exists());
  EXPECT_THAT(multi_out.accounts(1).values(), ElementsAre("\x09"));
}

TEST(ConvertersTest, StatusOut) {
  EngineStatus status;
  status.has_blocks = true;
  status.head.number = 5;
  status.durable_number = 4;
  status.flushed_number = 3;
  status.oldest_served_number = 2;
  status.read_only = true;
  status.read_only_reason = "a sync failed";
  status.genesis_root = kEmptyRoot;
  pb::GetStatusResponse out;
  FillStatus(status, true, {.version = "1.2.3", .persistence_mode = "sync", .uptime = absl::Seconds(61)}, &out);
  EXPECT_EQ(out.head().number(), 5u);
  EXPECT_TRUE(out.head().durable());
  EXPECT_EQ(out.durable_number(), 4u);
  EXPECT_EQ(out.flushed_number(), 3u);
  EXPECT_EQ(out.oldest_served_number(), 2u);
  EXPECT_TRUE(out.read_only());
  EXPECT_EQ(out.read_only_reason(), "a sync failed");
  EXPECT_EQ(out.version(), "1.2.3");
  EXPECT_EQ(out.persistence_mode(), "sync");
  EXPECT_EQ(out.uptime_seconds(), 61u);
  EXPECT_EQ(out.genesis_root(), kEmptyRoot.view());
  out.Clear();
  FillStatus(EngineStatus{}, false, {}, &out);
  EXPECT_FALSE(out.has_head());
  EXPECT_FALSE(out.has_blocks());
  EXPECT_EQ(out.genesis_root(), "");
}

}  // namespace
}  // namespace mptd
