#include "core/rlp.h"

#include <bit>
#include <vector>

#include "absl/strings/str_format.h"

namespace mptd::rlp {
namespace {

// First bytes of the five forms.
constexpr uint8_t kShortString = 0x80;  // 0..55 bytes of string follow
constexpr uint8_t kLongString = 0xb8;   // 1..8 bytes of length, then the string
constexpr uint8_t kShortList = 0xc0;
constexpr uint8_t kLongList = 0xf8;
constexpr size_t kMaxShort = 55;

size_t ByteLength(uint64_t value) { return (static_cast<size_t>(std::bit_width(value)) + 7) / 8; }

bool IsSingleByte(BytesView payload) { return payload.size() == 1 && static_cast<uint8_t>(payload[0]) < kShortString; }

// `short_form` and `long_form` are the first bytes for strings or for lists.
void AppendHeader(Bytes& out, size_t payload_size, uint8_t short_form, uint8_t long_form) {
  if (payload_size <= kMaxShort) {
    out.push_back(static_cast<char>(short_form + payload_size));
    return;
  }
  const size_t length_bytes = ByteLength(payload_size);
  out.push_back(static_cast<char>(long_form + length_bytes - 1));
  for (size_t i = length_bytes; i-- > 0;) out.push_back(static_cast<char>(payload_size >> (8 * i)));
}

absl::Status Truncated(size_t want, size_t have) {
  return absl::InvalidArgumentError(absl::StrFormat("RLP: an item of %d bytes, but only %d are left", want, have));
}

// The payload size of a long form, whose length takes `length_bytes` after the first byte of `input`.
absl::StatusOr<uint64_t> ReadLongSize(BytesView input, size_t length_bytes) {
  if (input.size() < 1 + length_bytes) return Truncated(1 + length_bytes, input.size());
  if (input[1] == '\0') return absl::InvalidArgumentError("RLP: a length with a leading zero byte");
  uint64_t size = 0;
  for (size_t i = 1; i <= length_bytes; ++i) size = size << 8 | static_cast<uint8_t>(input[i]);
  if (size <= kMaxShort) return absl::InvalidArgumentError("RLP: the long form for at most 55 bytes");
  return size;
}

}  // namespace

size_t HeaderSize(size_t payload_size) { return payload_size <= kMaxShort ? 1 : 1 + ByteLength(payload_size); }

size_t StringSize(BytesView payload) { return IsSingleByte(payload) ? 1 : HeaderSize(payload.size()) + payload.size(); }

void AppendString(Bytes& out, BytesView payload) {
  if (!IsSingleByte(payload)) AppendHeader(out, payload.size(), kShortString, kLongString);
  out.append(payload);
}

void AppendUint(Bytes& out, uint64_t value) {
  if (value != 0 && value < kShortString) {
    out.push_back(static_cast<char>(value));
    return;
  }
  const size_t size = ByteLength(value);
  out.push_back(static_cast<char>(kShortString + size));
  for (size_t i = size; i-- > 0;) out.push_back(static_cast<char>(value >> (8 * i)));
}

void AppendListHeader(Bytes& out, size_t payload_size) { AppendHeader(out, payload_size, kShortList, kLongList); }

absl::StatusOr<Item> Read(BytesView& input) {
  if (input.empty()) return absl::InvalidArgumentError("RLP: no item where one is expected");
  const auto first = static_cast<uint8_t>(input[0]);
  size_t header = 1;
  uint64_t size = 0;
  if (first < kShortString) {
    header = 0;
    size = 1;
  } else if (first < kLongString || (first >= kShortList && first < kLongList)) {
    size = first - (first < kShortList ? kShortString : kShortList);
  } else {
    const size_t length_bytes = first - (first < kShortList ? kLongString : kLongList) + 1U;
    const absl::StatusOr<uint64_t> long_size = ReadLongSize(input, length_bytes);
    if (!long_size.ok()) return long_size.status();
    header = 1 + length_bytes;
    size = *long_size;
  }
  if (size > input.size() - header) return Truncated(size, input.size() - header);

  Item item{first >= kShortList, input.substr(header, size), input.substr(0, header + size)};
  if (header == 1 && !item.is_list && IsSingleByte(item.payload)) {
    return absl::InvalidArgumentError("RLP: a single byte below 0x80 with a header");
  }
  input.remove_prefix(item.encoded.size());
  return item;
}

absl::StatusOr<Item> ReadOnly(BytesView input) {
  absl::StatusOr<Item> item = Read(input);
  if (item.ok() && !input.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat("RLP: %d bytes after the item", input.size()));
  }
  return item;
}

absl::StatusOr<uint64_t> ToUint(const Item& item) {
  if (item.is_list) return absl::InvalidArgumentError("RLP: a list where an integer is expected");
  if (item.payload.size() > 8) {
    return absl::InvalidArgumentError(
        absl::StrFormat("RLP: an integer of %d bytes where at most 8 fit", item.payload.size()));
  }
  if (!item.payload.empty() && item.payload[0] == '\0') {
    return absl::InvalidArgumentError("RLP: an integer with a leading zero byte");
  }
  uint64_t value = 0;
  for (const char c : item.payload) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

absl::Status Validate(BytesView input, int max_depth) {
  const absl::StatusOr<Item> whole = ReadOnly(input);
  if (!whole.ok()) return whole.status();
  // What is left of every list that is open. Not recursion: the depth comes from the input.
  std::vector<BytesView> open;
  absl::StatusOr<Item> item = whole;
  while (true) {
    if (item->is_list) {
      if (max_depth < 0 || open.size() >= static_cast<size_t>(max_depth)) {
        return absl::InvalidArgumentError(absl::StrFormat("RLP: more than %d lists inside each other", max_depth));
      }
      open.push_back(item->payload);
    }
    while (!open.empty() && open.back().empty()) open.pop_back();
    if (open.empty()) return absl::OkStatus();
    item = Read(open.back());
    if (!item.ok()) return item.status();
  }
}

}  // namespace mptd::rlp
