#include "storage/rocksdb_check.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"
#include "rocksdb/db.h"
#include "rocksdb/metadata.h"
#include "rocksdb/sst_file_reader.h"
#include "storage/encrypted_fs.h"
#include "storage/rocksdb_no_log.h"
#include "storage/rocksdb_status.h"

namespace mptd::storage {
namespace {

rocksdb::DBOptions ReadOnlyOptions(rocksdb::Env* env) {
  rocksdb::DBOptions options;
  options.env = env;
  options.max_open_files = 64;      // table files are opened one by one, below
  options.paranoid_checks = false;  // else the first table file that cannot be opened ends the list
  options.skip_stats_update_on_db_open = true;
  options.skip_checking_sst_file_sizes_on_db_open = true;
  options.info_log = std::make_shared<NoLog>();
  return options;
}

// What the manifest says that there is. An error is one of CURRENT or of the manifest.
rocksdb::Status ListTableFiles(rocksdb::Env* env, const std::string& dir,
                               std::vector<rocksdb::LiveFileMetaData>& files) {
  const rocksdb::DBOptions options = ReadOnlyOptions(env);
  std::vector<std::string> names;
  if (rocksdb::Status s = rocksdb::DB::ListColumnFamilies(options, dir, &names); !s.ok()) return s;
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  families.reserve(names.size());
  for (const std::string& name : names) families.emplace_back(name, rocksdb::ColumnFamilyOptions());
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status = rocksdb::DB::OpenForReadOnly(options, dir, families, &handles, &opened);
  const std::unique_ptr<rocksdb::DB> db(opened);
  if (!status.ok()) return status;
  db->GetLiveFilesMetaData(&files);
  for (rocksdb::ColumnFamilyHandle* handle : handles) db->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  return status;
}

// Empty when the file is whole.
std::string WhatIsWrong(rocksdb::Env* env, const rocksdb::LiveFileMetaData& file, const std::string& path) {
  uint64_t size = 0;
  if (const rocksdb::Status found = env->GetFileSize(path, &size); !found.ok()) {
    return absl::StrFormat("cannot be read: %s", found.ToString());
  }
  if (size != file.size) return absl::StrFormat("has %d bytes, the manifest says %d", size, file.size);
  rocksdb::Options options;
  options.env = env;
  options.info_log = std::make_shared<NoLog>();
  rocksdb::SstFileReader reader(options);
  rocksdb::Status status = reader.Open(path);
  if (status.ok()) status = reader.VerifyChecksum(rocksdb::ReadOptions(/*cksum=*/true, /*cache=*/false));
  return status.ok() ? std::string() : status.ToString();
}

}  // namespace

absl::StatusOr<TablesReport> CheckTables(const std::string& dir, const std::shared_ptr<const DataKeys>& keys) {
  std::error_code ignored;
  if (!std::filesystem::exists(dir, ignored))
    return absl::NotFoundError(absl::StrFormat("there is no store in %s", dir));
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(EncryptedBy(keys, rocksdb::FileSystem::Default()));
  TablesReport report;
  std::vector<rocksdb::LiveFileMetaData> files;
  if (const rocksdb::Status status = ListTableFiles(env.get(), dir, files); !status.ok()) {
    if (status.IsIOError() && !status.IsPathNotFound() && std::filesystem::exists(dir + "/CURRENT", ignored)) {
      return FromRocksDb(status, absl::StrFormat("reading the manifest of %s", dir));
    }
    report.damaged.push_back(
        {dir + "/CURRENT", "", absl::StrFormat("or the manifest that it names: %s", status.ToString())});
    return report;
  }
  for (const rocksdb::LiveFileMetaData& file : files) {
    const std::string path = file.db_path + file.name;
    ++report.files;
    report.bytes += file.size;
    if (std::string what = WhatIsWrong(env.get(), file, path); !what.empty()) {
      report.damaged.push_back({path, file.column_family_name, std::move(what)});
    }
  }
  std::sort(report.damaged.begin(), report.damaged.end(),
            [](const DamagedFile& a, const DamagedFile& b) { return a.path < b.path; });
  return report;
}

}  // namespace mptd::storage
