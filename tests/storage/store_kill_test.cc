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

// Writes a byte to `ready` when the first batch is in.
int IngestForever(const std::string& dir, int ready) {
  auto store = OpenRocksDb(SmallStore(dir));
  if (!store.ok()) return 3;
  for (uint64_t next = MarkedNumber(**store) + 1;; ++next) {
    Marked marked(next);
    if (!(*store)->Ingest(marked.batches).ok()) return 4;
    if (ready >= 0 && ::write(ready, "", 1) != 1) return 6;
    ready = -1;
  }
}

TEST(StoreKill, KilledProcessesLeaveWholeBatches) {
  const TempDir dir;
  Random random;
  std::cout << "seed " << random.seed() << "\n";
  uint64_t number = 0;
  for (int life = 0; life < 12; ++life) {
    const std::string db = dir / "db";
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const std::string ready = std::to_string(ends[1]);
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl("/proc/self/exe", "store_kill_test", "--ingest", db.c_str(), ready.c_str(), static_cast<char*>(nullptr));
      ::_exit(5);
    }
    ::close(ends[1]);
    // Every other life gets through its opening, however slow the machine is; the rest may be killed in it.
    char byte = 0;
    if (life % 2 == 0) {
      EXPECT_EQ(::read(ends[0], &byte, 1), 1);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(random.Below(900)));
    ::kill(child, SIGKILL);
    ::close(ends[0]);
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
  if (argc == 4 && std::string_view(argv[1]) == "--ingest") {
    return mptd::storage::IngestForever(argv[2], std::stoi(argv[3]));
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
