#include "backup/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backup/files.h"
#include "tests/backup/checkpoint_folder.h"

namespace mptd::backup {
namespace {

using ::testing::HasSubstr;
using Code = absl::StatusCode;

Manifest Full() {
  Manifest out;
  out.daemon_version = "1.2.3";
  out.created = absl::FromUnixSeconds(1767323045);
  out.block.number = 17;
  out.block.hash = kEmptyRoot;
  out.genesis_root = kEmptyRoot;
  out.files = {{.path = "FORMAT", .bytes = 19, .sha256 = Sha256("a")},
               {.path = "db/000011.sst", .bytes = 1234, .sha256 = Sha256("b")}};
  return out;
}

// As FormatManifest, with a piece replaced.
std::string Changed(const std::string& what, const std::string& by) {
  std::string text = FormatManifest(Full());
  const size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), by);
}

TEST(ManifestTest, WhatIsWrittenIsRead) {
  const absl::StatusOr<Manifest> parsed = ParseManifest(FormatManifest(Full()), "x");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, Full());
  EXPECT_EQ(parsed->bytes(), 1253u);
}

TEST(ManifestTest, SaysItsKindAndTimeInPlainText) {
  const std::string text = FormatManifest(Full());
  EXPECT_THAT(text, HasSubstr("\"kind\": \"mptd checkpoint\""));
  EXPECT_THAT(text, HasSubstr("\"created\": \"2026-01-02T03:04:05Z\""));
  EXPECT_THAT(text, HasSubstr("\"number\": 17"));
}

TEST(ManifestTest, EveryChangeIsFound) {
  for (const auto& [what, by] : std::vector<std::pair<std::string, std::string>>{
           {"\"number\": 17", "\"number\": 18"},
           {"\"number\": 17", "\"number\": -1"},
           {"2026-01-02", "2026-01-03"},
           {"1.2.3", "1.2.4"},
           {"\"bytes\": 19", "\"bytes\": 20"},
           {"000011.sst", "000012.sst"},
           {"mptd checkpoint", "mptd"},
           {"{", "["},
       }) {
    EXPECT_EQ(ParseManifest(Changed(what, by), "x").status().code(), Code::kDataLoss) << what << " as " << by;
  }
}

TEST(ManifestTest, PathsStayInside) {
  for (const char* path : {"../secret", "/etc/passwd", "db/../../x", "db//x", "", kManifestName}) {
    Manifest manifest = Full();
    manifest.files = {{.path = path, .bytes = 0, .sha256 = Sha256("")}};
    const absl::Status status = ParseManifest(FormatManifest(manifest), "x").status();
    EXPECT_EQ(status.code(), Code::kDataLoss) << path;
    EXPECT_THAT(std::string(status.message()), HasSubstr("files[0]")) << path;
  }
}

TEST(ManifestTest, ANewerOneAsksForAnUpgrade) {
  const absl::Status status = ParseManifest(Changed("\"version\": 1", "\"version\": 2"), "x").status();
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("upgrade"));
}

using ManifestFileTest = FolderTest;

TEST_F(ManifestFileTest, AFolderWithoutIsNotACheckpoint) {
  const absl::Status status = ReadManifest(dir_).status();
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("is not a checkpoint"));
}

TEST_F(ManifestFileTest, IsWrittenWhole) {
  ASSERT_TRUE(WriteManifest(dir_, Full()).ok());
  EXPECT_EQ(ReadManifest(dir_).value(), Full());
  EXPECT_FALSE(Exists("CHECKPOINT.json.tmp"));
}

}  // namespace
}  // namespace mptd::backup
