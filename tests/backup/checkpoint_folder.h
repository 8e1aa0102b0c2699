// Folders that look like checkpoints, made without an engine.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "backup/files.h"
#include "backup/manifest.h"

namespace mptd::backup {

class FolderTest : public ::testing::Test {
 protected:
  FolderTest() {
    std::string path = (std::filesystem::temp_directory_path() / "mptd-backup-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) std::abort();
    dir_ = path;
  }
  ~FolderTest() override { std::filesystem::remove_all(dir_); }

  static void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path, std::ios::binary) << text;
  }
  bool Exists(const std::string& name) const { return std::filesystem::exists(dir_ + "/" + name); }

  // The data of a checkpoint, without its manifest.
  void MakeData(const std::string& name) const {
    Write(dir_ + "/" + name + "/FORMAT", "mptd data format 1\n");
    Write(dir_ + "/" + name + "/db/CURRENT", "MANIFEST-000004\n");
    Write(dir_ + "/" + name + "/db/000011.sst", "rows of " + name);
  }
  Manifest MakeCheckpoint(const std::string& name, uint64_t number, absl::Time created) const {
    MakeData(name);
    Manifest manifest;
    manifest.daemon_version = "9.9";
    manifest.created = created;
    manifest.block.number = number;
    manifest.files = HashFiles(dir_ + "/" + name, {}).value();
    EXPECT_TRUE(WriteManifest(dir_ + "/" + name, manifest).ok());
    return manifest;
  }

  std::string dir_;
};

}  // namespace mptd::backup
