#include "core/import/code_rows.h"

#include "absl/strings/str_format.h"
#include "core/hex.h"
#include "core/keccak.h"

namespace mptd {
namespace {

constexpr size_t kRememberedBytes = 32u << 20;

}  // namespace

absl::Status CodeRows::Add(const Hash& hash, BytesView code) {
  const auto [found, fresh] = code_.try_emplace(hash);
  if (!fresh && found->second == code) return absl::OkStatus();
  if (const Hash actual = Keccak256(code); actual != hash) {
    if (fresh) code_.erase(found);
    return absl::InvalidArgumentError(
        absl::StrFormat("its code has hash %s, its code hash is %s", ToHex(actual), ToHex(hash)));
  }
  found->second.assign(code);
  ++rows_;
  bytes_ += code.size();
  return bytes_ >= kRememberedBytes ? Cut() : absl::OkStatus();
}

absl::Status CodeRows::Cut() {
  if (code_.empty()) return absl::OkStatus();
  RowPiece piece;
  piece.table = storage::Table::kCode;
  piece.bytes.reserve(bytes_ + code_.size() * Hash::kSize);
  for (const auto& [hash, code] : code_) {
    piece.places.push_back(
        {static_cast<uint32_t>(piece.bytes.size()), Hash::kSize, static_cast<uint32_t>(code.size())});
    piece.bytes.append(hash.view()).append(code);
  }
  code_.clear();
  bytes_ = 0;
  return writer_.Write(std::move(piece));
}

}  // namespace mptd
