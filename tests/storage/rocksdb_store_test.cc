// What only the store on disk can do: be opened again, be damaged, run out of space, be killed.
#include "storage/rocksdb_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "rocksdb/db.h"
#include "storage/rocksdb_peek.h"
#include "storage/rocksdb_tuning.h"
#include "tests/storage/faulty_env.h"
#include "tests/storage/key_testing.h"
#include "tests/storage/marked_batches.h"
#include "tests/storage/test_support.h"

namespace mptd::storage {
namespace {

using testing::HasSubstr;
using Fault = FaultyFileSystem::Fault;

std::string Text(const absl::Status& status) { return std::string(status.message()); }

std::vector<std::string> FilesEndingWith(const std::string& dir, std::string_view end) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    if (entry.path().string().ends_with(end)) paths.push_back(entry.path().string());
  }
  return paths;
}

TEST(RocksDbStore, RowsAreThereAfterReopening) {
  const TempDir dir;
  ModelStore model;
  for (uint64_t life = 1; life <= 4; ++life) {
    const auto store = MustOpen(SmallStore(dir / "db"));
    EXPECT_EQ(MarkedNumber(*store), life - 1);
    Marked marked(life);
    ASSERT_TRUE(store->Ingest(marked.batches).ok());
    EXPECT_EQ(MarkedNumber(*store), life);
  }
}

TEST(RocksDbStore, AnAbsentStoreIsNotMadeUnlessAsked) {
  const TempDir dir;
  RocksDbOptions options = SmallStore(dir / "db");
  options.create_if_missing = false;
  EXPECT_EQ(OpenRocksDb(options).status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(dir / "db/CURRENT"));
}

TEST(RocksDbStore, OneProcessAtATime) {
  const TempDir dir;
  const auto store = MustOpen(SmallStore(dir / "db"));
  const absl::Status second = OpenRocksDb(SmallStore(dir / "db")).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Text(second), HasSubstr("another process has it open"));
  EXPECT_THAT(Text(second), HasSubstr(dir / "db"));
}

TEST(RocksDbStore, AStoreOfANewerProgramIsRefused) {
  const TempDir dir;
  { MustOpen(SmallStore(dir / "db")); }
  {
    std::vector<std::string> names;
    ASSERT_TRUE(rocksdb::DB::ListColumnFamilies(rocksdb::DBOptions(), dir / "db", &names).ok());
    EXPECT_EQ(names.size(), kTableCount + 1);
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    for (const std::string& name : names) families.emplace_back(name, rocksdb::ColumnFamilyOptions());
    rocksdb::DB* db = nullptr;
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    ASSERT_TRUE(rocksdb::DB::Open(rocksdb::DBOptions(), dir / "db", families, &handles, &db).ok());
    rocksdb::ColumnFamilyHandle* added = nullptr;
    ASSERT_TRUE(db->CreateColumnFamily(rocksdb::ColumnFamilyOptions(), "from_the_future", &added).ok());
    handles.push_back(added);
    for (rocksdb::ColumnFamilyHandle* handle : handles) db->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
    delete db;
  }
  const absl::Status status = OpenRocksDb(SmallStore(dir / "db")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Text(status), HasSubstr("from_the_future"));
}

// Files that were written before filters knew beginnings of keys.
TEST(RocksDbStore, RangesInFilesWhoseFiltersKnowWholeKeysOnly) {
  const TempDir dir;
  std::vector<std::string> keys;
  for (uint64_t i = 0; i < 256; ++i) keys.push_back(std::string(3, static_cast<char>(i)) + std::string(29, 'k'));
  { MustOpen(SmallStore(dir / "db")); }
  {
    RocksDbOptions options = SmallStore(dir / "db");
    const auto cache = rocksdb::NewLRUCache(options.block_cache_bytes);
    std::vector<rocksdb::ColumnFamilyDescriptor> families = {{rocksdb::kDefaultColumnFamilyName, {}}};
    for (size_t i = 0; i < kTableCount; ++i) {
      const auto table = static_cast<Table>(i);
      families.emplace_back(std::string(TableName(table)), MakeTableOptions(options, table, cache));
      families.back().options.prefix_extractor = nullptr;
    }
    rocksdb::DB* opened = nullptr;
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    ASSERT_TRUE(rocksdb::DB::Open(MakeDbOptions(options), dir / "db", families, &handles, &opened).ok());
    const std::unique_ptr<rocksdb::DB> db(opened);
    rocksdb::ColumnFamilyHandle* accounts = handles[1 + static_cast<size_t>(Table::kAccounts)];
    for (const std::string& key : keys) ASSERT_TRUE(db->Put(rocksdb::WriteOptions(), accounts, key, "old").ok());
    ASSERT_TRUE(db->Flush(rocksdb::FlushOptions(), accounts).ok());
    for (rocksdb::ColumnFamilyHandle* handle : handles) db->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  }
  const auto store = MustOpen(SmallStore(dir / "db"));
  TableBatch batch{Table::kAccounts, {{keys[7], "new"}}, {}};
  ASSERT_TRUE(IngestAll(*store, {batch}).ok());
  for (const std::string& key : keys) {
    const auto rows = store->NewIterator(Table::kAccounts, key.substr(0, 3) + std::string(29, '\0'),
                                         key.substr(0, 3) + std::string(29, '\xff'));
    ASSERT_TRUE(rows->Valid()) << rows->status();
    EXPECT_EQ(rows->key(), key);
    EXPECT_EQ(rows->value(), key == keys[7] ? "new" : "old");
  }
}

TEST(RocksDbStore, LeftOversOfACrashAreRemoved) {
  const TempDir dir;
  { MustOpen(SmallStore(dir / "db")); }
  WriteFile(dir / "db/staging/000001.sst", "half a file");
  const auto store = MustOpen(SmallStore(dir / "db"));
  EXPECT_TRUE(FilesEndingWith(dir / "db/staging", "").empty());
  Marked marked(1);
  ASSERT_TRUE(store->Ingest(marked.batches).ok());
  EXPECT_TRUE(FilesEndingWith(dir / "db/staging", "").empty());
}

TEST(RocksDbStore, DamageInATableFileIsDataLossAndNamesTheFile) {
  const TempDir dir;
  Random random(7);
  std::vector<std::string> keys;
  for (uint64_t i = 0; i < 400; ++i) keys.push_back(Number(i));
  const std::string value = random.Bytes(100);
  for (const Table table : {Table::kAccounts, Table::kHistory}) {
    const std::string db = dir / TableName(table);
    {
      const auto store = MustOpen(SmallStore(db));
      TableBatch batch{table, {}, {}};
      for (const std::string& key : keys) batch.rows.push_back({key, value});
      ASSERT_TRUE(IngestAll(*store, {batch}).ok());
    }
    const std::vector<std::string> files = FilesEndingWith(db, ".sst");
    ASSERT_EQ(files.size(), 1u);
    std::string bytes = ReadFile(files[0]);
    bytes[1000] = static_cast<char>(bytes[1000] ^ 1);
    WriteFile(files[0], bytes);

    const auto store = MustOpen(SmallStore(db));
    const std::string name = std::filesystem::path(files[0]).filename().string();
    const absl::Status get = store->Get(table, keys[5]).status();
    EXPECT_EQ(get.code(), absl::StatusCode::kDataLoss) << get;
    EXPECT_THAT(Text(get), HasSubstr(name));
    EXPECT_THAT(Text(get), HasSubstr(std::string(TableName(table))));
    const std::vector<std::string_view> asked(keys.begin(), keys.end());
    std::vector<Value> values(asked.size());
    const absl::Status multi = store->MultiGet(table, asked, values, true);
    EXPECT_EQ(multi.code(), absl::StatusCode::kDataLoss) << multi;
    EXPECT_THAT(Text(multi), HasSubstr(name));
    const auto iterator = store->NewIterator(table);
    iterator->Seek("");
    while (iterator->Valid()) iterator->Next();
    EXPECT_EQ(iterator->status().code(), absl::StatusCode::kDataLoss) << iterator->status();
    EXPECT_THAT(Text(iterator->status()), HasSubstr(name));
    EXPECT_EQ(store->Get(table, keys[399]).value(), value) << "other blocks are readable";
  }
}

TEST(RocksDbStore, AMissingOrDamagedStoreFileIsDataLoss) {
  for (const std::string victim : {"sst gone", "sst cut", "manifest cut", "current", "current gone"}) {
    const TempDir dir;
    {
      const auto store = MustOpen(SmallStore(dir / "db"));
      Marked marked(1);
      ASSERT_TRUE(store->Ingest(marked.batches).ok());
    }
    std::string path = dir / "db/CURRENT";
    if (victim.starts_with("sst")) path = FilesEndingWith(dir / "db", ".sst").at(0);
    if (victim == "manifest cut") {
      for (const auto& entry : std::filesystem::directory_iterator(dir / "db")) {
        if (entry.path().filename().string().starts_with("MANIFEST")) path = entry.path().string();
      }
    }
    if (victim.ends_with(" gone")) {
      std::filesystem::remove(path);
    } else if (victim == "current") {
      WriteFile(path, "garbage");
    } else {
      std::string bytes = ReadFile(path);
      bytes.replace(bytes.size() / 3, 40, std::string(40, '\x5a'));
      WriteFile(path, victim == "sst cut" ? bytes.substr(0, bytes.size() / 2) : bytes);
    }
    const absl::Status status = OpenRocksDb(SmallStore(dir / "db")).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << victim << ": " << status;
    // The rest is kept for analysis.
    EXPECT_FALSE(FilesEndingWith(dir / "db", ".sst").empty()) << victim;
  }
}

TEST(RocksDbStore, ACheckpointIsAStoreOfItsOwn) {
  const TempDir dir;
  const auto store = MustOpen(SmallStore(dir / "db"));
  for (uint64_t i = 1; i <= 5; ++i) {
    Marked marked(i);
    ASSERT_TRUE(store->Ingest(marked.batches).ok());
  }
  ASSERT_TRUE(store->Checkpoint(dir / "copy").ok());
  EXPECT_FALSE(store->Checkpoint(dir / "copy").ok()) << "exists";
  EXPECT_FALSE(store->Checkpoint(dir / "no/such/parent").ok());
  Marked later(6);
  ASSERT_TRUE(store->Ingest(later.batches).ok());

  const auto copy = MustOpen(SmallStore(dir / "copy"));
  EXPECT_EQ(MarkedNumber(*copy), 5u);
  ASSERT_TRUE(copy->Ingest(later.batches).ok());
  EXPECT_EQ(MarkedNumber(*copy), 6u);
  EXPECT_EQ(MarkedNumber(*store), 6u);
}

// Rows are in no file of an encrypted store, nor of its checkpoint, and in the files of a plain one.
TEST(RocksDbStore, EncryptedRowsAreNotInItsFiles) {
  const std::string marker = "a row that nobody reads without the key";
  for (const bool encrypted : {false, true}) {
    const TempDir dir;
    RocksDbOptions options = SmallStore(dir / "db");
    if (encrypted) options.keys = NewKeys(dir.path());
    auto store = MustOpen(options);
    ASSERT_TRUE(IngestAll(*store, {{Table::kCode, {{marker, marker}}, {}}, {Table::kMeta, {{"a", marker}}, {}}}).ok());
    ASSERT_TRUE(store->Compact().ok());
    ASSERT_TRUE(store->Checkpoint(dir / "copy").ok());
    int found = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir.path())) {
      if (entry.is_regular_file() && ReadFile(entry.path()).find(marker) != std::string::npos) ++found;
    }
    EXPECT_EQ(found > 0, !encrypted) << found;
    options.dir = dir / "copy";
    const auto copy = MustOpen(options);
    EXPECT_EQ(**copy->Get(Table::kMeta, "a"), marker);
    EXPECT_EQ(*PeekRow(dir / "copy", Table::kCode, marker, options.keys), marker);
    if (!encrypted) continue;
    EXPECT_EQ(PeekRow(dir / "copy", Table::kCode, marker).status().code(), absl::StatusCode::kDataLoss);
    options.keys = nullptr;
    store.reset();
    options.dir = dir / "db";
    EXPECT_EQ(OpenRocksDb(options).status().code(), absl::StatusCode::kDataLoss);
  }
}

// Files of old data keys go with the compactions, and what RocksDB writes once goes when the store is opened again.
TEST(RocksDbStore, ANewDataKeyReplacesTheOldOneEverywhere) {
  const TempDir dir;
  RocksDbOptions options = SmallStore(dir / "db");
  const auto keys = NewKeys(dir.path());
  options.keys = keys;
  auto store = MustOpen(options);
  for (uint64_t i = 1; i <= 3; ++i) {
    Marked marked(i);
    ASSERT_TRUE(store->Ingest(marked.batches).ok());
  }
  ASSERT_TRUE(keys->Rotate(MasterOf(1), /*add_key=*/true).ok());
  Marked fourth(4);
  ASSERT_TRUE(store->Ingest(fourth.batches).ok());
  EXPECT_EQ(*store->KeysInUse(), (std::set<uint32_t>{1, 2}));
  ASSERT_TRUE(store->Rewrite().ok());
  EXPECT_EQ(MarkedNumber(*store), 4u);
  store.reset();
  store = MustOpen(options);
  EXPECT_EQ(*store->KeysInUse(), (std::set<uint32_t>{2}));
  ASSERT_TRUE(keys->KeepOnly(*store->KeysInUse()).ok());
  store.reset();
  EXPECT_EQ(MarkedNumber(*MustOpen(options)), 4u);
}

TEST(RocksDbStore, ACheckpointThatFailsLeavesNothing) {
  const TempDir dir;
  const auto store = MustOpen(SmallStore(dir / "db"));
  Marked marked(1);
  ASSERT_TRUE(store->Ingest(marked.batches).ok());
  // Without its files the copy cannot be made.
  const std::vector<std::string> tables = FilesEndingWith(dir / "db", ".sst");
  ASSERT_FALSE(tables.empty());
  std::filesystem::rename(tables.front(), dir / "kept");
  EXPECT_FALSE(store->Checkpoint(dir / "copy").ok());
  EXPECT_FALSE(std::filesystem::exists(dir / "copy"));
  std::filesystem::rename(dir / "kept", tables.front());
  EXPECT_TRUE(store->Checkpoint(dir / "copy").ok());
}

// A checkpoint waits for nothing that readers do.
TEST(RocksDbStore, CheckpointsBesideReadersAndIngests) {
  const TempDir dir;
  const auto store = MustOpen(SmallStore(dir / "db"));
  Marked first(1);
  ASSERT_TRUE(store->Ingest(first.batches).ok());
  std::atomic<bool> done = false;
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!done) store->NewIterator(Table::kMeta)->Seek("");
    });
  }
  for (uint64_t i = 2; i <= 60; ++i) {
    Marked next(i);
    EXPECT_TRUE(store->Ingest(next.batches).ok());
    EXPECT_TRUE(store->Checkpoint(dir / "copy").ok());
    if (i % 20 == 0) {
      EXPECT_EQ(MarkedNumber(*MustOpen(SmallStore(dir / "copy"))), i);
    }
    std::filesystem::remove_all(dir / "copy");
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
}

TEST(RocksDbStore, StatsAndCountersMove) {
  const TempDir dir;
  const auto store = MustOpen(SmallStore(dir / "db"));
  EXPECT_EQ(store->Stats().disk_bytes, 0u);
  Marked marked(1);
  ASSERT_TRUE(store->Ingest(marked.batches).ok());
  EXPECT_EQ(MarkedNumber(*store), 1u);
  EXPECT_GT(store->Stats().disk_bytes, 1000u);
  EXPECT_GT(store->Stats().memory_bytes, 0u);
  uint64_t misses = 0;
  for (const auto& [name, value] : store->Counters()) {
    if (name == "rocksdb.block.cache.miss") misses = value;
  }
  EXPECT_GT(misses, 0u);
}

// A window of blocks moves up: what is deleted at the low end must leave the disk, and almost nothing may be rewritten.
TEST(RocksDbStore, PruningAppendTablesIsCheap) {
  const TempDir dir;
  const auto store = MustOpen(SmallStore(dir / "db"));
  Random random(3);
  const std::string value = random.Bytes(20000);
  constexpr uint64_t kWindow = 100;
  constexpr uint64_t kBatch = 20;
  uint64_t most = 0;
  for (uint64_t block = 0; block < 3000; block += kBatch) {
    std::vector<std::string> keys;
    for (uint64_t i = 0; i < kBatch; ++i) keys.push_back(Number(block + i));
    TableBatch batch{Table::kHistory, {}, {}};
    for (const std::string& key : keys) batch.rows.push_back({key, value});
    if (block > kWindow) batch.delete_ranges.emplace_back("", Number(block - kWindow + block % 7));
    ASSERT_TRUE(IngestAll(*store, {batch}).ok());
    most = std::max(most, store->Stats().disk_bytes);
  }
  EXPECT_LT(most, 3 * kWindow * value.size());
  EXPECT_LT(FilesEndingWith(dir / "db", ".sst").size(), 30u);
  uint64_t rewritten = 0;
  for (const auto& [name, count] : store->Counters()) {
    if (name == "rocksdb.compact.write.bytes") rewritten = count;
  }
  EXPECT_LT(rewritten, 3000 * value.size() / 2);
  const ModelTable rows = ReadAll(*store, Table::kHistory);
  EXPECT_EQ(rows.begin()->first, Number(2980 - kWindow + 2980 % 7));
  EXPECT_EQ(rows.rbegin()->first, Number(2999));
}

TEST(RocksDbStore, ALargeBatchIsCutIntoFiles) {
  const TempDir dir;
  RocksDbOptions options = SmallStore(dir / "db");
  options.table_file_bytes = 20000;
  const auto store = MustOpen(options);
  ModelStore model;
  std::vector<std::string> keys;
  for (uint64_t i = 0; i < 2000; ++i) keys.push_back(Number(i));
  for (const std::string& value : {std::string(100, 'x'), std::string(90, 'y')}) {
    std::vector<TableBatch> batches{{Table::kAccounts, {}, {}}, {Table::kHistory, {}, {}}};
    for (const std::string& key : keys) {
      batches[0].rows.push_back({key, value});
      batches[1].rows.push_back({key, value});
    }
    if (value[0] == 'y') {
      batches[0].delete_ranges.emplace_back(Number(500), Number(1500));
      batches[1].delete_ranges.emplace_back("", "00000000");
    }
    ASSERT_TRUE(store->Ingest(batches).ok());
    model.Apply(batches);
    EXPECT_EQ(ReadAll(*store, Table::kAccounts), model[Table::kAccounts]);
    EXPECT_EQ(ReadAll(*store, Table::kHistory), model[Table::kHistory]);
    EXPECT_GT(FilesEndingWith(dir / "db", ".sst").size(), 10u);
  }
  ASSERT_TRUE(store->Compact().ok());
  EXPECT_EQ(ReadAll(*store, Table::kAccounts), model[Table::kAccounts]);
  EXPECT_EQ(ReadAll(*store, Table::kHistory), model[Table::kHistory]);
}

// A load is cut into files, which stay as they are: there is nothing below or beside them to compact them with.
TEST(RocksDbStore, ALoadIsCutIntoFilesThatAreNotCompacted) {
  const TempDir dir;
  RocksDbOptions options = SmallStore(dir / "db");
  options.table_file_bytes = 20000;
  const auto store = MustOpen(options);
  const std::unique_ptr<BulkLoad> load = store->NewBulkLoad();
  ModelStore model;
  const std::string value(100, 'x');
  for (uint64_t from = 0; from < 4000; from += 100) {
    std::vector<std::string> keys;
    for (uint64_t i = from; i < from + 100; ++i) keys.push_back(Number(i));
    std::vector<Row> rows;
    for (const std::string& key : keys) rows.push_back({key, value});
    ASSERT_TRUE(load->Add(Table::kAccounts, rows).ok());
    model.Apply({{Table::kAccounts, rows, {}}});
  }
  EXPECT_GT(FilesEndingWith(dir / "db/staging", ".sst").size(), 10u);
  ASSERT_TRUE(load->Finish().ok());
  EXPECT_TRUE(FilesEndingWith(dir / "db/staging", "").empty());
  const std::vector<std::string> files = FilesEndingWith(dir / "db", ".sst");
  EXPECT_GT(files.size(), 10u);
  EXPECT_EQ(store->Stats().running_compactions, 0u);
  EXPECT_EQ(store->Stats().pending_compaction_bytes, 0u);
  EXPECT_EQ(ReadAll(*store, Table::kAccounts), model[Table::kAccounts]);
  // More than the files that level 0 may have before it is compacted.
  EXPECT_EQ(FilesEndingWith(dir / "db", ".sst"), files);
}

TEST(RocksDbStore, ExpiredRowsGoWithCompactions) {
  const TempDir dir;
  auto floor = std::make_shared<std::atomic<uint64_t>>(0);
  RocksDbOptions options = SmallStore(dir / "db");
  options.expiring_table = Table::kHistoryIndex;
  options.expired = [floor](std::string_view key) { return key < Number(floor->load()); };
  const auto store = MustOpen(options);
  std::vector<std::string> keys;
  for (uint64_t i = 0; i < 100; ++i) keys.push_back(Number(i));
  std::vector<TableBatch> batches{{Table::kAccounts, {}, {}}, {Table::kHistoryIndex, {}, {}}};
  for (const std::string& key : keys) {
    batches[0].rows.push_back({key, "row"});
    batches[1].rows.push_back({key, "row"});
  }
  ASSERT_TRUE(store->Ingest(batches).ok());
  ASSERT_TRUE(store->Compact().ok());
  EXPECT_EQ(ReadAll(*store, Table::kHistoryIndex).size(), 100u);
  floor->store(60);
  ASSERT_TRUE(store->Compact().ok());
  EXPECT_EQ(ReadAll(*store, Table::kAccounts).size(), 100u);
  const ModelTable left = ReadAll(*store, Table::kHistoryIndex);
  ASSERT_EQ(left.size(), 40u);
  EXPECT_EQ(left.begin()->first, Number(60));
}

TEST(RocksDbStore, DamageFoundByACompactionStopsTheStore) {
  const TempDir dir;
  const auto batch_of = [](const std::string& key, const std::string& value) {
    return std::vector<TableBatch>{{Table::kAccounts, {{key, value}, {"z", value}}, {}}};
  };
  const std::string value = Random(5).Bytes(500);
  {
    const auto store = MustOpen(SmallStore(dir / "db"));
    ASSERT_TRUE(IngestAll(*store, batch_of("a", value)).ok());
    ASSERT_TRUE(IngestAll(*store, batch_of("b", value)).ok());
  }
  const std::string path = FilesEndingWith(dir / "db", ".sst").at(0);
  std::string bytes = ReadFile(path);
  bytes[300] = static_cast<char>(bytes[300] ^ 1);
  WriteFile(path, bytes);
  const auto store = MustOpen(SmallStore(dir / "db"));
  const absl::Status compacted = store->Compact();
  EXPECT_EQ(compacted.code(), absl::StatusCode::kDataLoss) << compacted;
  EXPECT_THAT(Text(compacted), HasSubstr(std::filesystem::path(path).filename().string()));
  const absl::Status status = IngestAll(*store, batch_of("c", value));
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(Text(status), HasSubstr(std::filesystem::path(path).filename().string()));
}

TEST(RocksDbStore, IngestWaitsForCompaction) {
  const TempDir dir;
  RocksDbOptions options = SmallStore(dir / "db");
  options.max_uncompacted_files = 0;  // raised to the least that makes sense
  const auto store = MustOpen(options);
  for (uint64_t i = 1; i <= 60; ++i) {
    Marked marked(i);
    ASSERT_TRUE(store->Ingest(marked.batches).ok());
    EXPECT_LT(FilesEndingWith(dir / "db", ".sst").size(), 60u);
  }
  EXPECT_EQ(MarkedNumber(*store), 60u);
}

TEST(RocksDbStore, ReadersBesideIngestSeeWholeRows) {
  const TempDir dir;
  const auto store = MustOpen(SmallStore(dir / "db"));
  std::atomic<bool> stop = false;
  std::vector<std::thread> readers;
  for (int r = 0; r < 2; ++r) {
    readers.emplace_back([&] {
      uint64_t last = 0;
      while (!stop) {
        const absl::StatusOr<Value> marker = store->Get(Table::kMeta, "marker");
        ASSERT_TRUE(marker.ok()) << marker.status();
        const uint64_t number = marker->has_value() ? std::stoull(**marker) : 0;
        ASSERT_GE(number, last);
        last = number;
        // One iterator is one moment: all rows of the last two batches and nothing torn.
        const ModelTable rows = ReadAll(*store, Table::kAccounts);
        if (rows.empty()) continue;
        const uint64_t seen = std::stoull(rows.at("marker"));
        ASSERT_GE(seen, number);
        ModelStore model;
        for (uint64_t i = seen < 6 ? 1 : seen - 5; i <= seen; ++i) model.Apply(Marked(i).batches);
        ASSERT_EQ(rows, model[Table::kAccounts]);
      }
    });
  }
  for (uint64_t i = 1; i <= 40; ++i) {
    Marked marked(i);
    ASSERT_TRUE(store->Ingest(marked.batches).ok());
    if (i % 15 == 0) {
      ASSERT_TRUE(store->Compact().ok());
    }
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
}

// With encryption (the parameter) and without.
class FaultyStore : public testing::TestWithParam<bool> {
 protected:
  RocksDbOptions Options() {
    RocksDbOptions options = SmallStore(dir_ / "db");
    options.env = env_.get();
    options.keys = keys_;
    return options;
  }
  std::unique_ptr<KeyValueStore> Open() { return MustOpen(Options()); }

  TempDir dir_;
  std::shared_ptr<DataKeys> keys_ = GetParam() ? NewKeys(dir_.path()) : nullptr;
  std::shared_ptr<FaultyFileSystem> files_ = std::make_shared<FaultyFileSystem>();
  std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(files_);
};

// From the k-th writing operation of an Ingest on everything fails, as if the process had died there; then power goes.
// The next process finds all of the batch or nothing.
TEST_P(FaultyStore, CutAtEveryOperationOfAnIngest) {
  auto store = Open();
  Marked first(1);
  ASSERT_TRUE(store->Ingest(first.batches).ok());
  uint64_t number = 1;
  int old_found = 0;
  int new_found = 0;
  for (uint64_t k = 1;; ++k) {
    Marked marked(number + 1);
    files_->Arm(k, UINT64_MAX, Fault::kError);
    const absl::Status status = store->Ingest(marked.batches);
    const bool reached = files_->operations() >= k;
    if (!status.ok()) {
      ASSERT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
      ASSERT_EQ(MarkedNumber(*store), number) << "a failed Ingest leaves what was there";
    }
    store.reset();
    files_->Heal();
    files_->LosePower();
    store = Open();
    ASSERT_NE(store, nullptr) << k;
    const uint64_t found = MarkedNumber(*store);
    ASSERT_FALSE(HasFailure()) << "operation " << k;
    ASSERT_TRUE(found == number + 1 || (!status.ok() && found == number)) << found << " at operation " << k;
    ++(found == number ? old_found : new_found);
    number = found;
    if (!reached) break;
  }
  EXPECT_GT(old_found, 10);
  EXPECT_GT(new_found, 0);
}

// One operation fails, and the process goes on: what it does then to clean up must not hurt either.
TEST_P(FaultyStore, OneFailureAtEveryOperationOfAnIngest) {
  for (const Fault fault : {Fault::kError, Fault::kNoSpace}) {
    auto store = Open();
    uint64_t number = MarkedNumber(*store);
    for (uint64_t k = 1;; ++k) {
      Marked marked(number + 1);
      files_->Arm(k, 1, fault);
      const absl::Status status = store->Ingest(marked.batches);
      const bool reached = files_->operations() >= k;
      const absl::Status again = status.ok() ? status : store->Ingest(marked.batches);
      if (absl::IsResourceExhausted(status)) {
        EXPECT_TRUE(again.ok()) << "operation " << k << " " << again;
      } else if (!status.ok()) {
        EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
      }
      ASSERT_EQ(MarkedNumber(*store), again.ok() ? number + 1 : number) << "operation " << k << " " << status;
      store.reset();
      files_->Heal();
      store = Open();
      ASSERT_NE(store, nullptr) << "operation " << k << " " << status << " then " << again;
      const uint64_t found = MarkedNumber(*store);
      ASSERT_TRUE(found == number + 1 || (!again.ok() && found == number)) << found << " at operation " << k;
      ASSERT_FALSE(HasFailure()) << "operation " << k;
      number = found;
      if (!reached) break;
    }
  }
}

// A disk that is full before it is begun changes nothing, and the same batch goes in when there is space again.
TEST_P(FaultyStore, AFullDiskIsSaidAndPasses) {
  auto store = Open();
  Marked first(1);
  ASSERT_TRUE(store->Ingest(first.batches).ok());
  Marked second(2);
  files_->SetFreeSpace(63 << 20);
  absl::Status status = store->Ingest(second.batches);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Text(status), HasSubstr("nearly full"));
  EXPECT_EQ(MarkedNumber(*store), 1u);
  files_->SetFreeSpace(65 << 20);
  files_->Arm(1, UINT64_MAX, Fault::kNoSpace);
  status = store->Ingest(second.batches);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(MarkedNumber(*store), 1u);
  files_->Heal();
  ASSERT_TRUE(store->Ingest(second.batches).ok());
  EXPECT_EQ(MarkedNumber(*store), 2u);
}

// RocksDB would abort.
TEST_P(FaultyStore, WithoutSpaceItIsNotOpened) {
  ASSERT_NE(Open(), nullptr);
  files_->SetFreeSpace(1 << 19);
  const absl::Status status = OpenRocksDb(Options()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(Text(status), HasSubstr("512 KiB are free"));
  files_->SetFreeSpace(65 << 20);
  EXPECT_NE(Open(), nullptr);
}

// The deciding write is one of the last. When it failed nobody can know what is on the disk.
TEST_P(FaultyStore, AfterAFailureInTheDecidingWriteNothingIsTakenUntilReopened) {
  auto store = Open();
  uint64_t number = 0;
  const auto ingest = [&] {
    Marked next(number + 1);
    const absl::Status status = store->Ingest(next.batches);
    if (status.ok()) ++number;
    return status;
  };
  files_->Heal();
  ASSERT_TRUE(ingest().ok());
  bool refused = false;
  for (uint64_t k = files_->operations(); k > 0 && !refused; --k) {
    files_->Arm(k, 1, Fault::kError);
    if (ingest().ok()) continue;
    const absl::Status again = ingest();
    refused = !again.ok();
    if (!refused) continue;
    EXPECT_EQ(again.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(Text(again), HasSubstr("until it is opened again"));
    EXPECT_FALSE(ingest().ok());
    EXPECT_EQ(MarkedNumber(*store), number) << "reads go on";
  }
  EXPECT_TRUE(refused);
  store.reset();
  files_->Heal();
  store = Open();
  ASSERT_NE(store, nullptr);
  number = MarkedNumber(*store);
  EXPECT_TRUE(ingest().ok());
}

// What was loaded is there when the load is finished, or nothing of it.
TEST_P(FaultyStore, ALoadFailsAtOperations) {
  std::vector<std::pair<std::string, std::string>> texts;
  for (uint64_t i = 0; i < 20; ++i) texts.emplace_back(Number(i), Random(i).Bytes(200));
  std::vector<Row> rows;
  for (const auto& [key, value] : texts) rows.push_back({key, value});
  uint64_t failed = 0;
  for (const Fault fault : {Fault::kError, Fault::kNoSpace}) {
    bool reached = true;
    for (uint64_t k = 1; reached; k += 3) {
      std::filesystem::remove_all(dir_ / "db");
      RocksDbOptions options = Options();
      options.table_file_bytes = 2000;
      auto store = MustOpen(options);
      auto load = store->NewBulkLoad();
      files_->Arm(k, 1, fault);
      absl::Status status = load->Add(Table::kAccounts, rows);
      if (status.ok()) status = load->Add(Table::kSlots, rows);
      if (status.ok()) status = load->Finish();
      reached = files_->operations() >= k;
      files_->Heal();
      if (!status.ok()) {
        ++failed;
        EXPECT_TRUE(absl::IsUnavailable(status) || (fault == Fault::kNoSpace && absl::IsResourceExhausted(status)))
            << status;
      }
      load.reset();
      store.reset();
      store = Open();
      ASSERT_NE(store, nullptr) << "operation " << k << " " << status;
      const size_t found = ReadAll(*store, Table::kAccounts).size();
      EXPECT_EQ(ReadAll(*store, Table::kSlots).size(), found);
      ASSERT_TRUE(found == rows.size() || (!status.ok() && found == 0)) << found << " at operation " << k;
    }
  }
  EXPECT_GT(failed, 10u);
}

TEST_P(FaultyStore, ALoadNeedsTheReserve) {
  auto store = Open();
  files_->SetFreeSpace(63 << 20);
  const std::vector<Row> rows = {{"key", "value"}};
  EXPECT_EQ(store->NewBulkLoad()->Add(Table::kAccounts, rows).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(store->NewBulkLoad()->Finish().code(), absl::StatusCode::kResourceExhausted);
  files_->SetFreeSpace(65 << 20);
  auto load = store->NewBulkLoad();
  EXPECT_TRUE(load->Add(Table::kAccounts, rows).ok());
  EXPECT_TRUE(load->Finish().ok());
  EXPECT_EQ(ReadAll(*store, Table::kAccounts).size(), 1u);
}

TEST_P(FaultyStore, ACheckpointFailsAtEveryOperation) {
  auto store = Open();
  Marked marked(1);
  ASSERT_TRUE(store->Ingest(marked.batches).ok());
  uint64_t failed = 0;
  bool reached = true;
  for (uint64_t k = 1; reached; ++k) {
    files_->Arm(k, 1, k % 2 == 0 ? Fault::kError : Fault::kNoSpace);
    const absl::Status status = store->Checkpoint(dir_ / "copy");
    reached = files_->operations() >= k;
    files_->Heal();
    failed += !status.ok();
    // A removal that fails leaves a folder without CURRENT, which nobody takes for a store.
    if (status.ok()) {
      RocksDbOptions options = SmallStore(dir_ / "copy");
      options.keys = keys_;
      EXPECT_EQ(MarkedNumber(*MustOpen(options)), 1u);
    } else {
      EXPECT_FALSE(std::filesystem::exists(dir_ / "copy/CURRENT")) << status;
    }
    std::filesystem::remove_all(dir_ / "copy");
  }
  EXPECT_GT(failed, 5u);
  Marked next(2);
  EXPECT_TRUE(store->Ingest(next.batches).ok());
}

// A full disk that a compaction meets is said by the compaction; when there is room the next batch sets it going again.
TEST_P(FaultyStore, ACompactionThatFindsTheDiskFull) {
  uint64_t number = 0;
  auto store = Open();
  const auto ingest = [&] {
    Marked next(number + 1);
    const absl::Status status = store->Ingest(next.batches);
    if (status.ok()) ++number;
    return status;
  };
  uint64_t resumed = 0;
  bool reached = true;
  // After each such failure RocksDB waits for a second.
  for (uint64_t k = 1; reached; k += 7) {
    ASSERT_TRUE(ingest().ok());
    ASSERT_TRUE(ingest().ok());
    files_->Arm(k, 1, Fault::kNoSpace);
    const absl::Status compacted = store->Compact();
    reached = files_->operations() >= k;
    files_->Heal();
    const absl::Status after = ingest();
    if (!compacted.ok()) {
      EXPECT_TRUE(absl::IsResourceExhausted(compacted) || absl::IsUnavailable(compacted)) << compacted;
      resumed += after.ok();
    }
    if (!after.ok()) {  // the manifest was the file that could not be written
      EXPECT_EQ(after.code(), absl::StatusCode::kUnavailable) << after;
      store.reset();
      store = Open();
      ASSERT_NE(store, nullptr);
    }
    ASSERT_EQ(MarkedNumber(*store), number) << "operation " << k << " " << compacted << " then " << after;
  }
  EXPECT_GT(resumed, 0u);
}

TEST_P(FaultyStore, OpeningFailsCleanlyAtEveryOperation) {
  for (uint64_t k = 1;; k += 7) {
    std::filesystem::remove_all(dir_ / "db");
    files_->Arm(k, UINT64_MAX, k % 2 == 0 ? Fault::kError : Fault::kNoSpace);
    const bool opened = OpenRocksDb(Options()).ok();
    const bool reached = files_->operations() >= k;
    files_->Heal();
    files_->LosePower();
    ASSERT_NE(Open(), nullptr) << k;
    if (opened && !reached) break;
  }
}

// A disk whose k-th read of a staged file fails.
class UnreadableStaging final : public rocksdb::FileSystemWrapper {
 public:
  UnreadableStaging() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "UnreadableStaging"; }
  void Arm(uint64_t at) {
    at_ = at;
    reads_ = 0;
  }
  uint64_t reads() const { return reads_; }

  rocksdb::IOStatus NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                        rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = FileSystemWrapper::NewRandomAccessFile(path, options, file, debug);
    if (status.ok() && path.find("/staging/") != std::string::npos) {
      *file = std::make_unique<File>(*this, std::move(*file));
    }
    return status;
  }

 private:
  class File final : public rocksdb::FSRandomAccessFileOwnerWrapper {
   public:
    File(UnreadableStaging& disk, std::unique_ptr<rocksdb::FSRandomAccessFile> file)
        : FSRandomAccessFileOwnerWrapper(std::move(file)), disk_(disk) {}
    rocksdb::IOStatus Read(uint64_t offset, size_t count, const rocksdb::IOOptions& options, rocksdb::Slice* result,
                           char* scratch, rocksdb::IODebugContext* debug) const override {
      if (++disk_.reads_ == disk_.at_) return rocksdb::IOStatus::IOError("this read fails");
      return FSRandomAccessFileOwnerWrapper::Read(offset, count, options, result, scratch, debug);
    }

   private:
    UnreadableStaging& disk_;
  };

  std::atomic<uint64_t> at_ = 0;
  std::atomic<uint64_t> reads_ = 0;
};

// Small files, which are read by their ends alone, and one whose first rows are not in its end.
TEST(RocksDbStore, AReadThatFailsDuringAnIngestEndsOnlyThat) {
  const TempDir dir;
  const auto disk = std::make_shared<UnreadableStaging>();
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(disk);
  RocksDbOptions options = SmallStore(dir / "db");
  options.env = env.get();
  auto store = MustOpen(options);
  Random random(1);
  std::vector<std::pair<std::string, std::string>> texts;
  for (uint64_t i = 0; i < 6000; ++i) texts.emplace_back(Number(i), random.Bytes(1000));
  uint64_t failed = 0;
  bool reached = true;
  for (uint64_t k = 1; reached; ++k) {
    std::vector<Row> rows;
    for (const auto& [key, value] : texts) rows.push_back({key, value});
    std::vector<TableBatch> batches;
    batches.push_back({Table::kAccounts, std::move(rows), {}});
    batches.push_back({Table::kSlots, {{"key", "value"}}, {}});
    disk->Arm(k);
    const absl::Status status = store->Ingest(batches);
    reached = disk->reads() >= k;
    failed += !status.ok();
    EXPECT_EQ(status.ok(), !reached) << "read " << k << " " << status;
    if (!status.ok()) {
      EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    }
  }
  EXPECT_GE(failed, 3u);
  EXPECT_EQ(ReadAll(*store, Table::kAccounts).size(), texts.size());
}

INSTANTIATE_TEST_SUITE_P(Kinds, FaultyStore, testing::Bool(),
                         [](const auto& tested) { return tested.param ? "encrypted" : "plain"; });

}  // namespace
}  // namespace mptd::storage
