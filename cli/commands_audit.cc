#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/commands.h"
#include "cli/values.h"
#include "security/audit_verify.h"

namespace mptd::cli {

ExitCode RunAuditVerify(Session& session, const AuditVerifyArgs& args) {
  const absl::StatusOr<security::AuditReport> report = security::VerifyAudit(args.files, args.expect_last);
  if (report.status().code() == absl::StatusCode::kFailedPrecondition) {
    return session.Fail(ExitCode::kUsage, std::string(report.status().message()));
  }
  if (session.json()) {
    nlohmann::ordered_json out = {{"ok", report.ok()}};
    if (report.ok()) {
      out["lines"] = report->lines;
      out["first"] = report->first_seq;
      out["last"] = report->head.seq;
      out["head"] = report->head.hash;
      out["torn"] = report->torn;
      out["after_expected"] = report->after_expected;
    } else {
      out["problem"] = std::string(report.status().message());
    }
    session.PrintJson(out);
    return report.ok() ? ExitCode::kOk : ExitCode::kNo;
  }
  if (!report.ok()) return session.Fail(ExitCode::kNo, std::string(report.status().message()));
  std::string text = absl::StrFormat("lines %d to %d are as they were written\nhash of the last one: %s\n",
                                     report->first_seq, report->head.seq, report->head.hash);
  if (report->torn != 0) absl::StrAppend(&text, report->torn, " times the daemon was stopped while it wrote a line\n");
  if (args.expect_last.empty()) {
    absl::StrAppend(&text, "lines that were cut off the end are found with --expect-last only\n");
  } else if (report->after_expected != 0) {
    absl::StrAppend(&text, report->after_expected, " lines were written after the expected one\n");
  }
  session.terminal().Print(text);
  return ExitCode::kOk;
}

}  // namespace mptd::cli
