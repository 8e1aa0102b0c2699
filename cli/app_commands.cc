#include "cli/app_commands.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/app_building.h"
#include "cli/commands.h"
#include "cli/http_get.h"
#include "cli/values.h"

namespace mptd::cli {
namespace {

constexpr char kAddressHelp[] = "20 bytes of hex";
constexpr char kSlotHelp[] = "A storage key: 0x-hex of at most 32 bytes, or a decimal number";
constexpr char kBlocksFile[] = "JSON of blocks, plain or .gz; - is standard input";

template <typename T>
CLI::Validator Check(absl::StatusOr<T> (*parse)(std::string_view), const std::string& name) {
  return CLI::Validator(
      [parse](std::string& text) {
        const absl::StatusOr<T> parsed = parse(text);
        return parsed.ok() ? std::string() : std::string(parsed.status().message());
      },
      "", name);
}

CLI::Validator IsAddress() { return Check(AddressBytes, "address"); }
CLI::Validator IsHash() { return Check(HashBytes, "hash"); }
CLI::Validator IsSlot() { return Check(SlotBytes, "slot"); }
CLI::Validator IsBlock() { return Check(ParseAt, "block"); }

CLI::App* AddReader(CommandLine& line, const std::string& name, const std::string& what, const std::string& examples) {
  CLI::App* command = Add(line, name, what, examples);
  line.reads_block.push_back(command);
  return command;
}

void AddBlockOptions(CLI::App* command, BlockOptions& options) {
  command->add_flag_callback(
      "--no-check", [&options] { options.check_roots = false; },
      "Do not have the daemon compare the state roots of the input");
  command->add_flag("--reorganize", options.reorganize,
                    "Allow a block to replace others of the daemon: roll back to its parent, then apply");
  command->add_flag("--keep-empty-accounts", options.keep_empty_accounts,
                    "Keep touched accounts that are empty, as blocks did before EIP-161");
  command->add_option("--genesis-number", options.genesis_number, "The number of a genesis in the input (default 0)")
      ->type_name("NUMBER");
  command
      ->add_option_function<std::string>(
          "--genesis-hash", [&options](const std::string& text) { options.genesis_hash = HashBytes(text).value(); },
          "The block hash of a genesis in the input, for the first block to build on")
      ->type_name("HASH")
      ->check(IsHash());
}

}  // namespace

void AddReadCommands(CommandLine& line) {
  Runs(line, AddReader(line, "root", "Print the state root", "root\nroot --at 100"), RunRoot);

  auto block = std::make_shared<BlockArgs>();
  CLI::App* command = AddReader(line, "block", "Show a block: number, hashes, state root", "block\nblock 100 -o json");
  command
      ->add_option_function<std::string>(
          "BLOCK", [block](const std::string& text) { block->block = ParseAt(text).value(); },
          "latest, NUMBER, HASH, hash:0x... or root:0x...; otherwise --at")
      ->type_name("")
      ->check(IsBlock());
  Runs(line, command, block, RunBlock);

  auto account = std::make_shared<AccountArgs>();
  command =
      AddReader(line, "account", "Show accounts: nonce, balance, storage root, code hash",
                "account 0x00000000219ab540356cbb839cbe05303d7705fa --at 100\naccount 0xAAAA... 0xBBBB... -o json");
  Positional(command, "ADDRESS", account->addresses, kAddressHelp)->required()->check(IsAddress());
  Runs(line, command, account, RunAccount);

  auto storage = std::make_shared<StorageArgs>();
  command = AddReader(line, "storage", "Show slots of an account's storage",
                      "storage 0x00000000219ab540356cbb839cbe05303d7705fa 0x0 0x1f 33");
  Positional(command, "ADDRESS", storage->address, kAddressHelp)->required()->check(IsAddress());
  Positional(command, "SLOT", storage->slots, kSlotHelp)->required()->check(IsSlot());
  Runs(line, command, storage, RunStorage);

  auto code = std::make_shared<CodeArgs>();
  command = AddReader(line, "code", "Show the code of an account, or with a given hash",
                      "code 0x00000000219ab540356cbb839cbe05303d7705fa\ncode 0xd2f0...c3 -o json");
  const CLI::Validator address_or_hash(
      [](std::string& text) {
        const bool fits = AddressBytes(text).ok() || HashBytes(text).ok();
        return fits ? std::string()
                    : absl::StrCat("\"", text, "\" is neither an address (20 bytes) nor a hash (32 bytes)");
      },
      "", "address or hash");
  Positional(command, "ADDRESS|HASH", code->address_or_hash, "An account's address or a code hash")
      ->required()
      ->check(address_or_hash);
  Runs(line, command, code, RunCode);
}

void AddProofCommands(CommandLine& line) {
  auto proof = std::make_shared<StorageArgs>();
  CLI::App* command =
      AddReader(line, "proof", "Prove an account and slots (EIP-1186); -o json is what eth_getProof answers",
                "proof 0x00000000219ab540356cbb839cbe05303d7705fa 0x0 --at 100\n"
                "proof 0x00000000219ab540356cbb839cbe05303d7705fa -o json > proof.json");
  Positional(command, "ADDRESS", proof->address, kAddressHelp)->required()->check(IsAddress());
  Positional(command, "SLOT", proof->slots, kSlotHelp)->check(IsSlot());
  Runs(line, command, proof, RunProof);

  auto multi = std::make_shared<MultiProofArgs>();
  command = AddReader(line, "multiproof", "Prove many accounts and slots, each trie node once",
                      "multiproof 0x00000000219ab540356cbb839cbe05303d7705fa:0x0,0x1 0xBBBB... -o json");
  Positional(command, "TARGET", multi->targets, "ADDRESS or ADDRESS:SLOT,SLOT...")
      ->required()
      ->check(Check(ParseProofTarget, "target"));
  Runs(line, command, multi, RunMultiProof);

  auto verify = std::make_shared<VerifyArgs>();
  command = Add(line, "verify", "Check an EIP-1186 proof, without a daemon; exit code 0 when it holds, 1 when not",
                "verify --root 0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544 proof.json\n"
                "verify --root $(mptctl root) - < answer-of-eth_getProof.json");
  command->add_option("--root", verify->root, "The state root that the proof must lead to")
      ->required()
      ->type_name("HASH")
      ->check(IsHash());
  Positional(command, "FILE", verify->file, "The EIP-1186 object, also as a JSON-RPC answer; - is standard input")
      ->required();
  Runs(line, command, verify, RunVerify);
}

void AddListCommands(CommandLine& line) {
  auto blocks = std::make_shared<BlocksArgs>();
  CLI::App* command = Add(line, "blocks", "Follow the chain: each new head, and rollbacks",
                          "blocks\nblocks --from 100 --no-follow\nblocks -o json | jq .state_root");
  command->add_option("--from", blocks->from, "Start with this block (default: the next head)")->type_name("NUMBER");
  command->add_flag_callback(
      "--no-follow", [blocks] { blocks->follow = false; }, "End at the head; without --from, show the last ten");
  Runs(line, command, blocks, RunBlocks);

  const auto add_paging = [](CLI::App* list, ListArgs& args) {
    list->add_option("--limit", args.limit, "Stop after so many and say where to go on (default: all)")->type_name("N");
    list->add_option("--start", args.start, "The hashed key to start from")->type_name("HASH")->check(IsHash());
    list->add_option("--page-size", args.page_size, "Entries a message (default 1000)")
        ->type_name("N")
        ->check(CLI::Range(1U, 10000U).description(""));
  };
  auto accounts = std::make_shared<ListArgs>();
  command = AddReader(line, "accounts", "List all accounts in the order of their hashed addresses; JSON is one a line",
                      "accounts --limit 20\naccounts --at 100 -o json > accounts.jsonl");
  add_paging(command, *accounts);
  Runs(line, command, accounts, RunAccounts);

  auto slots = std::make_shared<ListArgs>();
  command =
      AddReader(line, "slots", "List all slots of an account in the order of their hashed keys; JSON is one a line",
                "slots 0x00000000219ab540356cbb839cbe05303d7705fa --limit 20");
  Positional(command, "ADDRESS", slots->address, kAddressHelp)->required()->check(IsAddress());
  add_paging(command, *slots);
  Runs(line, command, slots, RunSlots);
}

void AddWriteCommands(CommandLine& line) {
  auto apply = std::make_shared<ApplyArgs>();
  CLI::App* command = Add(line, "apply", "Apply one or a few blocks and show what each gave",
                          "apply block.json\napply --no-check - < blocks.jsonl\n"
                          "apply - <<< '{\"number\": 1, \"changes\": {\"0x00000000219ab540356cbb839cbe05303d7705fa\": "
                          "{\"balance\": \"0x1\"}}}'");
  Positional(command, "FILE", apply->file, kBlocksFile)->required();
  AddBlockOptions(command, apply->options);
  Runs(line, command, apply, RunApply);

  auto import = std::make_shared<ApplyArgs>();
  command =
      Add(line, "import", "Apply many blocks, or a genesis, as fast as the daemon can; goes on where it was cut off",
          "import genesis_mainnet.json.gz\nimport blocks.jsonl.gz");
  Positional(command, "FILE", import->file, kBlocksFile)->required();
  AddBlockOptions(command, import->options);
  Runs(line, command, import, RunImport);

  auto compute = std::make_shared<ComputeRootArgs>();
  command = AddReader(line, "compute-root", "The state root that changes would give on top of --at; nothing is applied",
                      "compute-root block.json --at 100\n"
                      "compute-root - <<< '{\"0x00000000219ab540356cbb839cbe05303d7705fa\": {\"nonce\": 7}}'");
  Positional(command, "FILE", compute->file, "JSON of one block or of its changes; - is standard input")->required();
  command->add_flag("--keep-empty-accounts", compute->keep_empty_accounts, "As of apply");
  command->add_flag_callback(
      "--no-check", [compute] { compute->check_root = false; }, "Do not compare with the state root of the input");
  Runs(line, command, compute, RunComputeRoot);

  auto rollback = std::make_shared<RollbackArgs>();
  command = Add(line, "rollback", "Make a served block the head again; asks first on a terminal",
                "rollback --to 100\nrollback --to hash:0x4ea2... --yes");
  command
      ->add_option_function<std::string>(
          "--to", [rollback](const std::string& text) { rollback->to = ParseAt(text).value(); },
          "NUMBER, HASH (of a block or a state root), hash:0x... or root:0x...")
      ->required()
      ->type_name("BLOCK")
      ->check(IsBlock());
  command->add_flag("--yes,-y", rollback->yes, "Do not ask");
  Runs(line, command, rollback, RunRollback);
}

void AddAdminCommands(CommandLine& line) {
  Runs(line, Add(line, "status", "How the daemon is: head, what is durable, queue, sizes", "status\nstatus -o json"),
       RunStatus);

  Runs(line, Add(line, "metrics", "Latencies and rates of the last minute, sizes, caches", "metrics\nmetrics -o json"),
       RunMetrics);

  auto health = std::make_shared<HealthArgs>();
  CLI::App* command = Add(line, "health", "Ask grpc.health.v1; exit code 0 when serving, 1 when not", "health");
  Positional(command, "SERVICE", health->service, "One service, as mptd.v1.StateService (default: the daemon)");
  Runs(line, command, health, RunHealth);

  auto doctor = std::make_shared<DoctorArgs>();
  command = Add(line, "doctor", "Say what is wrong with the daemon and what to do; exit code 1 warning, 2 failed",
                "doctor\ndoctor -o json\ndoctor --metrics-url http://10.0.0.5:7301/metrics");
  command->add_option("--metrics-url", doctor->metrics_url, "Where /metrics is (default: as the daemon is configured)")
      ->type_name("URL")
      ->check(Check(ParseHttpUrl, "URL"));
  Runs(line, command, doctor, RunDoctor);

  Runs(line, Add(line, "flush", "Write the queue to the tables", "flush"), RunFlush);

  AddCheckpointCommands(line);

  auto prune = std::make_shared<PruneArgs>();
  command = Add(line, "prune", "Drop the history of old blocks", "prune --keep 128");
  command->add_option("--keep", prune->keep, "How many of the newest blocks stay served")->required()->type_name("N");
  Runs(line, command, prune, RunPrune);

  auto rotate = std::make_shared<RotateKeyArgs>();
  command = Add(line, "rotate-key", "Wrap the data keys by the master key as it is now; blocks and reads go on",
                "rotate-key\nrotate-key --data-key\nrotate-key --data-key --rewrite");
  command->add_flag("--data-key", rotate->data_key, "Encrypt the files that are made from now on with a new data key");
  command->add_flag("--rewrite", rotate->rewrite, "Compact all tables, so that the files that are there get it too");
  Runs(line, command, rotate, RunRotateKey);

  auto check = std::make_shared<CheckArgs>();
  command =
      Add(line, "check",
          "Recompute every trie from the tables, or compare all checksums of a stopped daemon's data; exit code 1 "
          "when something differs",
          "check\ncheck /var/lib/mptd/data\ncheck /var/lib/mptd/data --repair\n"
          "check /var/lib/mptd/data --encryption-key-file /etc/mptd/master.key");
  CLI::Option* folder = Positional(command, "DIR", check->directory, "A data folder or checkpoint on this machine");
  command->add_flag("--repair", check->repair, "Move a damaged change log aside where the tables are whole")
      ->needs(folder);
  for (CLI::Option* option :
       AddMasterKeyOptions(command, check->key, "The master key's file, when the data is encrypted")) {
    option->needs(folder);
  }
  Runs(line, command, check, RunCheck);

  auto level = std::make_shared<LogLevelArgs>();
  command =
      Add(line, "log-level", "Change how much the daemon logs", "log-level debug\nlog-level trace --module storage");
  Positional(command, "LEVEL", level->level, "trace, debug, info, warn, error, critical or off")
      ->required()
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "critical", "off"}).description(""));
  command->add_option("--module", level->module, "Only this module")->type_name("NAME");
  Runs(line, command, level, RunLogLevel);

  Runs(line,
       Add(line, "config", "Show the daemon's configuration, where each value comes from, and what a reload can change",
           "config\nconfig -o json"),
       RunConfig);
  Runs(line,
       Add(line, "reload-config",
           "Have the daemon read its settings anew; say what changed and what waits for a restart",
           "reload-config\nreload-config -o json"),
       RunReloadConfig);
  Runs(line, Add(line, "version", "Print the version of mptctl", "version"), RunVersion);
}

}  // namespace mptd::cli
