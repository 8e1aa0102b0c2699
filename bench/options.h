// The command line of mptd-bench. Plain values.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>

#include "bench/workload.h"
#include "core/engine/engine.h"

namespace mptd::bench {

enum class TargetKind {
  kEngine,  // in this process
  kUnix,    // a daemon that is started for the run, over a unix socket
  kTcp,     // the same over TCP on the loopback
};

// How the state that the blocks go on top of is made.
enum class PreloadKind {
  kBlocks,
  kImport,  // as a sorted snapshot; only in this process
  kBoth,    // by blocks, then again by import, to compare
};

struct BenchOptions {
  WorkloadSpec workload;
  TargetKind target = TargetKind::kEngine;
  EngineOptions engine;  // `data_dir` is a folder of the run's own inside the one that was given
  std::string preset;    // of the daemon's settings; empty for none
  // The daemon's keys that were asked for. What they are, and all others without a preset, `engine` says.
  std::set<std::string, std::less<>> given;
  std::string mptd;         // the daemon's program, for kUnix, kTcp and `kill`
  std::string self;         // this program
  std::string serve_empty;  // an address: only be the server of bench/empty_server.h
  PreloadKind preload = PreloadKind::kBlocks;
  uint64_t blocks = 300;
  uint64_t warmup = 0;
  uint64_t reads = 200'000;
  uint64_t proofs = 5000;
  uint64_t root_calls = 200;    // ComputeStateRoot
  uint64_t beside_blocks = 50;  // applied beside a reader
  bool kill = true;             // a daemon whose queue is full
  bool settle = false;          // close and open again after the preload
  bool reuse = false;
  bool keep = false;
  bool json = false;
  bool quiet = false;
};

// What the program is to do, or nullopt and the exit code when there is nothing to do (help, wrong usage: both
// printed).
std::optional<BenchOptions> ParseOptions(int argc, char** argv, int& exit_code);

}  // namespace mptd::bench
