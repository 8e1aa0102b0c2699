// The bytes of the change log. Pure functions.
//
// On disk, never change (a new layout gets a new kLogFormatVersion). Little-endian; all offsets are multiples of 8.
//   segment "<first lsn, 20 digits>.log": segment header, records one behind the other, then bytes of no meaning
//   segment header   magic u64 | format version u32 | 0 u32 | salt u64 | XXH3-64 of what is before
//   record           XXH3-64 of the rest of this header, seeded with the salt u64
//                    XXH3-64 of the payload, seeded with the salt u64 | payload length u32 | 0 u32 | lsn u64
//                    lsn up to which the log was durable when the record was written u64
//                    payload | zeros up to a multiple of 8
//
// Every use of a segment file draws a new random salt. So bytes of an earlier use of the file, and record-like bytes
// that somebody put into a payload, never check out, and a used file can be used again without writing zeros over it
// first. The header has a checksum of its own so that looking for records at every offset costs a hash of 32 bytes
// each, and so that a record whose payload is damaged still tells how far the log was durable.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace mptd::storage {

inline constexpr uint32_t kLogFormatVersion = 1;
inline constexpr uint64_t kLogMagic = 0x31474f4c4454504d;  // "MPTDLOG1"
inline constexpr uint64_t kSegmentHeaderBytes = 32;
inline constexpr uint64_t kRecordHeaderBytes = 40;
inline constexpr uint64_t kMaxPayloadBytes = uint64_t{1} << 30;

struct RecordHeader {
  uint64_t payload_hash = 0;
  uint32_t payload_bytes = 0;
  uint64_t lsn = 0;  // 1 for the first record ever
  uint64_t durable_lsn = 0;
};

// What a record with that payload takes in a segment.
constexpr uint64_t RecordBytes(uint64_t payload_bytes) { return kRecordHeaderBytes + (payload_bytes + 7) / 8 * 8; }

std::string SegmentName(uint64_t first_lsn);
// nullopt when `name` is not that of a segment.
std::optional<uint64_t> ParseSegmentName(std::string_view name);

std::array<char, kSegmentHeaderBytes> EncodeSegmentHeader(uint64_t salt);
// The salt. DATA_LOSS when `bytes` does not begin with a segment header, FAILED_PRECONDITION when it has a newer
// version.
absl::StatusOr<uint64_t> DecodeSegmentHeader(std::string_view bytes);

uint64_t HashPayload(std::string_view payload, uint64_t salt);
std::array<char, kRecordHeaderBytes> EncodeRecordHeader(const RecordHeader& header, uint64_t salt);
// nullopt when `bytes` does not begin with a record header written with that salt.
std::optional<RecordHeader> DecodeRecordHeader(std::string_view bytes, uint64_t salt);

}  // namespace mptd::storage
