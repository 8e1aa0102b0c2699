#include "cli/at.h"

#include "absl/strings/str_format.h"
#include "cli/values.h"
#include "core/hex.h"

namespace mptd::cli {
namespace {

constexpr size_t kHashDigits = 64;

absl::Status BadAt(std::string_view text, std::string_view why) {
  return absl::InvalidArgumentError(absl::StrFormat(
      "\"%s\" names no block (%s); write latest, a number, a 32-byte block hash or state root, hash:0x... "
      "or root:0x...",
      text, why));
}

absl::StatusOr<At> WithHash(At::Kind kind, std::string_view whole, std::string_view digits) {
  absl::StatusOr<std::string> bytes = HashBytes(digits);
  if (!bytes.ok()) return BadAt(whole, "it needs 32 bytes of hex");
  return At{.kind = kind, .number = 0, .bytes = *std::move(bytes)};
}

}  // namespace

absl::StatusOr<At> ParseAt(std::string_view text) {
  if (text == "latest") return At{};
  if (text.starts_with("hash:")) return WithHash(At::Kind::kHash, text, text.substr(5));
  if (text.starts_with("root:")) return WithHash(At::Kind::kRoot, text, text.substr(5));
  const std::string_view digits = text.starts_with("0x") ? text.substr(2) : text;
  if (digits.size() == kHashDigits) return WithHash(At::Kind::kHashOrRoot, text, text);
  const absl::StatusOr<uint64_t> number = ParseUint64(text);
  if (!number.ok()) return BadAt(text, "neither a number nor 32 bytes of hex");
  return At{.kind = At::Kind::kNumber, .number = *number, .bytes = {}};
}

v1::BlockRef ToBlockRef(const At& at) {
  v1::BlockRef ref;
  switch (at.kind) {
    case At::Kind::kLatest:
      ref.set_latest(true);
      break;
    case At::Kind::kNumber:
      ref.set_number(at.number);
      break;
    case At::Kind::kHash:
    case At::Kind::kHashOrRoot:
      ref.set_hash(at.bytes);
      break;
    case At::Kind::kRoot:
      ref.set_state_root(at.bytes);
      break;
  }
  return ref;
}

}  // namespace mptd::cli
