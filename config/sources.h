// The places that settings come from. Each reader turns its source into assignments in source order, and says
// everything that is wrong with it, one sentence a problem, each with where it stands. Values are not looked at here.
// Readers depend on their arguments alone, ReadYaml on the file; safe from any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/schema.h"

namespace mptd::config {

struct Text {
  std::string text;
  std::string where;  // "mptd.yaml:4:9", "--persistence.mode", "MPTD_PERSISTENCE_MODE"
};

// One key as one source sets it.
struct Assignment {
  const Key* key = nullptr;
  std::vector<Text> texts;  // one; of a list the elements
  Source source = Source::kDefault;
  std::string where;
};

struct SourceContents {
  std::vector<Assignment> assignments;
  std::optional<Text> preset;
  std::vector<std::string> problems;
};

enum class Action : uint8_t {
  kRun,
  kHelp,
  kVersion,
  kCheck,
  kPrintYaml,
  kPrintJson,
  kPrintDocs,
  kPrintExample,
  kPrintSchema
};

struct Flags : SourceContents {
  Action action = Action::kRun;
  std::string config_file;  // of --config; empty without it
};
Flags ReadFlags(int argc, const char* const* argv);

struct Environment : SourceContents {
  std::string config_file;  // of MPTD_CONFIG; empty without it
};
Environment ReadEnvironment(const char* const* environment);
// The variable of a key or of an alias: "persistence.mode" is MPTD_PERSISTENCE_MODE.
std::string VariableName(std::string_view name);

SourceContents ReadYaml(const std::string& path);

// "; did you mean X?" about the name of a key, where `known` are the names that this source knows.
std::string SuggestKey(std::string_view name, const std::vector<std::string_view>& known);

}  // namespace mptd::config
