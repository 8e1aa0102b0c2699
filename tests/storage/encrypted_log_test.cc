// What the encrypted change log adds to the other: nothing readable, nothing exchanged, no nonce twice.
#include "storage/encrypted_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_format.h"
#include "storage/log_format.h"
#include "tests/storage/fake_files.h"
#include "tests/storage/key_testing.h"
#include "tests/storage/test_support.h"

namespace mptd::storage {
namespace {

using testing::HasSubstr;
using testing::Not;

using Records = std::map<uint64_t, std::string>;

constexpr char kMarker[] = "this must not be readable";

class EncryptedLogTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<ChangeLog>> Open(Records* records = nullptr, uint64_t after_lsn = 0) {
    ChangeLogOptions options;
    options.dir = "log";
    options.segment_bytes = 4096;
    options.files = &files_;
    options.keys = keys_;
    return ChangeLog::Open(options, after_lsn, [records](uint64_t lsn, std::string_view payload) {
      if (records != nullptr) records->emplace(lsn, payload);
      return absl::OkStatus();
    });
  }
  std::string SegmentPath(uint64_t first_lsn) const { return "log/" + SegmentName(first_lsn); }

  FakeFiles files_{1};
  const TempDir dir_;
  std::shared_ptr<DataKeys> keys_ = NewKeys(dir_.path());
};

TEST_F(EncryptedLogTest, ReplaysWhatTheFileDoesNotShow) {
  {
    auto log = Open();
    ASSERT_TRUE(log.ok()) << log.status();
    for (int i = 1; i <= 3; ++i) ASSERT_TRUE((*log)->Append(absl::StrFormat("%s %d", kMarker, i)).ok());
    ASSERT_TRUE((*log)->Append("").ok());
    ASSERT_TRUE((*log)->Sync().ok());
    EXPECT_EQ((*log)->last_lsn(), 4u);
  }
  EXPECT_THAT(files_.Content(SegmentPath(1)), Not(HasSubstr(kMarker)));
  Records records;
  ASSERT_TRUE(Open(&records, 1).ok());
  EXPECT_EQ(records, (Records{{2, std::string(kMarker) + " 2"}, {3, std::string(kMarker) + " 3"}, {4, ""}}));
  EXPECT_EQ(CheckChangeLog("log", &files_, keys_)->records, 4u);
}

// A record that was put in by somebody without the key, with checksums that fit: of another place, or in the clear.
TEST_F(EncryptedLogTest, ForeignRecordsAreRefused) {
  ASSERT_TRUE(Open().ok());
  {
    ChangeLogOptions plain;
    plain.dir = "log";
    plain.segment_bytes = 4096;
    plain.files = &files_;
    auto log = ChangeLog::Open(plain, 0, [](uint64_t, std::string_view) { return absl::OkStatus(); });
    ASSERT_TRUE(log.ok()) << log.status();
    ASSERT_TRUE(
        (*log)->Append("in the clear, and long enough to be a record that is encrypted, as to its length").ok());
  }
  EXPECT_EQ(Open().status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(CheckChangeLog("log", &files_, keys_).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(EncryptedLogTest, RecordsCannotBeExchanged) {
  std::string first;
  {
    auto log = Open();
    ASSERT_TRUE(log.ok());
    ASSERT_TRUE((*log)->Append("one").ok());
  }
  LogDecryptor decryptor(keys_);
  {
    ChangeLogOptions plain;
    plain.dir = "log";
    plain.segment_bytes = 4096;
    plain.files = &files_;
    auto log = ChangeLog::Open(plain, 0, [&](uint64_t, std::string_view record) {
      first = std::string(record);
      return absl::OkStatus();
    });
    ASSERT_TRUE(log.ok());
  }
  ASSERT_TRUE(decryptor.Open(1, first).ok());
  EXPECT_EQ(*decryptor.Open(1, first), "one");
  EXPECT_EQ(decryptor.Open(2, first).status().code(), absl::StatusCode::kDataLoss);
  for (size_t i = 0; i < first.size(); ++i) {
    if (i >= 4 && i < 8) continue;  // of no meaning, but part of what names the session
    std::string bad = first;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    EXPECT_EQ(decryptor.Open(1, bad).status().code(), absl::StatusCode::kDataLoss) << i;
    EXPECT_EQ(decryptor.Open(1, first.substr(0, i)).status().code(), absl::StatusCode::kDataLoss) << i;
  }
}

// The place of a record that the full disk refused is written again, with another payload and another nonce.
TEST_F(EncryptedLogTest, NoNonceIsUsedTwiceAfterAFailure) {
  auto log = Open();
  ASSERT_TRUE(log.ok());
  const std::string large(100'000, 'a');
  const auto record_at_start = [&] {
    return files_.Content(SegmentPath(1)).substr(kSegmentHeaderBytes + kRecordHeaderBytes, 48);
  };
  // The thread that makes the next segment writes, too.
  files_.Arm(1, Fault::kNoSpaceStays);
  EXPECT_EQ((*log)->Append(large).status().code(), absl::StatusCode::kResourceExhausted);
  const std::string refused = record_at_start();
  files_.Heal();
  ASSERT_TRUE((*log)->Append("another").ok());
  const std::string written = record_at_start();
  EXPECT_EQ(written.substr(0, 40), refused.substr(0, 40)) << "data key and salt are of this opening";
  EXPECT_NE(written.substr(40), refused.substr(40)) << "the counter is another";

  std::set<std::string> salts = {written.substr(8, 32)};
  for (int i = 0; i < 3; ++i) {
    log->reset();
    log = Open();
    ASSERT_TRUE(log.ok());
    ASSERT_TRUE((*log)->Append("again").ok());
    const std::string path = SegmentPath((*log)->last_lsn());
    EXPECT_TRUE(salts.insert(files_.Content(path).substr(kSegmentHeaderBytes + kRecordHeaderBytes + 8, 32)).second);
  }
}

TEST_F(EncryptedLogTest, ANewDataKeyIsTakenAtOnceAndTheOldOneFreed) {
  auto log = Open();
  ASSERT_TRUE(log.ok());
  ASSERT_TRUE((*log)->Append("old").ok());
  ASSERT_TRUE(keys_->Rotate(MasterOf(1), /*add_key=*/true).ok());
  ASSERT_TRUE((*log)->Append(std::string(5000, 'n')).ok());
  EXPECT_EQ((*log)->KeysInUse(), (std::set<uint32_t>{1, 2}));
  ASSERT_TRUE((*log)->Sync().ok());
  ASSERT_TRUE((*log)->TruncateThrough(1).ok());
  EXPECT_EQ((*log)->first_lsn(), 2u);
  EXPECT_EQ((*log)->KeysInUse(), (std::set<uint32_t>{2}));
  log->reset();
  ASSERT_TRUE(keys_->KeepOnly({2}).ok());
  Records records;
  ASSERT_TRUE(Open(&records, 1).ok());
  EXPECT_EQ(records, (Records{{2, std::string(5000, 'n')}}));
}

}  // namespace
}  // namespace mptd::storage
