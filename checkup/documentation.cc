#include "checkup/documentation.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace mptd::checkup {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPages[] = {
    "BACKUP.md", "CONFIGURATION.md", "ENCRYPTION.md", "GUARANTEES.md", "HEALTH_AND_LOGS.md", "IMPORT.md", "LIMITS.md",
    "METRICS.md", "MONITORING.md", "OPERATIONS.md", "RELIABILITY.md", "SECURITY.md", "SIZING.md", "UPGRADE.md"};
constexpr std::string_view kManualPages[] = {"man1/mptd.1", "man1/mptctl.1", "man5/mptd.yaml.5"};

std::string Read(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

bool HasText(const fs::path& path) {
  std::error_code error;
  const uintmax_t bytes = fs::file_size(path, error);
  return !error && bytes > 0;
}

// The names behind "alert:" in a file of Prometheus' rules.
std::vector<std::string> Alerts(const std::string& rules) {
  std::vector<std::string> names;
  for (absl::string_view line : absl::StrSplit(rules, '\n')) {
    line = absl::StripLeadingAsciiWhitespace(line);
    if (absl::ConsumePrefix(&line, "- alert: ")) names.emplace_back(absl::StripAsciiWhitespace(line));
  }
  return names;
}

}  // namespace

std::string InstalledBelow() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  return error ? std::string() : program.parent_path().parent_path().string();
}

Finding CheckDocumentation(const std::string& prefix, std::span<const std::string> settings) {
  Finding out{.name = "documentation",
              .expected = "every page, a runbook an alert, a description of each setting, manual pages"};
  const fs::path documentation = fs::path(prefix) / "share/doc/mptd";
  std::error_code error;
  if (!fs::is_directory(documentation / "docs", error)) {
    out.outcome = Outcome::kWarning;
    out.measured = absl::StrCat("none in ", documentation.string());
    out.advice = "install the package, or what was built (cmake --install); until then, docs/ of the sources has it";
    return out;
  }
  std::vector<std::string> missing;
  for (const std::string_view page : kPages) {
    if (!HasText(documentation / "docs" / page)) missing.push_back("docs/" + std::string(page));
  }
  const std::vector<std::string> alerts = Alerts(Read(documentation / "monitoring/alerts.yml"));
  if (alerts.empty()) missing.emplace_back("monitoring/alerts.yml");
  for (const std::string& alert : alerts) {
    const std::string runbook = absl::StrCat("docs/runbooks/", alert, ".md");
    if (!HasText(documentation / runbook)) missing.push_back(runbook);
  }
  const std::string configuration = Read(documentation / "docs/CONFIGURATION.md");
  for (const std::string& setting : settings) {
    if (configuration.find(absl::StrCat("### `", setting, "`")) == std::string::npos) missing.push_back(setting);
  }
  for (const std::string_view page : kManualPages) {
    const fs::path path = fs::path(prefix) / "share/man" / page;
    if (!HasText(path) && !HasText(path.string() + ".gz")) missing.push_back(path.string());
  }
  out.measured = absl::StrFormat("%s: %d pages, %d runbooks, %d settings", documentation.string(), std::size(kPages),
                                 alerts.size(), settings.size());
  if (missing.empty()) return out;
  out.outcome = Outcome::kFailed;
  out.measured = absl::StrCat("missing: ", absl::StrJoin(missing, ", "));
  out.advice = "install this version of the package again: its documentation is not that of the program";
  return out;
}

}  // namespace mptd::checkup
