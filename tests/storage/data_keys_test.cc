// Where keys come from, the file that holds the wrapped ones, and every crash while it is written.
#include "storage/data_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <set>

#include "absl/strings/str_format.h"
#include "storage/data_dir.h"
#include "tests/storage/fake_files.h"
#include "tests/storage/key_testing.h"
#include "tests/storage/test_support.h"

namespace mptd::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr char kHexKey[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

std::string Message(const absl::Status& status) { return std::string(status.message()); }

// What the data keys are, told by what follows from them.
std::string Derived(const DataKeys& keys, uint32_t number) {
  KeyBuffer key;
  const absl::Status status = keys.Derive(number, "test", "salt", key.bytes());
  return status.ok() ? std::string(key.bytes().begin(), key.bytes().end()) : "";
}

void WriteKeyText(const std::string& path, std::string_view text, mode_t mode = 0600) {
  WriteFile(path, text);
  ASSERT_EQ(::chmod(path.c_str(), mode), 0);
}

std::string IdOf(const KeySource& source) {
  const absl::StatusOr<SecretKey> key = ReadMasterKey(source);
  EXPECT_TRUE(key.ok()) << key.status();
  return key.ok() ? key->Id() : "";
}

TEST(MasterKeyTest, AllSourcesGiveTheSameKey) {
  const TempDir dir;
  std::string raw;
  for (int i = 0; i < 32; ++i) raw += static_cast<char>(i);
  WriteKeyText(dir / "raw", raw);
  WriteKeyText(dir / "hex", std::string(kHexKey) + "\n");
  ASSERT_EQ(::setenv("MPTD_TEST_MASTER_KEY", kHexKey, 1), 0);
  const std::string id = IdOf({.file = dir / "raw"});
  EXPECT_EQ(id.size(), 16u);
  EXPECT_EQ(IdOf({.file = dir / "hex"}), id);
  EXPECT_EQ(IdOf({.environment = "MPTD_TEST_MASTER_KEY"}), id);
  EXPECT_EQ(IdOf({.command = "cat " + (dir / "raw")}), id);
  EXPECT_EQ(IdOf({.command = std::string("echo ") + kHexKey}), id);
  EXPECT_NE(MasterOf(1).Id(), id);
}

TEST(MasterKeyTest, RefusalsSayWhatIsWrongAndNeverWhatWasRead) {
  const TempDir dir;
  WriteKeyText(dir / "short", "00010203");
  WriteKeyText(dir / "long", std::string(kHexKey) + "00");
  WriteKeyText(dir / "other", std::string(63, 'a') + "g");
  WriteKeyText(dir / "open", kHexKey, 0640);
  ASSERT_EQ(::unsetenv("MPTD_TEST_NO_KEY"), 0);
  ASSERT_EQ(::setenv("MPTD_TEST_BAD_KEY", "00010203", 1), 0);
  const std::vector<std::pair<KeySource, std::string>> cases = {
      {{.file = dir / "absent"}, "absent"},
      {{.file = dir / "short"}, "64 hexadecimal digits"},
      {{.file = dir / "long"}, "64 hexadecimal digits"},
      {{.file = dir / "other"}, "64 hexadecimal digits"},
      {{.file = dir / "open"}, "chmod 0600"},
      {{.environment = "MPTD_TEST_NO_KEY"}, "MPTD_TEST_NO_KEY"},
      {{.environment = "MPTD_TEST_BAD_KEY"}, "64 hexadecimal digits"},
      {{.command = "echo 00010203"}, "64 hexadecimal digits"},
      {{.command = std::string("echo ") + kHexKey + "; exit 3"}, "exit status 3"}};
  for (const auto& [source, words] : cases) {
    const absl::Status status = ReadMasterKey(source).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(Message(status), HasSubstr(words));
    EXPECT_THAT(Message(status), Not(HasSubstr("00010203")));
  }
  EXPECT_EQ(ReadMasterKey({}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadMasterKey({.file = "a", .command = "b"}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(DataKeysTest, AreTheSameWhenReadAgain) {
  const TempDir dir;
  const auto keys = NewKeys(dir.path());
  ASSERT_TRUE(keys->Rotate(MasterOf(1), /*add_key=*/true).ok());
  const auto again = DataKeys::Load(dir.path(), MasterOf(1));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->current(), 2u);
  EXPECT_THAT((*again)->numbers(), ElementsAre(1u, 2u));
  for (const uint32_t number : {1u, 2u}) EXPECT_EQ(Derived(**again, number), Derived(*keys, number));
  EXPECT_NE(Derived(*keys, 1), Derived(*keys, 2));
  KeyBuffer ignored;
  EXPECT_EQ(keys->Derive(3, "test", "salt", ignored.bytes()).code(), absl::StatusCode::kDataLoss);
}

TEST(DataKeysTest, FilesNeverShareAKey) {
  const TempDir dir;
  const auto keys = NewKeys(dir.path());
  std::set<std::string> seen;
  for (const char* purpose : {"file", "change log"}) {
    for (const char* salt : {"a", "b"}) {
      KeyBuffer key;
      ASSERT_TRUE(keys->Derive(1, purpose, salt, key.bytes()).ok());
      EXPECT_TRUE(seen.insert(std::string(key.bytes().begin(), key.bytes().end())).second);
    }
  }
}

TEST(DataKeysTest, AnotherMasterKeyIsRefusedByItsId) {
  const TempDir dir;
  NewKeys(dir.path());
  const std::string before = ReadFile(dir / "KEYS");
  const absl::Status status = DataKeys::Load(dir.path(), MasterOf(2)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(status), HasSubstr(MasterOf(1).Id()));
  EXPECT_THAT(Message(status), HasSubstr(MasterOf(2).Id()));
  EXPECT_EQ(ReadFile(dir / "KEYS"), before);
  EXPECT_EQ(DataKeys::Load(dir / "none", MasterOf(1)).status().code(), absl::StatusCode::kNotFound);
}

TEST(DataKeysTest, ANewMasterKeyReplacesTheOldOne) {
  const TempDir dir;
  const auto keys = NewKeys(dir.path());
  const std::string first = Derived(*keys, 1);
  ASSERT_TRUE(keys->Rotate(MasterOf(2), /*add_key=*/false).ok());
  EXPECT_EQ(keys->current(), 1u);
  EXPECT_EQ(keys->master_id(), MasterOf(2).Id());
  EXPECT_EQ(DataKeys::Load(dir.path(), MasterOf(1)).status().code(), absl::StatusCode::kFailedPrecondition);
  const auto again = DataKeys::Load(dir.path(), MasterOf(2));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(Derived(**again, 1), first);
}

TEST(DataKeysTest, OnlyKeysThatNobodyNeedsGo) {
  const TempDir dir;
  const auto keys = NewKeys(dir.path());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(keys->Rotate(MasterOf(1), /*add_key=*/true).ok());
  ASSERT_TRUE(keys->KeepOnly({2, 77}).ok());
  EXPECT_THAT(keys->numbers(), ElementsAre(2u, 4u));
  EXPECT_EQ(Derived(*keys, 1), "");
  ASSERT_TRUE(keys->Rotate(MasterOf(1), /*add_key=*/true).ok());
  EXPECT_EQ(keys->current(), 5u) << "a number is never used twice";
  const auto again = DataKeys::Load(dir.path(), MasterOf(1));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_THAT((*again)->numbers(), ElementsAre(2u, 4u, 5u));
}

// Of a file with every byte changed in turn nothing is believed, also when its checksum is made to fit.
TEST(KeyFileTest, NoChangedByteIsBelieved) {
  const TempDir dir;
  const auto keys = NewKeys(dir.path());
  ASSERT_TRUE(keys->Rotate(MasterOf(1), /*add_key=*/true).ok());
  const std::string good = ReadFile(dir / "KEYS");
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = bad[i] == '1' ? '2' : '1';
    WriteFile(dir / "KEYS", bad);
    EXPECT_EQ(DataKeys::Load(dir.path(), MasterOf(1)).status().code(), absl::StatusCode::kDataLoss) << i;
    WriteFile(dir / "KEYS", good.substr(0, i));
    EXPECT_EQ(DataKeys::Load(dir.path(), MasterOf(1)).status().code(), absl::StatusCode::kDataLoss) << i;
  }
  absl::StatusOr<KeyFile> file = ParseKeyFile(good, "KEYS");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(FormatKeyFile(*file), good);
  const auto refused = [&](const std::function<void(KeyFile&)>& change) {
    KeyFile changed = *file;
    change(changed);
    WriteFile(dir / "KEYS", FormatKeyFile(changed));
    return DataKeys::Load(dir.path(), MasterOf(1)).status().code();
  };
  EXPECT_EQ(refused([](KeyFile& f) { f.current = 1; }), absl::StatusCode::kDataLoss);
  EXPECT_EQ(refused([](KeyFile& f) { f.keys[0].wrapped[5] ^= 1; }), absl::StatusCode::kDataLoss);
  EXPECT_EQ(refused([](KeyFile& f) { f.keys[1].nonce[0] ^= 1; }), absl::StatusCode::kDataLoss);
  EXPECT_EQ(refused([](KeyFile& f) { std::swap(f.keys[0].wrapped, f.keys[1].wrapped); }), absl::StatusCode::kDataLoss);
  EXPECT_EQ(refused([](KeyFile& f) { f.keys.pop_back(); }), absl::StatusCode::kDataLoss) << "the current one is gone";
  EXPECT_EQ(refused([](KeyFile& f) { f.master_id[0] ^= 1; }), absl::StatusCode::kFailedPrecondition);
  std::string newer = good;
  newer.replace(0, 11, "mptd keys 2");
  EXPECT_EQ(ParseKeyFile(newer, "KEYS").status().code(), absl::StatusCode::kDataLoss) << "the checksum tells";
}

TEST(KeyFileTest, HoldsNoKeyInTheClear) {
  const TempDir dir;
  const absl::StatusOr<SecretKey> key = SecretKey::Random();
  ASSERT_TRUE(key.ok());
  KeyFile file{MasterOf(1).Id(), 1, {}};
  ASSERT_TRUE(Wrap(MasterOf(1), 1, *key, file).ok());
  const std::string plain(key->bytes().begin(), key->bytes().end());
  EXPECT_THAT(file.keys[0].wrapped, Not(HasSubstr(plain)));
  const absl::StatusOr<SecretKey> unwrapped = Unwrap(MasterOf(1), file, file.keys[0]);
  ASSERT_TRUE(unwrapped.ok());
  EXPECT_EQ(std::string(unwrapped->bytes().begin(), unwrapped->bytes().end()), plain);
  EXPECT_EQ(Unwrap(MasterOf(2), file, file.keys[0]).status().code(), absl::StatusCode::kDataLoss);
}

// A crash at each operation of a rotation, with all that a power cut may leave: the old file or the new one is there.
TEST(KeyFileTest, EveryCrashLeavesAUsableFile) {
  const Random seeds;
  SCOPED_TRACE(absl::StrFormat("MPTD_TEST_SEED=%d", seeds.seed()));
  for (const PowerCut cut : {PowerCut::kKeepAll, PowerCut::kDropAll, PowerCut::kRandom}) {
    bool finished = false;
    for (uint64_t at = 1; !finished; ++at) {
      FakeFiles files(seeds.seed() + at);
      ASSERT_TRUE(files.MakeDir("data").ok());
      const auto keys = NewKeys("data", &files);
      ASSERT_NE(keys, nullptr);
      const std::string first = Derived(*keys, 1);
      files.Arm(at, Fault::kCrash);
      finished = keys->Rotate(MasterOf(2), /*add_key=*/true).ok();
      files.Heal();
      files.Restart(cut);
      auto old_master = DataKeys::Load("data", MasterOf(1), &files);
      auto new_master = DataKeys::Load("data", MasterOf(2), &files);
      ASSERT_NE(old_master.ok(), new_master.ok()) << "crash at " << at;
      if (finished) {
        ASSERT_TRUE(new_master.ok()) << "what was reported done is there";
      }
      const DataKeys& left = new_master.ok() ? **new_master : **old_master;
      EXPECT_EQ(left.current(), new_master.ok() ? 2u : 1u);
      EXPECT_EQ(Derived(left, 1), first) << "crash at " << at;
      ASSERT_LT(at, 100u);
    }
  }
}

// A failing disk: what could not be written is not used, and the next rotation does it.
TEST(KeyFileTest, AFailedWriteChangesNothing) {
  bool finished = false;
  for (uint64_t at = 1; !finished; ++at) {
    FakeFiles files(at);
    ASSERT_TRUE(files.MakeDir("data").ok());
    const auto keys = NewKeys("data", &files);
    files.Arm(at, Fault::kError);
    finished = keys->Rotate(MasterOf(1), /*add_key=*/true).ok();
    files.Heal();
    EXPECT_EQ(keys->current(), finished ? 2u : 1u) << at;
    ASSERT_TRUE(keys->Rotate(MasterOf(1), /*add_key=*/true).ok());
    const auto again = DataKeys::Load("data", MasterOf(1), &files);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ((*again)->current(), keys->current());
    EXPECT_EQ(Derived(**again, keys->current()), Derived(*keys, keys->current()));
    ASSERT_LT(at, 100u);
  }
}

class FolderTest : public testing::Test {
 protected:
  void SetUp() override {
    WriteKeyText(dir_ / "key", kHexKey);
    ASSERT_TRUE(LockDataDir(dir_ / "data").ok());
  }
  const TempDir dir_;
  const KeySource source_{.file = dir_ / "key"};
};

TEST_F(FolderTest, AnEmptyOneIsMadeEncryptedAndStaysSo) {
  const auto keys = OpenDataKeys(dir_ / "data", source_);
  ASSERT_TRUE(keys.ok()) << keys.status();
  ASSERT_NE(*keys, nullptr);
  EXPECT_TRUE(IsEncryptedFormat(dir_ / "data"));
  EXPECT_TRUE(LockDataDir(dir_ / "data").ok());
  EXPECT_EQ(Derived(**OpenDataKeys(dir_ / "data", source_), 1), Derived(**keys, 1));

  const absl::Status without = OpenDataKeys(dir_ / "data", {}).status();
  EXPECT_EQ(without.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(without), HasSubstr("security.encryption_"));
  std::filesystem::remove(dir_ / "data/KEYS");
  EXPECT_EQ(OpenDataKeys(dir_ / "data", source_).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenDataKeys(dir_ / "data", {}).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(FolderTest, ACrashBetweenKeysAndFormatIsMadeGood) {
  NewKeys(dir_ / "data");
  const KeySource ones{.command = "printf '01%.0s' $(seq 32)"};
  ASSERT_FALSE(IsEncryptedFormat(dir_ / "data"));
  EXPECT_EQ(OpenDataKeys(dir_ / "data", {}).status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(OpenDataKeys(dir_ / "data", ones).ok());
  EXPECT_TRUE(IsEncryptedFormat(dir_ / "data"));
}

TEST_F(FolderTest, DataInTheClearIsNotMixedWithOther) {
  WriteFile(dir_ / "data/db/CURRENT", "MANIFEST-000001\n");
  const absl::Status status = OpenDataKeys(dir_ / "data", source_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(status), HasSubstr("checkpoint"));
  EXPECT_FALSE(std::filesystem::exists(dir_ / "data/KEYS"));
  const auto plain = OpenDataKeys(dir_ / "data", {});
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(*plain, nullptr);
  std::filesystem::remove(dir_ / "data/db/CURRENT");
  WriteFile(dir_ / "data/log/00000000000000000001.log", "");
  EXPECT_FALSE(OpenDataKeys(dir_ / "data", source_).ok());
}

}  // namespace
}  // namespace mptd::storage
