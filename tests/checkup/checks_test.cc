// Each check with made-up readings, and how findings are told.
#include "checkup/checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "nlohmann/json.hpp"

namespace mptd::checkup {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr uint64_t kGiB = uint64_t{1} << 30;

// A machine on which nothing is wrong.
Readings GoodReadings() {
  Readings out;
  out.sync = SyncTimes{.samples = 100, .p50 = absl::Milliseconds(1), .p99 = absl::Milliseconds(9)};
  out.space = DiskSpace{.free_bytes = 100 * kGiB, .total_bytes = 200 * kGiB, .free_files = 900, .total_files = 1000};
  out.memory = {.limit_bytes = 16 * kGiB, .available_bytes = 12 * kGiB};
  out.files = {.soft = 65536, .hard = 65536};
  out.listen = {{"127.0.0.1:7300", absl::OkStatus()}};
  out.clock = {.synchronised = true, .max_error = absl::Milliseconds(3), .source = "tsc"};
  out.cpu = {.keccak = KeccakImpl::kAvx2, .threads = 8};
  out.kernel = {.swappiness = 60,
                .overcommit_memory = 0,
                .dirty_ratio = 20,
                .dirty_background_ratio = 10,
                .transparent_huge_pages = "madvise"};
  out.folder = {
      .path = "/data", .is_data_dir = true, .exists = true, .is_folder = true, .usable = true, .owner = 7, .user = 7};
  out.data.format = absl::NotFoundError("no FORMAT");
  return out;
}

Hash RootOf(uint8_t last) {
  Hash out;
  out.bytes[31] = last;
  return out;
}

// What is not well has something to do about it, what is well has not.
void Expect(const Finding& finding, Outcome outcome) {
  EXPECT_EQ(Name(finding.outcome), Name(outcome)) << finding.measured;
  EXPECT_THAT(finding.measured, Not(IsEmpty())) << finding.name;
  EXPECT_THAT(finding.expected, Not(IsEmpty())) << finding.name;
  EXPECT_TRUE(outcome == Outcome::kSkipped || finding.advice.empty() == (outcome == Outcome::kOk)) << finding.name;
}

TEST(ChecksTest, AGoodMachineHasNothingToDo) {
  const std::vector<Finding> findings = CheckAll(GoodReadings(), {}, std::nullopt, "1.2.3");
  std::set<std::string> names;
  for (const Finding& finding : findings) {
    Expect(finding, finding.name == "tls" || finding.name == "secrets" ? Outcome::kSkipped : Outcome::kOk);
    names.insert(finding.name);
  }
  EXPECT_EQ(names,
            (std::set<std::string>{"configuration", "disk_speed", "space", "memory", "file_limits", "ports", "clock",
                                   "cpu", "kernel", "permissions", "secrets", "tls", "data", "version"}));
  EXPECT_EQ(Worst(findings), Outcome::kOk);
}

TEST(ChecksTest, ConfigurationWarnsOfWhatLosesBlocksOrFillsTheDisk) {
  config::Settings settings;
  Expect(CheckConfiguration(settings), Outcome::kOk);
  settings.persistence.mode = config::PersistenceMode::kAsync;
  Expect(CheckConfiguration(settings), Outcome::kWarning);
  settings = {};
  settings.cache.enable_account_cache = false;
  Expect(CheckConfiguration(settings), Outcome::kFailed);
  settings = {};
  for (const char* level : {"trace", "debug", "critical", "off"}) {
    settings.logging.level = level;
    Expect(CheckConfiguration(settings), Outcome::kWarning);
  }
}

TEST(ChecksTest, DiskSpeedIsJudgedByMedianAndTail) {
  const auto outcome = [](int p50, int p99) {
    return CheckDiskSpeed(SyncTimes{.samples = 9, .p50 = absl::Milliseconds(p50), .p99 = absl::Milliseconds(p99)})
        .outcome;
  };
  EXPECT_EQ(outcome(5, 50), Outcome::kOk);
  EXPECT_EQ(outcome(6, 50), Outcome::kWarning);
  EXPECT_EQ(outcome(5, 51), Outcome::kWarning);
  EXPECT_EQ(outcome(100, 900), Outcome::kWarning);
  EXPECT_EQ(outcome(101, 900), Outcome::kFailed);
  Expect(CheckDiskSpeed(absl::ResourceExhaustedError("full")), Outcome::kFailed);
  Expect(CheckDiskSpeed(absl::UnavailableError("input/output error")), Outcome::kFailed);
  Expect(CheckDiskSpeed(absl::PermissionDeniedError("not ours")), Outcome::kSkipped);
}

TEST(ChecksTest, SpaceCountsTheQueueAndInodes) {
  const auto with = [](uint64_t free, uint64_t free_files, config::Settings settings) {
    return CheckSpace(
        DiskSpace{.free_bytes = free, .total_bytes = 100 * kGiB, .free_files = free_files, .total_files = 1000},
        settings);
  };
  config::Settings settings;
  Expect(with(16 * kGiB, 500, settings), Outcome::kOk);
  Expect(with(16 * kGiB - 1, 500, settings), Outcome::kWarning);
  Expect(with(kGiB - 1, 500, settings), Outcome::kFailed);
  Expect(with(50 * kGiB, 4, settings), Outcome::kWarning);
  Expect(with(50 * kGiB, 0, settings), Outcome::kFailed);
  settings.persistence.queue_bytes = 5 * kGiB;
  Expect(with(20 * kGiB, 500, settings), Outcome::kFailed);
  Expect(CheckSpace(absl::NotFoundError("gone"), settings), Outcome::kFailed);
}

TEST(ChecksTest, SpaceHasNoInodesWhereTheFileSystemHasNone) {
  Expect(CheckSpace(DiskSpace{.free_bytes = 50 * kGiB, .total_bytes = 100 * kGiB}, {}), Outcome::kOk);
}

TEST(ChecksTest, MemoryIsComparedWithCachesAndQueue) {
  config::Settings settings;  // 1 GiB together
  Expect(CheckMemory({.limit_bytes = 2 * kGiB, .available_bytes = kGiB}, settings), Outcome::kOk);
  Expect(CheckMemory({.limit_bytes = 2 * kGiB, .available_bytes = kGiB - 1}, settings), Outcome::kWarning);
  Expect(CheckMemory({.limit_bytes = kGiB + kGiB / 8, .available_bytes = 0}, settings), Outcome::kWarning);
  Expect(CheckMemory({.limit_bytes = kGiB - 1, .available_bytes = kGiB}, settings), Outcome::kFailed);
  Expect(CheckMemory({}, settings), Outcome::kSkipped);
  settings.persistence.queue_bytes = 2 * kGiB;
  Expect(CheckMemory({.limit_bytes = 2 * kGiB, .available_bytes = kGiB}, settings), Outcome::kFailed);
}

TEST(ChecksTest, FileLimitsLeaveRoomForConnections) {
  config::Settings settings;
  Expect(CheckFileLimits({.soft = 8192, .hard = 8192}, settings), Outcome::kOk);
  Expect(CheckFileLimits({.soft = 1024, .hard = 1 << 20}, settings), Outcome::kWarning);
  Expect(CheckFileLimits({.soft = 256, .hard = 256}, settings), Outcome::kFailed);
  settings.server.max_concurrent_calls = 10000;
  Expect(CheckFileLimits({.soft = 8192, .hard = 8192}, settings), Outcome::kWarning);
}

TEST(ChecksTest, PortsNameTheAddressThatIsTaken) {
  const Finding finding = CheckPorts(
      {{"127.0.0.1:1", absl::OkStatus()}, {"127.0.0.1:2", absl::FailedPreconditionError("127.0.0.1:2 is in use")}});
  Expect(finding, Outcome::kFailed);
  EXPECT_THAT(finding.measured, AllOf(HasSubstr("127.0.0.1:1 is free"), HasSubstr("127.0.0.1:2 is in use")));
  EXPECT_THAT(finding.advice, AllOf(HasSubstr("127.0.0.1:2"), Not(HasSubstr("127.0.0.1:1"))));
}

TEST(ChecksTest, ClockIsSynchronisedAndFast) {
  Expect(CheckClock({.synchronised = true, .source = "kvm-clock"}), Outcome::kOk);
  Expect(CheckClock({.synchronised = false, .source = "tsc"}), Outcome::kWarning);
  Expect(CheckClock({.synchronised = true, .source = "hpet"}), Outcome::kWarning);
  Expect(CheckClock({.synchronised = absl::PermissionDeniedError("no"), .source = "tsc"}), Outcome::kWarning);
}

TEST(ChecksTest, CpuNamesTheHashInUse) {
  const Finding good = CheckCpu({.keccak = KeccakImpl::kAvx512, .threads = 4}, {});
  Expect(good, Outcome::kOk);
  EXPECT_THAT(good.measured, HasSubstr(std::string(KeccakImplName(KeccakImpl::kAvx512))));
  Expect(CheckCpu({.keccak = KeccakImpl::kScalar, .threads = 4}, {}), Outcome::kWarning);
  config::Settings settings;
  settings.performance.worker_threads = 5;
  Expect(CheckCpu({.keccak = KeccakImpl::kAvx2, .threads = 4}, settings), Outcome::kWarning);
}

TEST(ChecksTest, KernelSettingsMatterOneByOne) {
  const KernelReading good = GoodReadings().kernel;
  const auto with = [&](auto change, MemoryReading memory = {}) {
    KernelReading kernel = good;
    change(kernel);
    return CheckKernel(kernel, memory);
  };
  Expect(with([](KernelReading&) {}), Outcome::kOk);
  EXPECT_THAT(with([](KernelReading&) {}, {.swap_bytes = kGiB}).advice, HasSubstr("vm.swappiness"));
  Expect(with([](KernelReading& k) { k.swappiness = 10; }, {.swap_bytes = kGiB}), Outcome::kOk);
  EXPECT_THAT(with([](KernelReading& k) { k.transparent_huge_pages = "never"; }).advice, HasSubstr("hugepage"));
  Expect(with([](KernelReading& k) { k.transparent_huge_pages = "always"; }), Outcome::kOk);
  EXPECT_THAT(with([](KernelReading& k) { k.overcommit_memory = 2; }).advice, HasSubstr("vm.overcommit_memory"));
  EXPECT_THAT(with([](KernelReading& k) { k.dirty_ratio = 40; }).advice, HasSubstr("vm.dirty_ratio"));
  EXPECT_THAT(with([](KernelReading& k) { k.dirty_background_ratio = 11; }).advice,
              HasSubstr("vm.dirty_background_ratio"));
  EXPECT_EQ(CheckKernel({}, {}).outcome, Outcome::kSkipped);
}

TEST(ChecksTest, PermissionsOfTheFolderAndTheLog) {
  const auto with = [&](auto change) {
    Readings readings = GoodReadings();
    change(readings.folder);
    return CheckPermissions(readings);
  };
  Expect(with([](FolderReading&) {}), Outcome::kOk);
  Expect(with([](FolderReading& f) { f.exists = false; }), Outcome::kFailed);
  Expect(with([](FolderReading& f) { f.is_folder = false; }), Outcome::kFailed);
  Expect(with([](FolderReading& f) { f.usable = false; }), Outcome::kFailed);
  Expect(with([](FolderReading& f) { f.others_write = true; }), Outcome::kWarning);
  Expect(with([](FolderReading& f) { f.user = 0; }), Outcome::kWarning);
  Expect(with([](FolderReading& f) { f.is_data_dir = false, f.user = 0; }), Outcome::kOk);
}

TEST(ChecksTest, PermissionsOfOtherFilesNameTheSetting) {
  const std::pair<absl::Status Readings::*, const char*> files[] = {{&Readings::log_file, "logging.file"},
                                                                    {&Readings::audit_file, "security.audit_file"},
                                                                    {&Readings::backup_dir, "backup.dir"}};
  for (const auto& [file, setting] : files) {
    Readings readings = GoodReadings();
    readings.*file = absl::PermissionDeniedError("not ours");
    const Finding finding = CheckPermissions(readings);
    Expect(finding, Outcome::kFailed);
    EXPECT_THAT(finding.advice, HasSubstr(setting));
  }
}

TEST(ChecksTest, SecretsMustBeUsable) {
  config::Settings settings;
  Expect(CheckSecrets(GoodReadings(), settings), Outcome::kSkipped);
  settings.security.jwt_secret_file = "jwt.hex";
  settings.security.encryption_key_file = "key.hex";
  Expect(CheckSecrets(GoodReadings(), settings), Outcome::kOk);
  for (absl::Status Readings::*status : {&Readings::tokens, &Readings::master_key}) {
    Readings readings = GoodReadings();
    readings.*status = absl::FailedPreconditionError("others can read key.hex");
    const Finding finding = CheckSecrets(readings, settings);
    Expect(finding, Outcome::kFailed);
    EXPECT_THAT(finding.measured, HasSubstr("others can read key.hex"));
  }
}

TEST(ChecksTest, TlsSaysWhatIsInTheClear) {
  config::Settings settings;
  Expect(CheckTls(settings, tls::TlsMaterial(), absl::UnixEpoch()), Outcome::kSkipped);
  settings.server.listen = {"unix:/run/mptd.sock", "0.0.0.0:7300"};
  settings.server.admin_listen = "10.0.0.1:7302";
  const Finding finding = CheckTls(settings, tls::TlsMaterial(), absl::UnixEpoch());
  Expect(finding, Outcome::kWarning);
  EXPECT_THAT(finding.measured,
              AllOf(HasSubstr("0.0.0.0:7300, 10.0.0.1:7302 is served in the clear"), Not(HasSubstr("mptd.sock"))));
  EXPECT_THAT(finding.advice, HasSubstr("private network"));
}

TEST(ChecksTest, TlsNeedsFilesThatAreGood) {
  config::Settings settings;
  settings.server.listen = {"0.0.0.0:7300"};
  settings.security.tls_cert_file = "cert.pem";
  tls::TlsMaterial files;
  files.subject = "CN=mptd";
  files.not_before = absl::UnixEpoch();
  files.not_after = absl::UnixEpoch() + absl::Hours(24 * 100);
  const auto at = [&](int day) { return CheckTls(settings, files, absl::UnixEpoch() + absl::Hours(24 * day)); };
  Expect(at(50), Outcome::kOk);
  EXPECT_THAT(at(50).measured, HasSubstr("CN=mptd fits its key and is valid for 50 days"));
  Expect(at(85), Outcome::kOk);
  Expect(at(87), Outcome::kWarning);
  files.not_after = absl::UnixEpoch() + absl::Hours(24);  // one that lives for a day is not old in the morning
  Expect(at(0), Outcome::kOk);
  const Finding bad = CheckTls(settings, absl::FailedPreconditionError("cert.pem expired"), absl::UnixEpoch());
  Expect(bad, Outcome::kFailed);
  EXPECT_THAT(bad.measured, HasSubstr("cert.pem expired"));
  settings.server.http_listen = "0.0.0.0:7301";
  EXPECT_THAT(at(0).measured, HasSubstr("0.0.0.0:7301 is served in the clear"));
}

TEST(ChecksTest, DataThatIsInUseDamagedOrOfAnotherChain) {
  DataReading data;
  data.state = StoredState();
  data.state->value().head.number = 12;
  data.state->value().genesis_root = RootOf(1);
  Expect(CheckData(data, std::nullopt), Outcome::kOk);
  Expect(CheckData(data, RootOf(1)), Outcome::kOk);
  EXPECT_THAT(CheckData(data, RootOf(1)).measured, HasSubstr("block 12"));
  EXPECT_THAT(CheckData(data, RootOf(2)).advice, HasSubstr("another chain"));
  Expect(CheckData(data, RootOf(2)), Outcome::kFailed);
  data.state->value().genesis_root.reset();
  Expect(CheckData(data, RootOf(2)), Outcome::kFailed);
  data.state = std::optional<StoredState>();
  Expect(CheckData(data, RootOf(2)), Outcome::kOk);
  data.state = absl::DataLossError("table meta");
  Expect(CheckData(data, std::nullopt), Outcome::kFailed);
  data = {};
  data.log = absl::DataLossError("segment 3");
  EXPECT_THAT(CheckData(data, std::nullopt).advice, HasSubstr("checkpoint"));
  data.log = absl::UnavailableError("input/output error");
  Expect(CheckData(data, std::nullopt), Outcome::kFailed);
  data = {};
  data.lock = absl::FailedPreconditionError("in use by pid 5");
  EXPECT_THAT(CheckData(data, std::nullopt).measured, HasSubstr("pid 5"));
  Expect(CheckData(data, std::nullopt), Outcome::kFailed);
  data = {};
  data.format = absl::DataLossError("FORMAT is damaged");
  Expect(CheckData(data, std::nullopt), Outcome::kFailed);
  Expect(CheckVersion(data, "1"), Outcome::kOk);
}

TEST(ChecksTest, ANewerFormatIsToldOnce) {
  DataReading data;
  data.format = absl::FailedPreconditionError("written by a newer mptd (format 2)");
  EXPECT_EQ(CheckData(data, std::nullopt).outcome, Outcome::kSkipped);
  const Finding finding = CheckVersion(data, "1.2.3");
  Expect(finding, Outcome::kFailed);
  EXPECT_THAT(finding.measured, AllOf(HasSubstr("mptd 1.2.3"), HasSubstr("format 2")));
}

TEST(FindingTest, TheWorstDecides) {
  const auto of = [](std::vector<Outcome> outcomes) {
    std::vector<Finding> findings;
    for (const Outcome outcome : outcomes) findings.push_back({.name = "x", .outcome = outcome});
    return ExitCodeOf(Worst(findings));
  };
  EXPECT_EQ(of({}), 0);
  EXPECT_EQ(of({Outcome::kSkipped, Outcome::kOk}), 0);
  EXPECT_EQ(of({Outcome::kOk, Outcome::kWarning, Outcome::kSkipped}), 1);
  EXPECT_EQ(of({Outcome::kWarning, Outcome::kFailed, Outcome::kOk}), 2);
}

TEST(FindingTest, TheTableSaysWhatToDoWhereSomethingIsWrong) {
  const std::vector<Finding> findings = {
      {.name = "space", .measured = "much", .expected = "some", .advice = ""},
      {.name = "file_limits", .outcome = Outcome::kFailed, .measured = "5", .expected = "6", .advice = "raise it"}};
  EXPECT_EQ(Table(findings),
            "CHECK        RESULT   MEASURED\n"
            "space        ok       much\n"
            "file_limits  failed   5\n"
            "                      expected: 6\n"
            "                      to do: raise it\n"
            "\n"
            "1 ok, 0 warnings, 1 failed, 0 skipped\n");
}

TEST(FindingTest, JsonHasEverythingEvenOfAnyBytes) {
  const std::vector<Finding> findings = {
      {.name = "ports", .outcome = Outcome::kWarning, .measured = "a\xff", .expected = "b", .advice = "c"}};
  const std::string text = Json(findings);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json["result"], "warning");
  EXPECT_EQ(json["checks"][0]["name"], "ports");
  EXPECT_EQ(json["checks"][0]["result"], "warning");
  EXPECT_EQ(json["checks"][0]["expected"], "b");
  EXPECT_EQ(json["checks"][0]["advice"], "c");
}

TEST(FindingTest, Sizes) {
  EXPECT_EQ(SizeText(1023), "1023 B");
  EXPECT_EQ(SizeText(1536), "1.5 KiB");
  EXPECT_EQ(SizeText(3 * kGiB), "3.0 GiB");
  EXPECT_EQ(SizeText(5000 * 1024 * kGiB), "4.9 PiB");
  EXPECT_EQ(SizeText(5000 * kGiB * 1024 * 1024), "5000.0 PiB");
}

}  // namespace
}  // namespace mptd::checkup
