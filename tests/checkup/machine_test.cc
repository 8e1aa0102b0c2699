// The readings of a real machine and of real folders, and that reading changes nothing in them.
#include "checkup/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "checkup/disk_probe.h"
#include "core/engine/engine.h"
#include "storage/data_dir.h"
#include "tests/engine/engine_testing.h"

namespace mptd::checkup {
namespace {

namespace fs = std::filesystem;
using mptd::testing::AddressOf;
using ::testing::HasSubstr;
using ::testing::TempDir;

class MachineTest : public ::testing::Test {
 protected:
  MachineTest() {
    std::string name = TempDir() + "mptd-XXXXXX";
    dir_ = mkdtemp(name.data());
  }
  ~MachineTest() override { fs::remove_all(dir_); }

  // A folder whose tables and change log hold a genesis and a block after it.
  std::string MakeData() {
    const std::string data = dir_ + "/data";
    EngineOptions options;
    options.data_dir = data;
    auto engine = StateEngine::Open(options);
    EXPECT_TRUE(engine.ok()) << engine.status();
    for (uint64_t number = 0; number < 2; ++number) {
      BlockChanges block;
      block.number = number;
      block.changes.emplace_back();
      block.changes.back().address = AddressOf(1);
      block.changes.back().nonce = number + 1;
      const auto applied = (*engine)->Apply(block);
      EXPECT_TRUE(applied.ok()) << applied.status();
      if (number == 0) genesis_root_ = applied->block.state_root;
    }
    return data;
  }
  // Every file below the folder, with its content.
  static std::map<std::string, std::string> Files(const std::string& dir) {
    std::map<std::string, std::string> out;
    for (const auto& entry : fs::recursive_directory_iterator(dir)) {
      std::ostringstream text;
      if (entry.is_regular_file()) text << std::ifstream(entry.path(), std::ios::binary).rdbuf();
      out[entry.path()] = text.str();
    }
    return out;
  }

  std::string dir_;
  Hash genesis_root_;
};

TEST_F(MachineTest, DataIsReadAndNotChanged) {
  const std::string data = MakeData();
  const auto before = Files(data);
  const DataReading reading = ReadData(data, {});
  EXPECT_TRUE(reading.lock.ok()) << reading.lock;
  EXPECT_TRUE(reading.format.ok()) << reading.format;
  ASSERT_TRUE(reading.log.ok()) << reading.log.status();
  ASSERT_TRUE(reading.state.ok()) << reading.state.status();
  ASSERT_TRUE(reading.state->has_value());
  EXPECT_EQ((*reading.state)->head.number, 1u);
  EXPECT_EQ((*reading.state)->genesis_root, genesis_root_);
  EXPECT_EQ(Files(data), before);
}

TEST_F(MachineTest, AFolderThatIsNotThereStaysSo) {
  config::Settings settings;
  settings.server.data_dir = dir_ + "/absent/";
  settings.server.listen = {"127.0.0.1:0"};
  settings.server.http_listen = "off";
  const Readings readings = ReadMachine(settings);
  EXPECT_TRUE(fs::is_empty(dir_));
  EXPECT_EQ(readings.folder.path, dir_);
  EXPECT_FALSE(readings.folder.is_data_dir);
  EXPECT_TRUE(readings.folder.usable);
  EXPECT_TRUE(absl::IsNotFound(readings.data.format));
  ASSERT_TRUE(readings.sync.ok()) << readings.sync.status();
  EXPECT_GT(readings.sync->samples, 0u);
  EXPECT_LE(readings.sync->p50, readings.sync->p99);
  ASSERT_TRUE(readings.space.ok());
  EXPECT_GT(readings.space->total_bytes, 0u);
  EXPECT_GT(readings.memory.limit_bytes, 0u);
  EXPECT_GT(readings.files.soft, 0u);
  EXPECT_EQ(readings.listen.size(), 1u);
  EXPECT_TRUE(readings.listen[0].status.ok());
}

TEST_F(MachineTest, DataInUseIsLeftAlone) {
  const std::string data = MakeData();
  const auto lock = storage::LockDataDir(data);
  ASSERT_TRUE(lock.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadData(data, {}).lock));
}

TEST_F(MachineTest, DamageIsFound) {
  const std::string data = MakeData();
  std::ofstream(data + "/db/CURRENT") << "nonsense";
  EXPECT_FALSE(ReadData(data, {}).state.ok());
  std::ofstream(data + "/FORMAT") << "nonsense";
  EXPECT_TRUE(absl::IsDataLoss(ReadData(data, {}).format));
  fs::remove(data + "/FORMAT");
  EXPECT_TRUE(absl::IsDataLoss(ReadData(data, {}).format));
}

TEST_F(MachineTest, AFileIsNoFolder) {
  std::ofstream(dir_ + "/file") << "x";
  const FolderReading reading = ReadFolder(dir_ + "/file");
  EXPECT_TRUE(reading.exists);
  EXPECT_FALSE(reading.is_folder);
  EXPECT_FALSE(ReadFolder(dir_ + "/a/b").exists);
}

TEST_F(MachineTest, TheDiskIsMeasuredWithoutATrace) {
  ASSERT_TRUE(MeasureSync(dir_).ok());
  EXPECT_TRUE(fs::is_empty(dir_));
  EXPECT_TRUE(absl::IsNotFound(MeasureSync(dir_ + "/absent").status()));
}

TEST_F(MachineTest, AddressesInUseAreNamed) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string taken = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  EXPECT_THAT(std::string(CanListen(taken).message()), HasSubstr(taken));
  close(listener);
  EXPECT_FALSE(CanListen("no-such-host.invalid:7300").ok());
}

TEST_F(MachineTest, SocketsAreNotTakenAway) {
  const std::string path = dir_ + "/mptd.sock";
  EXPECT_TRUE(CanListen("unix:" + path).ok());
  EXPECT_FALSE(CanListen("unix:" + dir_ + "/absent/mptd.sock").ok());
  EXPECT_FALSE(fs::exists(path));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  ASSERT_LT(path.size(), sizeof(name.sun_path));
  path.copy(name.sun_path, path.size());
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  EXPECT_THAT(std::string(CanListen("unix:" + path).message()), HasSubstr("in use"));
  close(listener);
  EXPECT_TRUE(CanListen("unix:" + path).ok()) << "nobody listens any more";
  EXPECT_TRUE(fs::exists(path)) << "the file is the daemon's to remove";
  std::ofstream(dir_ + "/file") << "x";
  EXPECT_THAT(std::string(CanListen("unix:" + dir_ + "/file").message()), HasSubstr("not a socket"));
}

}  // namespace
}  // namespace mptd::checkup
