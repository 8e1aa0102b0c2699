#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "backup/catalog.h"
#include "backup/files.h"
#include "backup/restore.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/render.h"
#include "cli/table.h"
#include "cli/values.h"
#include "core/hex.h"

namespace mptd::cli {
namespace {

using backup::CheckpointState;

constexpr char kTimeFormat[] = "%Y-%m-%dT%H:%M:%SZ";

const char* Name(CheckpointState state) {
  switch (state) {
    case CheckpointState::kComplete:
      return "complete";
    case CheckpointState::kPartial:
      return "partial";
    case CheckpointState::kDamaged:
      return "damaged";
  }
  return "unknown";
}

std::string CreatedText(const backup::Manifest& manifest) {
  return absl::FormatTime(kTimeFormat, manifest.created, absl::UTCTimeZone());
}

std::string BlockText(const backup::Manifest& manifest) {
  return absl::StrFormat("block %d, state root %s", manifest.block.number, ToHex(manifest.block.state_root));
}

Json HashJson(const std::optional<Hash>& hash) { return hash.has_value() ? Json(ToHex(*hash)) : Json(nullptr); }

void AddManifestJson(const backup::Manifest& manifest, Json& out) {
  out["block"] = {{"number", manifest.block.number},
                  {"hash", HashJson(manifest.block.hash)},
                  {"parent_hash", HashJson(manifest.block.parent_hash)},
                  {"state_root", ToHex(manifest.block.state_root)}};
  out["genesis_root"] = HashJson(manifest.genesis_root);
  out["created"] = CreatedText(manifest);
  out["daemon_version"] = manifest.daemon_version;
  out["files"] = manifest.files.size();
  out["bytes"] = manifest.bytes();
}

Json ListedJson(const backup::Listed& listed) {
  Json out = {{"name", listed.name}, {"state", Name(listed.state)}};
  if (!listed.problem.empty()) out["problem"] = listed.problem;
  if (listed.manifest.has_value()) AddManifestJson(*listed.manifest, out);
  return out;
}

// Damage is an answer, wrong names are the caller's, and the rest is the machine's.
ExitCode FailLocally(Session& session, const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kDataLoss:
      return session.Fail(ExitCode::kNo, std::string(status.message()));
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
      return session.Fail(ExitCode::kUsage, std::string(status.message()));
    default:
      return session.Refused(status);
  }
}

}  // namespace

ExitCode RunCheckpoint(Session& session, const CheckpointArgs& args) {
  v1::CheckpointRequest request;
  request.set_directory(args.directory);
  request.set_verify(args.verify);
  v1::CheckpointResponse response;
  const grpc::Status status =
      session.client().Call(&v1::AdminService::StubInterface::Checkpoint, request, &response, Patience::kLong);
  if (!status.ok()) return session.Refused(status, Patience::kLong);
  if (session.json()) {
    session.PrintJson({{"directory", response.directory()},
                       {"block", BlockJson(response.block())},
                       {"files", response.files()},
                       {"bytes", response.bytes()}});
  } else {
    session.terminal().Print(
        absl::StrFormat("%s holds %s; `mptctl checkpoint restore %s DATA_DIR` makes a data folder "
                        "of it\n",
                        response.directory(), BlockLine(response.block()), response.directory()));
  }
  return ExitCode::kOk;
}

ExitCode RunCheckpointList(Session& session, const CheckpointFolderArgs& args) {
  const absl::StatusOr<std::vector<backup::Listed>> listed = backup::ListCheckpoints(args.directory);
  if (!listed.ok()) return FailLocally(session, listed.status());
  if (session.json()) {
    Json out = Json::array();
    for (const backup::Listed& one : *listed) out.push_back(ListedJson(one));
    session.PrintJson(out);
    return ExitCode::kOk;
  }
  using Align = Table::Align;
  Table table({{"NAME"},
               {"BLOCK", Align::kRight},
               {"CREATED"},
               {"FILES", Align::kRight},
               {"BYTES", Align::kRight},
               {"STATE"},
               {"STATE ROOT"}});
  for (const backup::Listed& one : *listed) {
    const std::string state = absl::StrCat(Name(one.state), one.problem.empty() ? "" : ": ", OneLine(one.problem));
    if (one.manifest.has_value()) {
      const backup::Manifest& manifest = *one.manifest;
      table.Add({one.name, absl::StrCat(manifest.block.number), CreatedText(manifest), CountText(manifest.files.size()),
                 CountText(manifest.bytes()), state, ToHex(manifest.block.state_root)});
    } else {
      table.Add({one.name, "-", "-", "-", "-", state, "-"});
    }
  }
  session.terminal().Print(table.Render());
  return ExitCode::kOk;
}

ExitCode RunCheckpointVerify(Session& session, const CheckpointFolderArgs& args) {
  const std::string dir = backup::WithoutSlashes(args.directory);
  const absl::StatusOr<backup::Manifest> manifest = backup::ReadManifest(dir);
  if (!manifest.ok()) return FailLocally(session, manifest.status());
  absl::StatusOr<std::vector<backup::Difference>> differences;
  {
    Progress progress(session.terminal());
    const double all = static_cast<double>(std::max<uint64_t>(manifest->bytes(), 1));
    differences = backup::CompareContents(dir, *manifest, [&](uint64_t bytes) {
      progress.Update(static_cast<double>(bytes) / all, "checking");
      return true;
    });
  }
  if (!differences.ok()) return FailLocally(session, differences.status());
  if (session.json()) {
    Json json = {{"ok", differences->empty()}, {"differences", Json::array()}};
    for (const backup::Difference& difference : *differences) {
      json["differences"].push_back({{"file", difference.path}, {"problem", difference.what}});
    }
    AddManifestJson(*manifest, json);
    session.PrintJson(json);
  }
  for (const backup::Difference& difference : *differences) {
    session.terminal().Error(OneLine(absl::StrCat(dir, "/", difference.path, " ", difference.what)));
  }
  if (!differences->empty()) return ExitCode::kNo;
  if (!session.json()) {
    session.terminal().Print(absl::StrFormat("%s is whole: %s, %s files, %s bytes\n", dir, BlockText(*manifest),
                                             CountText(manifest->files.size()), CountText(manifest->bytes())));
  }
  return ExitCode::kOk;
}

ExitCode RunCheckpointRestore(Session& session, const CheckpointRestoreArgs& args) {
  const std::string data_dir = backup::WithoutSlashes(args.data_dir);
  absl::StatusOr<backup::Restored> restored;
  {
    Progress progress(session.terminal());
    restored = backup::Restore(
        {.checkpoint = args.checkpoint,
         .data_dir = data_dir,
         .full = args.full,
         .encryption_key = {.file = args.key.file, .environment = args.key.environment, .command = args.key.command},
         .progress = [&](const std::string& what, double done) {
           progress.Update(done < 0 ? std::nullopt : std::optional<double>(done), what);
         }});
  }
  if (!restored.ok()) return FailLocally(session, restored.status());
  if (session.json()) {
    Json json = {{"data_dir", data_dir},
                 {"cloned", restored->cloned},
                 {"linked", restored->linked},
                 {"copied", restored->copied}};
    AddManifestJson(restored->manifest, json);
    session.PrintJson(json);
  } else {
    session.terminal().Print(
        absl::StrFormat("%s holds %s (%s files cloned, %s linked, %s copied); start with `mptd --data-dir %s`\n",
                        data_dir, BlockText(restored->manifest), CountText(restored->cloned),
                        CountText(restored->linked), CountText(restored->copied), data_dir));
  }
  return ExitCode::kOk;
}

}  // namespace mptd::cli
