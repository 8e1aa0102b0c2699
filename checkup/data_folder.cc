// What is in the data folder, and who may use it.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "checkup/machine.h"
#include "storage/data_dir.h"
#include "storage/data_keys.h"

namespace mptd::checkup {
namespace {

std::string FolderAbove(const std::string& path) {
  std::filesystem::path lexical(path);
  if (!lexical.has_filename()) lexical = lexical.parent_path();  // "data/"
  const std::filesystem::path parent = lexical.parent_path();
  return parent.empty() ? "." : parent.string();
}

}  // namespace

FolderReading ReadFolder(const std::string& data_dir) {
  FolderReading out;
  struct stat found {};
  out.is_data_dir = ::stat(data_dir.c_str(), &found) == 0 || errno != ENOENT;
  out.path = out.is_data_dir ? data_dir : FolderAbove(data_dir);
  out.user = ::geteuid();
  out.exists = ::stat(out.path.c_str(), &found) == 0;
  if (!out.exists) return out;
  out.is_folder = S_ISDIR(found.st_mode);
  out.usable = ::access(out.path.c_str(), R_OK | W_OK | X_OK) == 0;
  // In a folder like /tmp others may make files, but not touch ours.
  out.others_write = (found.st_mode & S_IWOTH) != 0 && (found.st_mode & S_ISVTX) == 0;
  out.owner = found.st_uid;
  return out;
}

DataReading ReadData(const std::string& data_dir, const storage::KeySource& key) {
  DataReading out;
  const absl::StatusOr<storage::DataDirLock> lock = storage::ShareDataDir(data_dir);
  // Without LOCK it may be a checkpoint that no daemon has been started on yet.
  if (!lock.ok() && !absl::IsNotFound(lock.status())) {
    out.lock = lock.status();
    return out;
  }
  out.format = storage::CheckDataDir(data_dir);
  if (!out.format.ok()) return out;
  const absl::StatusOr<std::shared_ptr<storage::DataKeys>> keys = storage::ReadDataKeys(data_dir, key);
  out.keys = keys.status();
  if (!keys.ok()) return out;
  out.log = storage::CheckChangeLog(data_dir + "/log", nullptr, *keys);
  out.state = ReadStoredState(data_dir, *keys);
  return out;
}

}  // namespace mptd::checkup
