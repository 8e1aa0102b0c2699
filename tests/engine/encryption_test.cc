// An engine on encrypted data: the same answers, after crashes, rotations and imports too, and only with its key.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "core/engine/engine.h"
#include "core/engine/stored_state.h"
#include "core/import/state_import.h"
#include "core/keccak.h"
#include "storage/change_log.h"
#include "tests/engine/engine_testing.h"

namespace mptd::testing {
namespace {

using Code = absl::StatusCode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const Bytes kMarker = "code that must not be readable on the disk";

class EncryptedEngineTest : public ::testing::Test {
 protected:
  void SetUp() override { SetMaster('1'); }

  // The key file holds 64 times `digit`.
  void SetMaster(char digit) {
    std::ofstream(KeyPath()) << std::string(64, digit);
    ASSERT_EQ(::chmod(KeyPath().c_str(), 0600), 0);
  }
  std::string KeyPath() const { return dir_.path() + "/master"; }
  EngineOptions Options(const std::string& folder = "/data") const {
    EngineOptions options;
    options.data_dir = dir_.path() + folder;
    options.block_cache_bytes = 8u << 20;
    options.flush_interval = absl::Hours(1);
    options.durability = Durability::kSync;
    options.log_segment_bytes = 64u << 10;
    options.encryption_key.file = KeyPath();
    return options;
  }
  std::vector<std::string> FilesWith(const std::string& folder, const std::string& text) const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_.path() + folder)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string bytes(std::istreambuf_iterator<char>(file), {});
      if (bytes.find(text) != std::string::npos) found.push_back(entry.path());
    }
    return found;
  }

  const TempDir dir_;
};

TEST_F(EncryptedEngineTest, IsLikeThePlainOneThroughItsLife) {
  const uint64_t seed = FirstSeed();
  SCOPED_TRACE(absl::StrCat("MPTD_TEST_SEED=", seed));
  BlockMaker maker(seed);
  TwinChain chain(Options());
  for (int i = 0; i < Scaled(120); ++i) {
    chain.Apply(maker.Make(chain.entries().empty() ? std::nullopt : std::optional(chain.head().info)));
    if (i % 17 == 5) {
      ASSERT_TRUE(chain.engine().Flush().ok());
    }
    if (i % 23 == 7) {
      ASSERT_TRUE(chain.engine().RotateKeys({.new_data_key = true}).ok());
    }
    if (i % 29 == 11) chain.Reopen();
    if (i % 31 == 13) chain.Rollback(chain.head().info.number - 2);
    if (HasFatalFailure()) return;
  }
  chain.ExpectAll();
  ASSERT_TRUE(chain.engine().RotateKeys({.rewrite_tables = true}).ok());
  chain.Reopen();
  chain.ExpectAll();
  const absl::StatusOr<VerifyReport> report = chain.engine().Verify({});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->difference, "");
}

// The folder as a killed process leaves it, with blocks in the log of two data keys.
TEST_F(EncryptedEngineTest, ReplaysAfterACrash) {
  TwinChain chain(Options());
  chain.Apply({SetCode(1, kMarker)});
  chain.Apply({SetBalance(2, 5)});
  ASSERT_TRUE(chain.engine().RotateKeys({.new_data_key = true}).ok());
  chain.Apply({SetBalance(3, 6), SetSlots(1, {{1, 1}})});
  CopyFolder(dir_.path() + "/data", dir_.path() + "/crashed");
  EXPECT_THAT(FilesWith("/crashed", kMarker), IsEmpty());
  auto crashed = StateEngine::Open(Options("/crashed"));
  ASSERT_TRUE(crashed.ok()) << crashed.status();
  EXPECT_EQ((*crashed)->View(LatestBlock{}).value()->block(), chain.head().info);
}

TEST_F(EncryptedEngineTest, OldDataKeysGoWhenNothingNeedsThem) {
  TwinChain chain(Options());
  chain.Apply({SetCode(1, kMarker), SetBalance(2, 5)});
  absl::StatusOr<KeyReport> report = chain.engine().RotateKeys({.new_data_key = true});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->data_keys, ElementsAre(1u, 2u));
  chain.Apply({SetBalance(3, 6)});
  chain.Reopen();
  report = chain.engine().RotateKeys({.new_data_key = true, .rewrite_tables = true});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->data_key, 3u);
  chain.Apply({SetBalance(4, 7)});
  chain.Reopen();
  report = chain.engine().RotateKeys({});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->data_keys, ElementsAre(3u)) << "all else has been written anew";
  chain.ExpectHead();
}

TEST_F(EncryptedEngineTest, AnotherMasterKeyIsTakenByARotationAndRefusedWithoutOne) {
  TwinChain chain(Options());
  chain.Apply({SetBalance(1, 5)});
  SetMaster('2');
  chain.Close();
  const absl::Status refused = StateEngine::Open(Options()).status();
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("is wrapped by master key"));
  SetMaster('1');
  chain.Open();
  SetMaster('2');
  ASSERT_TRUE(chain.engine().RotateKeys({}).ok());
  chain.Reopen();
  chain.ExpectHead();
  std::filesystem::remove(KeyPath());
  EXPECT_EQ(chain.engine().RotateKeys({}).status().code(), Code::kFailedPrecondition);
  chain.Apply({SetBalance(2, 5)});
}

TEST_F(EncryptedEngineTest, ACheckpointHasItsKeys) {
  TwinChain chain(Options());
  chain.Apply({SetCode(1, kMarker)});
  ASSERT_TRUE(chain.engine().Checkpoint(dir_.path() + "/copy").ok());
  EXPECT_THAT(FilesWith("/copy", kMarker), IsEmpty());
  EngineOptions without = Options("/copy");
  without.encryption_key = {};
  EXPECT_EQ(StateEngine::Open(without).status().code(), Code::kFailedPrecondition);
  auto copy = StateEngine::Open(Options("/copy"));
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_EQ((*copy)->View(LatestBlock{}).value()->block(), chain.head().info);
  EXPECT_EQ((*copy)->Status().format_version, 2u);
}

TEST_F(EncryptedEngineTest, PlainDataStaysPlain) {
  EngineOptions plain = Options();
  plain.encryption_key = {};
  {
    TwinChain chain(plain);
    chain.Apply({SetCode(1, kMarker)});
    EXPECT_EQ(chain.engine().RotateKeys({}).status().code(), Code::kFailedPrecondition);
    EXPECT_EQ(chain.engine().Status().format_version, 1u);
  }
  EXPECT_THAT(FilesWith("/data", kMarker), Not(IsEmpty())) << "what the other tests look for can be found";
  EXPECT_EQ(StateEngine::Open(Options()).status().code(), Code::kFailedPrecondition);
  EXPECT_TRUE(StateEngine::Open(plain).ok());
}

// A key that is not configured, a bit of a file: nothing wrong is ever served.
TEST_F(EncryptedEngineTest, DamageIsNamed) {
  {
    TwinChain chain(Options());
    chain.Apply({SetCode(1, kMarker)});
  }
  for (const auto& entry : std::filesystem::directory_iterator(dir_.path() + "/data/db")) {
    if (!entry.path().filename().string().starts_with("MANIFEST-")) continue;
    std::fstream file(entry.path(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(100);
    file.put('\x55');
  }
  const absl::Status refused = StateEngine::Open(Options()).status();
  EXPECT_EQ(refused.code(), Code::kDataLoss) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("MANIFEST-"));
}

TEST_F(EncryptedEngineTest, AnImportedStateIsEncrypted) {
  {
    auto import = StateImport::Begin(Options());
    ASSERT_TRUE(import.ok()) << import.status();
    ImportedAccount account;
    account.key = SlotOf(1);
    account.nonce = 1;
    account.code_hash = Keccak256(kMarker);
    ASSERT_TRUE((*import)->AddAccount(account, kMarker).ok());
    ImportedBlock block;
    block.number = 7;
    ASSERT_TRUE((*import)->Finish(block).ok());
  }
  EXPECT_THAT(FilesWith("/data", kMarker), IsEmpty());
  auto engine = StateEngine::Open(Options());
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_EQ((*engine)->View(LatestBlock{}).value()->block().number, 7u);
}

}  // namespace
}  // namespace mptd::testing
