#include "bench/options.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include "bench/daemon_settings.h"

namespace mptd::bench {
namespace {

template <typename T>
CLI::Option* AddWord(CLI::App& app, const std::string& name, T& value, const std::map<std::string, T>& words,
                     const std::string& help) {
  return app.add_option(name, value, help)->transform(CLI::CheckedTransformer(words).description(""))->default_str("");
}

void AddWorkload(CLI::App& app, BenchOptions& out) {
  WorkloadSpec& workload = out.workload;
  AddWord<Profile>(app, "--profile", workload.profile,
                   {{"accounts", Profile::kAccounts},
                    {"one-contract", Profile::kOneContract},
                    {"many-contracts", Profile::kManyContracts}},
                   "accounts (the default), one-contract or many-contracts");
  app.add_option("-n,--accounts", workload.accounts, "Accounts that are preloaded")->check(CLI::PositiveNumber);
  app.add_option("-u,--updates", workload.updates,
                 "What a block changes: accounts, slots (one-contract) or contracts, two slots each (many-contracts)")
      ->check(CLI::PositiveNumber);
  app.add_option("-b,--blocks", out.blocks, "Blocks that are measured")->check(CLI::PositiveNumber);
  app.add_option("--slots", workload.slots, "one-contract: its slots")->check(CLI::PositiveNumber);
  app.add_option("--contracts", workload.contracts, "many-contracts: how many")->check(CLI::PositiveNumber);
  app.add_option("--contract-slots", workload.contract_slots, "many-contracts: slots of each")
      ->check(CLI::PositiveNumber);
  app.add_option("--preload-block", workload.preload_block, "Accounts or slots in a block of the preload")
      ->check(CLI::PositiveNumber);
  AddWord<PreloadKind>(
      app, "--preload", out.preload,
      {{"blocks", PreloadKind::kBlocks}, {"import", PreloadKind::kImport}, {"both", PreloadKind::kBoth}},
      "blocks (the default), import of a sorted snapshot, or both, one after the other");
  app.add_option("--warmup", out.warmup, "Blocks before those that count; as many more take their changes back");
  app.add_option("--reads", out.reads, "Reads in a pass; 0 for no reads");
  app.add_option("--proofs", out.proofs, "Proofs in a pass; 0 for no proofs");
  app.add_option("--root-calls", out.root_calls, "Calls of ComputeStateRoot a caller; 0 for none");
  app.add_option("--beside-blocks", out.beside_blocks, "Blocks that are applied beside a reader; 0 for none");
}

// Options that are settings of a daemon, with their keys.
using DaemonKeys = std::vector<std::pair<const CLI::Option*, std::string>>;

DaemonKeys AddEngine(CLI::App& app, EngineOptions& engine) {
  DaemonKeys keys;
  keys.emplace_back(AddWord<Durability>(
                        app, "--durability", engine.durability,
                        {{"sync", Durability::kSync}, {"batched", Durability::kBatched}, {"async", Durability::kAsync}},
                        "sync, batched (the default) or async"),
                    "persistence.mode");
  const auto add_bytes = [&](const std::string& name, uint64_t& bytes, const std::string& help,
                             const std::string& key) {
    keys.emplace_back(app.add_option(name, bytes, help)->transform(CLI::AsSizeValue(false)), key);
  };
  add_bytes("--node-cache-bytes", engine.node_cache_bytes, "Memory for trie nodes", "cache.node_cache_bytes");
  add_bytes("--row-cache-bytes", engine.row_cache_bytes, "Memory for accounts and slots", "cache.row_cache_bytes");
  add_bytes("--block-cache-bytes", engine.block_cache_bytes, "Memory for RocksDB's blocks", "cache.block_cache_bytes");
  add_bytes("--history-memory-bytes", engine.history_memory_bytes, "Memory for undo records",
            "cache.history_memory_bytes");
  add_bytes("--queue-bytes", engine.queue_bytes, "Memory for blocks that are not in the tables yet",
            "persistence.queue_bytes");
  keys.emplace_back(app.add_option("--flush-blocks", engine.flush_blocks, "Blocks between two flushes"),
                    "persistence.flush_blocks");
  keys.emplace_back(app.add_option("--keep-blocks", engine.keep_blocks, "Blocks served behind the head"),
                    "pruning.keep_recent_states");
  keys.emplace_back(
      app.add_option("--worker-threads", engine.worker_threads, "Threads for one block; 0 for one a core"),
      "performance.worker_threads");
  app.add_option("--encryption-key-file", engine.encryption_key.file,
                 "Encrypt the data with the master key in this file");
  return keys;
}

// Empty when the daemon will take the preset, otherwise what is wrong.
std::string CheckPreset(BenchOptions& options) {
  if (options.preset.empty()) return "";
  if (options.target == TargetKind::kEngine) return "--preset is of a daemon: add --target unix or --target tcp";
  return std::string(TakePreset(options).message());
}

}  // namespace

std::optional<BenchOptions> ParseOptions(int argc, char** argv, int& exit_code) {
  BenchOptions out;
  CLI::App app("Measures mptd on the workload of bench/peers/README.md.", "mptd-bench");
  app.option_defaults()->always_capture_default();
  AddWorkload(app, out);
  DaemonKeys keys = AddEngine(app, out.engine);
  std::string data_dir = "./mptd-bench-data";
  std::string output = "table";
  app.add_option("--data-dir", data_dir, "A folder for the data, which are put into mptd-bench inside of it");
  AddWord<TargetKind>(app, "--target", out.target,
                      {{"engine", TargetKind::kEngine}, {"unix", TargetKind::kUnix}, {"tcp", TargetKind::kTcp}},
                      "engine (in this process, the default), or a daemon over unix or tcp");
  out.self = std::filesystem::read_symlink("/proc/self/exe").string();
  out.mptd = std::filesystem::path(out.self).replace_filename("mptd").string();
  app.add_option("--preset", out.preset,
                 "A preset of the daemon; the options above win over it, their defaults do not");
  app.add_option("--mptd", out.mptd, "The daemon's program");
  app.add_flag("!--no-kill", out.kill, "Do not kill a daemon whose queue is full, to measure the restart after it");
  app.add_flag("--settle", out.settle, "Close and open again after the preload, as the peers do");
  keys.emplace_back(
      app.add_flag("--warm-up", out.engine.warm_up,
                   "Read nodes into memory after each opening, as daemons do; blocks in this process wait for that"),
      "cache.warm_up");
  app.add_flag("--reuse", out.reuse,
               "Take the preload that an earlier run with --keep left, if it can be rolled back to");
  app.add_flag("--keep", out.keep, "Leave the data in their folder");
  app.add_option("-o,--output", output, "table or json")->check(CLI::IsMember({"table", "json"}));
  app.add_option("--serve-empty", out.serve_empty)->group("");
  app.add_flag("-q,--quiet", out.quiet, "Do not say on standard error what is being done");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    exit_code = app.exit(error) == 0 ? 0 : 2;
    return std::nullopt;
  }
  if (out.preload != PreloadKind::kBlocks && (out.target != TargetKind::kEngine || out.reuse)) {
    std::fputs("mptd-bench: --preload import works with --target engine and without --reuse\n", stderr);
    exit_code = 2;
    return std::nullopt;
  }
  out.json = output == "json";
  out.engine.data_dir = data_dir + "/mptd-bench";
  for (const auto& [option, key] : keys) {
    if (option->count() > 0) out.given.insert(key);
  }
  if (const std::string wrong = CheckPreset(out); !wrong.empty()) {
    std::fprintf(stderr, "mptd-bench: %s\n", wrong.c_str());
    exit_code = 2;
    return std::nullopt;
  }
  return out;
}

}  // namespace mptd::bench
