// The scripts are made from the command line itself, so that they cannot fall behind it.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "cli/app_commands.h"

namespace mptd::cli {
namespace {

// The words that an argument can be; arguments that are not here have none, or are files.
const std::map<std::string, std::string>& Words() {
  static const auto& words =
      *new std::map<std::string, std::string>{{"SHELL", "bash zsh fish"},
                                              {"LEVEL", "trace debug info warn error critical off"},
                                              {"--output", "table json"},
                                              {"--at", "latest"},
                                              {"--to", "latest"}};
  return words;
}

bool TakesFile(const std::string& argument) { return argument == "FILE" || argument == "DIR"; }

struct OptionInfo {
  std::vector<std::string> names;  // "--output", "-o"
  std::string help;
  bool takes_value;
};

struct CommandInfo {
  std::string name;
  std::string help;
  std::vector<OptionInfo> options;
  std::string words;  // of the positional argument
  bool takes_file = false;
};

CommandInfo Describe(const CLI::App& app) {
  CommandInfo out{.name = app.get_name(), .help = app.get_description(), .options = {}, .words = {}};
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) {
      const std::string name = option->get_name(/*positional=*/true);
      if (const auto found = Words().find(name); found != Words().end()) out.words = found->second;
      out.takes_file |= TakesFile(name);
      continue;
    }
    OptionInfo info{.names = {}, .help = option->get_description(), .takes_value = option->get_expected_min() > 0};
    for (const std::string& name : option->get_lnames()) info.names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) info.names.push_back("-" + name);
    out.options.push_back(std::move(info));
  }
  return out;
}

// A command's own commands are offered as its words, with the options of all of them.
void AddNested(const CLI::App& app, CommandInfo& out) {
  const CommandInfo nested = Describe(app);
  absl::StrAppend(&out.words, out.words.empty() ? "" : " ", nested.name);
  out.takes_file |= nested.takes_file;
  for (const OptionInfo& option : nested.options) {
    const bool known = std::any_of(out.options.begin(), out.options.end(),
                                   [&](const OptionInfo& other) { return other.names == option.names; });
    if (!known) out.options.push_back(option);
  }
}

std::vector<CommandInfo> DescribeAll(const CLI::App& app) {
  std::vector<CommandInfo> out;
  const auto all = [](const CLI::App*) { return true; };
  for (const CLI::App* command : app.get_subcommands(all)) {
    out.push_back(Describe(*command));
    for (const CLI::App* nested : command->get_subcommands(all)) AddNested(*nested, out.back());
  }
  return out;
}

std::string WordsOf(const OptionInfo& option) {
  for (const std::string& name : option.names) {
    if (const auto found = Words().find(name); found != Words().end()) return found->second;
  }
  return {};
}

std::string AllNames(const std::vector<OptionInfo>& options) {
  std::vector<std::string> names;
  for (const OptionInfo& option : options) names.insert(names.end(), option.names.begin(), option.names.end());
  return absl::StrJoin(names, " ");
}

// The patterns of options that take a value, with the words that it can be.
std::string BashValueCases(const std::vector<OptionInfo>& options) {
  std::string out;
  for (const OptionInfo& option : options) {
    if (!option.takes_value) continue;
    absl::StrAppendFormat(&out, "    %s) COMPREPLY=($(compgen -W '%s' -- \"$current\")); return ;;\n",
                          absl::StrJoin(option.names, "|"), WordsOf(option));
  }
  return out;
}

std::string BashScript(const CommandInfo& global, const std::vector<CommandInfo>& commands) {
  std::vector<std::string> names;
  std::string cases;
  std::string values = BashValueCases(global.options);
  for (const CommandInfo& command : commands) {
    names.push_back(command.name);
    const std::string more = command.takes_file ? "$(compgen -f -- \"$current\")" : "";
    absl::StrAppendFormat(&cases, "    %s) COMPREPLY=($(compgen -W '%s %s' -- \"$current\") %s) ;;\n", command.name,
                          AllNames(command.options), command.words, more);
    values += BashValueCases(command.options);
  }
  const std::string name_list = absl::StrJoin(names, " ");
  std::string out = "# bash completion of mptctl: source <(mptctl completion bash)\n_mptctl() {\n";
  absl::StrAppend(
      &out,
      "  local current=\"${COMP_WORDS[COMP_CWORD]}\" previous=\"${COMP_WORDS[COMP_CWORD-1]}\" command=\"\" i\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    case \" ",
      name_list, " \" in *\" ${COMP_WORDS[i]} \"*) command=\"${COMP_WORDS[i]}\"; break ;; esac\n  done\n");
  absl::StrAppend(&out, "  case \"$previous\" in\n", values, "  esac\n");
  absl::StrAppend(&out, "  case \"$command\" in\n", cases, "    *) COMPREPLY=($(compgen -W '", name_list,
                  "' -- \"$current\")) ;;\n  esac\n");
  absl::StrAppend(&out, "  if [[ \"$current\" == -* ]]; then COMPREPLY+=($(compgen -W '", AllNames(global.options),
                  "' -- \"$current\")); fi\n}\ncomplete -o filenames -F _mptctl mptctl\n");
  return out;
}

// Text between single quotes, with the characters that `_arguments` and `_describe` give a meaning to made harmless.
std::string ZshText(const std::string& text) {
  return absl::StrReplaceAll(text, {{"'", "'\\''"}, {"[", "("}, {"]", ")"}, {":", "\\:"}});
}

std::string ZshOptions(const std::vector<OptionInfo>& options) {
  std::string out;
  for (const OptionInfo& option : options) {
    for (const std::string& name : option.names) {
      const std::string value = option.takes_value ? absl::StrFormat(":value:(%s)", WordsOf(option)) : "";
      absl::StrAppendFormat(&out, " \\\n        '%s[%s]%s'", name, ZshText(option.help), value);
    }
  }
  return out;
}

std::string ZshScript(const CommandInfo& global, const std::vector<CommandInfo>& commands) {
  std::string out =
      "#compdef mptctl\n# zsh completion of mptctl: source <(mptctl completion zsh)\n_mptctl() {\n"
      "  local -a commands\n  commands=(\n";
  std::string cases;
  for (const CommandInfo& command : commands) {
    absl::StrAppendFormat(&out, "    '%s:%s'\n", command.name, ZshText(command.help));
    const std::string rest = command.takes_file ? "_files" : absl::StrCat("(", command.words, ")");
    absl::StrAppendFormat(&cases, "      %s) _arguments%s%s \\\n        '*:argument:%s' ;;\n", command.name,
                          ZshOptions(global.options), ZshOptions(command.options), rest);
  }
  absl::StrAppend(&out,
                  "  )\n  local command='' word\n  for word in ${words[2,CURRENT-1]}; do\n"
                  "    if (( ${commands[(I)${word}:*]} )); then command=$word; break; fi\n  done\n"
                  "  if [[ -z $command ]]; then\n    _arguments",
                  ZshOptions(global.options),
                  " \\\n        '*:command:{_describe command commands}'\n    return\n  fi\n"
                  "  case $command in\n",
                  cases,
                  "  esac\n}\n"
                  "if [ \"$funcstack[1]\" = \"_mptctl\" ]; then _mptctl \"$@\"; else compdef _mptctl mptctl; fi\n");
  return out;
}

std::string FishText(const std::string& text) { return absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}}); }

std::string FishOptions(const std::vector<OptionInfo>& options, const std::string& condition) {
  std::string out;
  for (const OptionInfo& option : options) {
    absl::StrAppend(&out, "complete -c mptctl", condition);
    for (const std::string& name : option.names) {
      absl::StrAppend(&out, name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1));
    }
    if (option.takes_value) absl::StrAppend(&out, " -x");
    if (const std::string words = WordsOf(option); !words.empty()) absl::StrAppend(&out, " -a '", words, "'");
    absl::StrAppend(&out, " -d '", FishText(option.help), "'\n");
  }
  return out;
}

std::string FishScript(const CommandInfo& global, const std::vector<CommandInfo>& commands) {
  std::string out =
      "# fish completion of mptctl: mptctl completion fish > ~/.config/fish/completions/mptctl.fish\n"
      "complete -c mptctl -f\n" +
      FishOptions(global.options, "");
  for (const CommandInfo& command : commands) {
    absl::StrAppendFormat(&out, "complete -c mptctl -n __fish_use_subcommand -a %s -d '%s'\n", command.name,
                          FishText(command.help));
    const std::string condition = absl::StrFormat(" -n '__fish_seen_subcommand_from %s'", command.name);
    if (command.takes_file) absl::StrAppend(&out, "complete -c mptctl", condition, " -F\n");
    if (!command.words.empty()) absl::StrAppend(&out, "complete -c mptctl", condition, " -a '", command.words, "'\n");
    absl::StrAppend(&out, FishOptions(command.options, condition));
  }
  return out;
}

}  // namespace

std::string CompletionScript(const CommandLine& line, const std::string& shell) {
  const CommandInfo global = Describe(line.app);
  const std::vector<CommandInfo> commands = DescribeAll(line.app);
  if (shell == "zsh") return ZshScript(global, commands);
  if (shell == "fish") return FishScript(global, commands);
  return BashScript(global, commands);
}

}  // namespace mptd::cli
