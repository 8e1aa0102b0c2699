// `mptctl check DIR`: a data folder that no daemon uses. Needs no daemon.
#include <string>

#include "absl/strings/str_format.h"
#include "checkup/folder_check.h"
#include "cli/commands.h"
#include "cli/render.h"
#include "cli/values.h"

namespace mptd::cli {
namespace {

ExitCode FailLocally(Session& session, const absl::Status& status) {
  const bool wrong_folder = absl::IsNotFound(status) || absl::IsFailedPrecondition(status);
  return wrong_folder ? session.Fail(ExitCode::kUsage, std::string(status.message())) : session.Refused(status);
}

Json ReportJson(const checkup::FolderReport& report) {
  Json json = {{"ok", report.damage.empty()},
               {"table_files", report.table_files},
               {"table_bytes", report.table_bytes},
               {"change_log_records", report.log_records},
               {"damage", Json::array()}};
  if (report.block.has_value()) json["block"] = *report.block;
  for (const checkup::Damage& damage : report.damage) {
    json["damage"].push_back({{"file", damage.file}, {"problem", damage.what}});
  }
  if (!report.advice.empty()) json["advice"] = report.advice;
  return json;
}

ExitCode Repair(Session& session, const std::string& dir, const storage::KeySource& key) {
  const absl::StatusOr<std::string> aside = checkup::SetLogAside(dir, key);
  if (!aside.ok()) return FailLocally(session, aside.status());
  if (session.json()) {
    session.PrintJson({{"ok", true}, {"moved_to", *aside}});
  } else {
    session.terminal().Print(absl::StrFormat("the change log is in %s now; a daemon starts without it\n", *aside));
  }
  return ExitCode::kOk;
}

}  // namespace

ExitCode RunCheckFolder(Session& session, const CheckArgs& args) {
  const storage::KeySource key = {
      .file = args.key.file, .environment = args.key.environment, .command = args.key.command};
  if (args.repair) return Repair(session, args.directory, key);
  const absl::StatusOr<checkup::FolderReport> report = checkup::CheckFolder(args.directory, key);
  if (!report.ok()) return FailLocally(session, report.status());
  if (session.json()) session.PrintJson(ReportJson(*report));
  for (const checkup::Damage& damage : report->damage) {
    session.terminal().Error(OneLine(absl::StrFormat("%s: %s", damage.file, damage.what)));
  }
  if (!report->damage.empty()) return session.Fail(ExitCode::kNo, report->advice);
  if (!session.json()) {
    session.terminal().Print(absl::StrFormat(
        "%s is whole: %s, %d table files, %d bytes, %d records in the change log\n", args.directory,
        report->block.has_value() ? absl::StrFormat("block %d", *report->block) : std::string("no block"),
        report->table_files, report->table_bytes, report->log_records));
  }
  return ExitCode::kOk;
}

}  // namespace mptd::cli
