// The lines of the audit log. Each is a JSON object that ends in the hash of the line before and in its own:
//
//   {"seq":7,"time":"2026-01-02T03:04:05.678Z","event":"block_applied",...,"prev":"<64 digits>","hash":"<64 digits>"}
//
// `hash` is the SHA-256 of the line up to `,"hash":`, so that it covers `prev` and with it every line before. The first
// line of all has zeros for `prev`. Never change any of this: logs are checked years later. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace mptd::security {

inline constexpr size_t kHashDigits = 64;

// Hexadecimal digits.
std::string Sha256Hex(std::string_view bytes);

struct AuditEntry {
  absl::Time time;
  std::string event;  // "block_applied", "rolled_back", "call", "refused", "started", ...
  std::string caller = {};
  std::string method = {};
  std::optional<uint64_t> block = {};
  std::string root = {};         // 0x...
  std::string code = {};         // "OK", "UNAUTHENTICATED", ...
  std::string reason = {};       // for people; cut after 1,000 bytes
  std::string peer = {};         // of who was refused: the connection's other end
  std::string certificate = {};  // and the certificate that was shown there
  std::string request_id = {};
};

// Where a chain has got to: the newest line's number and hash.
struct AuditHead {
  uint64_t seq = 0;  // 0: there is no line
  std::string hash = std::string(kHashDigits, '0');

  bool operator==(const AuditHead&) const = default;
};

// The line that follows `head`, without a newline; `head` is then that line.
std::string SealLine(const AuditEntry& entry, AuditHead& head);

struct SealedLine {
  uint64_t seq = 0;
  std::string prev;
  std::string hash;
  std::string event;
  // Of a line that tells of torn bytes before it: their hash, see TornEntry.
  std::string torn_hash;
};
// Nothing when the line is not one that SealLine has made, or is not as it was.
std::optional<SealedLine> OpenLine(std::string_view line);

// What is written after bytes that are no line: what a crash or a full disk has left of one. The chain goes on from the
// last whole line, and the hash of the bytes keeps them as they were found.
inline constexpr std::string_view kTornEvent = "torn";
AuditEntry TornEntry(absl::Time time, std::string_view torn);

}  // namespace mptd::security
