#include "server/check_command.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_replace.h"
#include "checkup/checks.h"
#include "checkup/machine.h"
#include "config/config.h"
#include "core/genesis.h"
#include "server/startup.h"

namespace mptd {
namespace {

using checkup::Finding;

constexpr std::string_view kUsage =
    R"(mptd check: looks whether this machine and this configuration are fit for a daemon. Changes nothing.

Usage: mptd check [-o table|json] [--config FILE] [--KEY VALUE | --KEY=VALUE]...

Give it the settings of the daemon, by the same flags, variables and file, and run it as the daemon's user.

  -o, --output table|json  for people (default), or one object for programs
  -h, --help               print this, and exit

Exit codes: 0 all is well, 1 there are warnings, 2 a check failed or the configuration is wrong.
`mptd --help` lists the settings.
)";

struct CheckArguments {
  bool help = false;
  std::string output = "table";
  std::vector<std::string> settings;  // for config::Load
};

absl::StatusOr<CheckArguments> Parse(int argc, const char* const* argv) {
  CheckArguments out;
  CLI::App app;
  app.set_help_flag();  // CLI11's would list this one option alone
  app.allow_extras();
  app.add_option("-o,--output", out.output)->check(CLI::IsMember({"table", "json"}));
  app.add_flag("-h,--help", out.help);
  std::vector<std::string> words(argv + std::min(argc, 2), argv + argc);
  std::reverse(words.begin(), words.end());  // as CLI11 wants them
  try {
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }
  out.settings = app.remaining();
  return out;
}

absl::StatusOr<config::Loaded> LoadSettings(const CheckArguments& arguments, const char* const* environment,
                                            std::string_view version) {
  std::vector<const char*> argv = {"mptd"};
  for (const std::string& word : arguments.settings) argv.push_back(word.c_str());
  return config::Load(static_cast<int>(argv.size()), argv.data(), environment, version);
}

// The root that the chain of these settings starts with; nullopt when none is named, or one that does not begin at 0.
absl::StatusOr<std::optional<Hash>> ConfiguredGenesis(const std::string& name) {
  if (name.empty()) return std::nullopt;
  const absl::StatusOr<Genesis> genesis = LoadGenesis(name);
  if (!genesis.ok()) return genesis.status();
  if (genesis->number != 0) return std::nullopt;
  return NamedRoot(*genesis);
}

Finding WrongConfiguration(const absl::Status& status) {
  return {.name = "configuration",
          .outcome = checkup::Outcome::kFailed,
          .measured = absl::StrReplaceAll(std::string(status.message()), {{"\n", "; "}}),
          .expected = "settings that the daemon takes",
          .advice = "correct what is named; mptd --help and docs/CONFIGURATION.md list the settings"};
}

std::vector<Finding> Look(const config::Settings& settings, std::string_view version) {
  const absl::StatusOr<std::optional<Hash>> genesis = ConfiguredGenesis(settings.server.genesis);
  if (!genesis.ok()) return {WrongConfiguration(genesis.status())};
  return CheckAll(checkup::ReadMachine(settings), settings, *genesis, version);
}

}  // namespace

bool AsksForCheck(int argc, const char* const* argv) { return argc > 1 && std::string_view(argv[1]) == "check"; }

int RunCheckCommand(int argc, const char* const* argv, const char* const* environment, std::string_view version) {
  const absl::StatusOr<CheckArguments> arguments = Parse(argc, argv);
  if (!arguments.ok()) {
    std::fprintf(stderr, "mptd check: %s\n", std::string(arguments.status().message()).c_str());
    return checkup::ExitCodeOf(checkup::Outcome::kFailed);
  }
  if (arguments->help) {
    std::fwrite(kUsage.data(), 1, kUsage.size(), stdout);
    return 0;
  }
  const absl::StatusOr<config::Loaded> loaded = LoadSettings(*arguments, environment, version);
  if (loaded.ok() && loaded->print.has_value()) {
    std::fputs(loaded->print->c_str(), stdout);
    return 0;
  }
  const std::vector<Finding> findings =
      loaded.ok() ? Look(loaded->settings, version) : std::vector<Finding>{WrongConfiguration(loaded.status())};
  const std::string text = arguments->output == "json" ? checkup::Json(findings) : checkup::Table(findings);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return checkup::ExitCodeOf(checkup::Worst(findings));
}

}  // namespace mptd
