// A row of a store that nobody has open, what RocksDB's errors become, and that every compression is read back.
#include "storage/rocksdb_peek.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/rocksdb_status.h"
#include "storage/rocksdb_store.h"
#include "tests/storage/marked_batches.h"
#include "tests/storage/test_support.h"

namespace mptd::storage {
namespace {

using testing::HasSubstr;
using Code = absl::StatusCode;

std::string TableFile(const std::string& dir) {
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    if (entry.path().extension() == ".sst") return entry.path().string();
  }
  return "";
}

TEST(PeekRow, OfAStoreThatNobodyHasOpen) {
  const TempDir dir;
  EXPECT_EQ(PeekRow(dir / "absent", Table::kMeta, "key").status().code(), Code::kNotFound);
  ASSERT_TRUE(IngestAll(*MustOpen(SmallStore(dir / "db")), {{Table::kMeta, {{"key", "value"}}, {}}}).ok());
  const auto before = std::filesystem::last_write_time(dir / "db");
  EXPECT_EQ(*PeekRow(dir / "db", Table::kMeta, "key"), Value("value"));
  EXPECT_EQ(*PeekRow(dir / "db", Table::kMeta, "other"), std::nullopt);
  EXPECT_EQ(*PeekRow(dir / "db", Table::kAccounts, "key"), std::nullopt);
  EXPECT_EQ(std::filesystem::last_write_time(dir / "db"), before);
}

TEST(PeekRow, OfADamagedStore) {
  const TempDir dir;
  const std::string value = Random(5).Bytes(3000);
  ASSERT_TRUE(IngestAll(*MustOpen(SmallStore(dir / "db")), {{Table::kMeta, {{"key", value}}, {}}}).ok());
  const std::string path = TableFile(dir / "db");
  const std::string bytes = ReadFile(path);
  std::string damaged = bytes;
  damaged[1000] = static_cast<char>(damaged[1000] ^ 1);
  WriteFile(path, damaged);
  EXPECT_EQ(PeekRow(dir / "db", Table::kMeta, "key").status().code(), Code::kDataLoss);
  WriteFile(path, bytes);
  WriteFile(dir / "db/CURRENT", "nonsense");
  const absl::Status status = PeekRow(dir / "db", Table::kMeta, "key").status();
  EXPECT_EQ(status.code(), Code::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("opening the tables in " + (dir / "db")));
}

TEST(RocksDbStatus, HasTheCodeThatSaysWhatToDo) {
  EXPECT_TRUE(FromRocksDb(rocksdb::Status::OK(), "reading").ok());
  const std::pair<rocksdb::Status, Code> expected[] = {
      {rocksdb::Status::NoSpace("disk"), Code::kResourceExhausted},
      {rocksdb::Status::Corruption("block"), Code::kDataLoss},
      {rocksdb::Status::IOError("lock hold by current process: db/LOCK"), Code::kFailedPrecondition},
      {rocksdb::Status::IOError("db/LOCK", "Permission denied"), Code::kUnavailable},
      {rocksdb::Status::IOError("file", "Input/output error"), Code::kUnavailable},
      {rocksdb::Status::NotFound("file"), Code::kNotFound},
      {rocksdb::Status::InvalidArgument("option"), Code::kFailedPrecondition},
      {rocksdb::Status::NotSupported("format"), Code::kFailedPrecondition},
      {rocksdb::Status::Busy("later"), Code::kUnavailable}};
  for (const auto& [from, code] : expected) {
    const absl::Status status = FromRocksDb(from, "reading table meta");
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("reading table meta"));
    EXPECT_THAT(std::string(status.message()), HasSubstr(from.ToString()));
  }
}

TEST(RocksDbCompression, IsReadBackWhateverIsSetLater) {
  const TempDir dir;
  const std::string value(2000, 'x');
  std::vector<uintmax_t> sizes;
  uint64_t number = 0;
  for (const Compression compression :
       {Compression::kNone, Compression::kSnappy, Compression::kLz4, Compression::kZstd, Compression::kNone}) {
    RocksDbOptions options = SmallStore(dir / "db");
    options.compression = compression;
    const auto store = MustOpen(options);
    ASSERT_NE(store, nullptr);
    ASSERT_TRUE(IngestAll(*store, {{Table::kAccounts, {{"key " + std::to_string(number++), value}}, {}}}).ok());
    ASSERT_TRUE(store->Compact().ok());
    EXPECT_EQ(ReadAll(*store, Table::kAccounts).size(), number);
    sizes.push_back(std::filesystem::file_size(TableFile(dir / "db")));
  }
  for (size_t i = 1; i < 4; ++i) EXPECT_LT(sizes[i], sizes[0]) << "compression " << i;
  EXPECT_GT(sizes[4], 5 * value.size());
}

}  // namespace
}  // namespace mptd::storage
