#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "config/nearest.h"
#include "config/sources.h"

namespace mptd::config {
namespace {

constexpr std::string_view kPrefix = "MPTD_";
constexpr std::string_view kConfigFile = "MPTD_CONFIG";
constexpr std::string_view kPreset = "MPTD_PRESET";

// Kubernetes gives every container variables about its services; those of a service called mptd or mptd-something begin
// like ours: MPTD_SERVICE_HOST, MPTD_SERVICE_PORT_GRPC, MPTD_PORT=tcp://..., MPTD_PORT_7300_TCP_ADDR.
bool IsOfKubernetes(std::string_view name, std::string_view value) {
  if (name.ends_with("_SERVICE_HOST") || name.find("_SERVICE_PORT") != std::string_view::npos) return true;
  if (name.ends_with("_PORT") && value.find("://") != std::string_view::npos) return true;
  constexpr std::string_view kPort = "_PORT_";
  const size_t port = name.find(kPort);
  if (port == std::string_view::npos) return false;
  const std::string_view number = name.substr(port + kPort.size());
  const size_t end = number.find_first_not_of("0123456789");
  if (end == 0 || end == std::string_view::npos) return false;
  const std::string_view rest = number.substr(end);
  return rest.starts_with("_TCP") || rest.starts_with("_UDP") || rest.starts_with("_SCTP");
}

// The test suite tells its own programs with these where they find things, and daemons that they start inherit them.
bool IsOfTests(std::string_view name) { return name == "MPTD_TESTDATA" || name == "MPTD_BIN"; }

std::map<std::string, const Key*> Variables() {
  std::map<std::string, const Key*> variables;
  for (const Key& key : Keys()) {
    variables[VariableName(key.name)] = &key;
    if (!key.alias.empty()) variables[VariableName(key.alias)] = &key;
  }
  return variables;
}

std::vector<Text> SplitValue(const Key& key, const std::string& value, const std::string& where) {
  if (key.kind != Kind::kList) return {{value, where}};
  std::vector<Text> texts;
  if (value.empty()) return texts;
  for (const auto piece : absl::StrSplit(value, ','))
    texts.push_back({std::string(absl::StripAsciiWhitespace(piece)), where});
  return texts;
}

std::string Unknown(const std::string& name, const std::map<std::string, const Key*>& variables) {
  for (const Key& key : Keys()) {
    if (VariableName(key.leaf()) == name) {
      return absl::StrFormat("environment variable %s: there is no such setting; did you mean %s?", name,
                             VariableName(key.name));
    }
  }
  std::vector<std::string_view> known = {kConfigFile, kPreset};
  for (const auto& [variable, key] : variables) known.push_back(variable);
  return absl::StrFormat("environment variable %s: there is no such setting%s", name, DidYouMean(name, known));
}

}  // namespace

std::string VariableName(std::string_view name) {
  std::string variable(kPrefix);
  for (const char c : name)
    variable.push_back(c == '.' || c == '-' ? '_' : absl::ascii_toupper(static_cast<unsigned char>(c)));
  return variable;
}

Environment ReadEnvironment(const char* const* environment) {
  const std::map<std::string, const Key*> variables = Variables();
  Environment result;
  for (const char* const* entry = environment; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view line = *entry;
    const size_t equals = line.find('=');
    if (!line.starts_with(kPrefix) || equals == std::string_view::npos) continue;
    const std::string name(line.substr(0, equals));
    const std::string value(line.substr(equals + 1));
    if (name == kConfigFile) {
      result.config_file = value;
      continue;
    }
    if (name == kPreset) {
      result.preset = {value, name};
      continue;
    }
    const auto found = variables.find(name);
    if (found == variables.end()) {
      if (!IsOfKubernetes(name, value) && !IsOfTests(name)) result.problems.push_back(Unknown(name, variables));
      continue;
    }
    const Key& key = *found->second;
    const auto same = std::find_if(result.assignments.begin(), result.assignments.end(),
                                   [&](const Assignment& a) { return a.key == &key; });
    if (same != result.assignments.end()) {
      result.problems.push_back(
          absl::StrFormat("environment variable %s: %s is already set by %s", name, key.name, same->where));
      continue;
    }
    result.assignments.push_back({&key, SplitValue(key, value, name), Source::kEnvironment, name});
  }
  return result;
}

}  // namespace mptd::config
