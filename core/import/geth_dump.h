// A state as go-ethereum dumps it, one JSON object a line: the root, then every account in the order of hashed
// addresses.
//
//   {"root":"0x…"}
//   {"balance":"1000","nonce":1,"root":"0x…","codeHash":"0x…","code":"0x…","storage":{"0x…":"…"},"address":"0x…","key":"0x…"}
//
// Both of its commands are read. `geth dump --iterative` writes slots by their keys, with the bytes of their values,
// and an account's address where it knows it; `geth snapshot dump` writes slots by their hashed keys, with values in
// RLP, and no addresses. Nothing in a dump says which it is: the storage roots of the first accounts that have storage
// do.
//
// Belongs to one thread. An account is in memory as a whole, as it stands in one line.
#pragma once

#include <cstdint>
#include <istream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/import/state_import.h"
#include "core/types.h"

namespace mptd {

struct DumpedAccount {
  ImportedAccount account;
  Bytes code;
  std::vector<std::pair<Hash, U256>> slots;  // by hashed key, in their order
};

class GethDump {
 public:
  // `name` stands in front of messages. `in` outlives this.
  GethDump(std::istream& in, std::string name);
  ~GethDump();
  GethDump(const GethDump&) = delete;
  GethDump& operator=(const GethDump&) = delete;

  // The state root in the first line. INVALID_ARGUMENT, here and below naming the line, when there is none.
  absl::StatusOr<Hash> ReadRoot();
  // The next account; false at the end. INVALID_ARGUMENT when a line is not an account, or lacks its code, its storage
  // or what the slots' keys are. FAILED_PRECONDITION when the slots, read in either way, do not give the storage root.
  absl::StatusOr<bool> Next(DumpedAccount& out);

 private:
  struct Slots {
    bool hashed_keys;
    bool rlp_values;
  };
  struct Line;

  absl::StatusOr<bool> ReadLine();
  absl::Status Wrong(std::string_view what) const;
  absl::Status TakeAccount(DumpedAccount& out);
  absl::Status TakeKey(DumpedAccount& out) const;
  absl::Status TakeCode(DumpedAccount& out) const;
  absl::Status TakeStorage(DumpedAccount& out);
  absl::StatusOr<std::vector<std::pair<Hash, U256>>> SlotsAs(Slots way) const;

  std::istream& in_;
  const std::string name_;
  uint64_t line_number_ = 0;
  std::string text_;
  const std::unique_ptr<Line> line_;  // what the text says
  // The ways in which all storage so far could be read, the likelier first.
  std::vector<Slots> ways_ = {{false, false}, {true, true}, {false, true}, {true, false}};
};

}  // namespace mptd
