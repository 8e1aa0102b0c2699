#include "server/import_command.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <istream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "cli/input_file.h"
#include "config/config.h"
#include "core/hex.h"
#include "core/import/geth_dump.h"
#include "core/import/state_import.h"
#include "nlohmann/json.hpp"
#include "server/startup.h"

namespace mptd {
namespace {

constexpr int kFailed = 1;
constexpr int kUsageError = 2;
constexpr uint64_t kProgressEvery = 1024;

constexpr std::string_view kUsage =
    R"(mptd import: makes a new data folder from a whole state, and starts nothing.

Usage: mptd import --number N [OPTION]... [--config FILE] [--KEY VALUE | --KEY=VALUE]... FILE

FILE is what `geth dump --iterative` or `geth snapshot dump` writes, plain or compressed with gzip; - is standard input.
The folder is server.data_dir; give the settings of the daemon, and run this as the daemon's user.

  --number N               the block that the state is after
  --block-hash HASH        its hash
  --parent-hash HASH       its parent's hash
  --expected-root ROOT     the state root that it must have, besides the one in the file
  -o, --output table|json  the summary for people (default), or one object for programs
  -h, --help               print this, and exit

Exit codes: 0 the state is there, 1 the import failed, 2 the arguments or the configuration are wrong.
`mptd --help` lists the settings.
)";

struct ImportArguments {
  bool help = false;
  std::string output = "table";
  std::optional<uint64_t> number;
  std::optional<std::string> block_hash;
  std::optional<std::string> parent_hash;
  std::optional<std::string> expected_root;
  std::string file;
  std::vector<std::string> settings;  // for config::Load

  ImportedBlock block;  // of the above
};

struct Summary {
  ImportReport report;
  double seconds = 0;
};

// Of the words that are not our options: flags of settings with their values, and the file.
absl::Status TakeSettingsAndFile(const std::vector<std::string>& words, ImportArguments& out) {
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i].starts_with("--") && words[i].size() > 2) {
      out.settings.push_back(words[i]);
      if (words[i].find('=') == std::string::npos && i + 1 < words.size()) out.settings.push_back(words[++i]);
    } else if (out.file.empty()) {
      out.file = words[i];
    } else {
      return absl::InvalidArgumentError(absl::StrFormat("one file at a time, not %s and %s", out.file, words[i]));
    }
  }
  if (out.file.empty()) return absl::InvalidArgumentError("name the file with the state, or - for standard input");
  return absl::OkStatus();
}

absl::Status TakeHash(const std::optional<std::string>& text, std::string_view option, std::optional<Hash>& out) {
  if (!text) return absl::OkStatus();
  const absl::StatusOr<Hash> hash = HashFromHex(*text);
  if (!hash.ok()) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: %s", option, std::string(hash.status().message())));
  }
  out = *hash;
  return absl::OkStatus();
}

absl::Status TakeBlock(ImportArguments& out) {
  if (!out.number) {
    return absl::InvalidArgumentError("say with --number which block the state is after; the file does not");
  }
  out.block.number = *out.number;
  absl::Status status = TakeHash(out.block_hash, "--block-hash", out.block.hash);
  status.Update(TakeHash(out.parent_hash, "--parent-hash", out.block.parent_hash));
  status.Update(TakeHash(out.expected_root, "--expected-root", out.block.expected_root));
  return status;
}

absl::StatusOr<ImportArguments> Parse(int argc, const char* const* argv) {
  ImportArguments out;
  CLI::App app;
  app.set_help_flag();  // CLI11's would list these options alone
  app.allow_extras();
  app.add_option("-o,--output", out.output)->check(CLI::IsMember({"table", "json"}));
  app.add_option("--number", out.number);
  app.add_option("--block-hash", out.block_hash);
  app.add_option("--parent-hash", out.parent_hash);
  app.add_option("--expected-root", out.expected_root);
  app.add_flag("-h,--help", out.help);
  std::vector<std::string> words(argv + std::min(argc, 2), argv + argc);
  std::reverse(words.begin(), words.end());  // as CLI11 wants them
  try {
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }
  if (out.help) return out;
  if (absl::Status s = TakeSettingsAndFile(app.remaining(), out); !s.ok()) return s;
  if (absl::Status s = TakeBlock(out); !s.ok()) return s;
  return out;
}

absl::StatusOr<config::Loaded> LoadSettings(const ImportArguments& arguments, const char* const* environment,
                                            std::string_view version) {
  std::vector<const char*> argv = {"mptd"};
  for (const std::string& word : arguments.settings) argv.push_back(word.c_str());
  return config::Load(static_cast<int>(argv.size()), argv.data(), environment, version);
}

// One line on a terminal, drawn anew in place.
class Progress {
 public:
  explicit Progress(const cli::InputFile& input) : input_(input), enabled_(isatty(STDERR_FILENO) != 0) {}
  ~Progress() {
    if (drawn_) std::fputs("\r\x1b[K", stderr);
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(uint64_t accounts, uint64_t slots) {
    const absl::Time now = absl::Now();
    if (!enabled_ || now - last_ < absl::Milliseconds(200)) return;
    last_ = now;
    drawn_ = true;
    const std::optional<double> done = input_.FractionRead();
    std::fputs(absl::StrFormat("\r%s%d accounts, %d slots\x1b[K",
                               done ? absl::StrFormat("%3.0f %%  ", *done * 100) : "", accounts, slots)
                   .c_str(),
               stderr);
  }

 private:
  const cli::InputFile& input_;
  const bool enabled_;
  absl::Time last_ = absl::InfinitePast();
  bool drawn_ = false;
};

absl::Status AddAll(GethDump& dump, const cli::InputFile& input, StateImport& import) {
  Progress progress(input);
  uint64_t accounts = 0;
  uint64_t slots = 0;
  DumpedAccount account;
  while (true) {
    const absl::StatusOr<bool> more = dump.Next(account);
    if (!more.ok()) return more.status();
    if (!*more) return input.read_status();
    if (absl::Status s = import.AddAccount(account.account, account.code); !s.ok()) return s;
    for (const auto& [key, value] : account.slots) {
      if (absl::Status s = import.AddSlot(key, value); !s.ok()) return s;
    }
    slots += account.slots.size();
    if (++accounts % kProgressEvery == 0 || !account.slots.empty()) progress.Update(accounts, slots);
  }
}

// What was read until a broken end of the file may be less than its lines say.
absl::Status OrReadError(const absl::Status& status, const cli::InputFile& input) {
  return input.read_status().ok() ? status : input.read_status();
}

absl::StatusOr<Summary> Import(const ImportArguments& arguments, const config::Settings& settings) {
  const absl::Time start = absl::Now();
  absl::StatusOr<std::unique_ptr<cli::InputFile>> input = cli::InputFile::Open(arguments.file);
  if (!input.ok()) return input.status();
  std::istream stream(input->get());
  GethDump dump(stream, (*input)->name());
  ImportedBlock block = arguments.block;
  // Before the data folder: a wrong file must not leave one behind.
  const absl::StatusOr<Hash> root = dump.ReadRoot();
  if (!root.ok()) return OrReadError(root.status(), **input);
  if (block.expected_root && *block.expected_root != *root) {
    return absl::FailedPreconditionError(absl::StrFormat("%s is of the state with root %s, --expected-root is %s",
                                                         (*input)->name(), ToHex(*root), ToHex(*block.expected_root)));
  }
  block.expected_root = *root;
  absl::StatusOr<std::unique_ptr<StateImport>> import = StateImport::Begin(ToDataOptions(settings));
  if (!import.ok()) return import.status();
  absl::Status status = AddAll(dump, **input, **import);
  absl::StatusOr<ImportReport> report =
      status.ok() ? (*import)->Finish(block) : absl::StatusOr<ImportReport>(OrReadError(status, **input));
  if (!report.ok()) {
    return absl::Status(report.status().code(),
                        absl::StrFormat("%s\nThe data folder %s cannot be used; remove it before you import again",
                                        std::string(report.status().message()), settings.server.data_dir));
  }
  return Summary{*report, absl::ToDoubleSeconds(absl::Now() - start)};
}

std::string Json(const Summary& summary) {
  const ImportReport& report = summary.report;
  nlohmann::ordered_json out = {{"number", report.block.number}, {"state_root", ToHex(report.block.state_root)},
                                {"accounts", report.accounts},   {"slots", report.slots},
                                {"codes", report.codes},         {"branches", report.branches},
                                {"seconds", summary.seconds}};
  if (report.block.hash) out["hash"] = ToHex(*report.block.hash);
  if (report.block.parent_hash) out["parent_hash"] = ToHex(*report.block.parent_hash);
  return out.dump() + "\n";
}

std::string Table(const Summary& summary) {
  const ImportReport& report = summary.report;
  return absl::StrFormat(
      "block       %d\nstate root  %s\naccounts    %d\nslots       %d\ncodes       %d\nbranches    %d\nseconds     "
      "%.1f\n",
      report.block.number, ToHex(report.block.state_root), report.accounts, report.slots, report.codes, report.branches,
      summary.seconds);
}

int Fail(const absl::Status& status, int exit_code) {
  std::fprintf(stderr, "mptd import: %s\n", std::string(status.message()).c_str());
  return exit_code;
}

}  // namespace

bool AsksForImport(int argc, const char* const* argv) { return argc > 1 && std::string_view(argv[1]) == "import"; }

int RunImportCommand(int argc, const char* const* argv, const char* const* environment, std::string_view version) {
  const absl::StatusOr<ImportArguments> arguments = Parse(argc, argv);
  if (!arguments.ok()) return Fail(arguments.status(), kUsageError);
  if (arguments->help) {
    std::fwrite(kUsage.data(), 1, kUsage.size(), stdout);
    return 0;
  }
  const absl::StatusOr<config::Loaded> loaded = LoadSettings(*arguments, environment, version);
  if (!loaded.ok()) return Fail(loaded.status(), kUsageError);
  if (loaded->print.has_value()) {
    std::fputs(loaded->print->c_str(), stdout);
    return 0;
  }
  ForbidCoreFiles(loaded->settings);
  const absl::StatusOr<Summary> summary = Import(*arguments, loaded->settings);
  if (!summary.ok()) return Fail(summary.status(), kFailed);
  const std::string text = arguments->output == "json" ? Json(*summary) : Table(*summary);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

}  // namespace mptd
