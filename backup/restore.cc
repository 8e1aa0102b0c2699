#include "backup/restore.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "backup/catalog.h"
#include "backup/files.h"
#include "core/engine/engine.h"
#include "core/hex.h"
#include "core/proof_verifier.h"
#include "storage/data_dir.h"
#include "storage/encrypt_folder.h"
#include "storage/posix_error.h"

namespace mptd::backup {
namespace {

namespace fs = std::filesystem;
using storage::PosixError;

// A folder that goes away with its owner unless it has been given another name.
class Draft {
 public:
  explicit Draft(std::string path) : path_(std::move(path)) {}
  ~Draft() {
    if (!path_.empty()) RemoveTree(path_).IgnoreError();
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;
  const std::string& path() const { return path_; }
  void Keep() { path_.clear(); }

 private:
  std::string path_;
};

void Tell(const RestoreOptions& options, const std::string& what, double done) {
  if (options.progress) options.progress(what, done);
}

absl::Status CheckTarget(const std::string& data_dir, const std::string& checkpoint) {
  std::error_code error;
  const fs::file_status status = fs::status(data_dir, error);
  if (fs::exists(status)) {
    if (!fs::is_directory(status) || !fs::is_empty(data_dir, error) || error) {
      return absl::FailedPreconditionError(
          absl::StrFormat("%s is there and not an empty folder; nothing is overwritten, name another one", data_dir));
    }
  } else if (status.type() != fs::file_type::not_found) {
    return PosixError("examining", data_dir, error.value());
  }
  const fs::path from = fs::weakly_canonical(checkpoint, error);
  const std::string inside = fs::weakly_canonical(data_dir, error).lexically_relative(from);
  if (!inside.empty() && !inside.starts_with("..")) {
    return absl::FailedPreconditionError(absl::StrFormat("%s is inside the checkpoint; name another folder", data_dir));
  }
  return absl::OkStatus();
}

absl::Status CheckHashes(const RestoreOptions& options, const std::string& checkpoint, const Manifest& manifest) {
  const double all = static_cast<double>(std::max<uint64_t>(manifest.bytes(), 1));
  const absl::StatusOr<std::vector<Difference>> differences =
      CompareContents(checkpoint, manifest, [&](uint64_t bytes) {
        Tell(options, "checking the checkpoint", static_cast<double>(bytes) / all);
        return true;
      });
  if (!differences.ok()) return differences.status();
  if (differences->empty()) return absl::OkStatus();
  const Difference& first = differences->front();
  return absl::DataLossError(
      absl::StrFormat("%s/%s %s%s; use another checkpoint", checkpoint, first.path, first.what,
                      differences->size() == 1 ? "" : absl::StrFormat(" (and %d more)", differences->size() - 1)));
}

absl::StatusOr<std::string> MakeDraft(const std::string& data_dir) {
  std::string path = data_dir + ".restoring-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return PosixError("making", path, errno);
  if (::chmod(path.c_str(), 0750) != 0) return PosixError("making", path, errno);
  return path;
}

// Tables never change once they are written, so that they can have two names; all else is changed by whoever opens it.
bool MayLink(const std::string& path) { return path.ends_with(".sst"); }

// FORMAT comes last: no daemon starts on tables without it, should this be cut off.
std::vector<FileEntry> InOrderOfPlacing(std::vector<FileEntry> files) {
  std::stable_partition(files.begin(), files.end(),
                        [](const FileEntry& file) { return file.path != storage::kFormatFileName; });
  return files;
}

absl::Status Place(const RestoreOptions& options, const std::string& from, const std::string& to, Restored& out) {
  std::set<std::string> folders;
  uint64_t files = 0;
  for (const FileEntry& file : InOrderOfPlacing(out.manifest.files)) {
    Tell(options, "copying", static_cast<double>(files++) / static_cast<double>(out.manifest.files.size()));
    for (size_t slash = file.path.find('/'); slash != std::string::npos; slash = file.path.find('/', slash + 1)) {
      const std::string folder = to + "/" + file.path.substr(0, slash);
      if (!folders.insert(folder).second) continue;
      if (absl::Status status = storage::MakeDirectory(folder); !status.ok()) return status;
    }
    const absl::StatusOr<Placing> placed = PlaceFile(from + "/" + file.path, to + "/" + file.path, MayLink(file.path));
    if (!placed.ok()) return placed.status();
    if (*placed == Placing::kCloned) ++out.cloned;
    if (*placed == Placing::kLinked) ++out.linked;
    if (*placed != Placing::kCopied) continue;
    ++out.copied;
    const absl::StatusOr<std::string> difference = CompareFile(to, file, {});
    if (!difference.ok()) return difference.status();
    if (!difference->empty()) {
      return absl::DataLossError(absl::StrFormat("the copy %s/%s %s", to, file.path, *difference));
    }
  }
  return absl::OkStatus();
}

absl::Status Differs(const std::string& what, const std::string& found, const std::string& expected) {
  return absl::DataLossError(absl::StrFormat("the checkpoint's %s is %s, its manifest says %s; use another checkpoint",
                                             what, found, expected));
}

std::string Text(const std::optional<Hash>& hash) { return hash.has_value() ? ToHex(*hash) : "none"; }

absl::Status CheckHead(const StateEngine& engine, const Manifest& manifest) {
  const absl::StatusOr<StateViewPtr> view = engine.View(LatestBlock{});
  if (!view.ok()) return view.status();
  const BlockInfo& head = (*view)->block();
  if (head.number != manifest.block.number) {
    return Differs("block", absl::StrFormat("%d", head.number), absl::StrFormat("%d", manifest.block.number));
  }
  if (head.hash != manifest.block.hash) return Differs("block hash", Text(head.hash), Text(manifest.block.hash));
  if (head.state_root != manifest.block.state_root) {
    return Differs("state root", ToHex(head.state_root), ToHex(manifest.block.state_root));
  }
  const std::optional<Hash> genesis = engine.Status().genesis_root;
  if (genesis != manifest.genesis_root) return Differs("genesis root", Text(genesis), Text(manifest.genesis_root));
  // That the trie has this root is seen from any proof, of an account or of its absence.
  const absl::StatusOr<AccountProof> proof = (*view)->GetProof(Address{}, {});
  if (!proof.ok()) return proof.status();
  if (absl::Status status = VerifyAccountProof(manifest.block.state_root, *proof); !status.ok()) {
    return absl::DataLossError(absl::StrFormat("the checkpoint's trie does not have the root %s: %s",
                                               ToHex(manifest.block.state_root), status.message()));
  }
  return absl::OkStatus();
}

absl::Status CheckState(const RestoreOptions& options, const std::string& dir, const Manifest& manifest) {
  Tell(options, "opening the copy", -1);
  EngineOptions open;
  open.data_dir = dir;
  open.encryption_key = options.encryption_key;
  open.archive = true;  // what is too old, the daemon's own settings say
  open.node_cache_bytes = uint64_t{64} << 20;
  open.row_cache_bytes = uint64_t{16} << 20;
  const absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(std::move(open));
  if (!engine.ok()) return engine.status();
  if (absl::Status status = CheckHead(**engine, manifest); !status.ok()) return status;
  if (!options.full) return absl::OkStatus();
  const absl::StatusOr<VerifyReport> report = (*engine)->Verify([&](const VerifyProgress& progress) {
    Tell(options, absl::StrFormat("recomputing: %d accounts, %d slots", progress.accounts, progress.slots), -1);
    return true;
  });
  if (!report.ok()) return report.status();
  if (report->difference.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrFormat("the checkpoint's state differs: %s", report->difference));
}

// A restore by root must not leave files that the daemon's user cannot write.
absl::Status GiveToOwnerOf(const std::string& checkpoint, const std::string& dir) {
  struct stat owner = {};
  if (::geteuid() != 0) return absl::OkStatus();
  if (::stat(checkpoint.c_str(), &owner) != 0) return PosixError("examining", checkpoint, errno);
  std::error_code error;
  fs::recursive_directory_iterator it(dir, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    if (::lchown(it->path().c_str(), owner.st_uid, owner.st_gid) != 0) {
      return PosixError("changing the owner of", it->path(), errno);
    }
  }
  if (error) return PosixError("listing", dir, error.value());
  if (::lchown(dir.c_str(), owner.st_uid, owner.st_gid) != 0) return PosixError("changing the owner of", dir, errno);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Restored> Restore(const RestoreOptions& options) {
  const std::string checkpoint = WithoutSlashes(options.checkpoint);
  const std::string data_dir = WithoutSlashes(options.data_dir);
  absl::StatusOr<Manifest> manifest = ReadManifest(checkpoint);
  if (!manifest.ok()) return manifest.status();
  Restored out{.manifest = *std::move(manifest)};
  if (absl::Status status = CheckTarget(data_dir, checkpoint); !status.ok()) return status;
  if (absl::Status status = CheckHashes(options, checkpoint, out.manifest); !status.ok()) return status;

  absl::StatusOr<std::string> path = MakeDraft(data_dir);
  if (!path.ok()) return path.status();
  Draft draft(*std::move(path));
  if (absl::Status status = Place(options, checkpoint, draft.path(), out); !status.ok()) return status;
  if (!options.encryption_key.empty()) {
    Tell(options, "encrypting", -1);
    if (absl::Status status = storage::EncryptFolder(draft.path(), options.encryption_key); !status.ok()) return status;
  }
  if (absl::Status status = CheckState(options, draft.path(), out.manifest); !status.ok()) return status;
  ::unlink((draft.path() + "/LOCK").c_str());  // names this process
  Tell(options, "syncing", -1);
  if (absl::Status status = GiveToOwnerOf(checkpoint, draft.path()); !status.ok()) return status;
  if (absl::Status status = SyncTree(draft.path()); !status.ok()) return status;
  if (absl::Status status = MoveDirectory(draft.path(), data_dir, /*over_empty=*/true); !status.ok()) return status;
  draft.Keep();
  return out;
}

}  // namespace mptd::backup
