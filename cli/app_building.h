// What the declarations of subcommands share (app_commands.cc, app_checkpoint.cc). Used by one thread.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "cli/app_commands.h"
#include "cli/commands.h"

namespace mptd::cli {

// `examples` are command lines, one each line.
inline CLI::App* AddTo(CLI::App& parent, const std::string& name, const std::string& what,
                       const std::string& examples) {
  CLI::App* command = parent.add_subcommand(name, what);
  std::string footer = "Examples:";
  for (const std::string& example : CLI::detail::split(examples, '\n')) footer += "\n  mptctl " + example;
  command->footer(footer + "\nGlobal options (--server, --timeout, -o json, --at): mptctl --help");
  return command;
}

inline CLI::App* Add(CommandLine& line, const std::string& name, const std::string& what, const std::string& examples) {
  return AddTo(line.app, name, what, examples);
}

// An argument without a type behind its name, which says it all.
template <typename T>
CLI::Option* Positional(CLI::App* command, const std::string& name, T& target, const std::string& help) {
  return command->add_option(name, target, help)->type_name("");
}

// Three options, of which one at most may be used; `help` says what the key is needed for.
inline std::array<CLI::Option*, 3> AddMasterKeyOptions(CLI::App* command, MasterKeyArgs& key, const std::string& help) {
  CLI::Option* file = command->add_option("--encryption-key-file", key.file, help)->type_name("FILE");
  CLI::Option* variable =
      command->add_option("--encryption-key-env", key.environment, "Or the name of the variable with it");
  CLI::Option* program = command->add_option("--encryption-key-command", key.command, "Or the command that prints it");
  file->excludes(variable)->excludes(program);
  variable->type_name("NAME")->excludes(program);
  program->type_name("COMMAND");
  return {file, variable, program};
}

template <typename Args>
void Runs(CommandLine& line, CLI::App* command, std::shared_ptr<Args> args, ExitCode (*run)(Session&, const Args&)) {
  command->callback(
      [&line, args, run] { line.action = [args, run](Session& session) { return run(session, *args); }; });
}

inline void Runs(CommandLine& line, CLI::App* command, ExitCode (*run)(Session&)) {
  command->callback([&line, run] { line.action = run; });
}

}  // namespace mptd::cli
