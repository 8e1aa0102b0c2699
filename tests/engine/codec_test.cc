// The records that the engine alone writes and reads: they come back as they were, and damaged ones are named as such,
// never read past their end (the address sanitizer watches).
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <set>

#include "core/engine/change_codec.h"
#include "core/engine/flusher.h"
#include "core/engine/history_reader.h"
#include "core/engine/undo_record.h"
#include "core/hex.h"
#include "tests/engine/engine_testing.h"

namespace mptd {

bool operator==(const SlotChange& a, const SlotChange& b) { return a.key == b.key && a.value == b.value; }
bool operator==(const AccountChange& a, const AccountChange& b) {
  return a.address == b.address && a.remove == b.remove && a.reset_storage == b.reset_storage && a.nonce == b.nonce &&
         a.balance == b.balance && a.code == b.code && a.slots == b.slots;
}

namespace testing {
namespace {

template <typename T>
T RandomFixed(std::mt19937_64& random) {
  T out;
  for (uint8_t& b : out.bytes) b = static_cast<uint8_t>(random());
  return out;
}

Bytes RandomBytes(std::mt19937_64& random, size_t size) {
  Bytes out(size, '\0');
  for (char& c : out) c = static_cast<char>(random());
  return out;
}

BlockChanges RandomBlock(uint64_t seed) {
  BlockMaker maker(seed);
  BlockChanges block = maker.Make(BlockInfo{maker.random()(), RandomFixed<Hash>(maker.random()), {}, kEmptyRoot});
  if (maker.Below(3) == 0) block.hash.reset();
  if (maker.Below(3) == 0) block.parent_hash.reset();
  block.reorganize = maker.Below(2) == 0;
  for (AccountChange& change : block.changes) {
    if (maker.Below(4) == 0) change.balance = U256::FromPadded(RandomBytes(maker.random(), maker.Below(33)));
    if (maker.Below(8) == 0) change.code = RandomBytes(maker.random(), maker.Below(2000));
    for (SlotChange& slot : change.slots) slot.key = RandomFixed<Hash>(maker.random());
  }
  return block;
}

void Shuffle(BlockChanges& block, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::shuffle(block.changes.begin(), block.changes.end(), random);
  for (AccountChange& change : block.changes) std::shuffle(change.slots.begin(), change.slots.end(), random);
}

void Sort(BlockChanges& block) {
  std::sort(block.changes.begin(), block.changes.end(),
            [](const auto& a, const auto& b) { return a.address < b.address; });
  for (AccountChange& change : block.changes) {
    std::sort(change.slots.begin(), change.slots.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
  }
}

ChangeDigest DigestOf(const BlockChanges& block) { return mptd::DigestOf(block, EncodeChanges(block)); }

// Every shorter record and one with a byte more are damaged; any other change gives some record or DATA_LOSS.
template <typename Decode>
void ExpectDamageIsFound(const Bytes& record, uint64_t seed, const Decode& decode) {
  const size_t step = std::max<size_t>(1, record.size() / 300);
  for (size_t size = 0; size < record.size(); size += step) {
    // A copy of just that size, so that reading past its end is noticed.
    const std::vector<char> exact(record.begin(), record.begin() + static_cast<ptrdiff_t>(size));
    ASSERT_EQ(decode(BytesView(exact.data(), size)).code(), absl::StatusCode::kDataLoss)
        << size << " of " << record.size();
  }
  ASSERT_EQ(decode(record + '\0').code(), absl::StatusCode::kDataLoss);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 300; ++i) {
    std::vector<char> damaged(record.begin(), record.end());
    for (uint64_t n = 1 + random() % 4; n > 0; --n) {
      damaged[random() % std::min<size_t>(damaged.size(), i % 2 == 0 ? 64 : SIZE_MAX)] = static_cast<char>(random());
    }
    const absl::Status status = decode(BytesView(damaged.data(), damaged.size()));
    ASSERT_TRUE(status.ok() || absl::IsDataLoss(status)) << status;
  }
}

TEST(ChangeCodec, BlocksComeBackSorted) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    BlockChanges block = RandomBlock(seed);
    const Hash root = SlotOf(seed);
    const Bytes record = EncodeLogBlock(block, root, EncodeChanges(block));
    absl::StatusOr<LogRecord> decoded = DecodeLogRecord(record);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    const LoggedBlock& logged = std::get<LoggedBlock>(*decoded);
    EXPECT_EQ(logged.state_root, root);
    EXPECT_EQ(logged.block.number, block.number);
    EXPECT_EQ(logged.block.hash, block.hash);
    EXPECT_EQ(logged.block.parent_hash, block.parent_hash);
    EXPECT_EQ(logged.block.reorganize, block.reorganize);
    EXPECT_EQ(logged.block.keep_empty_accounts, block.keep_empty_accounts);
    Sort(block);
    ASSERT_EQ(logged.block.changes, block.changes);
    EXPECT_EQ(EncodeLogBlock(logged.block, root, EncodeChanges(logged.block)), record);
  }
}

TEST(ChangeCodec, DigestsDoNotDependOnTheOrder) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    BlockChanges block = RandomBlock(seed);
    const ChangeDigest digest = DigestOf(block);
    Shuffle(block, seed);
    EXPECT_EQ(DigestOf(block), digest);
    block.hash = SlotOf(1);
    block.parent_hash = SlotOf(2);
    block.parent_root = SlotOf(3);
    block.expected_root = SlotOf(4);
    block.reorganize = !block.reorganize;
    EXPECT_EQ(DigestOf(block), digest);
  }
}

// What the tests, and the engine when it starts, take for the same state.
TEST(Values, DifferInEachField) {
  const BlockInfo block{7, SlotOf(1), SlotOf(2), SlotOf(3)};
  EXPECT_EQ(block, (BlockInfo{7, SlotOf(1), SlotOf(2), SlotOf(3)}));
  for (const BlockInfo& other :
       {BlockInfo{8, SlotOf(1), SlotOf(2), SlotOf(3)}, BlockInfo{7, std::nullopt, SlotOf(2), SlotOf(3)},
        BlockInfo{7, SlotOf(1), SlotOf(4), SlotOf(3)}, BlockInfo{7, SlotOf(1), SlotOf(2), SlotOf(4)}}) {
    EXPECT_NE(block, other);
  }
  const Account account{1, U256::FromUint64(2), SlotOf(3), SlotOf(4)};
  for (const Account& other :
       {Account{2, account.balance, SlotOf(3), SlotOf(4)}, Account{1, U256::FromUint64(3), SlotOf(3), SlotOf(4)},
        Account{1, account.balance, SlotOf(5), SlotOf(4)}, Account{1, account.balance, SlotOf(3), SlotOf(5)}}) {
    EXPECT_NE(account, other);
  }
  EXPECT_NE((StateCounts{.accounts = 1}), (StateCounts{}));
  EXPECT_NE((StateCounts{.slots = 1}), (StateCounts{}));
  EXPECT_NE((StateCounts{.branches = 1}), (StateCounts{}));
  EXPECT_NE((StateCounts{.extensions = 1}), (StateCounts{}));
  EXPECT_NE((StateCounts{.estimated = true}), (StateCounts{}));
}

// They are on disk: of a block that comes again after an upgrade, too, it must be known that it is the same.
TEST(ChangeCodec, DigestsStayTheSame) {
  BlockChanges block;
  block.number = 7;
  block.changes = {SetBalance(1, 100), SetSlots(2, {{3, 4}}), SetCode(5, "code"), Remove(6)};
  EXPECT_EQ(ToHex(DigestOf(block)), "0x0d4341e32ed64387b3422e38d986ed4c");
  block.keep_empty_accounts = true;
  EXPECT_EQ(ToHex(DigestOf(block)), "0xc3d8adff3e4847a942dde60325139d36");
}

TEST(ChangeCodec, DigestsDependOnEverythingElse) {
  BlockChanges block;
  block.number = 7;
  block.changes = {
      SetSlots(1, {{1, 1}, {2, 2}}), SetCode(2, "code"), SetBalance(3, 5), Remove(4), Touch(5), Reset(Touch(6))};
  std::vector<BlockChanges> others(20, block);
  others[1].number = 8;
  others[2].keep_empty_accounts = true;
  others[3].changes[0].slots[0].value = U256::FromUint64(2);
  others[4].changes[0].slots[0].key = SlotOf(3);
  others[5].changes[0].slots.pop_back();
  others[6].changes[0].nonce = 2;
  others[7].changes[0].nonce.reset();
  others[8].changes[1].code = Bytes("codf");
  others[9].changes[1].code = Bytes();
  others[10].changes[1].code.reset();
  others[11].changes[2].balance = U256{};
  others[12].changes[2].balance.reset();
  others[13].changes[3].remove = false;
  others[14].changes[3].address = AddressOf(44);
  others[15].changes.pop_back();
  others[16].changes[5].reset_storage = false;
  others[17].changes[4].reset_storage = true;
  others[18].changes[4].remove = true;
  others[19].changes[0].slots[1].value = U256{};
  std::set<ChangeDigest> digests;
  for (const BlockChanges& other : others) digests.insert(DigestOf(other));
  EXPECT_EQ(digests.size(), others.size());
}

TEST(ChangeCodec, DamagedRecords) {
  const auto decode = [](BytesView record) { return DecodeLogRecord(record).status(); };
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const BlockChanges block = RandomBlock(seed);
    ASSERT_NO_FATAL_FAILURE(ExpectDamageIsFound(EncodeLogBlock(block, SlotOf(1), EncodeChanges(block)), seed, decode));
  }
  const LoggedRollback rollback{UINT64_MAX - 1, SlotOf(9)};
  const Bytes record = EncodeLogRollback(rollback);
  const auto back = std::get<LoggedRollback>(*DecodeLogRecord(record));
  EXPECT_EQ(back.number, rollback.number);
  EXPECT_EQ(back.state_root, rollback.state_root);
  ASSERT_NO_FATAL_FAILURE(ExpectDamageIsFound(record, 1, decode));
  for (int type = 3; type < 256; ++type) {
    Bytes other = record;
    other[0] = static_cast<char>(type);
    EXPECT_EQ(decode(other).code(), absl::StatusCode::kDataLoss);
  }
  // A count that promises more than there is must not be believed.
  EXPECT_EQ(decode(Bytes(1, '\x01') + Bytes(200, '\xff')).code(), absl::StatusCode::kDataLoss);
}

// An undo record whose views live in `arena`.
UndoRecord RandomUndo(uint64_t seed, std::deque<Bytes>& arena) {
  std::mt19937_64 random(seed);
  const auto keep = [&](Bytes bytes) { return BytesView(arena.emplace_back(std::move(bytes))); };
  UndoRecord record;
  record.header.sequence = random();
  record.header.block.number = random();
  if (random() % 2 == 0) record.header.block.hash = RandomFixed<Hash>(random);
  if (random() % 2 == 0) record.header.block.parent_hash = RandomFixed<Hash>(random);
  record.header.block.state_root = RandomFixed<Hash>(random);
  record.header.parent_root = RandomFixed<Hash>(random);
  record.header.digest = RandomFixed<ChangeDigest>(random);
  const auto fill = [&](std::vector<UndoRow>& rows, bool with_account, size_t min_key, size_t max_key, bool absent) {
    Bytes account = RandomBytes(random, 32);
    for (uint64_t n = random() % 12; n > 0; --n) {
      if (random() % 3 == 0) account = RandomBytes(random, 32);
      Bytes key = with_account ? account : Bytes();
      key += RandomBytes(random, min_key + random() % (max_key - min_key + 1));
      UndoRow& row = rows.emplace_back();
      row.key = keep(std::move(key));
      if (!absent || random() % 3 != 0) row.value = keep(RandomBytes(random, random() % 610));
    }
  };
  fill(record.accounts, false, 32, 32, true);
  fill(record.slots, true, 32, 32, true);
  fill(record.account_nodes, false, 0, 63, false);
  fill(record.slot_nodes, true, 0, 63, false);
  for (uint64_t n = random() % 4; n > 0; --n) record.new_code.push_back(keep(RandomBytes(random, 32)));
  return record;
}

void ExpectSameRows(const std::vector<UndoRow>& a, const std::vector<UndoRow>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].key, b[i].key);
    EXPECT_EQ(a[i].value, b[i].value);
  }
}

void ExpectSameHeader(const BlockRecord& a, const BlockRecord& b) {
  EXPECT_EQ(a.sequence, b.sequence);
  EXPECT_EQ(a.block, b.block);
  EXPECT_EQ(a.parent_root, b.parent_root);
  EXPECT_EQ(a.digest, b.digest);
}

TEST(UndoRecords, ComeBack) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::deque<Bytes> arena;
    const UndoRecord record = RandomUndo(seed, arena);
    const Bytes bytes = EncodeUndo(record);
    absl::StatusOr<UndoRecord> decoded = DecodeUndo(bytes);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    const UndoRecord moved = *std::move(decoded);  // the views stay good
    ExpectSameHeader(moved.header, record.header);
    ASSERT_NO_FATAL_FAILURE(ExpectSameRows(moved.accounts, record.accounts));
    ASSERT_NO_FATAL_FAILURE(ExpectSameRows(moved.slots, record.slots));
    ASSERT_NO_FATAL_FAILURE(ExpectSameRows(moved.account_nodes, record.account_nodes));
    ASSERT_NO_FATAL_FAILURE(ExpectSameRows(moved.slot_nodes, record.slot_nodes));
    EXPECT_EQ(moved.new_code, record.new_code);
    absl::StatusOr<BlockRecord> header = DecodeUndoHeader(bytes);
    ASSERT_TRUE(header.ok());
    ExpectSameHeader(*header, record.header);
  }
}

TEST(UndoRecords, Damaged) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    std::deque<Bytes> arena;
    const Bytes bytes = EncodeUndo(RandomUndo(seed, arena));
    ASSERT_NO_FATAL_FAILURE(ExpectDamageIsFound(bytes, seed, [](BytesView b) { return DecodeUndo(b).status(); }));
  }
  EXPECT_EQ(DecodeUndoHeader("").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(DecodeUndoHeader(Bytes(300, '\x02')).status().code(), absl::StatusCode::kDataLoss);
}

TEST(FlushedStates, ComeBackAndDamage) {
  std::mt19937_64 random(5);
  for (uint64_t i = 0; i < 16; ++i) {
    FlushedState state;
    state.sequence = random();
    state.oldest = random();
    state.indexed_through = random();
    state.head.number = random();
    state.head.state_root = RandomFixed<Hash>(random);
    if (i & 1) state.head.hash = RandomFixed<Hash>(random);
    if (i & 2) state.head.parent_hash = RandomFixed<Hash>(random);
    if (i & 4) state.genesis_root = RandomFixed<Hash>(random);
    const Bytes row = EncodeFlushedState(state);
    absl::StatusOr<FlushedState> decoded = DecodeFlushedState(row);
    ASSERT_TRUE(decoded.ok());
    EXPECT_EQ(decoded->sequence, state.sequence);
    EXPECT_EQ(decoded->oldest, state.oldest);
    EXPECT_EQ(decoded->indexed_through, state.indexed_through);
    EXPECT_EQ(decoded->head, state.head);
    EXPECT_EQ(decoded->genesis_root, state.genesis_root);
    ASSERT_NO_FATAL_FAILURE(ExpectDamageIsFound(row, i, [](BytesView b) { return DecodeFlushedState(b).status(); }));
  }
}

TEST(HistoryIndex, EntriesComeBackAndDamage) {
  std::mt19937_64 random(6);
  for (int i = 0; i < 50; ++i) {
    std::deque<Bytes> arena;
    std::vector<HistoryEntry> entries;
    std::set<size_t> ends;
    Bytes row;
    for (uint64_t n = 1 + random() % 6; n > 0; --n) {
      HistoryEntry& entry = entries.emplace_back();
      entry.number = random();
      if (random() % 3 != 0) entry.value = arena.emplace_back(RandomBytes(random, random() % 600));
      AppendHistoryEntry(row, entry);
      ends.insert(row.size());
    }
    absl::StatusOr<std::vector<HistoryEntry>> decoded = DecodeHistoryEntries(row);
    ASSERT_TRUE(decoded.ok());
    ASSERT_EQ(decoded->size(), entries.size());
    for (size_t k = 0; k < entries.size(); ++k) {
      EXPECT_EQ((*decoded)[k].number, entries[k].number);
      EXPECT_EQ((*decoded)[k].value, entries[k].value);
    }
    for (size_t size = 0; size < row.size(); ++size) {
      const std::vector<char> exact(row.begin(), row.begin() + static_cast<ptrdiff_t>(size));
      EXPECT_EQ(DecodeHistoryEntries({exact.data(), size}).ok(), ends.contains(size));
    }
  }
}

// Rows of the index of one row are neighbours, in order of blocks, and no other row's are among them.
TEST(HistoryIndex, KeysKeepRowsApart) {
  using storage::Table;
  const Bytes account(32, '\x01');
  const std::vector<std::pair<Table, Bytes>> rows = {
      {Table::kAccounts, account},
      {Table::kSlots, account + account},
      {Table::kAccountNodes, ""},
      {Table::kAccountNodes, Bytes(1, '\0')},
      {Table::kAccountNodes, Bytes(8, '\0')},
      {Table::kAccountNodes, Bytes(9, '\0')},
      {Table::kAccountNodes, Bytes(63, '\x0f')},
      {Table::kSlotNodes, account},
      {Table::kSlotNodes, account + Bytes(8, '\0')},
  };
  const uint64_t numbers[] = {0, 1, 255, 256, uint64_t{1} << 40, UINT64_MAX};
  for (const auto& [table, key] : rows) {
    const Bytes prefix = HistoryIndexPrefix(table, key);
    Bytes last;
    for (const uint64_t number : numbers) {
      const Bytes index_key = HistoryIndexKey(table, key, number);
      EXPECT_TRUE(index_key.starts_with(prefix));
      EXPECT_LT(last, index_key);
      last = index_key;
      for (const auto& [other_table, other_key] : rows) {
        if (other_table == table && other_key == key) continue;
        EXPECT_FALSE(HistoryIndexKey(other_table, other_key, number).starts_with(prefix));
      }
    }
  }
  for (size_t i = 1; i < std::size(numbers); ++i) EXPECT_LT(BlockKey(numbers[i - 1]), BlockKey(numbers[i]));
}

}  // namespace
}  // namespace testing
}  // namespace mptd
