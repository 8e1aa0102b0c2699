// What a restore leaves at each step of its way. That it checks everything is tested with a real daemon, in
// tests/integration/backup_test.py.
#include "backup/restore.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "absl/time/clock.h"
#include "backup/files.h"
#include "tests/engine/engine_testing.h"

namespace mptd::backup {
namespace {

namespace fs = std::filesystem;
using mptd::testing::TempDir;

// A checkpoint of one block in `dir`/checkpoint.
std::string MakeCheckpoint(const TempDir& dir) {
  EngineOptions options;
  options.data_dir = dir.path() + "/data";
  const absl::StatusOr<std::unique_ptr<StateEngine>> engine = StateEngine::Open(options);
  EXPECT_TRUE(engine.ok()) << engine.status();
  BlockChanges block;
  block.changes = {mptd::testing::SetBalance(1, 5)};
  EXPECT_TRUE((*engine)->Apply(std::move(block)).ok());
  const std::string checkpoint = dir.path() + "/checkpoint";
  const absl::StatusOr<BlockInfo> head = (*engine)->Checkpoint(checkpoint);
  EXPECT_TRUE(head.ok()) << head.status();
  const Manifest manifest{.daemon_version = "1.0",
                          .created = absl::Now(),
                          .block = *head,
                          .genesis_root = (*engine)->Status().genesis_root,
                          .files = *HashFiles(checkpoint, {})};
  EXPECT_TRUE(WriteManifest(checkpoint, manifest).ok());
  return checkpoint;
}

// The folder that becomes `data_dir`; empty when there is none.
std::string DraftOf(const std::string& data_dir) {
  for (const auto& entry : fs::directory_iterator(fs::path(data_dir).parent_path())) {
    if (entry.path().string().starts_with(data_dir + ".restoring-")) return entry.path();
  }
  return {};
}

TEST(Restore, ADraftIsNoDataFolderBeforeItHasEveryFile) {
  const TempDir dir;
  const std::string checkpoint = MakeCheckpoint(dir);
  const std::string data_dir = dir.path() + "/restored";
  int steps = 0;
  const absl::StatusOr<Restored> restored =
      Restore({.checkpoint = checkpoint, .data_dir = data_dir, .progress = [&](const std::string& what, double) {
                 EXPECT_FALSE(fs::exists(data_dir)) << what;
                 if (what != "copying") return;
                 ++steps;
                 EXPECT_FALSE(fs::exists(DraftOf(data_dir) + "/FORMAT"));
               }});
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(steps, static_cast<int>(restored->manifest.files.size()));
  EXPECT_TRUE(fs::exists(data_dir + "/FORMAT"));
  EXPECT_EQ(DraftOf(data_dir), "");
}

TEST(Restore, ADraftThatWasCutOffIsRefused) {
  const TempDir dir;
  const std::string checkpoint = MakeCheckpoint(dir);
  const std::string data_dir = dir.path() + "/restored";
  const std::string cut_off = dir.path() + "/cut-off";
  const absl::StatusOr<Restored> restored =
      Restore({.checkpoint = checkpoint, .data_dir = data_dir, .progress = [&](const std::string& what, double done) {
                 if (what == "copying" && done > 0.4 && !fs::exists(cut_off)) {
                   fs::copy(DraftOf(data_dir), cut_off, fs::copy_options::recursive);
                 }
               }});
  ASSERT_TRUE(restored.ok()) << restored.status();
  ASSERT_TRUE(fs::exists(cut_off));
  EngineOptions options;
  options.data_dir = cut_off;
  const absl::Status status = StateEngine::Open(options).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
}

}  // namespace
}  // namespace mptd::backup
