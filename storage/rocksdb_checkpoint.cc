#include "storage/rocksdb_checkpoint.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_format.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "storage/rocksdb_status.h"

namespace mptd::storage {
namespace {

rocksdb::Status CopyFile(rocksdb::Env& env, const std::string& from, const std::string& to, uint64_t bytes) {
  const rocksdb::EnvOptions options;
  std::unique_ptr<rocksdb::SequentialFile> in;
  std::unique_ptr<rocksdb::WritableFile> out;
  if (rocksdb::Status s = env.NewSequentialFile(from, &in, options); !s.ok()) return s;
  if (rocksdb::Status s = env.NewWritableFile(to, &out, options); !s.ok()) return s;
  std::vector<char> buffer(size_t{1} << 20);
  while (bytes > 0) {
    rocksdb::Slice read;
    if (rocksdb::Status s = in->Read(std::min<uint64_t>(bytes, buffer.size()), &read, buffer.data()); !s.ok()) return s;
    if (read.empty()) break;
    if (rocksdb::Status s = out->Append(read); !s.ok()) return s;
    bytes -= read.size();
  }
  if (rocksdb::Status s = out->Sync(); !s.ok()) return s;
  return out->Close();
}

// Table files never change once they are written; everything else may grow or be replaced.
rocksdb::Status LinkOrCopy(rocksdb::Env& env, const std::string& from, const std::string& to) {
  rocksdb::Status linked = env.LinkFile(from, to);
  if (!linked.IsNotSupported()) return linked;
  return CopyFile(env, from, to, std::numeric_limits<uint64_t>::max());
}

rocksdb::Status CopyFiles(rocksdb::Env& env, const std::string& from, const std::vector<std::string>& names,
                          uint64_t manifest_bytes, const std::string& to) {
  std::string manifest;
  for (const std::string& name : names) {  // each begins with a slash
    if (name == "/CURRENT") continue;
    rocksdb::Status status;
    if (name.starts_with("/MANIFEST-")) {
      manifest = name.substr(1);
      status = CopyFile(env, from + name, to + name, manifest_bytes);
    } else if (name.ends_with(".sst")) {
      status = LinkOrCopy(env, from + name, to + name);
    } else {
      status = CopyFile(env, from + name, to + name, std::numeric_limits<uint64_t>::max());
    }
    if (!status.ok()) return status;
  }
  return rocksdb::WriteStringToFile(&env, manifest + "\n", to + "/CURRENT", /*should_sync=*/true);
}

rocksdb::Status SyncFolder(rocksdb::Env& env, const std::string& dir) {
  std::unique_ptr<rocksdb::Directory> folder;
  if (rocksdb::Status s = env.NewDirectory(dir, &folder); !s.ok()) return s;
  return folder->Fsync();
}

// What there is of a checkpoint that failed; what cannot be removed stays.
void RemoveFolder(rocksdb::Env& env, const std::string& dir) {
  std::vector<std::string> names;
  env.GetChildren(dir, &names).PermitUncheckedError();
  for (const std::string& name : names) {
    if (name != "." && name != "..") env.DeleteFile(absl::StrFormat("%s/%s", dir, name)).PermitUncheckedError();
  }
  env.DeleteDir(dir).PermitUncheckedError();
}

}  // namespace

absl::Status WriteCheckpoint(rocksdb::DB& db, rocksdb::Env& env, const std::string& dir) {
  const std::string what = absl::StrFormat("writing a checkpoint to %s", dir);
  if (env.FileExists(dir).ok()) return absl::AlreadyExistsError(absl::StrFormat("%s: it exists", what));
  if (rocksdb::Status s = env.CreateDir(dir); !s.ok()) return FromRocksDb(s, what);
  absl::Cleanup remove = [&] { RemoveFolder(env, dir); };
  if (rocksdb::Status s = db.DisableFileDeletions(); !s.ok()) return FromRocksDb(s, what);
  std::vector<std::string> names;
  uint64_t manifest_bytes = 0;
  rocksdb::Status status = db.GetLiveFiles(names, &manifest_bytes, /*flush_memtable=*/false);
  if (status.ok()) status = CopyFiles(env, db.GetName(), names, manifest_bytes, dir);
  const rocksdb::Status enabled = db.EnableFileDeletions(/*force=*/false);
  if (status.ok()) status = enabled;
  if (status.ok()) status = SyncFolder(env, dir);
  if (status.ok()) status = SyncFolder(env, std::filesystem::path(dir).parent_path().string());
  if (!status.ok()) return FromRocksDb(status, what);
  std::move(remove).Cancel();
  return absl::OkStatus();
}

}  // namespace mptd::storage
