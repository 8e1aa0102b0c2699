#include "backup/files.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <openssl/evp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "storage/posix_error.h"

namespace mptd::backup {
namespace {

namespace fs = std::filesystem;
using storage::PosixError;

constexpr size_t kBufferBytes = size_t{1} << 20;

// Closes when destroyed.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

class Sha256Stream {
 public:
  Sha256Stream() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    good_ = context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1;
  }
  void Add(std::string_view bytes) {
    good_ = good_ && EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1;
  }
  // Empty when the library failed (out of memory).
  std::string Hex() {
    std::string digest(EVP_MAX_MD_SIZE, '\0');
    unsigned size = 0;
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): OpenSSL's bytes are unsigned
    auto* out = reinterpret_cast<unsigned char*>(digest.data());
    if (!good_ || EVP_DigestFinal_ex(context_.get(), out, &size) != 1) return {};
    digest.resize(size);
    return absl::BytesToHexString(digest);
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
  bool good_;
};

absl::Status WriteAll(int descriptor, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return PosixError("writing", path, errno);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

// Calls `take` with the file's bytes, piece by piece.
template <typename Take>
absl::Status ReadPieces(int descriptor, const std::string& path, Take take) {
  std::string buffer(kBufferBytes, '\0');
  while (true) {
    const ssize_t got = ::read(descriptor, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return PosixError("reading", path, errno);
    if (got == 0) return absl::OkStatus();
    if (absl::Status status = take(std::string_view(buffer.data(), static_cast<size_t>(got))); !status.ok()) {
      return status;
    }
  }
}

// `done` counts the bytes of the files before this one, and of this one afterwards.
absl::StatusOr<FileEntry> HashFile(const std::string& dir, const std::string& name, const Progress& progress,
                                   uint64_t& done) {
  const std::string path = absl::StrCat(dir, "/", name);
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (file.get() < 0) return PosixError("opening", path, errno);
  FileEntry out{.path = name, .bytes = 0, .sha256 = {}};
  Sha256Stream sha;
  absl::Status status = ReadPieces(file.get(), path, [&](std::string_view piece) {
    sha.Add(piece);
    out.bytes += piece.size();
    done += piece.size();
    if (progress && !progress(done)) return absl::CancelledError("stopped before all files were read");
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  out.sha256 = sha.Hex();
  if (out.sha256.empty()) return absl::ResourceExhaustedError(absl::StrCat("no memory to hash ", path));
  return out;
}

absl::StatusOr<std::string> Compare(const std::string& dir, const FileEntry& expected, const Progress& progress,
                                    uint64_t& done) {
  const absl::StatusOr<FileEntry> found = HashFile(dir, expected.path, progress, done);
  if (absl::IsNotFound(found.status())) return "is missing";
  if (!found.ok()) return found.status();
  if (found->bytes != expected.bytes) {
    return absl::StrFormat("has %d bytes instead of %d", found->bytes, expected.bytes);
  }
  if (found->sha256 != expected.sha256) {
    return absl::StrFormat("differs: its SHA-256 is %s instead of %s", found->sha256, expected.sha256);
  }
  return "";
}

absl::Status SyncFile(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (file.get() < 0) return PosixError("opening", path, errno);
  return ::fsync(file.get()) == 0 ? absl::OkStatus() : PosixError("syncing", path, errno);
}

absl::Status CopyAndSync(int from, int to, const std::string& path) {
  absl::Status status = ReadPieces(from, path, [&](std::string_view piece) { return WriteAll(to, piece, path); });
  if (!status.ok()) return status;
  return ::fsync(to) == 0 ? absl::OkStatus() : PosixError("syncing", path, errno);
}

std::string ParentOf(const std::string& path) {
  const fs::path parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

}  // namespace

std::string WithoutSlashes(std::string dir) {
  while (dir.size() > 1 && dir.back() == '/') dir.pop_back();
  return dir;
}

absl::Status MakeFolder(const std::string& dir) { return storage::MakeDirectory(WithoutSlashes(dir)); }

std::string Sha256(std::string_view text) {
  Sha256Stream sha;
  sha.Add(text);
  return sha.Hex();
}

absl::StatusOr<std::string> ReadWhole(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return PosixError("opening", path, errno);
  std::string text;
  absl::Status status = ReadPieces(file.get(), path, [&](std::string_view piece) {
    text += piece;
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return text;
}

absl::Status WriteWhole(const std::string& path, std::string_view text) {
  const std::string draft = path + ".tmp";
  const Descriptor file(::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640));
  if (file.get() < 0) return PosixError("making", draft, errno);
  if (absl::Status status = WriteAll(file.get(), text, draft); !status.ok()) return status;
  if (::fsync(file.get()) != 0) return PosixError("syncing", draft, errno);
  if (::rename(draft.c_str(), path.c_str()) != 0) return PosixError("making", path, errno);
  return storage::SyncDirectory(ParentOf(path));
}

namespace {

struct Listing {
  std::vector<std::string> files;  // but the manifest
  std::vector<std::string> empty_folders;
};

// Of all that is in `dir`, relative and sorted.
absl::StatusOr<Listing> List(const std::string& dir) {
  Listing out;
  std::error_code error;
  fs::recursive_directory_iterator it(dir, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    const fs::file_type type = it->symlink_status(error).type();
    if (error) break;
    const std::string name = it->path().lexically_relative(dir).generic_string();
    if (type == fs::file_type::regular) {
      if (name != kManifestName) out.files.push_back(name);
    } else if (type != fs::file_type::directory) {
      return absl::DataLossError(absl::StrFormat("%s in %s is neither a file nor a folder", name, dir));
    } else if (fs::is_empty(it->path(), error)) {
      out.empty_folders.push_back(name);
    }
    if (error) break;
  }
  if (error) return PosixError("listing", dir, error.value());
  std::sort(out.files.begin(), out.files.end());
  std::sort(out.empty_folders.begin(), out.empty_folders.end());
  return out;
}

// Whether the manifest has files in that folder, or below.
bool Names(const Manifest& manifest, const std::string& folder) {
  return std::any_of(manifest.files.begin(), manifest.files.end(),
                     [&](const FileEntry& file) { return file.path.starts_with(folder + "/"); });
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ListFiles(const std::string& dir) {
  absl::StatusOr<Listing> listing = List(dir);
  if (!listing.ok()) return listing.status();
  return std::move(listing->files);
}

absl::StatusOr<std::vector<FileEntry>> HashFiles(const std::string& dir, const Progress& progress) {
  const absl::StatusOr<std::vector<std::string>> names = ListFiles(dir);
  if (!names.ok()) return names.status();
  std::vector<FileEntry> files;
  uint64_t done = 0;
  for (const std::string& name : *names) {
    absl::StatusOr<FileEntry> file = HashFile(dir, name, progress, done);
    if (!file.ok()) return file.status();
    files.push_back(*std::move(file));
  }
  return files;
}

absl::StatusOr<std::vector<Difference>> CompareNames(const std::string& dir, const Manifest& manifest) {
  absl::StatusOr<Listing> listing = List(dir);
  if (!listing.ok()) return listing.status();
  std::vector<std::string>& names = listing->files;
  std::vector<Difference> out;
  for (const FileEntry& file : manifest.files) {
    const auto name = std::lower_bound(names.begin(), names.end(), file.path);
    if (name == names.end() || *name != file.path) {
      out.push_back({file.path, "is missing"});
      continue;
    }
    names.erase(name);
    std::error_code error;
    const uint64_t bytes = fs::file_size(dir + "/" + file.path, error);
    if (error) return PosixError("examining", dir + "/" + file.path, error.value());
    if (bytes != file.bytes) {
      out.push_back({file.path, absl::StrFormat("has %d bytes instead of %d", bytes, file.bytes)});
    }
  }
  for (std::string& name : names) out.push_back({std::move(name), "is not of the checkpoint"});
  for (std::string& folder : listing->empty_folders) {
    if (!Names(manifest, folder)) out.push_back({std::move(folder), "is a folder that is not of the checkpoint"});
  }
  return out;
}

absl::StatusOr<std::vector<Difference>> CompareContents(const std::string& dir, const Manifest& manifest,
                                                        const Progress& progress) {
  absl::StatusOr<std::vector<Difference>> out = CompareNames(dir, manifest);
  if (!out.ok()) return out;
  uint64_t done = 0;
  for (const FileEntry& file : manifest.files) {
    const bool known = std::any_of(out->begin(), out->end(), [&](const Difference& d) { return d.path == file.path; });
    if (known) continue;
    absl::StatusOr<std::string> what = Compare(dir, file, progress, done);
    if (!what.ok()) return what.status();
    if (!what->empty()) out->push_back({file.path, *std::move(what)});
  }
  return out;
}

absl::StatusOr<std::string> CompareFile(const std::string& dir, const FileEntry& file, const Progress& progress) {
  uint64_t done = 0;
  return Compare(dir, file, progress, done);
}

absl::StatusOr<Placing> PlaceFile(const std::string& from, const std::string& to, bool may_link) {
  const Descriptor source(::open(from.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (source.get() < 0) return PosixError("opening", from, errno);
  {
    const Descriptor target(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
    if (target.get() < 0) return PosixError("making", to, errno);
    if (::ioctl(target.get(), FICLONE, source.get()) == 0) return Placing::kCloned;
    if (!may_link) {
      absl::Status status = CopyAndSync(source.get(), target.get(), to);
      return status.ok() ? absl::StatusOr<Placing>(Placing::kCopied) : status;
    }
  }
  if (::unlink(to.c_str()) != 0) return PosixError("removing", to, errno);
  if (::link(from.c_str(), to.c_str()) == 0) return Placing::kLinked;
  return PlaceFile(from, to, /*may_link=*/false);
}

absl::Status SyncTree(const std::string& dir) {
  std::error_code error;
  fs::recursive_directory_iterator it(dir, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    const bool folder = it->is_directory(error);
    if (error) break;
    absl::Status status = folder ? storage::SyncDirectory(it->path()) : SyncFile(it->path());
    if (!status.ok()) return status;
  }
  if (error) return PosixError("listing", dir, error.value());
  return storage::SyncDirectory(dir);
}

absl::Status MoveDirectory(const std::string& from, const std::string& to, bool over_empty) {
  int error = 0;
  if (over_empty) {
    if (::rename(from.c_str(), to.c_str()) != 0) error = errno;
  } else if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) != 0) {
    error = errno;
    // Not every file system knows the flag. Without it an empty folder could be replaced, and nothing else.
    if (error == EINVAL || error == ENOSYS) return MoveDirectory(from, to, /*over_empty=*/true);
  }
  if (error == EEXIST || error == ENOTEMPTY || error == ENOTDIR) {
    return absl::AlreadyExistsError(absl::StrCat(to, " exists; name a folder that does not"));
  }
  if (error == EBUSY) return absl::FailedPreconditionError(absl::StrCat(to, " is a mount point; name a folder in it"));
  if (error != 0) return PosixError("making", to, error);
  return storage::SyncDirectory(ParentOf(to));
}

}  // namespace mptd::backup
