// What every KeyValueStore must do, run on each of them.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <set>

#include "storage/memory_store.h"
#include "storage/rocksdb_store.h"
#include "tests/storage/key_testing.h"
#include "tests/storage/test_support.h"

namespace mptd::storage {
namespace {

struct StoreKind {
  std::string name;
  std::function<std::unique_ptr<KeyValueStore>(const std::string& dir)> open;
};

std::unique_ptr<KeyValueStore> OpenDisk(const std::string& dir, Compression compression,
                                        std::shared_ptr<const DataKeys> keys = nullptr) {
  RocksDbOptions options;
  options.dir = dir;
  options.block_cache_bytes = 1u << 20;
  options.compression = compression;
  options.keys = std::move(keys);
  auto store = OpenRocksDb(options);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

class StoreContract : public testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override {
    store_ = GetParam().open(dir_ / "db");
    ASSERT_NE(store_, nullptr);
  }

  Value Get(Table table, std::string_view key) {
    const absl::StatusOr<Value> value = store_->Get(table, key);
    EXPECT_TRUE(value.ok()) << value.status();
    return value.ok() ? *value : std::nullopt;
  }
  void Ingest(std::vector<TableBatch> batches) {
    const absl::Status status = store_->Ingest(batches);
    ASSERT_TRUE(status.ok()) << status;
    model_.Apply(batches);
  }
  void ExpectLikeModel() {
    for (size_t i = 0; i < kTableCount; ++i) {
      const auto table = static_cast<Table>(i);
      ASSERT_EQ(ReadAll(*store_, table), model_[table]) << TableName(table);
    }
  }

  TempDir dir_;
  std::unique_ptr<KeyValueStore> store_;
  ModelStore model_;
};

TEST_P(StoreContract, NewStoreIsEmpty) {
  ExpectLikeModel();
  EXPECT_EQ(Get(Table::kMeta, "x"), std::nullopt);
  EXPECT_EQ(Get(Table::kMeta, ""), std::nullopt);
  std::vector<Value> values;
  EXPECT_TRUE(store_->MultiGet(Table::kMeta, {}, values, true).ok());
  EXPECT_TRUE(IngestAll(*store_, {}).ok());
  EXPECT_TRUE(IngestAll(*store_, {{Table::kMeta, {}, {}}}).ok());
  EXPECT_TRUE(IngestAll(*store_, {{Table::kMeta, {}, {{"b", "a"}, {"c", "c"}}}}).ok());
  ExpectLikeModel();
}

TEST_P(StoreContract, RowsOfManyTablesAppearTogether) {
  Ingest({{Table::kAccounts, {{"a", "1"}, {"b", ""}, {"c", "3"}}, {}},
          {Table::kSlots, {{"a", "other"}}, {}},
          {Table::kMeta, {{"flushed", "7"}}, {}}});
  EXPECT_EQ(Get(Table::kAccounts, "a"), "1");
  EXPECT_EQ(Get(Table::kAccounts, "b"), "");
  EXPECT_EQ(Get(Table::kAccounts, "bb"), std::nullopt);
  EXPECT_EQ(Get(Table::kSlots, "a"), "other");
  EXPECT_EQ(Get(Table::kMeta, "flushed"), "7");
  EXPECT_EQ(Get(Table::kCode, "a"), std::nullopt);
  ExpectLikeModel();
}

TEST_P(StoreContract, TheEmptyKeyAndBytesOfAllKindsAreKeys) {
  std::string high(3, '\xff');
  std::string zero(1, '\0');
  Ingest({{Table::kAccountNodes, {{"", "root"}, {zero, "z"}, {high, "h"}}, {}}});
  EXPECT_EQ(Get(Table::kAccountNodes, ""), "root");
  EXPECT_EQ(Get(Table::kAccountNodes, zero), "z");
  EXPECT_EQ(Get(Table::kAccountNodes, high), "h");
  ExpectLikeModel();
  Ingest({{Table::kAccountNodes, {{"", std::nullopt}}, {}}});
  ExpectLikeModel();
  Ingest({{Table::kAccountNodes, {}, {{"", high}}}});
  ExpectLikeModel();
}

TEST_P(StoreContract, LoadedRowsAppearTogetherWhenTheLoadIsFinished) {
  Ingest({{Table::kMeta, {{"a", "1"}}, {}}});
  const std::unique_ptr<BulkLoad> load = store_->NewBulkLoad();
  const std::vector<Row> first = {{"", "root"}, {"a", "1"}};
  const std::vector<Row> second = {{"aa", "2"}, {"b", "3"}};
  const std::vector<Row> other = {{"a", "4"}};
  ASSERT_TRUE(load->Add(Table::kAccountNodes, first).ok());
  ASSERT_TRUE(load->Add(Table::kCode, other).ok());
  ASSERT_TRUE(load->Add(Table::kAccountNodes, {}).ok());
  ASSERT_TRUE(load->Add(Table::kAccountNodes, second).ok());
  ExpectLikeModel();
  ASSERT_TRUE(load->Finish().ok());
  model_.Apply({{Table::kAccountNodes, {{"", "root"}, {"a", "1"}, {"aa", "2"}, {"b", "3"}}, {}},
                {Table::kCode, {{"a", "4"}}, {}}});
  ExpectLikeModel();
  Ingest({{Table::kAccountNodes, {{"a", std::nullopt}, {"b", "later"}}, {}}});
  ExpectLikeModel();
}

TEST_P(StoreContract, LoadedRowsComeInOrder) {
  const std::vector<std::vector<Row>> bad = {{{"b", "1"}, {"a", "2"}}, {{"c", "1"}, {"c", "2"}}, {{"d", std::nullopt}}};
  const std::unique_ptr<BulkLoad> load = store_->NewBulkLoad();
  for (const std::vector<Row>& rows : bad) {
    EXPECT_EQ(load->Add(Table::kSlots, rows).code(), absl::StatusCode::kInvalidArgument);
  }
  const std::vector<Row> rows = {{"e", "1"}};
  ASSERT_TRUE(load->Add(Table::kSlots, rows).ok());
  EXPECT_EQ(load->Add(Table::kSlots, rows).code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(StoreContract, AnUnfinishedLoadLeavesNothing) {
  {
    const std::unique_ptr<BulkLoad> load = store_->NewBulkLoad();
    const std::vector<Row> rows = {{"a", "1"}};
    ASSERT_TRUE(load->Add(Table::kSlots, rows).ok());
  }
  ExpectLikeModel();
  ASSERT_TRUE(store_->NewBulkLoad()->Finish().ok());
  ExpectLikeModel();
}

TEST_P(StoreContract, LaterRowsReplaceAndDeleteEarlierOnes) {
  Ingest({{Table::kSlots, {{"a", "1"}, {"b", "2"}, {"c", "3"}}, {}}});
  Ingest({{Table::kSlots, {{"a", std::nullopt}, {"b", "two"}, {"never", std::nullopt}}, {}}});
  EXPECT_EQ(Get(Table::kSlots, "a"), std::nullopt);
  EXPECT_EQ(Get(Table::kSlots, "b"), "two");
  EXPECT_EQ(Get(Table::kSlots, "c"), "3");
  ExpectLikeModel();
}

TEST_P(StoreContract, RangesAreDeletedBeforeTheRowsOfTheSameBatchApply) {
  Ingest({{Table::kSlots, {{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}, {"e", "5"}}, {}}});
  // Inside, at both ends, deleting inside, overlapping and nested ranges, and one that touches nothing.
  Ingest({{Table::kSlots,
           {{"b", "new b"}, {"c", std::nullopt}, {"cc", "new cc"}, {"d", "new d"}},
           {{"b", "d"}, {"c", "cd"}, {"bb", "ce"}, {"x", "y"}}}});
  EXPECT_EQ(Get(Table::kSlots, "a"), "1");
  EXPECT_EQ(Get(Table::kSlots, "b"), "new b");
  EXPECT_EQ(Get(Table::kSlots, "c"), std::nullopt);
  EXPECT_EQ(Get(Table::kSlots, "cc"), "new cc");
  EXPECT_EQ(Get(Table::kSlots, "d"), "new d");
  EXPECT_EQ(Get(Table::kSlots, "e"), "5");
  ExpectLikeModel();
  ASSERT_TRUE(store_->Compact().ok());
  ExpectLikeModel();
}

TEST_P(StoreContract, ARangeEndsBeforeItsSecondKey) {
  for (const Table table : {Table::kSlots, Table::kHistory}) {
    Ingest({{table, {{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}}, {}}});
    Ingest({{table, {}, {{"a", "c"}}}});
    EXPECT_EQ(ReadAll(*store_, table), (ModelTable{{"c", "3"}, {"d", "4"}}));
    Ingest({{table, {{"c", "again"}}, {{"d", "d0"}}}});
    EXPECT_EQ(ReadAll(*store_, table), (ModelTable{{"c", "again"}}));
  }
  ExpectLikeModel();
}

TEST_P(StoreContract, RangesOfAnOldBatchDoNotHideNewRows) {
  Ingest({{Table::kHistory, {{"a", "1"}, {"b", "2"}}, {}}});
  Ingest({{Table::kHistory, {}, {{"a", "z"}}}});
  Ingest({{Table::kHistory, {{"b", "back"}, {"m", "new"}}, {}}});
  EXPECT_EQ(Get(Table::kHistory, "b"), "back");
  ExpectLikeModel();
}

TEST_P(StoreContract, MultiGetAnswersInTheOrderAsked) {
  std::vector<std::string> keys;
  TableBatch batch{Table::kAccounts, {}, {}};
  for (int i = 0; i < 1000; ++i) keys.push_back(std::to_string(10000 + i));
  for (size_t i = 0; i < keys.size(); i += 2) batch.rows.push_back({keys[i], keys[i]});
  Ingest({batch});

  std::vector<std::string_view> asked(keys.begin(), keys.end());
  std::vector<Value> values(asked.size(), "left over");
  ASSERT_TRUE(store_->MultiGet(Table::kAccounts, asked, values, true).ok());
  for (size_t i = 0; i < asked.size(); ++i) {
    EXPECT_EQ(values[i], i % 2 == 0 ? Value(keys[i]) : std::nullopt);
  }
  std::reverse(asked.begin(), asked.end());
  asked.push_back(asked.front());
  values.assign(asked.size(), std::nullopt);
  ASSERT_TRUE(store_->MultiGet(Table::kAccounts, asked, values, false).ok());
  for (size_t i = 0; i < asked.size(); ++i) {
    EXPECT_EQ(values[i].has_value(), (asked[i].back() - '0') % 2 == 0);
    EXPECT_EQ(values[i].value_or(std::string(asked[i])), asked[i]);
  }
  std::vector<Value> few(1);
  EXPECT_EQ(store_->MultiGet(Table::kAccounts, asked, few, false).code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(StoreContract, IteratorsSeekAndHoldTheirSnapshot) {
  Ingest({{Table::kAccounts, {{"a", "1"}, {"c", "3"}, {"e", "5"}}, {}}});
  const std::unique_ptr<Iterator> old = store_->NewIterator(Table::kAccounts);
  Ingest({{Table::kAccounts, {{"a", "new"}, {"b", "2"}, {"c", std::nullopt}}, {{"d", "f"}}}});
  ASSERT_TRUE(store_->Compact().ok());
  const std::unique_ptr<Iterator> now = store_->NewIterator(Table::kAccounts);

  EXPECT_EQ(ReadAll(*old), (ModelTable{{"a", "1"}, {"c", "3"}, {"e", "5"}}));
  EXPECT_EQ(ReadAll(*now), (ModelTable{{"a", "new"}, {"b", "2"}}));
  old->Seek("b");
  ASSERT_TRUE(old->Valid());
  EXPECT_EQ(old->key(), "c");
  EXPECT_EQ(old->value(), "3");
  old->Seek("e");
  ASSERT_TRUE(old->Valid());
  old->Next();
  EXPECT_FALSE(old->Valid());
  EXPECT_TRUE(old->status().ok());
}

// Keys as accounts and slots have them, in several files, with rows that are replaced, deleted one by one and by
// ranges.
TEST_P(StoreContract, IteratorsOverARange) {
  Random random(3);
  const std::string owners[] = {std::string(32, '\x01'), std::string(31, '\x01') + '\x02', std::string(32, '\x03')};
  for (const Table table : {Table::kAccounts, Table::kSlots, Table::kMeta}) {
    const auto key = [&] {
      const std::string tail = {static_cast<char>(random.Below(3)), static_cast<char>(random.Below(2)),
                                static_cast<char>(0x50 + random.Below(3)), static_cast<char>(random.Below(256))};
      return (table == Table::kSlots ? owners[random.Below(3)] : std::string()) + tail + std::string(28, 'k');
    };
    for (int file = 0; file < 5; ++file) {
      std::map<std::string, Value> rows;
      for (int i = 0; i < 200; ++i) {
        rows[key()] = random.OneIn(5) ? Value() : Value(std::to_string(file));
      }
      TableBatch batch{table, {}, {}};
      for (const auto& [name, value] : rows) {
        batch.rows.push_back({name, value ? std::optional<std::string_view>(*value) : std::nullopt});
      }
      if (file % 2 == 1) batch.delete_ranges.emplace_back(key(), key());
      Ingest({batch});
    }
    for (int i = 0; i < 500; ++i) {
      std::string first = key();
      std::string last = key();
      if (random.OneIn(2)) {  // as far as the path to a leaf goes
        const size_t known = (table == Table::kSlots ? 32 : 0) + random.Below(5);
        last = first.substr(0, known) + std::string(first.size() - known, '\xff');
        first.replace(known, std::string::npos, first.size() - known, '\0');
      }
      if (random.OneIn(20)) last.resize(random.Below(4));
      const ModelTable& all = model_[table];
      ModelTable expected;
      for (auto it = all.lower_bound(first); it != all.end() && it->first <= last; ++it) expected.insert(*it);
      ModelTable found;
      const std::unique_ptr<Iterator> it = store_->NewIterator(table, first, last);
      for (; it->Valid(); it->Next()) found.emplace(it->key(), it->value());
      ASSERT_TRUE(it->status().ok()) << it->status();
      ASSERT_EQ(found, expected) << TableName(table) << " round " << i;
    }
  }
}

TEST_P(StoreContract, BatchesThatAreNotInOrderAreRefusedWhole) {
  Ingest({{Table::kMeta, {{"kept", "1"}}, {}}});
  const std::vector<std::vector<TableBatch>> wrong = {
      {{Table::kAccounts, {{"a", "1"}}, {}}, {Table::kMeta, {{"b", "1"}, {"a", "2"}}, {}}},
      {{Table::kAccounts, {{"a", "1"}}, {}}, {Table::kMeta, {{"a", "1"}, {"a", "2"}}, {}}},
      {{Table::kMeta, {{"a", "1"}}, {}}, {Table::kMeta, {{"b", "2"}}, {}}},
      {{static_cast<Table>(kTableCount), {{"a", "1"}}, {}}},
  };
  for (const auto& batches : wrong) {
    EXPECT_EQ(IngestAll(*store_, batches).code(), absl::StatusCode::kInvalidArgument);
  }
  ExpectLikeModel();
}

// Random batches on few keys, so that rows, tombstones and ranges meet in every order, against the model.
TEST_P(StoreContract, RandomBatchesLikeTheModel) {
  Random random;
  SCOPED_TRACE(testing::Message() << "MPTD_TEST_SEED=" << random.seed());
  std::cout << "seed " << random.seed() << "\n";
  const Table tables[] = {Table::kAccounts, Table::kHistory, Table::kSlots};
  const auto key = [&random] {
    std::string text = std::to_string(random.Below(60));
    return random.OneIn(20) ? std::string() : text;
  };
  std::vector<std::pair<std::unique_ptr<Iterator>, ModelTable>> held;
  for (int round = 0; round < 150; ++round) {
    std::vector<TableBatch> batches;
    std::vector<std::map<std::string, Value>> rows(std::size(tables));
    for (size_t t = 0; t < std::size(tables); ++t) {
      if (random.OneIn(3)) continue;
      TableBatch batch{tables[t], {}, {}};
      for (uint64_t n = random.Below(12); n-- > 0;) {
        rows[t][key()] = random.OneIn(4) ? Value() : Value(random.Bytes(random.Below(40)));
      }
      for (const auto& [name, value] : rows[t]) {
        batch.rows.push_back({name, value ? std::optional<std::string_view>(*value) : std::nullopt});
      }
      while (random.OneIn(2)) batch.delete_ranges.emplace_back(key(), key());
      batches.push_back(std::move(batch));
    }
    Ingest(std::move(batches));
    const Table looked = tables[random.Below(std::size(tables))];
    if (held.size() < 8 && random.OneIn(6)) held.emplace_back(store_->NewIterator(looked), model_[looked]);
    if (random.OneIn(40)) {
      ASSERT_TRUE(store_->Compact().ok());
    }
    if (round % 10 == 9) ExpectLikeModel();

    std::vector<std::string> keys{""};
    for (int i = 0; i < 60; ++i) keys.push_back(std::to_string(i));
    std::sort(keys.begin(), keys.end());
    const std::vector<std::string_view> asked(keys.begin(), keys.end());
    std::vector<Value> values(asked.size());
    ASSERT_TRUE(store_->MultiGet(looked, asked, values, true).ok());
    for (size_t i = 0; i < asked.size(); ++i) {
      const auto found = model_[looked].find(asked[i]);
      const Value expected = found == model_[looked].end() ? Value() : Value(found->second);
      ASSERT_EQ(values[i], expected) << TableName(looked) << " key " << asked[i] << " round " << round;
      ASSERT_EQ(Get(looked, asked[i]), expected) << TableName(looked) << " key " << asked[i] << " round " << round;
    }
  }
  ExpectLikeModel();
  for (auto& [iterator, expected] : held) EXPECT_EQ(ReadAll(*iterator), expected);
}

INSTANTIATE_TEST_SUITE_P(
    Stores, StoreContract,
    testing::Values(StoreKind{"memory", [](const std::string&) { return NewMemoryStore(); }},
                    StoreKind{"rocksdb", [](const std::string& dir) { return OpenDisk(dir, Compression::kNone); }},
                    StoreKind{"rocksdb_lz4", [](const std::string& dir) { return OpenDisk(dir, Compression::kLz4); }},
                    StoreKind{"rocksdb_encrypted",
                              [](const std::string& dir) {
                                const auto keys = NewKeys(std::filesystem::path(dir).parent_path().string());
                                return OpenDisk(dir, Compression::kNone, keys);
                              }}),
    [](const auto& tested) { return tested.param.name; });

TEST(MemoryStore, CountsItsRowsAndCannotBeCopied) {
  const auto store = NewMemoryStore();
  ASSERT_TRUE(IngestAll(*store, {{Table::kMeta, {{"k", ""}, {"key", "value"}}, {}}}).ok());
  EXPECT_EQ(store->EstimateRows(Table::kMeta), 2u);
  EXPECT_EQ(store->EstimateRows(Table::kAccounts), 0u);
  EXPECT_EQ(store->Stats().memory_bytes, 9u);
  EXPECT_TRUE(store->Counters().empty());
  store->SetCacheBytes(1);  // has no cache
  EXPECT_EQ(store->Checkpoint("copy").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(std::filesystem::exists("copy"));
}

TEST(TableNames, AreWhatIsOnDisk) {
  std::vector<std::string_view> names;
  for (size_t i = 0; i < kTableCount; ++i) names.push_back(TableName(static_cast<Table>(i)));
  EXPECT_EQ(names, (std::vector<std::string_view>{"accounts", "slots", "account_nodes", "slot_nodes", "code", "history",
                                                  "history_index", "changelog", "meta"}));
}

}  // namespace
}  // namespace mptd::storage
