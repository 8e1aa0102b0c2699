// Blocks and changes as JSON, to the requests that the daemon takes. README.md of this folder describes the shapes.
// Pure functions but for reading the input; safe from any thread, one thread an input.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/input_file.h"
#include "mptd/v1/state.pb.h"
#include "nlohmann/json.hpp"

namespace mptd::cli {

struct BlockOptions {
  // Send the input's `state_root` or `expected_root`, so that the daemon refuses a block that gives another.
  bool check_roots = true;
  // For every block, whatever the input says.
  bool reorganize = false;
  bool keep_empty_accounts = false;
  // Of a genesis that does not name its own; 32 raw bytes or empty.
  uint64_t genesis_number = 0;
  std::string genesis_hash;
};

// A block and where it stands in its input ("blocks.json:12: blocks[3]"), for messages.
struct InputBlock {
  v1::ApplyStateChangesRequest request;
  std::string where;
};

// Calls `sink` with each block of the input, in order, until it returns an error, which is then returned. Takes one
// block, an array of them, an object with `blocks`, JSON lines, or a genesis (`accounts`, or go-ethereum's `alloc`).
// INVALID_ARGUMENT names file, line and path of what is wrong; blocks before it have been handed out.
// `warn` gets one line for each unknown member of a block, once a name.
absl::Status ReadBlocks(InputFile& input, const BlockOptions& options,
                        const std::function<absl::Status(InputBlock)>& sink,
                        const std::function<void(const std::string&)>& warn);

// Changes without a block to be in, for ComputeStateRoot.
struct ChangeSet {
  google::protobuf::RepeatedPtrField<v1::AccountChange> changes;
  bool keep_empty_accounts = false;
  std::optional<std::string> expected_root;  // 32 raw bytes
};

// One block, one genesis, or the bare object that a block's `changes` holds.
absl::StatusOr<ChangeSet> ReadChangeSet(InputFile& input);

// The pieces, with paths relative to `value` in their messages (core/errors.h).
absl::Status ParseBlock(const nlohmann::json& value, const BlockOptions& options, v1::ApplyStateChangesRequest& out);
absl::Status ParseAccountChange(const nlohmann::json& value, v1::AccountChange& out);

}  // namespace mptd::cli
