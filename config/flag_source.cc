#include <algorithm>
#include <map>
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "config/sources.h"

namespace mptd::config {
namespace {

// Flags that are not settings; those that make the project's own pages are left out.
constexpr std::string_view kOther[] = {"config", "help", "version", "check-config", "print-config", "preset"};

std::string Dashes(std::string_view name) { return absl::StrFormat("--%s", name); }

std::vector<Text> SplitValues(const Key& key, const std::vector<std::string>& values, const std::string& where) {
  std::vector<Text> texts;
  for (const std::string& value : values) {
    if (key.kind != Kind::kList) {
      texts.push_back({value, where});
    } else if (!value.empty()) {
      for (const auto piece : absl::StrSplit(value, ',')) {
        texts.push_back({std::string(absl::StripAsciiWhitespace(piece)), where});
      }
    }
  }
  return texts;
}

// The flag as it was written, of the two that a key may have.
std::string Written(const Key& key, int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (!key.alias.empty() && argument.substr(0, argument.find('=')) == Dashes(key.alias)) return Dashes(key.alias);
  }
  return Dashes(key.name);
}

std::string Unknown(const std::string& argument) {
  if (!argument.starts_with("-")) return absl::StrFormat("argument \"%s\": only flags are expected", argument);
  std::vector<std::string_view> known(std::begin(kOther), std::end(kOther));
  for (const Key& key : Keys()) {
    known.push_back(key.name);
    if (!key.alias.empty()) known.push_back(key.alias);
  }
  const std::string_view flag = std::string_view(argument).substr(0, argument.find('='));
  const size_t dashes = std::min(flag.find_first_not_of('-'), flag.size());
  return absl::StrFormat("flag %s: there is no such setting%s", flag, SuggestKey(flag.substr(dashes), known));
}

// CLI11 finds out which word is whose value; what the values mean is not its business.
struct Parser {
  CLI::App app;
  std::map<const Key*, CLI::Option*> settings;
  std::map<Action, CLI::Option*> actions;
  CLI::Option* config = nullptr;
  CLI::Option* preset = nullptr;
};

CLI::Option* AddOption(CLI::App& app, const std::string& names) {
  // All values are taken and counted later, so that every problem is told, and in the words of the other sources.
  return app.add_option(names)->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

std::unique_ptr<Parser> MakeParser() {
  auto parser = std::make_unique<Parser>();
  CLI::App& app = parser->app;
  app.set_help_flag();  // ours lists the table
  app.allow_extras();
  for (const Key& key : Keys()) {
    std::string names = Dashes(key.name);
    if (!key.alias.empty()) names += "," + Dashes(key.alias);
    parser->settings[&key] = AddOption(app, names);
  }
  parser->config = AddOption(app, "--config");
  parser->preset = AddOption(app, "--preset");
  parser->actions[Action::kHelp] = app.add_flag("-h,--help");
  parser->actions[Action::kVersion] = app.add_flag("--version");
  parser->actions[Action::kCheck] = app.add_flag("--check-config");
  parser->actions[Action::kPrintYaml] = app.add_flag("--print-config{yaml}");
  parser->actions[Action::kPrintDocs] = app.add_flag("--print-config-docs");
  parser->actions[Action::kPrintExample] = app.add_flag("--print-config-example");
  parser->actions[Action::kPrintSchema] = app.add_flag("--print-config-schema");
  return parser;
}

// CLI11 takes "--flag=" for a flag whose value is the next word. Also puts the last word first, as it wants them.
std::vector<std::string> Words(int argc, const char* const* argv) {
  std::vector<std::string> words;
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    const bool empty_value = word.starts_with("--") && word.find('=') == word.size() - 1;
    if (empty_value) word.pop_back();
    words.push_back(std::move(word));
    if (empty_value) words.emplace_back();
  }
  std::reverse(words.begin(), words.end());
  return words;
}

// CLI11 takes the next flag for a value when the value is missing.
bool HasValues(const CLI::Option& option, const std::string& where, Flags& flags) {
  for (const std::string& value : option.results()) {
    if (!value.starts_with("--")) continue;
    flags.problems.push_back(absl::StrFormat("flag %s: needs a value, but %s follows", where, value));
    return false;
  }
  return true;
}

void TakeSettings(const Parser& parser, int argc, const char* const* argv, Flags& flags) {
  for (const Key& key : Keys()) {
    const CLI::Option& option = *parser.settings.at(&key);
    if (option.count() == 0) continue;
    const std::string where = Written(key, argc, argv);
    if (!HasValues(option, where, flags)) continue;
    if (option.count() > 1 && key.kind != Kind::kList) {
      flags.problems.push_back(absl::StrFormat("flag %s: %s is given more than once", where, key.name));
      continue;
    }
    flags.assignments.push_back({&key, SplitValues(key, option.results(), where), Source::kFlag, where});
  }
}

void TakeConfigFile(const CLI::Option& option, Flags& flags) {
  if (option.count() == 0 || !HasValues(option, "--config", flags)) return;
  if (option.count() > 1) flags.problems.emplace_back("flag --config: is given more than once");
  flags.config_file = option.results().front();
  if (flags.config_file.empty()) flags.problems.emplace_back("flag --config: names no file");
}

void TakePreset(const CLI::Option& option, Flags& flags) {
  if (option.count() == 0 || !HasValues(option, "--preset", flags)) return;
  if (option.count() > 1) flags.problems.emplace_back("flag --preset: is given more than once");
  flags.preset = {option.results().front(), "--preset"};
}

// The first of those given, in the order of Action.
void TakeAction(const Parser& parser, Flags& flags) {
  for (const auto& [action, option] : parser.actions) {
    if (option->count() == 0) continue;
    if (flags.action == Action::kRun) flags.action = action;
    const std::string value = option->results().front();
    const std::string name = option->get_name();
    if (action != Action::kPrintYaml) {
      if (value != "true") flags.problems.push_back(absl::StrFormat("flag %s: takes no value", name));
    } else if (value == "json") {
      if (flags.action == action) flags.action = Action::kPrintJson;
    } else if (value != "yaml") {
      flags.problems.push_back(absl::StrFormat("flag %s: \"%s\" is not one of yaml, json", name, value));
    }
  }
}

}  // namespace

Flags ReadFlags(int argc, const char* const* argv) {
  Flags flags;
  const std::unique_ptr<Parser> parser = MakeParser();
  try {
    parser->app.parse(Words(argc, argv));
  } catch (const CLI::ArgumentMismatch&) {
    flags.problems.push_back(absl::StrFormat("flag %s: needs a value", argv[argc - 1]));
    return flags;
  } catch (const CLI::ParseError& error) {
    flags.problems.push_back(absl::StrFormat("flags: %s", error.what()));
    return flags;
  }
  TakeAction(*parser, flags);
  TakeConfigFile(*parser->config, flags);
  TakePreset(*parser->preset, flags);
  TakeSettings(*parser, argc, argv, flags);
  for (const std::string& word : parser->app.remaining()) flags.problems.push_back(Unknown(word));
  return flags;
}

}  // namespace mptd::config
