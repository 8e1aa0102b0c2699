// A process that is killed while it writes to the store, again and again. The writer is this program itself, started
// anew: a forked copy would lack RocksDB's threads.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <string_view>
#include <thread>

#include "storage/rocksdb_store.h"
#include "tests/storage/marked_batches.h"
#include "tests/storage/test_support.h"

namespace mptd::storage {
namespace {

int IngestForever(const std::string& dir) {
  auto store = OpenRocksDb(SmallStore(dir));
  if (!store.ok()) return 3;
  for (uint64_t next = MarkedNumber(**store) + 1;; ++next) {
    Marked marked(next);
    if (!(*store)->Ingest(marked.batches).ok()) return 4;
  }
}

TEST(StoreKill, KilledProcessesLeaveWholeBatches) {
  const TempDir dir;
  Random random;
  std::cout << "seed " << random.seed() << "\n";
  uint64_t number = 0;
  for (int life = 0; life < 12; ++life) {
    const std::string db = dir / "db";
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl("/proc/self/exe", "store_kill_test", "--ingest", db.c_str(), static_cast<char*>(nullptr));
      ::_exit(5);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100 + random.Below(900)));
    ::kill(child, SIGKILL);
    int result = 0;
    ASSERT_EQ(::waitpid(child, &result, 0), child);
    ASSERT_TRUE(WIFSIGNALED(result)) << "exit " << WEXITSTATUS(result);
    const auto store = MustOpen(SmallStore(db));
    ASSERT_NE(store, nullptr);
    const uint64_t found = MarkedNumber(*store);
    ASSERT_GE(found, number);
    number = found;
    ASSERT_FALSE(testing::Test::HasFailure());
  }
  EXPECT_GT(number, 0u);
}

}  // namespace
}  // namespace mptd::storage

int main(int argc, char** argv) {
  if (argc == 3 && std::string_view(argv[1]) == "--ingest") return mptd::storage::IngestForever(argv[2]);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
