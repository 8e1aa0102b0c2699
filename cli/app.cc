#include "cli/app.h"

#include <algorithm>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "cli/app_commands.h"
#include "cli/token_files.h"
#include "cli/values.h"

namespace mptd::cli {
namespace {

constexpr char kFooter[] =
    R"(Exit codes: 0 done, 1 the answer is no (a proof or a check failed), 2 wrong arguments or input,
3 the daemon refused or cannot be reached. Of doctor: 0 well, 1 a warning, 2 something failed, 3 not reached.

Examples:
  mptctl status
  mptctl import genesis.json.gz && mptctl import blocks.jsonl
  mptctl account 0x00000000219ab540356cbb839cbe05303d7705fa --at 100
  mptctl proof 0x00000000219ab540356cbb839cbe05303d7705fa 0x0 -o json | mptctl verify --root $(mptctl root) -
  mptctl COMMAND --help)";

// A CLI11 check out of one of our parsers.
template <typename Parse>
CLI::Validator Checked(Parse parse, const std::string& name) {
  return CLI::Validator(
      [parse](std::string& text) {
        const auto parsed = parse(text);
        return parsed.ok() ? std::string() : std::string(parsed.status().message());
      },
      "", name);
}

void AddGlobalOptions(CommandLine& line) {
  CLI::App& app = line.app;
  app.add_option_function<std::string>(
         "--server,-s", [&line](const std::string& text) { line.global.server = ServerTarget(text).value(); },
         "The daemon: host:port or unix:/path (default 127.0.0.1:7300)")
      ->envname("MPTCTL_SERVER")
      ->type_name("ADDRESS")
      ->check(Checked(ServerTarget, "server"));
  app.add_option_function<std::string>(
         "--timeout", [&line](const std::string& text) { line.global.timeout = DurationFromText(text).value(); },
         "Give up after this time: 10s, 2m (default 30s; none for streams and for work on all data)")
      ->type_name("TIME")
      ->check(Checked(DurationFromText, "timeout"));
  app.add_option_function<std::string>(
         "--token-file", [&line](const std::string& path) { line.global.token = TokenFromFile(path).value(); },
         "A file with the token (JWT) to show the daemon")
      ->envname("MPTCTL_TOKEN_FILE")
      ->type_name("FILE")
      ->check(Checked(TokenFromFile, "token"));
  app.add_option_function<std::string>(
         "--jwt-secret-file", [&line](const std::string& path) { line.global.token = TokensFromSecret(path).value(); },
         "The secret to sign tokens with: security.jwt_secret_file of the daemon")
      ->envname("MPTCTL_JWT_SECRET_FILE")
      ->type_name("FILE")
      ->check(Checked(TokensFromSecret, "secret"));
  app.add_option_function<std::string>(
         "--output,-o", [&line](const std::string& text) { line.global.json = text == "json"; },
         "table for people (default), json for programs")
      ->type_name("table|json")
      ->check(CLI::IsMember({"table", "json"}, CLI::ignore_case).description(""));
  app.add_option_function<std::string>(
         "--at",
         [&line](const std::string& text) {
           line.global.at = ParseAt(text).value();
           line.block_given = true;
         },
         "The block to speak of: latest (default), NUMBER, HASH (of a block or a state root), hash:0x..., root:0x...")
      ->type_name("BLOCK")
      ->check(Checked(ParseAt, "block"));
}

void AddTlsOptions(CommandLine& line) {
  const auto add = [&line](const char* flag, const char* variable, const char* type, std::string& to,
                           const char* help) {
    line.app.add_option(flag, to, help)->envname(variable)->type_name(type);
  };
  TlsFlags& tls = line.global.tls;
  add("--tls-ca", "MPTCTL_TLS_CA", "FILE", tls.ca, "Speak TLS to a daemon whose certificate a CA in this file issued");
  add("--tls-cert", "MPTCTL_TLS_CERT", "FILE", tls.cert, "The certificate to show to a daemon that asks for one");
  add("--tls-key", "MPTCTL_TLS_KEY", "FILE", tls.key, "Its key, which others must not be able to read");
  add("--tls-server-name", "MPTCTL_TLS_SERVER_NAME", "NAME", tls.server_name,
      "The name in the daemon's certificate, when it is not the host of --server");
}

void AddLocalCommands(CommandLine& line) {
  auto shell = std::make_shared<std::string>();
  CLI::App* completion = line.app.add_subcommand("completion", "Print a completion script for a shell");
  completion->add_option("SHELL", *shell, "bash, zsh or fish")
      ->type_name("")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}).description(""));
  completion->footer(
      "Examples:\n  source <(mptctl completion bash)\n  source <(mptctl completion zsh)\n"
      "  mptctl completion fish > ~/.config/fish/completions/mptctl.fish");
  completion->callback([&line, shell] {
    line.action = [&line, shell](Session& session) {
      session.terminal().Print(CompletionScript(line, *shell));
      return ExitCode::kOk;
    };
  });
}

void Build(CommandLine& line) {
  line.app.name("mptctl");
  line.app.description("mptctl: the command line of mptd, the Merkle Patricia Trie daemon\n");
  line.app.footer(kFooter);
  line.app.fallthrough();  // global options may stand behind the subcommand
  line.app.require_subcommand(1);
  line.app.set_version_flag("--version", std::string("mptctl " MPTD_VERSION));
  line.app.get_formatter()->column_width(26);
  AddGlobalOptions(line);
  AddTlsOptions(line);
  AddReadCommands(line);
  AddProofCommands(line);
  AddListCommands(line);
  AddWriteCommands(line);
  AddAdminCommands(line);
  AddAuditCommands(line);
  AddLocalCommands(line);
}

// What is wrong with the arguments, and where to read about them.
std::string UsageError(const CLI::App& app, const CLI::ParseError& error) {
  const auto chosen = app.get_subcommands();
  if (!chosen.empty()) {
    return absl::StrCat(OneLine(error.what()), "; see `mptctl ", chosen.front()->get_name(), " --help`");
  }
  const std::vector<std::string> unknown = app.remaining();
  if (unknown.empty()) return absl::StrCat(OneLine(error.what()), "; see `mptctl --help`");
  return absl::StrCat("there is no command \"", unknown.front(), "\"; `mptctl --help` lists them");
}

}  // namespace

bool CommandLine::ReadsBlock(const CLI::App* command) const {
  return std::find(reads_block.begin(), reads_block.end(), command) != reads_block.end();
}

ExitCode RunMptctl(const std::vector<std::string>& args, Terminal& terminal) {
  CommandLine line;
  Build(line);
  try {
    line.app.parse(std::vector<std::string>(args.rbegin(), args.rend()));  // CLI11 takes them last first
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      std::ostringstream help;
      std::ostringstream unused;
      line.app.exit(error, help, unused);
      terminal.Print(help.str());
      return ExitCode::kOk;
    }
    terminal.Error(UsageError(line.app, error));
    return ExitCode::kUsage;
  }
  const CLI::App* command = line.app.get_subcommands().front();
  if (line.block_given && !line.ReadsBlock(command)) {
    terminal.Error(absl::StrCat("--at means nothing to `", command->get_name(), "`; leave it out"));
    return ExitCode::kUsage;
  }
  if (const absl::Status tls = CheckTlsFlags(line.global.tls); !tls.ok()) {
    terminal.Error(std::string(tls.message()));
    return ExitCode::kUsage;
  }
  Session session(terminal, line.global);
  return line.action(session);
}

}  // namespace mptd::cli
