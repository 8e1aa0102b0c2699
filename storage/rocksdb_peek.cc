#include "storage/rocksdb_peek.h"

#include <cstdarg>
#include <filesystem>
#include <memory>
#include <system_error>
#include <vector>

#include "absl/strings/str_format.h"
#include "rocksdb/db.h"
#include "storage/rocksdb_no_log.h"
#include "storage/rocksdb_status.h"

namespace mptd::storage {
namespace {

class OpenStore {
 public:
  absl::Status Open(const std::string& dir, Table table) {
    rocksdb::DBOptions options;
    options.create_if_missing = false;
    options.paranoid_checks = true;
    options.max_open_files = 64;  // files are opened as they are needed, not all at once
    options.skip_stats_update_on_db_open = true;
    options.info_log = std::make_shared<NoLog>();
    const std::vector<rocksdb::ColumnFamilyDescriptor> families = {
        {rocksdb::kDefaultColumnFamilyName, {}}, {std::string(TableName(table)), rocksdb::ColumnFamilyOptions()}};
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* db = nullptr;
    const rocksdb::Status status = rocksdb::DB::OpenForReadOnly(options, dir, families, &handles, &db);
    db_.reset(db);
    for (rocksdb::ColumnFamilyHandle* handle : handles) handles_.emplace_back(handle);
    return FromRocksDb(status, absl::StrFormat("opening the tables in %s", dir));
  }

  rocksdb::Status Get(std::string_view key, std::string* value) const {
    return db_->Get(rocksdb::ReadOptions(), handles_.back().get(), rocksdb::Slice(key.data(), key.size()), value);
  }

 private:
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<std::unique_ptr<rocksdb::ColumnFamilyHandle>> handles_;  // go before their store
};

}  // namespace

absl::StatusOr<Value> PeekRow(const std::string& dir, Table table, std::string_view key) {
  std::error_code ignored;
  if (!std::filesystem::exists(dir + "/CURRENT", ignored)) {
    return absl::NotFoundError(absl::StrFormat("there are no tables in %s", dir));
  }
  OpenStore store;
  if (absl::Status status = store.Open(dir, table); !status.ok()) return status;
  std::string value;
  const rocksdb::Status got = store.Get(key, &value);
  if (got.IsNotFound()) return Value();
  if (!got.ok()) return FromRocksDb(got, absl::StrFormat("reading table %s", TableName(table)));
  return Value(std::move(value));
}

}  // namespace mptd::storage
