#include "storage/encrypted_fs.h"

#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "storage/encrypted_reading.h"
#include "storage/encrypted_writing.h"
#include "storage/rocksdb_status.h"
#include "storage/sealed_file.h"

namespace mptd::storage {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

namespace {

Layout LayoutFor(std::string_view path) { return path.ends_with(".sst") ? Layout::kBlocks : Layout::kStream; }

IOStatus NotOurs(std::string_view what, const std::string& path) {
  return IOStatus::NotSupported(absl::StrFormat("%s: %s", path, what));
}

IOStatus ReadHeader(rocksdb::FileSystem& base, const std::string& path, std::string& header) {
  std::unique_ptr<rocksdb::FSSequentialFile> file;
  if (IOStatus s = base.NewSequentialFile(path, FileOptions(), &file, nullptr); !s.ok()) return s;
  header.resize(kSealedHeaderBytes);
  rocksdb::Slice got;
  if (IOStatus s = file->Read(header.size(), IOOptions(), &got, header.data(), nullptr); !s.ok()) return s;
  header.assign(got.data(), got.size());
  return IOStatus::OK();
}

// The files of a store that are not of this file system: the lock, and a log of a time before.
bool IsPlain(std::string_view name) { return name == "LOCK" || name == "." || name == ".."; }

}  // namespace

IOStatus CopyOver(rocksdb::FileSystem& from_files, rocksdb::FileSystem& to_files, const std::string& path) {
  std::unique_ptr<rocksdb::FSSequentialFile> from;
  std::unique_ptr<rocksdb::FSWritableFile> to;
  // A name that RocksDB removes when it finds it left behind.
  const std::string draft =
      path.substr(0, path.rfind('/')) + (path.ends_with(".sst") ? "/000000.sst" : "/000000.dbtmp");
  if (IOStatus s = from_files.NewSequentialFile(path, FileOptions(), &from, nullptr); !s.ok()) return s;
  if (IOStatus s = to_files.NewWritableFile(draft, FileOptions(), &to, nullptr); !s.ok()) return s;
  std::vector<char> buffer(kMaxPieceBytes);
  while (true) {
    rocksdb::Slice got;
    if (IOStatus s = from->Read(buffer.size(), IOOptions(), &got, buffer.data(), nullptr); !s.ok()) return s;
    if (got.empty()) break;
    if (IOStatus s = to->Append(got, IOOptions(), nullptr); !s.ok()) return s;
  }
  if (IOStatus s = to->Sync(IOOptions(), nullptr); !s.ok()) return s;
  if (IOStatus s = to->Close(IOOptions(), nullptr); !s.ok()) return s;
  return to_files.RenameFile(draft, path, IOOptions(), nullptr);
}

IOStatus EncryptedFileSystem::NewSequentialFile(const std::string& path, const FileOptions& options,
                                                std::unique_ptr<rocksdb::FSSequentialFile>* file,
                                                IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSSequentialFile> base;
  if (IOStatus s = FileSystemWrapper::NewSequentialFile(path, options, &base, debug); !s.ok()) return s;
  *file = std::make_unique<DecryptingSequentialFile>(std::move(base), path, keys_);
  return IOStatus::OK();
}

IOStatus EncryptedFileSystem::NewRandomAccessFile(const std::string& path, const FileOptions& options,
                                                  std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                                  IODebugContext* debug) {
  if (options.use_mmap_reads || options.use_direct_reads) {
    return NotOurs("encrypted files are not mapped or read directly", path);
  }
  std::unique_ptr<rocksdb::FSRandomAccessFile> base;
  if (IOStatus s = FileSystemWrapper::NewRandomAccessFile(path, options, &base, debug); !s.ok()) return s;
  std::string header(kSealedHeaderBytes, '\0');
  rocksdb::Slice got;
  if (IOStatus s = base->Read(0, header.size(), IOOptions(), &got, header.data(), debug); !s.ok()) return s;
  absl::StatusOr<FileCipher> cipher = FileCipher::Read(keys_, got.ToStringView());
  if (!cipher.ok()) return ToIOStatus(cipher.status(), path);
  *file = std::make_unique<DecryptingRandomFile>(std::move(base), path, *std::move(cipher));
  return IOStatus::OK();
}

IOStatus EncryptedFileSystem::NewWritableFile(const std::string& path, const FileOptions& options,
                                              std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* debug) {
  if (options.use_mmap_writes || options.use_direct_writes) {
    return NotOurs("encrypted files are not mapped or written directly", path);
  }
  const absl::StatusOr<FileCipher> cipher = FileCipher::Make(keys_, LayoutFor(path));
  if (!cipher.ok()) return ToIOStatus(cipher.status(), path);
  absl::StatusOr<AesGcm> aes = cipher->Context(AesGcm::Use::kSeal);
  if (!aes.ok()) return ToIOStatus(aes.status(), path);
  std::unique_ptr<rocksdb::FSWritableFile> base;
  if (IOStatus s = FileSystemWrapper::NewWritableFile(path, options, &base, debug); !s.ok()) return s;
  auto made = std::make_unique<EncryptingFile>(std::move(base), path, cipher->layout(), *std::move(aes));
  if (IOStatus s = made->WriteHeader(cipher->header()); !s.ok()) return s;
  *file = std::move(made);
  return IOStatus::OK();
}

IOStatus EncryptedFileSystem::ReopenWritableFile(const std::string& path, const FileOptions& options,
                                                 std::unique_ptr<rocksdb::FSWritableFile>* file,
                                                 IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSWritableFile> base;
  if (IOStatus s = FileSystemWrapper::ReopenWritableFile(path, options, &base, debug); !s.ok()) return s;
  *file = std::make_unique<CompleteFile>(std::move(base));
  return IOStatus::OK();
}

IOStatus EncryptedFileSystem::ReuseWritableFile(const std::string& path, const std::string& /*old_path*/,
                                                const FileOptions& /*options*/,
                                                std::unique_ptr<rocksdb::FSWritableFile>* /*file*/,
                                                IODebugContext* /*debug*/) {
  return NotOurs("encrypted files are not used again", path);
}

IOStatus EncryptedFileSystem::NewRandomRWFile(const std::string& path, const FileOptions& /*options*/,
                                              std::unique_ptr<rocksdb::FSRandomRWFile>* /*file*/,
                                              IODebugContext* /*debug*/) {
  return NotOurs("encrypted files are written in order", path);
}

IOStatus EncryptedFileSystem::NewMemoryMappedFileBuffer(const std::string& path,
                                                        std::unique_ptr<rocksdb::MemoryMappedFileBuffer>* /*buffer*/) {
  return NotOurs("encrypted files are not mapped", path);
}

IOStatus EncryptedFileSystem::NewLogger(const std::string& path, const IOOptions& /*options*/,
                                        std::shared_ptr<rocksdb::Logger>* /*logger*/, IODebugContext* /*debug*/) {
  return NotOurs("RocksDB's log is not kept beside encrypted files", path);
}

IOStatus EncryptedFileSystem::Truncate(const std::string& path, size_t /*size*/, const IOOptions& /*options*/,
                                       IODebugContext* /*debug*/) {
  return NotOurs("encrypted files are not cut", path);
}

IOStatus EncryptedFileSystem::GetFileSize(const std::string& path, const IOOptions& options, uint64_t* bytes,
                                          IODebugContext* debug) {
  uint64_t on_disk = 0;
  if (IOStatus s = FileSystemWrapper::GetFileSize(path, options, &on_disk, debug); !s.ok()) return s;
  if (LayoutFor(path) == Layout::kBlocks) {
    *bytes = PlainBytes(on_disk);
    return IOStatus::OK();
  }
  // Small files, whose size is hardly ever asked for.
  std::unique_ptr<rocksdb::FSSequentialFile> file;
  if (IOStatus s = NewSequentialFile(path, FileOptions(), &file, debug); !s.ok()) return s;
  *bytes = 0;
  std::vector<char> buffer(kMaxPieceBytes);
  while (true) {
    rocksdb::Slice got;
    if (IOStatus s = file->Read(buffer.size(), options, &got, buffer.data(), debug); !s.ok()) return s;
    if (got.empty()) return IOStatus::OK();
    *bytes += got.size();
  }
}

IOStatus EncryptedFileSystem::GetChildrenFileAttributes(const std::string& dir, const IOOptions& options,
                                                        std::vector<rocksdb::FileAttributes>* result,
                                                        IODebugContext* debug) {
  // The one of the base asks GetFileSize of each file; the wrapper's would say what they take.
  return FileSystem::GetChildrenFileAttributes(dir, options, result, debug);  // NOLINT(bugprone-parent-virtual-call)
}

std::shared_ptr<rocksdb::FileSystem> EncryptedBy(std::shared_ptr<const DataKeys> keys,
                                                 const std::shared_ptr<rocksdb::FileSystem>& base) {
  if (keys == nullptr) return base;
  return std::make_shared<EncryptedFileSystem>(base, std::move(keys));
}

absl::StatusOr<std::set<uint32_t>> KeysInUse(rocksdb::FileSystem& base, const std::string& dir) {
  std::set<uint32_t> used;
  std::vector<std::string> names;
  if (IOStatus s = base.GetChildren(dir, IOOptions(), &names, nullptr); !s.ok())
    return FromRocksDb(s, "listing " + dir);
  for (const std::string& name : names) {
    const std::string path = absl::StrCat(dir, "/", name);
    bool is_folder = false;
    if (IsPlain(name) || (base.IsDirectory(path, IOOptions(), &is_folder, nullptr).ok() && is_folder)) continue;
    std::string header;
    IOStatus read = ReadHeader(base, path, header);
    if (read.IsNotFound() || read.IsPathNotFound()) continue;  // gone since it was listed
    if (!read.ok()) return FromRocksDb(read, "reading " + path);
    if (const absl::StatusOr<uint32_t> key = KeyOfHeader(header); key.ok()) used.insert(*key);
  }
  return used;
}

absl::Status RenewSmallFiles(const std::shared_ptr<rocksdb::FileSystem>& base,
                             const std::shared_ptr<const DataKeys>& keys, const std::string& dir) {
  EncryptedFileSystem files(base, keys);
  std::vector<std::string> names;
  IOStatus listed = base->GetChildren(dir, IOOptions(), &names, nullptr);
  if (listed.IsNotFound() || listed.IsPathNotFound()) return absl::OkStatus();
  if (!listed.ok()) return FromRocksDb(listed, "listing " + dir);
  for (const std::string& name : names) {
    if (name != "IDENTITY" && !name.starts_with("OPTIONS-")) continue;
    const std::string path = absl::StrCat(dir, "/", name);
    std::string header;
    IOStatus s = ReadHeader(*base, path, header);
    if (s.ok()) {
      const absl::StatusOr<uint32_t> key = KeyOfHeader(header);
      if (!key.ok() || *key == keys->current()) continue;
      s = CopyOver(files, files, path);
    }
    if (!s.ok()) return FromRocksDb(s, "encrypting anew " + path);
  }
  return absl::OkStatus();
}

}  // namespace mptd::storage
