#include "server/check_command.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "checkup/checks.h"
#include "checkup/documentation.h"
#include "checkup/machine.h"
#include "checkup/trial.h"
#include "config/config.h"
#include "core/genesis.h"
#include "metrics/log.h"
#include "server/access.h"
#include "server/observability_trial.h"
#include "server/startup.h"

namespace mptd {
namespace {

using checkup::Finding;

constexpr std::string_view kUsage =
    R"(mptd check: looks whether this machine and this configuration are fit for a daemon. Changes nothing but
a folder for temporary files, in TMPDIR or /tmp, where it tries the program on made-up data.

Usage: mptd check [-o table|json] [--quick|--thorough] [--config FILE] [--KEY VALUE | --KEY=VALUE]...

Give it the settings of the daemon, by the same flags, variables and file, and run it as the daemon's user.

  -o, --output table|json  for people (default), or one object for programs
  --quick                  look at the machine alone, and do not try the program
  --thorough               try it with a million accounts and ten minutes of stress, instead of 20,000 and a second
  -h, --help               print this, and exit

Exit codes: 0 all is well, 1 there are warnings, 2 a check failed or the configuration is wrong.
`mptd --help` lists the settings.
)";

// The checks that need a folder to try things in.
constexpr std::string_view kTrials[] = {"trie_implementation", "state_root",    "merkle_proofs", "cache",
                                        "persistence",         "performance",   "stress_test",   "dependencies",
                                        "observability",       "error_recovery"};

// What the trials may need for a moment.
constexpr uint64_t kUsualBytes = uint64_t{256} << 20;
constexpr uint64_t kThoroughBytes = uint64_t{4} << 30;

// How much the program itself is tried.
enum class Effort : uint8_t { kNone, kUsual, kThorough };

struct CheckArguments {
  bool help = false;
  Effort effort = Effort::kUsual;
  std::string output = "table";
  std::vector<std::string> settings;  // for config::Load
};

absl::StatusOr<CheckArguments> Parse(int argc, const char* const* argv) {
  CheckArguments out;
  bool quick = false;
  bool thorough = false;
  CLI::App app;
  app.set_help_flag();  // CLI11's would list this one option alone
  app.allow_extras();
  app.add_option("-o,--output", out.output)->check(CLI::IsMember({"table", "json"}));
  app.add_flag("--quick", quick);
  app.add_flag("--thorough", thorough);
  app.add_flag("-h,--help", out.help);
  std::vector<std::string> words(argv + std::min(argc, 2), argv + argc);
  std::reverse(words.begin(), words.end());  // as CLI11 wants them
  try {
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }
  if (quick && thorough) return absl::InvalidArgumentError("--quick and --thorough: name one of them");
  if (quick) out.effort = Effort::kNone;
  if (thorough) out.effort = Effort::kThorough;
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

checkup::TrialOptions ToTrialOptions(const config::Settings& settings, const checkup::Readings& readings,
                                     const std::string& scratch, Effort effort) {
  checkup::TrialOptions out;
  out.engine = ToEngineOptions(settings);
  // That it cannot be used is told once, by the check of secrets.
  if (!readings.master_key.ok()) out.engine.encryption_key = {};
  out.scratch = scratch;
  // It comes with the program, so it can be loaded; else the trial says that the root differs.
  if (absl::StatusOr<Genesis> mainnet = LoadGenesis("mainnet"); mainnet.ok()) {
    out.known_root = mainnet->state_root.value_or(Hash());
    out.known_state = std::move(mainnet->changes);
  }
  if (effort == Effort::kThorough) {
    out.accounts = 1'000'000;
    out.stress = absl::Minutes(10);
  }
  return out;
}

// What is at work, in place of what was said before: whoever waits at a terminal for minutes wants to know. Nothing
// where standard error is a file or a pipe.
void TellTerminal(const std::string& text) {
  if (::isatty(STDERR_FILENO) == 1) std::fprintf(stderr, "\r\033[K%s", text.c_str());
}

// Those checks of the list that try the program, in its order.
std::vector<Finding> TryProgram(const config::Loaded& loaded, const checkup::Readings& readings,
                                std::string_view version, Effort effort) {
  std::vector<Finding> out;
  if (effort == Effort::kNone) {
    for (const std::string_view name : kTrials) {
      out.push_back(
          {.name = std::string(name), .outcome = checkup::Outcome::kSkipped, .measured = "left out (--quick)"});
    }
    return out;
  }
  const absl::StatusOr<checkup::ScratchFolder> scratch =
      checkup::ScratchFolder::Make(effort == Effort::kThorough ? kThoroughBytes : kUsualBytes);
  const checkup::TrialOptions options =
      ToTrialOptions(loaded.settings, readings, scratch.ok() ? scratch->path() : std::string(), effort);
  if (!scratch.ok()) {
    for (const std::string_view name : kTrials) out.push_back(checkup::ToFinding(name, "", scratch.status()));
    return out;
  }
  using Try = std::function<Finding(const checkup::TrialOptions&)>;
  const Try observability = [&](const checkup::TrialOptions& o) { return TryObservability(loaded, version, o); };
  const Try trials[] = {checkup::TryTrieImplementation,
                        checkup::TryStateRoot,
                        checkup::TryMerkleProofs,
                        checkup::TryCache,
                        checkup::TryPersistence,
                        checkup::TryPerformance,
                        checkup::TryStressTest,
                        checkup::TryDependencies,
                        observability,
                        checkup::TryErrorRecovery};
  static_assert(std::size(trials) == std::size(kTrials));
  for (size_t i = 0; i < std::size(trials); ++i) {
    TellTerminal(absl::StrFormat("[%d/%d] %s ...", i + 2, std::size(kTrials) + 2, kTrials[i]));
    out.push_back(trials[i](options));
  }
  TellTerminal("");
  return out;
}

Finding LookForDocumentation(const config::Loaded& loaded) {
  std::vector<std::string> settings;
  for (const config::Entry& entry : loaded.entries) settings.push_back(entry.key);
  return checkup::CheckDocumentation(checkup::InstalledBelow(), settings);
}

// The checklist, and behind it what is looked at on the machine; the configuration comes first.
std::vector<Finding> Look(const config::Loaded& loaded, std::string_view version, Effort effort) {
  const config::Settings& settings = loaded.settings;
  const absl::StatusOr<std::optional<Hash>> genesis = ConfiguredGenesis(settings.server.genesis);
  checkup::Readings readings = checkup::ReadMachine(settings);
  const std::unique_ptr<Logger> silent = Logger::Silent();
  readings.tokens = AccessControl::Open(ToRuntimeSettings(loaded).access, nullptr, nullptr, *silent).status();
  std::vector<Finding> machine = CheckAll(readings, settings, genesis.ok() ? *genesis : std::nullopt, version);
  if (!genesis.ok()) machine.front() = WrongConfiguration(genesis.status());
  std::vector<Finding> out = TryProgram(loaded, readings, version, effort);
  out.insert(out.begin(), std::move(machine.front()));
  out.push_back(LookForDocumentation(loaded));
  out.insert(out.end(), std::make_move_iterator(machine.begin() + 1), std::make_move_iterator(machine.end()));
  return out;
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
  const std::vector<Finding> findings = loaded.ok() ? Look(*loaded, version, arguments->effort)
                                                    : std::vector<Finding>{WrongConfiguration(loaded.status())};
  const std::string text = arguments->output == "json" ? checkup::Json(findings) : checkup::Table(findings);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return checkup::ExitCodeOf(checkup::Worst(findings));
}

}  // namespace mptd
