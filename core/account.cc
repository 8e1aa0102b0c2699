#include "core/account.h"

#include <bit>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "core/rlp.h"

namespace mptd {
namespace {

// On disk, never change.
constexpr uint8_t kNonceSizeMask = 0x0f;
constexpr uint8_t kHasStorage = 0x10;
constexpr uint8_t kHasCode = 0x20;

static_assert(kNonceSizeMask == 0x0f && kHasStorage == 0x10 && kHasCode == 0x20);

// The longest encodings: a list header of 2 bytes, 9 for the nonce, 33 for each of the rest; and a flag byte, 8 for the
// nonce, 32 for each of the rest.
constexpr size_t kMaxRlp = 2 + 9 + 33 + 33 + 33;
constexpr size_t kMaxSlim = 1 + 8 + 32 + 32 + 32;

size_t ByteLength(uint64_t value) { return (static_cast<size_t>(std::bit_width(value)) + 7) / 8; }

// Both write at `to` and return the place after.
char* PutBytes(char* to, BytesView bytes) {
  std::memcpy(to, bytes.data(), bytes.size());
  return to + bytes.size();
}
char* PutUint(char* to, uint64_t value, size_t size) {
  for (size_t i = size; i-- > 0;) *to++ = static_cast<char>(value >> (8 * i));
  return to;
}

absl::Status Malformed(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrFormat("account: %s", what));
}

absl::StatusOr<Hash> ReadHash(BytesView& input, std::string_view field) {
  const absl::StatusOr<rlp::Item> item = rlp::Read(input);
  if (!item.ok()) return item.status();
  if (item->is_list || item->payload.size() != Hash::kSize) {
    return Malformed(absl::StrFormat("the %s is not a string of 32 bytes", field));
  }
  return Hash::FromView(item->payload);
}

absl::Status Corrupt(std::string_view what) { return absl::DataLossError(absl::StrFormat("slim account: %s", what)); }

}  // namespace

void AppendAccountRlp(Bytes& out, const Account& account) {
  // Written by hand and appended at once: every changed account of a block passes here. The payload always takes 68 to
  // 108 bytes, so its header is always 0xf8 and one byte.
  char buffer[kMaxRlp];
  char* to = buffer + 2;
  if (account.nonce != 0 && account.nonce < 0x80) {
    *to++ = static_cast<char>(account.nonce);
  } else {
    const size_t size = ByteLength(account.nonce);
    *to++ = static_cast<char>(0x80 + size);
    to = PutUint(to, account.nonce, size);
  }
  const BytesView balance = account.balance.minimal();
  if (balance.size() != 1 || static_cast<uint8_t>(balance[0]) >= 0x80) *to++ = static_cast<char>(0x80 + balance.size());
  to = PutBytes(to, balance);
  *to++ = static_cast<char>(0x80 + Hash::kSize);
  to = PutBytes(to, account.storage_root.view());
  *to++ = static_cast<char>(0x80 + Hash::kSize);
  to = PutBytes(to, account.code_hash.view());
  buffer[0] = static_cast<char>(0xf8);
  buffer[1] = static_cast<char>(to - buffer - 2);
  out.append(buffer, static_cast<size_t>(to - buffer));
}

absl::StatusOr<Account> DecodeAccountRlp(BytesView rlp) {
  const absl::StatusOr<rlp::Item> list = rlp::ReadOnly(rlp);
  if (!list.ok()) return list.status();
  if (!list->is_list) return Malformed("a string where a list of four is expected");
  BytesView rest = list->payload;
  Account out;

  const absl::StatusOr<rlp::Item> nonce_item = rlp::Read(rest);
  if (!nonce_item.ok()) return nonce_item.status();
  const absl::StatusOr<uint64_t> nonce = rlp::ToUint(*nonce_item);
  if (!nonce.ok()) return nonce.status();
  out.nonce = *nonce;

  const absl::StatusOr<rlp::Item> balance_item = rlp::Read(rest);
  if (!balance_item.ok()) return balance_item.status();
  if (balance_item->is_list) return Malformed("the balance is a list");
  const absl::StatusOr<U256> balance = U256::FromMinimal(balance_item->payload);
  if (!balance.ok()) return balance.status();
  out.balance = *balance;

  const absl::StatusOr<Hash> storage_root = ReadHash(rest, "storage root");
  if (!storage_root.ok()) return storage_root.status();
  out.storage_root = *storage_root;
  const absl::StatusOr<Hash> code_hash = ReadHash(rest, "code hash");
  if (!code_hash.ok()) return code_hash.status();
  out.code_hash = *code_hash;
  if (!rest.empty()) return Malformed("more than four items");
  return out;
}

void AppendSlimAccount(Bytes& out, const Account& account) {
  char buffer[kMaxSlim];
  const size_t nonce_size = ByteLength(account.nonce);
  auto flags = static_cast<uint8_t>(nonce_size);
  char* to = PutUint(buffer + 1, account.nonce, nonce_size);
  if (account.storage_root != kEmptyRoot) {
    flags |= kHasStorage;
    to = PutBytes(to, account.storage_root.view());
  }
  if (account.code_hash != kEmptyCodeHash) {
    flags |= kHasCode;
    to = PutBytes(to, account.code_hash.view());
  }
  to = PutBytes(to, account.balance.minimal());
  buffer[0] = static_cast<char>(flags);
  out.append(buffer, static_cast<size_t>(to - buffer));
}

Bytes SlimAccount(const Account& account) {
  Bytes out;
  AppendSlimAccount(out, account);
  return out;
}

absl::StatusOr<Account> DecodeSlimAccount(BytesView row) {
  if (row.empty()) return Corrupt("an empty row");
  const auto flags = static_cast<uint8_t>(row[0]);
  row.remove_prefix(1);
  const size_t nonce_size = flags & kNonceSizeMask;
  if (nonce_size > 8 || (flags & ~(kNonceSizeMask | kHasStorage | kHasCode)) != 0) {
    return Corrupt(absl::StrFormat("unknown flags 0x%02x", flags));
  }
  const size_t hashes = ((flags & kHasStorage) != 0 ? 1U : 0U) + ((flags & kHasCode) != 0 ? 1U : 0U);
  if (row.size() < nonce_size + hashes * Hash::kSize) return Corrupt("a truncated row");

  Account out;
  if (nonce_size != 0 && row[0] == '\0') return Corrupt("a nonce with a leading zero byte");
  for (size_t i = 0; i < nonce_size; ++i) out.nonce = out.nonce << 8 | static_cast<uint8_t>(row[i]);
  row.remove_prefix(nonce_size);
  if ((flags & kHasStorage) != 0) {
    out.storage_root = Hash::FromView(row);
    row.remove_prefix(Hash::kSize);
    if (out.storage_root == kEmptyRoot) return Corrupt("an empty storage root written out");
  }
  if ((flags & kHasCode) != 0) {
    out.code_hash = Hash::FromView(row);
    row.remove_prefix(Hash::kSize);
    if (out.code_hash == kEmptyCodeHash) return Corrupt("an empty code hash written out");
  }
  const absl::StatusOr<U256> balance = U256::FromMinimal(row);
  if (!balance.ok()) return Corrupt(std::string(balance.status().message()));
  out.balance = *balance;
  return out;
}

}  // namespace mptd
