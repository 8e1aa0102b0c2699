#include "storage/log_format.h"

#include <bit>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "absl/strings/str_format.h"

namespace mptd::storage {
namespace {

static_assert(std::endian::native == std::endian::little, "the log is written in the machine's order");
static_assert(kLogFormatVersion == 1 && kSegmentHeaderBytes == 32 && kRecordHeaderBytes == 40,
              "these are on disk and never change");

constexpr size_t kNameDigits = 20;
constexpr std::string_view kNameEnd = ".log";

template <typename Int>
void Put(char* to, Int value) {
  std::memcpy(to, &value, sizeof(value));
}

template <typename Int>
Int Take(const char* from) {
  Int value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

}  // namespace

std::string SegmentName(uint64_t first_lsn) { return absl::StrFormat("%020d%s", first_lsn, kNameEnd); }

std::optional<uint64_t> ParseSegmentName(std::string_view name) {
  if (name.size() != kNameDigits + kNameEnd.size() || !name.ends_with(kNameEnd)) return std::nullopt;
  uint64_t lsn = 0;
  for (const char digit : name.substr(0, kNameDigits)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    const auto value = static_cast<uint64_t>(digit - '0');
    if (lsn > (UINT64_MAX - value) / 10) return std::nullopt;
    lsn = lsn * 10 + value;
  }
  if (lsn == 0) return std::nullopt;
  return lsn;
}

std::array<char, kSegmentHeaderBytes> EncodeSegmentHeader(uint64_t salt) {
  std::array<char, kSegmentHeaderBytes> bytes{};
  Put(&bytes[0], kLogMagic);
  Put(&bytes[8], kLogFormatVersion);
  Put(&bytes[16], salt);
  Put(&bytes[24], static_cast<uint64_t>(XXH3_64bits(bytes.data(), 24)));
  return bytes;
}

absl::StatusOr<uint64_t> DecodeSegmentHeader(std::string_view bytes) {
  if (bytes.size() < kSegmentHeaderBytes || Take<uint64_t>(&bytes[0]) != kLogMagic ||
      Take<uint64_t>(&bytes[24]) != XXH3_64bits(bytes.data(), 24)) {
    return absl::DataLossError("the segment header is damaged");
  }
  if (const auto version = Take<uint32_t>(&bytes[8]); version > kLogFormatVersion) {
    return absl::FailedPreconditionError(
        absl::StrFormat("written by a newer mptd (change log format %d, this program reads up to %d); upgrade", version,
                        kLogFormatVersion));
  }
  return Take<uint64_t>(&bytes[16]);
}

uint64_t HashPayload(std::string_view payload, uint64_t salt) {
  return XXH3_64bits_withSeed(payload.data(), payload.size(), salt);
}

std::array<char, kRecordHeaderBytes> EncodeRecordHeader(const RecordHeader& header, uint64_t salt) {
  std::array<char, kRecordHeaderBytes> bytes{};
  Put(&bytes[8], header.payload_hash);
  Put(&bytes[16], header.payload_bytes);
  Put(&bytes[24], header.lsn);
  Put(&bytes[32], header.durable_lsn);
  Put(&bytes[0], static_cast<uint64_t>(XXH3_64bits_withSeed(&bytes[8], kRecordHeaderBytes - 8, salt)));
  return bytes;
}

std::optional<RecordHeader> DecodeRecordHeader(std::string_view bytes, uint64_t salt) {
  if (bytes.size() < kRecordHeaderBytes) return std::nullopt;
  if (Take<uint64_t>(&bytes[0]) != XXH3_64bits_withSeed(&bytes[8], kRecordHeaderBytes - 8, salt)) return std::nullopt;
  RecordHeader header;
  header.payload_hash = Take<uint64_t>(&bytes[8]);
  header.payload_bytes = Take<uint32_t>(&bytes[16]);
  header.lsn = Take<uint64_t>(&bytes[24]);
  header.durable_lsn = Take<uint64_t>(&bytes[32]);
  if (header.payload_bytes > kMaxPayloadBytes || header.lsn == 0) return std::nullopt;
  return header;
}

}  // namespace mptd::storage
