#include "checkup/finding.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"

namespace mptd::checkup {
namespace {

// The columns before what was measured.
size_t NameWidth(std::span<const Finding> findings) {
  size_t width = std::string_view("CHECK").size();
  for (const Finding& finding : findings) width = std::max(width, finding.name.size());
  return width;
}

int Count(std::span<const Finding> findings, Outcome outcome) {
  return static_cast<int>(std::count_if(findings.begin(), findings.end(),
                                        [&](const Finding& finding) { return finding.outcome == outcome; }));
}

}  // namespace

std::string_view Name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kSkipped:
      return "skipped";
    case Outcome::kOk:
      return "ok";
    case Outcome::kWarning:
      return "warning";
    case Outcome::kFailed:
      break;
  }
  return "failed";
}

Outcome Worst(std::span<const Finding> findings) {
  Outcome worst = Outcome::kOk;
  for (const Finding& finding : findings) worst = std::max(worst, finding.outcome);
  return worst;
}

int ExitCodeOf(Outcome worst) {
  switch (worst) {
    case Outcome::kSkipped:
    case Outcome::kOk:
      return 0;
    case Outcome::kWarning:
      return 1;
    case Outcome::kFailed:
      break;
  }
  return 2;
}

std::string Table(std::span<const Finding> findings) {
  const int width = static_cast<int>(NameWidth(findings));
  constexpr int kOutcomeWidth = 7;
  std::string out = absl::StrFormat("%-*s  %-*s  MEASURED\n", width, "CHECK", kOutcomeWidth, "RESULT");
  const std::string below(static_cast<size_t>(width + kOutcomeWidth + 4), ' ');
  for (const Finding& finding : findings) {
    absl::StrAppendFormat(&out, "%-*s  %-*s  %s\n", width, finding.name, kOutcomeWidth, Name(finding.outcome),
                          finding.measured);
    if (finding.outcome == Outcome::kOk) continue;
    if (!finding.expected.empty()) absl::StrAppendFormat(&out, "%sexpected: %s\n", below, finding.expected);
    if (!finding.advice.empty()) absl::StrAppendFormat(&out, "%sto do: %s\n", below, finding.advice);
  }
  absl::StrAppendFormat(&out, "\n%d ok, %d warnings, %d failed, %d skipped\n", Count(findings, Outcome::kOk),
                        Count(findings, Outcome::kWarning), Count(findings, Outcome::kFailed),
                        Count(findings, Outcome::kSkipped));
  return out;
}

std::string Json(std::span<const Finding> findings) {
  nlohmann::ordered_json checks = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    checks.push_back({{"name", finding.name},
                      {"result", std::string(Name(finding.outcome))},
                      {"measured", finding.measured},
                      {"expected", finding.expected},
                      {"advice", finding.advice}});
  }
  const nlohmann::ordered_json out = {{"result", std::string(Name(Worst(findings)))}, {"checks", std::move(checks)}};
  // Paths may hold any bytes.
  return out.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string SizeText(uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return absl::StrFormat("%d B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

}  // namespace mptd::checkup
