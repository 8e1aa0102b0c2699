// Each trial passes with the real engine, and fails with one that is wrong in the way that the trial looks for.
#include "checkup/trial.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <utility>

#include "checkup/documentation.h"
#include "core/genesis.h"

namespace mptd::checkup {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// How an engine is wrong.
enum class Lie { kNone, kAccount, kEmptyRoot, kComputedRoot, kProof, kForgets, kNoEvictions, kNoHits, kSlowness };

class LyingView : public StateView {
 public:
  LyingView(StateViewPtr view, Lie lie) : view_(std::move(view)), block_(view_->block()), lie_(lie) {
    if (lie_ == Lie::kEmptyRoot) block_.state_root.bytes[0] ^= 1;
  }
  const BlockInfo& block() const override { return block_; }
  absl::StatusOr<std::optional<Account>> GetAccount(const Address& address) const override {
    absl::StatusOr<std::optional<Account>> account = view_->GetAccount(address);
    if (lie_ == Lie::kAccount && account.ok() && account->has_value()) ++(*account)->nonce;
    return account;
  }
  absl::StatusOr<std::vector<std::optional<Account>>> GetAccounts(std::span<const Address> addresses) const override {
    return view_->GetAccounts(addresses);
  }
  absl::StatusOr<std::vector<U256>> GetStorage(const Address& address, std::span<const Hash> slots) const override {
    return view_->GetStorage(address, slots);
  }
  absl::StatusOr<std::optional<Bytes>> GetCode(const Hash& hash) const override { return view_->GetCode(hash); }
  absl::StatusOr<AccountProof> GetProof(const Address& address, std::span<const Hash> slots) const override {
    absl::StatusOr<AccountProof> proof = view_->GetProof(address, slots);
    if (lie_ == Lie::kProof && proof.ok()) proof->proof.back().back() ^= 1;
    return proof;
  }
  absl::StatusOr<MultiProof> GetMultiProof(std::span<const ProofTargetSpec> targets) const override {
    return view_->GetMultiProof(targets);
  }
  absl::StatusOr<Page<HashedAccount>> ScanAccounts(const Hash& start, size_t limit) const override {
    return view_->ScanAccounts(start, limit);
  }
  absl::StatusOr<Page<HashedSlot>> ScanStorage(const Address& address, const Hash& start, size_t limit) const override {
    return view_->ScanStorage(address, start, limit);
  }
  absl::StatusOr<Hash> ComputeRoot(std::span<const AccountChange> changes, bool keep_empty) const override {
    absl::StatusOr<Hash> root = view_->ComputeRoot(changes, keep_empty);
    if (lie_ == Lie::kComputedRoot && root.ok()) root->bytes[31] ^= 1;
    return root;
  }

 private:
  const StateViewPtr view_;
  BlockInfo block_;
  const Lie lie_;
};

class LyingEngine : public StateEngine {
 public:
  LyingEngine(std::unique_ptr<StateEngine> engine, Lie lie) : engine_(std::move(engine)), lie_(lie) {}

  absl::StatusOr<ApplyResult> Apply(BlockChanges block, absl::Time deadline,
                                    const std::function<bool()>& cancelled) override {
    if (lie_ == Lie::kSlowness) absl::SleepFor(absl::Milliseconds(250));
    absl::StatusOr<ApplyResult> applied = engine_->Apply(std::move(block), deadline, cancelled);
    // Takes what there is no room for.
    if (lie_ == Lie::kForgets && !applied.ok()) return ApplyResult{};
    return applied;
  }
  absl::StatusOr<BlockInfo> RollbackTo(const BlockSelector& block) override { return engine_->RollbackTo(block); }
  absl::StatusOr<StateViewPtr> View(const BlockSelector& block) const override {
    absl::StatusOr<StateViewPtr> view = engine_->View(block);
    if (!view.ok()) return view;
    return std::make_shared<LyingView>(*std::move(view), lie_);
  }
  bool IsDurable(uint64_t number) const override { return engine_->IsDurable(number); }
  absl::StatusOr<std::optional<HeadEvent>> WaitForHead(uint64_t index, absl::Time deadline) const override {
    return engine_->WaitForHead(index, deadline);
  }
  uint64_t NextHeadIndex() const override { return engine_->NextHeadIndex(); }
  absl::StatusOr<BlockInfo> Flush() override { return engine_->Flush(); }
  absl::StatusOr<BlockInfo> Checkpoint(const std::string& dir) override { return engine_->Checkpoint(dir); }
  absl::StatusOr<uint64_t> Prune(uint64_t keep) override { return engine_->Prune(keep); }
  absl::StatusOr<KeyReport> RotateKeys(const KeyRotation& rotation) override { return engine_->RotateKeys(rotation); }
  absl::Status CheckKey() const override { return engine_->CheckKey(); }
  absl::StatusOr<VerifyReport> Verify(const std::function<bool(const VerifyProgress&)>& progress) override {
    return engine_->Verify(progress);
  }
  EngineStatus Status() const override {
    EngineStatus status = engine_->Status();
    if (lie_ == Lie::kForgets && status.has_blocks) status.head.state_root.bytes[0] ^= 1;
    return status;
  }
  EngineStatistics Statistics() const override {
    EngineStatistics statistics = engine_->Statistics();
    if (lie_ == Lie::kNoEvictions) statistics.evicted_rows = 0;
    if (lie_ == Lie::kNoHits) statistics.lookups = {};
    return statistics;
  }
  void SetLimits(const EngineLimits& limits) override { engine_->SetLimits(limits); }
  EngineLimits limits() const override { return engine_->limits(); }

 private:
  const std::unique_ptr<StateEngine> engine_;
  const Lie lie_;
};

class TrialTest : public ::testing::Test {
 protected:
  TrialTest() {
    const absl::StatusOr<Genesis> sepolia = LoadGenesis("sepolia");
    options_.scratch = scratch_->path();
    options_.engine.worker_threads = 2;
    options_.known_state = sepolia->changes;
    options_.known_root = sepolia->state_root.value_or(Hash());
    options_.accounts = 500;
    options_.stress = absl::Milliseconds(50);
  }

  // The options, with an engine that is wrong.
  TrialOptions With(Lie lie) const {
    TrialOptions out = options_;
    out.open = [lie](EngineOptions options) -> absl::StatusOr<std::unique_ptr<StateEngine>> {
      absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(std::move(options));
      if (!engine.ok()) return engine;
      return std::make_unique<LyingEngine>(*std::move(engine), lie);
    };
    return out;
  }

  void ExpectNothingLeft() const { EXPECT_TRUE(fs::is_empty(scratch_->path())); }

  void ExpectFailure(const Finding& finding, std::string_view says) {
    EXPECT_EQ(finding.outcome, Outcome::kFailed) << finding.name << ": " << finding.measured;
    EXPECT_THAT(finding.measured, HasSubstr(std::string(says)));
    EXPECT_THAT(finding.advice, ::testing::Not(IsEmpty()));
    ExpectNothingLeft();
  }

  const absl::StatusOr<ScratchFolder> scratch_ = ScratchFolder::Make(0);
  TrialOptions options_;
};

using Function = Finding (*)(const TrialOptions&);
struct Named {
  std::string_view name;
  Function run;
  bool timed = false;  // how fast this machine is, is not for a test to say
};
constexpr Named kAll[] = {{"trie_implementation", TryTrieImplementation},
                          {"state_root", TryStateRoot},
                          {"merkle_proofs", TryMerkleProofs},
                          {"cache", TryCache},
                          {"persistence", TryPersistence},
                          {"performance", TryPerformance, true},
                          {"stress_test", TryStressTest},
                          {"dependencies", TryDependencies, true},
                          {"error_recovery", TryErrorRecovery}};

TEST_F(TrialTest, TheRealEnginePassesAndLeavesNothing) {
  for (const Named& trial : kAll) {
    const Finding finding = trial.run(options_);
    EXPECT_EQ(finding.name, trial.name);
    EXPECT_TRUE(finding.outcome == Outcome::kOk || trial.timed) << finding.name << ": " << finding.measured;
    EXPECT_THAT(finding.measured, ::testing::Not(IsEmpty()));
    EXPECT_THAT(finding.expected, ::testing::Not(IsEmpty()));
    ExpectNothingLeft();
  }
}

TEST_F(TrialTest, WithTheOtherDurabilitiesCachesAndEncryption) {
  const std::string key = scratch_->path() + "/../" + fs::path(scratch_->path()).filename().string() + ".key";
  std::ofstream(key) << std::string(64, 'a');
  fs::permissions(key, fs::perms::owner_read);
  options_.engine.durability = Durability::kSync;
  options_.engine.encryption_key.file = key;
  options_.engine.compression = TableCompression::kZstd;
  options_.engine.row_cache_bytes = 0;
  options_.engine.node_cache_bytes = 0;
  options_.engine.archive = true;
  for (const Function run : {TryPersistence, TryStressTest, TryErrorRecovery}) {
    const Finding finding = run(options_);
    EXPECT_EQ(finding.outcome, Outcome::kOk) << finding.name << ": " << finding.measured;
  }
  fs::remove(key);
}

TEST_F(TrialTest, AWrongEngineFails) {
  ExpectFailure(TryTrieImplementation(With(Lie::kAccount)), "not what was set");
  ExpectFailure(TryStateRoot(With(Lie::kEmptyRoot)), "the empty state");
  ExpectFailure(TryStateRoot(With(Lie::kComputedRoot)), "a known state");
  ExpectFailure(TryMerkleProofs(With(Lie::kProof)), "does not verify");
  ExpectFailure(TryPersistence(With(Lie::kForgets)), "after a restart");
  options_.stress = absl::Minutes(5);  // which ends as soon as a reader has met an account that is there
  ExpectFailure(TryStressTest(With(Lie::kAccount)), "does not fit its block's root");
  ExpectFailure(TryErrorRecovery(With(Lie::kForgets)), "full disk");
}

TEST_F(TrialTest, AWrongCacheFails) {
  options_.patience = absl::Seconds(1);
  ExpectFailure(TryCache(With(Lie::kNoEvictions)), "nothing was evicted");
  // With so little patience either may be what it says first.
  ExpectFailure(TryCache(With(Lie::kNoHits)), "cache");
}

TEST_F(TrialTest, AWrongKnownRootFails) {
  options_.known_root.bytes[0] ^= 1;
  ExpectFailure(TryStateRoot(options_), "it must be");
}

TEST_F(TrialTest, ASlowEngineIsFoundSlow) {
  const Finding performance = TryPerformance(With(Lie::kSlowness));
  ExpectFailure(performance, "updates a second");
  const Finding dependencies = TryDependencies(With(Lie::kSlowness));
  EXPECT_EQ(dependencies.outcome, Outcome::kWarning) << dependencies.measured;
}

TEST_F(TrialTest, TheFolderNeedsSpace) {
  const absl::Status full = ScratchFolder::Make(UINT64_MAX).status();
  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
  EXPECT_EQ(ToFinding("cache", "", full).outcome, Outcome::kWarning);
}

TEST_F(TrialTest, WithoutAFolderItSaysThatItCouldNotBeTried) {
  options_.scratch += "/absent";
  for (const Named& trial : kAll) {
    const Finding finding = trial.run(options_);
    EXPECT_EQ(finding.outcome, Outcome::kWarning) << finding.name << ": " << finding.measured;
    EXPECT_THAT(finding.measured, HasSubstr("could not be tried"));
    EXPECT_THAT(finding.advice, HasSubstr("TMPDIR"));
  }
}

void Write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

TEST_F(TrialTest, DocumentationIsComparedWithTheProgram) {
  const std::string prefix = scratch_->path();
  const std::vector<std::string> settings = {"a.b"};
  EXPECT_EQ(CheckDocumentation(prefix, settings).outcome, Outcome::kWarning);
  const fs::path documentation = fs::path(prefix) / "share/doc/mptd";
  for (const char* page :
       {"BACKUP", "CONFIGURATION", "ENCRYPTION", "GUARANTEES", "HEALTH_AND_LOGS", "IMPORT", "LIMITS", "METRICS",
        "MONITORING", "OPERATIONS", "RELIABILITY", "SECURITY", "SIZING", "UPGRADE", "runbooks/Down"}) {
    Write(documentation / "docs" / (std::string(page) + ".md"), "### `a.b`\n");
  }
  Write(documentation / "monitoring/alerts.yml", "groups:\n  - rules:\n      - alert: Down\n");
  for (const char* page : {"man1/mptd.1", "man1/mptctl.1.gz", "man5/mptd.yaml.5.gz"}) {
    Write(fs::path(prefix) / "share/man" / page, "page");
  }
  const Finding good = CheckDocumentation(prefix, settings);
  EXPECT_EQ(good.outcome, Outcome::kOk) << good.measured;
  Finding bad = CheckDocumentation(prefix, std::vector<std::string>{"a.b", "a.c"});
  EXPECT_EQ(bad.outcome, Outcome::kFailed);
  EXPECT_THAT(bad.measured, HasSubstr("a.c"));
  fs::remove(documentation / "docs/runbooks/Down.md");
  fs::remove(fs::path(prefix) / "share/man/man1/mptd.1");
  bad = CheckDocumentation(prefix, settings);
  EXPECT_EQ(bad.outcome, Outcome::kFailed);
  EXPECT_THAT(bad.measured, HasSubstr("runbooks/Down.md"));
  EXPECT_THAT(bad.measured, HasSubstr("mptd.1"));
}

}  // namespace
}  // namespace mptd::checkup
