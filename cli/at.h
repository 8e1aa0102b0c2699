// Which block a command speaks of, as --at and --to write it. Pure functions; safe from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "mptd/v1/state.pb.h"

namespace mptd::cli {

struct At {
  enum class Kind { kLatest, kNumber, kHash, kRoot, kHashOrRoot };
  Kind kind = Kind::kLatest;
  uint64_t number = 0;  // of kNumber
  std::string bytes;    // 32 raw bytes of the others

  friend bool operator==(const At&, const At&) = default;
};

// latest | NUMBER (decimal or short 0x-hex) | 0x… or 64 hex digits (block hash or state root) | hash:0x… | root:0x…
// INVALID_ARGUMENT says what may be written.
absl::StatusOr<At> ParseAt(std::string_view text);

// The reference that names it. kHashOrRoot is taken as a hash; Session::Resolve asks the daemon which one it is.
v1::BlockRef ToBlockRef(const At& at);

}  // namespace mptd::cli
