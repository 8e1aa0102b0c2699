#include "server/checkpoint_maker.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "backup/catalog.h"
#include "backup/files.h"

namespace mptd {

absl::StatusOr<backup::Manifest> CheckpointMaker::Make(const std::string& named, bool verify) {
  const std::string dir = backup::WithoutSlashes(named);
  const MutexLock lock(making_);
  std::error_code ignored;
  if (std::filesystem::exists(dir, ignored)) {
    return absl::AlreadyExistsError(absl::StrCat(dir, " exists; name a folder that does not"));
  }
  return MakeNamed(
      absl::StrCat(dir, backup::kPartialSuffix), [&](const auto&) { return dir; }, verify);
}

absl::StatusOr<backup::Manifest> CheckpointMaker::MakeIn(const std::string& parent, std::string& name) {
  const MutexLock lock(making_);
  // The head may move until the copy is made.
  const std::string draft = backup::CheckpointName(engine_.Status().head.number, absl::Now());
  return MakeNamed(
      absl::StrCat(parent, "/", draft, backup::kPartialSuffix),
      [&](const backup::Manifest& manifest) {
        name = backup::CheckpointName(manifest.block.number, manifest.created);
        return absl::StrCat(parent, "/", name);
      },
      /*verify=*/false);
}

absl::StatusOr<backup::Manifest> CheckpointMaker::MakeNamed(const std::string& partial, const NameFor& name,
                                                            bool verify) {
  const absl::Time start = absl::Now();
  std::error_code ignored;
  if (std::filesystem::exists(partial, ignored)) {
    if (!backup::LooksLikeRemains(partial)) {
      return absl::AlreadyExistsError(absl::StrCat(partial, " is in the way; name another folder or remove it"));
    }
    if (absl::Status status = backup::RemoveTree(partial); !status.ok()) return status;
  }
  absl::StatusOr<backup::Manifest> made = Fill(partial, verify);
  if (made.ok()) {
    const std::string dir = name(*made);
    const absl::Status moved = backup::MoveDirectory(partial, dir, /*over_empty=*/false);
    if (moved.ok()) {
      log_.Info(LogModule::kStorage, "checkpoint_made",
                {{"dir", dir},
                 {"block", made->block.number},
                 {"files", made->files.size()},
                 {"bytes", made->bytes()},
                 {"duration_ms", absl::Now() - start}});
      return made;
    }
    made = moved;
  }
  if (backup::LooksLikeRemains(partial)) backup::RemoveTree(partial).IgnoreError();
  return made;
}

absl::StatusOr<backup::Manifest> CheckpointMaker::Fill(const std::string& partial, bool verify) {
  const auto go_on = [this](uint64_t) { return !stopping_; };
  if (stopping_) return absl::CancelledError("the daemon is stopping");
  const absl::StatusOr<BlockInfo> block = engine_.Checkpoint(partial);
  if (!block.ok()) return block.status();
  absl::StatusOr<std::vector<backup::FileEntry>> files = backup::HashFiles(partial, go_on);
  if (!files.ok()) return files.status();
  backup::Manifest manifest{.daemon_version = version_,
                            .created = absl::FromUnixSeconds(absl::ToUnixSeconds(absl::Now())),
                            .block = *block,
                            .genesis_root = engine_.Status().genesis_root,
                            .files = *std::move(files)};
  if (absl::Status status = backup::WriteManifest(partial, manifest); !status.ok()) return status;
  if (!verify) return manifest;
  absl::StatusOr<std::vector<backup::Difference>> differences = backup::CompareContents(partial, manifest, go_on);
  if (!differences.ok()) return differences.status();
  if (differences->empty()) return manifest;
  return absl::DataLossError(absl::StrFormat("the disk gave back something else than was written: %s %s",
                                             differences->front().path, differences->front().what));
}

}  // namespace mptd
