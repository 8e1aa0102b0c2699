#include "storage/rocksdb_bulk_load.h"

#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "rocksdb/sst_file_writer.h"
#include "storage/rocksdb_status.h"

namespace mptd::storage {
namespace {

using rocksdb::Slice;

Slice ToSlice(std::string_view bytes) { return Slice(bytes.data(), bytes.size()); }

class RocksDbBulkLoad final : public BulkLoad {
 public:
  explicit RocksDbBulkLoad(BulkLoadTarget target) : target_(std::move(target)) {}
  ~RocksDbBulkLoad() override {
    for (const Files& files : tables_) {
      for (const std::string& path : files.paths) target_.db_options.env->DeleteFile(path).PermitUncheckedError();
    }
  }

  absl::Status Add(Table table, std::span<const Row> rows) override;
  absl::Status Finish() override;

 private:
  // Of one table: those that are complete, and the one that is being written.
  struct Files {
    std::vector<std::string> paths;
    std::unique_ptr<rocksdb::SstFileWriter> writer;
    std::optional<std::string> last_key;
  };

  absl::Status Begin(Table table, Files& files) const;

  const BulkLoadTarget target_;
  std::array<Files, kTableCount> tables_;
};

absl::Status FileError(const rocksdb::Status& status, Table table) {
  return FromRocksDb(status, absl::StrFormat("writing a file for table %s", TableName(table)));
}

absl::Status RocksDbBulkLoad::Begin(Table table, Files& files) const {
  if (absl::Status status = target_.check(); !status.ok()) return status;
  const auto number = static_cast<size_t>(table);
  const rocksdb::Options options(target_.db_options, target_.family_options[number]);
  files.writer = std::make_unique<rocksdb::SstFileWriter>(rocksdb::EnvOptions(target_.db_options), options,
                                                          target_.families[number], /*invalidate_page_cache=*/false);
  files.paths.push_back(
      absl::StrFormat("%s/load-%s-%06d.sst", target_.staging, TableName(table), files.paths.size() + 1));
  return FileError(files.writer->Open(files.paths.back()), table);
}

absl::Status RocksDbBulkLoad::Add(Table table, std::span<const Row> rows) {
  Files& files = tables_[static_cast<size_t>(table)];
  const uint64_t file_bytes = target_.family_options[static_cast<size_t>(table)].target_file_size_base;
  if (absl::Status s = CheckLoaded(table, rows, files.last_key); !s.ok()) return s;
  if (!rows.empty()) files.last_key = rows.back().key;
  for (const Row& row : rows) {
    if (files.writer == nullptr) {
      if (absl::Status s = Begin(table, files); !s.ok()) return s;
    }
    rocksdb::Status put = files.writer->Put(ToSlice(row.key), ToSlice(*row.value));
    if (put.ok() && files.writer->FileSize() >= file_bytes) {
      put = files.writer->Finish();
      files.writer.reset();
    }
    if (!put.ok()) return FileError(put, table);
  }
  return absl::OkStatus();
}

absl::Status RocksDbBulkLoad::Finish() {
  std::vector<rocksdb::IngestExternalFileArg> arguments;
  for (size_t i = 0; i < kTableCount; ++i) {
    Files& files = tables_[i];
    if (files.writer != nullptr) {
      if (absl::Status s = FileError(files.writer->Finish(), static_cast<Table>(i)); !s.ok()) return s;
      files.writer.reset();
    }
    if (files.paths.empty()) continue;
    rocksdb::IngestExternalFileArg& argument = arguments.emplace_back();
    argument.column_family = target_.families[i];
    argument.external_files = files.paths;
    argument.options.move_files = true;
    argument.options.write_global_seqno = false;
  }
  if (absl::Status status = target_.check(); !status.ok()) return status;
  if (arguments.empty()) return absl::OkStatus();
  const rocksdb::Status status = target_.db->IngestExternalFiles(arguments);
  if (status.ok()) return absl::OkStatus();
  if (absl::Status checked = target_.check(); !checked.ok()) return checked;
  return FromRocksDb(status, "adding files to the store");
}

}  // namespace

std::unique_ptr<BulkLoad> NewRocksDbBulkLoad(BulkLoadTarget target) {
  return std::make_unique<RocksDbBulkLoad>(std::move(target));
}

}  // namespace mptd::storage
