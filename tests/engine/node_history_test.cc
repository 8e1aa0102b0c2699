// The undo entries of branches in memory, against a map.
#include "core/engine/node_history.h"

#include <atomic>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "tests/engine/engine_testing.h"

namespace mptd::testing {
namespace {

using storage::EpochDomain;
using storage::EpochPin;
using storage::Table;

std::shared_ptr<NodeUndoPage> PageOf(uint64_t sequence, const std::map<std::pair<Table, Bytes>, Bytes>& rows) {
  auto page = std::make_shared<NodeUndoPage>(sequence);
  for (const auto& [row, undo] : rows) {
    page->Begin(row.first);
    page->bytes().append(row.second);
    page->EndKey();
    page->bytes().append(undo);
    page->End();
  }
  page->Shrink();
  return page;
}

TEST(NodeHistory, APageGivesBackWhatItWasGiven) {
  const auto page = PageOf(7, {{{Table::kAccountNodes, ""}, "root"},
                               {{Table::kAccountNodes, Bytes("\1\2", 2)}, ""},
                               {{Table::kSlotNodes, Bytes(96, 'k')}, Bytes(600, 'u')}});
  ASSERT_EQ(page->size(), 3u);
  EXPECT_EQ(page->sequence(), 7u);
  EXPECT_EQ(page->key(0), "");
  EXPECT_EQ(page->undo(0), "root");
  EXPECT_EQ(page->key(1), Bytes("\1\2", 2));
  EXPECT_EQ(page->undo(1), "");
  EXPECT_EQ(page->table(2), Table::kSlotNodes);
  EXPECT_EQ(page->key(2), Bytes(96, 'k'));
  EXPECT_EQ(page->undo(2), Bytes(600, 'u'));
}

// Random pages and trims. Every row at every sequence that may be asked for gives what the map gives.
TEST(NodeHistory, RandomAgainstAMap) {
  for (int run = 0; run < Scaled(20); ++run) {
    const uint64_t seed = FirstSeed() + static_cast<uint64_t>(run);
    BlockMaker random(seed);
    SCOPED_TRACE(::testing::Message() << "MPTD_TEST_SEED=" << seed);
    EpochDomain epochs;
    // Often some pages are in the table, and others have come while nobody asked.
    NodeHistory history(epochs, run % 3 == 0 ? NodeHistory::kExpectedToAsk : 2);
    const size_t empty = history.bytes();
    std::map<std::pair<Table, Bytes>, std::map<uint64_t, Bytes>> model;
    uint64_t trimmed = 0;
    uint64_t sequence = 0;
    // Many rows make the table grow, few make long lists.
    const uint64_t keys = run % 2 == 0 ? 40 : 5000;
    for (int step = 0; step < 60; ++step) {
      std::map<std::pair<Table, Bytes>, Bytes> rows;
      sequence += 1 + random.Below(3);
      for (uint64_t i = random.Below(200); i > 0; --i) {
        const Table table = random.Below(2) == 0 ? Table::kAccountNodes : Table::kSlotNodes;
        rows[{table, absl::StrCat("key", random.Below(keys))}] = absl::StrCat("undo", random.Below(1000000));
      }
      for (const auto& [row, undo] : rows) model[row][sequence] = undo;
      history.Add(PageOf(sequence, rows));
      if (random.Below(4) == 0) {
        trimmed = std::max(trimmed, sequence - std::min(sequence, random.Below(30)));
        history.TrimThrough(trimmed);
        epochs.Collect();
      }
      if (random.Below(4) == 0) history.CatchUp();
      const EpochPin pin(epochs);
      for (int i = random.Below(4) == 0 ? 50 : 0; i > 0; --i) {
        const Table table = random.Below(2) == 0 ? Table::kAccountNodes : Table::kSlotNodes;
        const Bytes key = absl::StrCat("key", random.Below(keys));
        const uint64_t after = trimmed + random.Below(sequence - trimmed + 2);
        std::vector<BytesView> found;
        history.EntriesAfter(table, key, after, found);
        std::vector<BytesView> expected;
        const auto& versions = model[{table, key}];
        for (auto it = versions.upper_bound(after); it != versions.end(); ++it) expected.push_back(it->second);
        ASSERT_EQ(found, expected) << key << " after " << after;
      }
    }
    history.TrimThrough(sequence);
    epochs.Collect();
    EXPECT_EQ(epochs.retired_bytes(), 0u);
    std::vector<BytesView> found;
    for (uint64_t i = 0; i < keys; ++i) history.EntriesAfter(Table::kAccountNodes, absl::StrCat("key", i), 0, found);
    EXPECT_TRUE(found.empty());
    // Only the table of slots is left, which grows but never shrinks by itself.
    EXPECT_GE(history.bytes(), empty);
    EXPECT_LT(history.bytes(), empty + (1u << 20));
  }
}

// Readers at a pinned sequence always see the same, however the owner adds and trims beside them.
TEST(NodeHistory, ReadersBesideTheOwner) {
  EpochDomain epochs;
  NodeHistory history(epochs, 2);
  constexpr uint64_t kRows = 300;
  constexpr uint64_t kWindow = 20;
  absl::Mutex mutex;  // as the engine's, over what is there and what is asked for
  uint64_t newest = 0;
  uint64_t oldest_asked = UINT64_MAX;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> answers{0};
  // Row r is replaced by every sequence that r % 7 divides; its entry names the sequence.
  const auto changes = [](uint64_t row, uint64_t sequence) { return sequence % (row % 7 + 1) == 0; };
  std::thread reader([&] {
    BlockMaker random(1);
    while (!stop) {
      uint64_t at;
      {
        absl::MutexLock lock(&mutex);
        oldest_asked = at = newest;
      }
      const EpochPin pin(epochs);
      for (int i = 0; i < 200; ++i) {
        const uint64_t row = random.Below(kRows);
        std::vector<BytesView> found;
        history.EntriesAfter(Table::kAccountNodes, absl::StrCat("row", row), at, found);
        uint64_t sequence = at;
        for (BytesView undo : found) {
          do ++sequence;
          while (!changes(row, sequence));
          ASSERT_EQ(undo, absl::StrCat(row, "/", sequence));
          ++answers;
        }
      }
      absl::MutexLock lock(&mutex);
      oldest_asked = UINT64_MAX;
    }
  });
  const uint64_t last = static_cast<uint64_t>(Scaled(4000));
  for (uint64_t sequence = 1; sequence <= last || answers == 0; ++sequence) {
    std::map<std::pair<Table, Bytes>, Bytes> rows;
    for (uint64_t row = 0; row < kRows; ++row) {
      if (changes(row, sequence)) {
        rows[{Table::kAccountNodes, absl::StrCat("row", row)}] = absl::StrCat(row, "/", sequence);
      }
    }
    history.Add(PageOf(sequence, rows));
    uint64_t keep;
    {
      absl::MutexLock lock(&mutex);
      newest = sequence;
      keep = std::min(oldest_asked, sequence);
    }
    if (keep > kWindow) history.TrimThrough(keep - kWindow);
    epochs.Collect();
  }
  stop = true;
  reader.join();
  EXPECT_GT(answers, 0u);
}

}  // namespace
}  // namespace mptd::testing
