// The change log without crashes, and what it says about damaged folders.
#include "storage/change_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <set>
#include <thread>

#include "absl/strings/str_format.h"
#include "storage/log_format.h"
#include "tests/storage/test_support.h"

namespace mptd::storage {
namespace {

using testing::HasSubstr;

using Records = std::map<uint64_t, std::string>;

ChangeLogOptions SmallSegments(const std::string& dir) {
  ChangeLogOptions options;
  options.dir = dir;
  options.segment_bytes = 4096;
  return options;
}

ChangeLog::Replay Into(Records& records) {
  return [&records](uint64_t lsn, std::string_view payload) {
    EXPECT_TRUE(records.empty() || records.rbegin()->first + 1 == lsn);
    records.emplace(lsn, payload);
    return absl::OkStatus();
  };
}

std::unique_ptr<ChangeLog> MustOpen(const ChangeLogOptions& options, uint64_t after_lsn, Records* records = nullptr) {
  Records ignored;
  auto log = ChangeLog::Open(options, after_lsn, Into(records != nullptr ? *records : ignored));
  EXPECT_TRUE(log.ok()) << log.status();
  return log.ok() ? *std::move(log) : nullptr;
}

// A payload that tells its number and has that many bytes.
std::string Payload(uint64_t number, size_t bytes) {
  std::string payload = absl::StrFormat("record %d ", number);
  payload.resize(bytes, static_cast<char>('a' + number % 26));
  return payload;
}

class ChangeLogTest : public testing::Test {
 protected:
  void Append(ChangeLog& log, size_t bytes) {
    const uint64_t number = log.last_lsn() + 1;
    const std::string payload = Payload(number, bytes);
    const absl::StatusOr<uint64_t> lsn = log.Append(payload);
    ASSERT_TRUE(lsn.ok()) << lsn.status();
    EXPECT_EQ(*lsn, number);
    EXPECT_EQ(log.last_lsn(), number);
    expected_[number] = payload;
  }

  std::vector<std::string> Segments() {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(options_.dir)) {
      if (ParseSegmentName(entry.path().filename().string())) names.push_back(entry.path().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  TempDir dir_;
  ChangeLogOptions options_ = SmallSegments(dir_ / "log");
  Records expected_;
};

TEST_F(ChangeLogTest, RecordsComeBackInOrder) {
  {
    const auto log = MustOpen(options_, 0);
    EXPECT_EQ(log->last_lsn(), 0u);
    for (const size_t bytes : {0, 1, 7, 8, 9, 100, 4000, 0, 5000, 20000, 3}) Append(*log, bytes);
    EXPECT_EQ(log->durable_lsn(), 0u);
    ASSERT_TRUE(log->Sync().ok());
    EXPECT_EQ(log->durable_lsn(), 11u);
  }
  Records records;
  const auto log = MustOpen(options_, 0, &records);
  EXPECT_EQ(records, expected_);
  EXPECT_EQ(log->last_lsn(), 11u);
  EXPECT_EQ(log->durable_lsn(), 11u);
  Append(*log, 10);
  EXPECT_EQ(log->last_lsn(), 12u);
}

TEST_F(ChangeLogTest, OnlyRecordsAfterTheGivenOneAreReplayed) {
  {
    const auto log = MustOpen(options_, 0);
    for (int i = 0; i < 20; ++i) Append(*log, 1000);
  }
  for (const uint64_t after : {0, 1, 3, 4, 19, 20}) {
    Records records;
    MustOpen(options_, after, &records);
    EXPECT_EQ(records, Records(expected_.upper_bound(after), expected_.end())) << after;
  }
}

TEST_F(ChangeLogTest, ManyShortLivesKeepEverything) {
  for (int life = 0; life < 12; ++life) {
    Records records;
    const auto log = MustOpen(options_, 0, &records);
    EXPECT_EQ(records, expected_);
    for (int i = 0; i < life % 4; ++i) Append(*log, 500);
  }
}

TEST_F(ChangeLogTest, NewRecordsAreNumberedAboveTheTables) {
  {
    const auto log = MustOpen(options_, 0);
    for (int i = 0; i < 10; ++i) Append(*log, 1000);
  }
  {
    const auto log = MustOpen(options_, 25);  // the tables are ahead of the log
    EXPECT_EQ(log->last_lsn(), 25u);
    EXPECT_EQ(log->durable_lsn(), 25u);
    expected_.clear();
    Append(*log, 100);
  }
  EXPECT_EQ(Segments().size(), 1u);
  Records records;
  MustOpen(options_, 25, &records);
  EXPECT_EQ(records, expected_);
}

TEST_F(ChangeLogTest, AnErrorOfTheReplayStopsTheOpening) {
  {
    const auto log = MustOpen(options_, 0);
    for (int i = 0; i < 3; ++i) Append(*log, 10);
  }
  int calls = 0;
  const auto log = ChangeLog::Open(options_, 0, [&calls](uint64_t lsn, std::string_view) {
    ++calls;
    return lsn == 2 ? absl::DataLossError("does not fit") : absl::OkStatus();
  });
  EXPECT_EQ(log.status(), absl::DataLossError("does not fit"));
  EXPECT_EQ(calls, 2);
}

TEST_F(ChangeLogTest, TruncationDropsWholeSegmentsAndReusesThem) {
  auto log = MustOpen(options_, 0);
  for (int i = 0; i < 30; ++i) Append(*log, 1000);  // three a segment
  const size_t before = Segments().size();
  EXPECT_EQ(before, 10u);
  EXPECT_GE(log->disk_bytes(), 10u * 4096);
  ASSERT_TRUE(log->TruncateThrough(0).ok());
  ASSERT_TRUE(log->TruncateThrough(2).ok());
  EXPECT_EQ(Segments().size(), before);
  ASSERT_TRUE(log->TruncateThrough(3).ok());
  EXPECT_EQ(Segments().size(), before - 1);
  ASSERT_TRUE(log->TruncateThrough(14).ok());
  EXPECT_EQ(Segments().size(), before - 4);
  ASSERT_TRUE(log->TruncateThrough(1000).ok());
  EXPECT_EQ(Segments().size(), 1u);
  std::map<std::string, uint64_t> salts;
  for (int i = 0; i < 30; ++i) {
    Append(*log, 1000);
    ASSERT_TRUE(log->TruncateThrough(log->last_lsn() - 5).ok());
    for (const std::string& path : Segments()) salts[path] = DecodeSegmentHeader(ReadFile(path)).value();
  }
  std::set<uint64_t> different;
  for (const auto& [path, salt] : salts) different.insert(salt);
  EXPECT_EQ(different.size(), salts.size()) << "a segment used again must not take old records for its own";
  EXPECT_LE(log->disk_bytes(), 6u * 4096);
  log.reset();
  Records records;
  MustOpen(options_, 55, &records);
  EXPECT_EQ(records, Records(expected_.upper_bound(55), expected_.end()));
}

TEST_F(ChangeLogTest, NothingIsLeftOfOneWhoseRecordsAreAllInTheTables) {
  {
    const auto log = MustOpen(options_, 0);
    for (int i = 0; i < 10; ++i) Append(*log, 1000);
    ASSERT_TRUE(log->TruncateThrough(5).ok());
    ASSERT_TRUE(log->RemoveAll().ok());
    EXPECT_EQ(log->first_lsn(), 11u);
    EXPECT_EQ(log->Append("late").status().code(), absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_TRUE(std::filesystem::is_empty(options_.dir));
  {
    const auto log = MustOpen(options_, 10);
    EXPECT_EQ(log->last_lsn(), 10u);
    Append(*log, 10);
  }
  Records records;
  MustOpen(options_, 10, &records);
  EXPECT_EQ(records, Records(expected_.upper_bound(10), expected_.end()));
}

TEST_F(ChangeLogTest, AMissingBeginningIsDataLoss) {
  {
    const auto log = MustOpen(options_, 0);
    for (int i = 0; i < 9; ++i) Append(*log, 1000);
  }
  std::filesystem::remove(Segments()[0]);
  Records records;
  const auto log = ChangeLog::Open(options_, 2, Into(records));
  EXPECT_EQ(log.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(log.status().message()), HasSubstr("record 3 is needed"));
  EXPECT_NE(MustOpen(options_, 3), nullptr);
}

TEST_F(ChangeLogTest, AMissingSegmentInTheMiddleIsDataLoss) {
  {
    const auto log = MustOpen(options_, 0);
    for (int i = 0; i < 12; ++i) {
      Append(*log, 1000);
      ASSERT_TRUE(log->Sync().ok());
    }
  }
  const std::string before = Segments()[0];
  std::filesystem::remove(Segments()[1]);
  Records records;
  const auto log = ChangeLog::Open(options_, 0, Into(records));
  EXPECT_EQ(log.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(log.status().message()), HasSubstr(before));
  EXPECT_EQ(CheckChangeLog(options_.dir).status().code(), absl::StatusCode::kDataLoss);
  // Records up to 6 are in the tables: nothing is missing then.
  EXPECT_NE(MustOpen(options_, 6), nullptr);
}

// Tables that are ahead of the log make it go, segment by segment; a power cut may leave any of them.
TEST_F(ChangeLogTest, WhatIsLeftOfARemovedLogIsNoDataLoss) {
  {
    const auto log = MustOpen(options_, 0);
    for (int i = 1; i <= 12; ++i) {  // three a segment
      Append(*log, 1000);
      if (i == 7) {
        ASSERT_TRUE(log->Sync().ok());
      }
    }
  }
  const std::vector<std::string> segments = Segments();
  ASSERT_EQ(segments.size(), 4u);
  std::filesystem::remove(segments[1]);
  std::filesystem::remove(segments[2]);
  std::fstream last(segments[3], std::ios::in | std::ios::out | std::ios::binary);
  last.seekp(static_cast<std::streamoff>(kSegmentHeaderBytes + kRecordHeaderBytes));
  last << "torn";
  last.close();
  Records records;
  // Record 10 says that 7 was durable.
  EXPECT_EQ(ChangeLog::Open(options_, 6, Into(records)).status().code(), absl::StatusCode::kDataLoss);
  records.clear();
  const auto log = MustOpen(options_, 8, &records);
  ASSERT_NE(log, nullptr);
  EXPECT_TRUE(records.empty());
  EXPECT_EQ(log->last_lsn(), 8u);
}

TEST_F(ChangeLogTest, WhatItDidNotMakeIsLeftAlone) {
  { Append(*MustOpen(options_, 0), 100); }
  WriteFile(options_.dir + "/notes.txt", "by an operator");
  WriteFile(options_.dir + "/made.tmp", "by a process that was killed");
  Records records;
  { MustOpen(options_, 0, &records); }
  EXPECT_EQ(records, expected_);
  EXPECT_EQ(ReadFile(options_.dir + "/notes.txt"), "by an operator");
  EXPECT_FALSE(std::filesystem::exists(options_.dir + "/made.tmp"));
}

TEST_F(ChangeLogTest, TooLargeAndTooSmallAreRefused) {
  const auto log = MustOpen(options_, 0);
  const std::string_view huge(static_cast<const char*>(nullptr), kMaxPayloadBytes + 1);  // not looked at
  EXPECT_EQ(log->Append(huge).status().code(), absl::StatusCode::kInvalidArgument);
  Append(*log, 1);
  ChangeLogOptions tiny = options_;
  tiny.segment_bytes = 100;
  Records records;
  EXPECT_EQ(ChangeLog::Open(tiny, 0, Into(records)).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ChangeLogTest, CheckReadsEverythingAndChangesNothing) {
  EXPECT_EQ(CheckChangeLog(options_.dir).status().code(), absl::StatusCode::kNotFound);
  {
    const auto log = MustOpen(options_, 100);
    for (int i = 0; i < 7; ++i) Append(*log, 1000);
  }
  const auto summary = CheckChangeLog(options_.dir);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->segments, 3u);
  EXPECT_EQ(summary->records, 7u);
  EXPECT_EQ(summary->first_lsn, 101u);
  EXPECT_EQ(summary->last_lsn, 107u);
  EXPECT_EQ(summary->disk_bytes, 3u * 4096);
}

// Records 1-3 are durable, and record 4 says so. Whichever byte of them is damaged, it is noticed.
TEST_F(ChangeLogTest, EveryFlippedBitInADurableRecordIsDataLoss) {
  {
    const auto log = MustOpen(options_, 0);
    for (const size_t bytes : {24, 13, 40}) Append(*log, bytes);
    ASSERT_TRUE(log->Sync().ok());
    Append(*log, 16);
  }
  const std::string path = Segments()[0];
  const std::string good = ReadFile(path);
  const uint64_t second = kSegmentHeaderBytes + RecordBytes(24);
  const uint64_t fourth = second + RecordBytes(13) + RecordBytes(40);
  const uint64_t padding = second + kRecordHeaderBytes + 13;
  for (uint64_t at = 0; at < fourth; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      WriteFile(path, bad);
      Records records;
      const absl::Status status = ChangeLog::Open(options_, 0, Into(records)).status();
      if (at >= padding && at < second + RecordBytes(13)) {
        ASSERT_TRUE(status.ok()) << at << " " << status;  // padding says nothing
        for (const std::string& other : Segments()) {
          if (other != path) std::filesystem::remove(other);
        }
        continue;
      }
      ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss) << "byte " << at << " bit " << bit << ": " << status;
      ASSERT_THAT(std::string(status.message()), HasSubstr(path));
      ASSERT_EQ(CheckChangeLog(options_.dir).status().code(), absl::StatusCode::kDataLoss);
    }
  }
}

// Record 4 was never durable: damage to it ends the log there, and the numbers are used again.
TEST_F(ChangeLogTest, AFlippedBitInTheTailEndsTheLog) {
  {
    const auto log = MustOpen(options_, 0);
    for (const size_t bytes : {24, 13, 40}) Append(*log, bytes);
    ASSERT_TRUE(log->Sync().ok());
    for (const size_t bytes : {16, 30, 30}) Append(*log, bytes);
  }
  const std::string path = Segments()[0];
  const std::string good = ReadFile(path);
  const uint64_t fourth = kSegmentHeaderBytes + RecordBytes(24) + RecordBytes(13) + RecordBytes(40);
  const Records kept(expected_.begin(), expected_.upper_bound(3));
  for (uint64_t at = fourth; at < fourth + RecordBytes(16); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    WriteFile(path, bad);
    ASSERT_TRUE(CheckChangeLog(options_.dir).ok());
    Records records;
    {
      const auto log = MustOpen(options_, 0, &records);
      ASSERT_EQ(records, kept) << at;
      ASSERT_EQ(log->last_lsn(), 3u);
      ASSERT_TRUE(log->Append("a new fourth record").ok());  // 5 and 6 of before are still behind the damaged one
    }
    records.clear();
    {
      const auto log = MustOpen(options_, 0, &records);
      ASSERT_EQ(log->last_lsn(), 4u);
      ASSERT_EQ(records[4], "a new fourth record");
    }
    for (const std::string& other : Segments()) {
      if (other != path) std::filesystem::remove(other);
    }
  }
}

TEST_F(ChangeLogTest, ANewerFormatIsRefused) {
  { MustOpen(options_, 0); }
  const std::string path = Segments()[0];
  std::string bytes = ReadFile(path);
  // A header of version 2 whose checksum is right, as a later program would write it.
  auto header = EncodeSegmentHeader(7);
  header[8] = 2;
  const uint64_t checksum = HashPayload({header.data(), 24}, 0);  // XXH3 without a seed is XXH3 with seed 0
  std::memcpy(&header[24], &checksum, 8);
  bytes.replace(0, header.size(), header.data(), header.size());
  WriteFile(path, bytes);
  Records records;
  const absl::Status status = ChangeLog::Open(options_, 0, Into(records)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("newer mptd"));
}

TEST_F(ChangeLogTest, SyncAndTruncateBesideAppend) {
  std::atomic<bool> stop = false;
  uint64_t durable_at_end = 0;
  {
    const auto log = MustOpen(options_, 0);
    std::thread syncer([&] {
      uint64_t last = 0;
      while (!stop) {
        const uint64_t before = log->last_lsn();
        ASSERT_TRUE(log->Sync().ok());
        ASSERT_GE(log->durable_lsn(), before);
        ASSERT_GE(log->durable_lsn(), last);
        last = log->durable_lsn();
      }
    });
    std::thread truncator([&] {
      while (!stop) {
        const uint64_t durable = log->durable_lsn();
        ASSERT_TRUE(log->TruncateThrough(durable > 200 ? durable - 200 : 0).ok());
        EXPECT_GT(log->disk_bytes(), 0u);
      }
    });
    for (int i = 0; i < 2000; ++i) Append(*log, static_cast<size_t>(i * 37 % 1500));
    stop = true;
    syncer.join();
    truncator.join();
    durable_at_end = log->durable_lsn();
  }
  Records records;
  const auto log = MustOpen(options_, 1900, &records);
  EXPECT_EQ(records, Records(expected_.upper_bound(1900), expected_.end()));
  EXPECT_LE(durable_at_end, log->last_lsn());
}

TEST(LogFormat, SegmentNames) {
  EXPECT_EQ(SegmentName(1), "00000000000000000001.log");
  EXPECT_EQ(SegmentName(UINT64_MAX), "18446744073709551615.log");
  EXPECT_EQ(ParseSegmentName("00000000000000000001.log"), 1u);
  EXPECT_EQ(ParseSegmentName("18446744073709551615.log"), UINT64_MAX);
  for (const char* name : {"18446744073709551616.log", "99999999999999999999.log", "00000000000000000000.log", "1.log",
                           "0000000000000000000x.log", "0000000000000000000!.log", "00000000000000000001.tmp", ""}) {
    EXPECT_EQ(ParseSegmentName(name), std::nullopt) << name;
  }
}

// Written once by this program; it must stay readable.
TEST(LogFormat, BytesOnDiskStayTheSame) {
  const auto hex = [](std::string_view bytes) {
    std::string text;
    for (const char byte : bytes) text += absl::StrFormat("%02x", static_cast<unsigned char>(byte));
    return text;
  };
  const uint64_t salt = 0x1122334455667788;
  const auto segment = EncodeSegmentHeader(salt);
  EXPECT_EQ(hex({segment.data(), segment.size()}), "4d5054444c4f47310100000000000000887766554433221139f70fb91e454089");
  RecordHeader header;
  header.payload_hash = HashPayload("payload", salt);
  header.payload_bytes = 7;
  header.lsn = 5;
  header.durable_lsn = 3;
  const auto record = EncodeRecordHeader(header, salt);
  EXPECT_EQ(hex({record.data(), record.size()}),
            "1975f92daf3167ea1e8e812e5d75cacd070000000000000005000000000000000300000000000000");
  EXPECT_EQ(DecodeSegmentHeader({segment.data(), segment.size()}).value(), salt);
  const auto decoded = DecodeRecordHeader({record.data(), record.size()}, salt);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->lsn, 5u);
  EXPECT_EQ(decoded->durable_lsn, 3u);
  EXPECT_EQ(decoded->payload_bytes, 7u);
  EXPECT_EQ(DecodeRecordHeader({record.data(), record.size()}, salt + 1), std::nullopt);
  EXPECT_EQ(DecodeRecordHeader({record.data(), record.size() - 1}, salt), std::nullopt);
  EXPECT_FALSE(DecodeSegmentHeader({segment.data(), segment.size() - 1}).ok());
}

// No writer makes them, and a reader must not believe them: a length beyond any record, and a record before the first.
TEST(LogFormat, HeadersThatNoWriterMakes) {
  RecordHeader header;
  header.lsn = 1;
  header.payload_bytes = kMaxPayloadBytes;
  const auto decodes = [&] {
    const auto record = EncodeRecordHeader(header, 7);
    return DecodeRecordHeader({record.data(), record.size()}, 7).has_value();
  };
  EXPECT_TRUE(decodes());
  ++header.payload_bytes;
  EXPECT_FALSE(decodes());
  header.payload_bytes = 1;
  header.lsn = 0;
  EXPECT_FALSE(decodes());
}

}  // namespace
}  // namespace mptd::storage
