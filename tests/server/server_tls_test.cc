// The files of the daemon's TLS while it runs: what is in force, and what is said of files that are worse. That gRPC
// listens with them is what tests/integration/tls_test.py shows.
#include "server/server_tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/time/clock.h"
#include "server/memory_file.h"
#include "tests/tls/certificates.h"

namespace mptd {
namespace {

using ::testing::HasSubstr;

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

timespec ModifiedAt(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(stat(path.c_str(), &info), 0);
  return info.st_mtim;
}

TEST(MemoryFileTest, TheNameStays) {
  absl::StatusOr<MemoryFile> made = MemoryFile::Create();
  ASSERT_TRUE(made.ok()) << made.status();
  const std::string path = made->path();
  MemoryFile moved = *std::move(made);
  EXPECT_EQ(moved.path(), path);
  EXPECT_EQ(Contents(path), "");
  ASSERT_TRUE(moved.Replace("new").ok());
  EXPECT_EQ(Contents(path), "new");
}

TEST(MemoryFileTest, WhoReadsTwiceCanTellThatItChanged) {
  absl::StatusOr<MemoryFile> file = MemoryFile::Create();
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE(file->Replace("first, and longer").ok());
  EXPECT_EQ(Contents(file->path()), "first, and longer");
  const timespec before = ModifiedAt(file->path());
  EXPECT_GT(before.tv_sec, 0);
  std::ifstream reader(file->path(), std::ios::binary);
  ASSERT_TRUE(file->Replace("second").ok());
  EXPECT_EQ(Contents(file->path()), "second");
  EXPECT_NE(ModifiedAt(file->path()).tv_sec, before.tv_sec);
  std::string old;
  std::getline(reader, old);
  EXPECT_EQ(old, "first, and longer") << "who has it open reads on in what he opened";
}

class ServerTlsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "mptd-XXXXXX";
    dir_ = mkdtemp(name.data());
    Write("ca", authority_.Pem());
    Write("crl", tls::MakeRevocationList(authority_, {}, now_ + absl::Hours(12)));
    Put(New("first"));
    options_ = {.files = {.certificate = dir_ + "/cert",
                          .key = dir_ + "/key",
                          .client_ca = dir_ + "/ca",
                          .revocation_lists = dir_ + "/crl"},
                .tls13_only = false};
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  tls::Made New(const std::string& name) const {
    return tls::Make({.name = name,
                      .issuer = &authority_,
                      .not_before = now_ - absl::Hours(1),
                      .not_after = now_ + absl::Hours(99)});
  }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(dir_ + "/" + name, std::ios::binary) << text;
    chmod((dir_ + "/" + name).c_str(), 0600);
  }
  void Put(const tls::Made& made) const {
    Write("cert", made.Pem());
    Write("key", made.KeyPem());
  }
  static double Sample(const ServerTls& tls, const std::string& name, const std::string& label = "") {
    MetricsWriter writer;
    tls.Write(writer);
    for (const prometheus::MetricFamily& family : writer.families()) {
      if (family.name != name) continue;
      for (const prometheus::ClientMetric& metric : family.metric) {
        if (label.empty() || metric.label.front().value == label) {
          return family.type == prometheus::MetricType::Gauge ? metric.gauge.value : metric.counter.value;
        }
      }
    }
    ADD_FAILURE() << "no " << name;
    return -1;
  }

  const absl::Time now_ = absl::Now();
  std::string dir_;  // another for each process: builds are tested beside each other
  const tls::Made authority_ = tls::Make({.name = "authority",
                                          .authority = true,
                                          .not_before = now_ - absl::Hours(1),
                                          .not_after = now_ + absl::Hours(999)});
  const std::unique_ptr<Logger> log_ = Logger::Silent();
  ServerTlsOptions options_;
};

TEST_F(ServerTlsTest, DoesNotStartWithBadFiles) {
  Write("key", New("other").KeyPem());
  const auto tls = ServerTls::Open(options_, nullptr, *log_);
  EXPECT_EQ(tls.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(tls.status().message()), HasSubstr("is not the key of"));
}

TEST_F(ServerTlsTest, BadFilesLeaveWhatIsInForce) {
  const auto tls = ServerTls::Open(options_, nullptr, *log_);
  ASSERT_TRUE(tls.ok()) << tls.status();
  EXPECT_NE((*tls)->credentials(), nullptr);
  EXPECT_EQ((*tls)->Check(now_).state, HealthState::kHealthy);
  const double before = Sample(**tls, "mptd_tls_certificate_not_after_seconds");
  Write("cert", "nothing");
  EXPECT_FALSE((*tls)->Reload().ok());
  EXPECT_EQ((*tls)->Check(now_).state, HealthState::kDegraded);
  EXPECT_THAT((*tls)->Check(now_).reason, HasSubstr("has no certificate"));
  EXPECT_EQ(Sample(**tls, "mptd_tls_files_refused"), 1);
  EXPECT_GE(Sample(**tls, "mptd_tls_reloads_total", "refused"), 1);
  EXPECT_EQ(Sample(**tls, "mptd_tls_certificate_not_after_seconds"), before);
  Put(New("second"));
  EXPECT_TRUE((*tls)->Reload().ok());
  EXPECT_EQ((*tls)->Check(now_).state, HealthState::kHealthy);
  EXPECT_EQ(Sample(**tls, "mptd_tls_files_refused"), 0);
}

TEST_F(ServerTlsTest, HealthKnowsTheAgeOfWhatIsInForce) {
  Write("crl", tls::MakeRevocationList(authority_, {}, now_ + absl::Hours(98)));
  const auto tls = ServerTls::Open(options_, nullptr, *log_);
  ASSERT_TRUE(tls.ok()) << tls.status();
  const auto at = [&](int hours) { return (*tls)->Check(now_ + absl::Hours(hours)); };
  EXPECT_EQ(at(88).state, HealthState::kHealthy);
  EXPECT_EQ(at(90).state, HealthState::kDegraded);
  EXPECT_THAT(at(90).reason, HasSubstr("was not renewed"));
  EXPECT_EQ(at(100).state, HealthState::kFailing);
  EXPECT_THAT(at(100).reason, HasSubstr("has expired"));
  Write("crl", tls::MakeRevocationList(authority_, {}, now_ + absl::Hours(2)));
  ASSERT_TRUE((*tls)->Reload().ok());
  EXPECT_THAT(at(3).reason, HasSubstr("revocation list is out of date"));
}

TEST_F(ServerTlsTest, ChangedFilesAreReadWithoutBeingAsked) {
  const auto tls = ServerTls::Open(options_, nullptr, *log_);
  ASSERT_TRUE(tls.ok()) << tls.status();
  Put(New("second, of another size"));  // so soon that the time of its last change may be the first one's
  const absl::Time end = absl::Now() + absl::Minutes(2);
  while (Sample(**tls, "mptd_tls_reloads_total", "ok") < 2 && absl::Now() < end) absl::SleepFor(absl::Milliseconds(20));
  EXPECT_GE(Sample(**tls, "mptd_tls_reloads_total", "ok"), 2);
}

}  // namespace
}  // namespace mptd
