#include "backup/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/backup/checkpoint_folder.h"

namespace mptd::backup {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Code = absl::StatusCode;

auto IsDifference(const std::string& path, const std::string& what) {
  return ::testing::AllOf(Field(&Difference::path, path), Field(&Difference::what, HasSubstr(what)));
}

class FilesTest : public FolderTest {
 protected:
  const Manifest manifest_ = MakeCheckpoint("c", 1, absl::FromUnixSeconds(1));
  const std::string c_ = dir_ + "/c";
};

// FIPS 180-2, appendix B.1.
TEST(Sha256Test, OfAbc) {
  EXPECT_EQ(Sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_F(FilesTest, NothingDiffers) {
  EXPECT_THAT(CompareContents(c_, manifest_, {}).value(), IsEmpty());
  EXPECT_THAT(ListFiles(c_).value(), ElementsAre("FORMAT", "db/000011.sst", "db/CURRENT"));
}

TEST_F(FilesTest, EveryDifferenceIsNamed) {
  Write(c_ + "/FORMAT", "mptd data format 2\n");
  Write(c_ + "/db/000011.sst", "short");
  std::filesystem::remove(c_ + "/db/CURRENT");
  Write(c_ + "/LOCK", "1\n");
  EXPECT_THAT(CompareNames(c_, manifest_).value(),
              ElementsAre(IsDifference("db/000011.sst", "has 5 bytes instead of 9"),
                          IsDifference("db/CURRENT", "missing"), IsDifference("LOCK", "not of the checkpoint")));
  EXPECT_THAT(CompareContents(c_, manifest_, {}).value(),
              ElementsAre(IsDifference("db/000011.sst", "bytes"), IsDifference("db/CURRENT", "missing"),
                          IsDifference("LOCK", "not of the checkpoint"), IsDifference("FORMAT", "SHA-256")));
}

TEST_F(FilesTest, AnEmptyFolderIsNotOfTheCheckpoint) {
  std::filesystem::create_directories(c_ + "/log");
  std::filesystem::create_directories(c_ + "/db/more/nested");
  EXPECT_THAT(CompareContents(c_, manifest_, {}).value(),
              ElementsAre(IsDifference("db/more/nested", "a folder that is not of the checkpoint"),
                          IsDifference("log", "a folder that is not of the checkpoint")));
  // Of one that lost its files, these are told.
  std::filesystem::remove_all(c_ + "/log");
  std::filesystem::remove_all(c_ + "/db");
  std::filesystem::create_directory(c_ + "/db");
  EXPECT_THAT(CompareNames(c_, manifest_).value(),
              ElementsAre(IsDifference("db/000011.sst", "missing"), IsDifference("db/CURRENT", "missing")));
}

TEST_F(FilesTest, ALinkIsNoFile) {
  std::filesystem::remove(c_ + "/FORMAT");
  std::filesystem::create_symlink("/etc/hostname", c_ + "/FORMAT");
  EXPECT_EQ(CompareNames(c_, manifest_).status().code(), Code::kDataLoss);
}

TEST_F(FilesTest, ProgressMayStop) {
  EXPECT_EQ(HashFiles(c_, [](uint64_t) { return false; }).status().code(), Code::kCancelled);
}

TEST_F(FilesTest, AFileIsPlacedOnce) {
  const std::string to = dir_ + "/copy";
  ASSERT_NE(PlaceFile(c_ + "/FORMAT", to, /*may_link=*/false).value(), Placing::kLinked);
  EXPECT_EQ(ReadWhole(to).value(), "mptd data format 1\n");
  EXPECT_FALSE(PlaceFile(c_ + "/db/CURRENT", to, /*may_link=*/true).ok());
  EXPECT_EQ(ReadWhole(to).value(), "mptd data format 1\n");
  ASSERT_NE(PlaceFile(c_ + "/FORMAT", dir_ + "/link", /*may_link=*/true).value(), Placing::kCopied);
  EXPECT_EQ(ReadWhole(dir_ + "/link").value(), "mptd data format 1\n");
}

TEST_F(FilesTest, MovingReplacesNothing) {
  MakeData("full");
  std::filesystem::create_directory(dir_ + "/empty");
  EXPECT_EQ(MoveDirectory(c_, dir_ + "/full", /*over_empty=*/true).code(), Code::kAlreadyExists);
  EXPECT_EQ(MoveDirectory(c_, dir_ + "/empty", /*over_empty=*/false).code(), Code::kAlreadyExists);
  EXPECT_TRUE(MoveDirectory(c_, dir_ + "/empty", /*over_empty=*/true).ok());
  EXPECT_TRUE(MoveDirectory(dir_ + "/empty", dir_ + "/new", /*over_empty=*/false).ok());
  EXPECT_THAT(CompareContents(dir_ + "/new", manifest_, {}).value(), IsEmpty());
}

}  // namespace
}  // namespace mptd::backup
