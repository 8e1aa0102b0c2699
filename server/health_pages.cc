#include "server/health_pages.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace mptd {
namespace {

constexpr int kNotReady = 503;

struct Query {
  bool verbose = false;
  std::set<std::string> excluded;
};

// Names of checks need no escaping, and what is not asked for is ignored.
Query ParseQuery(const std::string& text) {
  Query out;
  for (const auto& part : absl::StrSplit(text, '&', absl::SkipEmpty())) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(part, absl::MaxSplits('=', 1));
    if (pair.first == "verbose") out.verbose = true;
    if (pair.first == "exclude" && !pair.second.empty()) out.excluded.insert(pair.second);
  }
  return out;
}

// A text that a client made up is not sent back as it is.
bool IsPlain(const std::string& name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return c == '_' || (c >= 'a' && c <= 'z'); });
}

std::string Line(const HealthReport& report) {
  std::string line = absl::StrCat(Ready(report) ? "[+]" : "[-]", report.name, " ",
                                  report.level == kHealthHealthy ? "ok" : std::string(Name(report.state)));
  if (!report.reason.empty()) absl::StrAppend(&line, ": ", report.reason);
  return line + "\n";
}

}  // namespace

HttpResponse LivePage(const std::string& query) {
  return {.body = ParseQuery(query).verbose ? "[+]ping ok\nok\n" : "ok\n"};
}

HttpResponse ReadyPage(const std::string& query, const std::vector<HealthReport>& reports, bool stopping) {
  Query asked = ParseQuery(query);
  std::vector<std::string> wrong;
  std::string lines;
  if (stopping) wrong.emplace_back("shutting down");
  absl::StrAppend(&lines, stopping ? "[-]shutdown failing: shutting down\n" : "[+]shutdown ok\n");
  for (const HealthReport& report : reports) {
    if (asked.excluded.erase(report.name) != 0) {
      absl::StrAppend(&lines, "[+]", report.name, " excluded\n");
      continue;
    }
    absl::StrAppend(&lines, Line(report));
    if (!Ready(report)) wrong.push_back(report.reason);
  }
  for (const std::string& name : asked.excluded) {
    absl::StrAppend(&lines, "warn: there is no check ", IsPlain(name) ? name : "of such a name", " to exclude\n");
  }
  if (!wrong.empty()) {
    return {.status = kNotReady, .body = absl::StrCat(lines, "not ready: ", absl::StrJoin(wrong, "; "), "\n")};
  }
  return {.body = (asked.verbose ? lines : "") + "ok\n"};
}

HttpResponse CheckPage(const HealthReport& report) {
  return {.status = Ready(report) ? 200 : kNotReady, .body = Line(report)};
}

}  // namespace mptd
