// Recursive Length Prefix encoding (Yellow Paper, appendix B).
// Writers append to a buffer that the caller owns. The reader is strict: it takes canonical encodings only, never reads
// outside its input and returns views into it. No state is shared; safe from any thread.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/types.h"

namespace mptd::rlp {

// Sizes of the encodings, header included.
size_t StringSize(BytesView payload);
size_t HeaderSize(size_t payload_size);  // of a list, or of a string of 2 bytes and more

void AppendString(Bytes& out, BytesView payload);
void AppendUint(Bytes& out, uint64_t value);
// The header of a list whose items, already encoded, take `payload_size` bytes.
void AppendListHeader(Bytes& out, size_t payload_size);

struct Item {
  bool is_list = false;
  BytesView payload;  // without the header
  BytesView encoded;  // with it
};

// Takes the first item off `input`. INVALID_ARGUMENT says what is not canonical: a truncated payload, a length with
// leading zeros, a long form where the short one fits, a single byte below 0x80 with a header.
absl::StatusOr<Item> Read(BytesView& input);
// As Read; nothing may follow the item.
absl::StatusOr<Item> ReadOnly(BytesView input);
// A canonical unsigned integer of at most 8 bytes.
absl::StatusOr<uint64_t> ToUint(const Item& item);
// Walks nested items down to `max_depth` lists; INVALID_ARGUMENT when anything inside is not canonical.
absl::Status Validate(BytesView input, int max_depth = 1024);

}  // namespace mptd::rlp
