// The version index against a model that keeps every state, and one writer beside several readers.
#include "storage/version_index.h"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <map>
#include <set>
#include <thread>

#include "storage/mutex.h"
#include "tests/storage/test_support.h"

namespace mptd::storage {
namespace {

using Value = std::optional<std::string>;
using State = std::map<std::string, std::string>;  // by row key, its first byte is the table

int Scaled(int full) {
  const char* scale = std::getenv("MPTD_TEST_SCALE");
  return scale != nullptr && std::string_view(scale) == "short" ? full / 5 : full;
}

uint8_t TableOf(const std::string& key) { return static_cast<uint8_t>(key[0]); }
std::string_view RestOf(const std::string& key) { return std::string_view(key).substr(1); }

Value Get(const State& state, const std::string& key) {
  const auto it = state.find(key);
  if (it == state.end()) return std::nullopt;
  return it->second;
}

std::optional<std::string_view> View(const Value& value) {
  if (!value) return std::nullopt;
  return *value;
}

Value Copy(const RowBlob& blob) {
  if (blob.absent()) return std::nullopt;
  return std::string(blob.view());
}

// What the engine does with an index, and every state there was.
class Model {
 public:
  explicit Model(uint64_t seed) : random_(seed), index_(epochs_, 1) { states_[0] = {}; }

  // A reader as of the newest transition.
  struct Reader {
    uint64_t sequence;
    std::unique_ptr<EpochPin> pin;
  };

  void Transition() {
    sequence_ += 1 + random_.Below(3);
    State next = states_.rbegin()->second;
    auto& entries = transitions_[sequence_];
    std::set<std::string> keys;
    for (uint64_t n = random_.Below(6); n > 0; --n) keys.insert(Key());
    for (const std::string& key : keys) {
      const Value before = Get(next, key);
      const Value after = random_.OneIn(3) ? std::nullopt : Value(random_.Bytes(random_.Below(40)));
      entries.push_back(index_.Put(TableOf(key), RestOf(key), View(before), View(after), sequence_));
      if (after) {
        next[key] = *after;
      } else {
        next.erase(key);
      }
    }
    states_[sequence_] = std::move(next);
  }
  // From here on the store has what there was at the newest transition.
  void Flush() { flushed_ = sequence_; }
  void Read() { readers_.push_back({sequence_, std::make_unique<EpochPin>(epochs_)}); }
  void Release() {
    if (!readers_.empty()) readers_.erase(readers_.begin() + static_cast<ptrdiff_t>(random_.Below(readers_.size())));
  }
  void Trim() {
    uint64_t through = flushed_;
    for (const Reader& reader : readers_) through = std::min(through, reader.sequence);
    while (!transitions_.empty() && transitions_.begin()->first <= through) {
      for (VersionIndex::Entry* entry : transitions_.begin()->second) index_.Trim(entry, through);
      transitions_.erase(transitions_.begin());
    }
    states_.erase(states_.begin(), std::prev(states_.upper_bound(through)));
  }
  void Cache() {
    const std::string key = Key();
    // What the store has is the newest only where no transition is waiting.
    if (flushed_ == sequence_ && transitions_.empty()) index_.Cache(TableOf(key), RestOf(key), View(Get(Store(), key)));
  }
  void Evict() {
    const size_t rows = index_.rows();
    index_.EvictTo(random_.OneIn(2) ? 0 : index_.bytes() / 2, random_.Below(2000));
    EXPECT_LE(index_.rows(), rows);
  }
  void Collect() { epochs_.Collect(); }

  // Every reader and the newest state: the index, and where it has nothing the store, give what there was.
  void Check() {
    std::vector<uint64_t> sequences = {sequence_};
    for (const Reader& reader : readers_) sequences.push_back(reader.sequence);
    const EpochPin pin(epochs_);
    for (uint64_t sequence : sequences) {
      const State& state = std::prev(states_.upper_bound(sequence))->second;
      CheckFindMany();
      for (int i = 0; i < kKeys; ++i) {
        const std::string key = KeyOf(i);
        Value found = Get(Store(), key);
        if (const VersionIndex::Entry* entry = index_.Find(TableOf(key), RestOf(key))) {
          ASSERT_EQ(entry->key(), RestOf(key));
          ASSERT_EQ(entry->table(), TableOf(key));
          if (const RowBlob* blob = VersionIndex::ValueAt(*entry, sequence)) found = Copy(*blob);
        }
        ASSERT_EQ(found, Get(state, key)) << "key " << i << " at " << sequence << " of " << sequence_;
      }
    }
  }

  // Many at once are the same as one by one, whatever the group that they come in.
  void CheckFindMany() const {
    for (uint8_t table = 0; table < 3; ++table) {
      std::vector<std::string> keys;
      for (int i = 0; i < kKeys; ++i) keys.emplace_back(RestOf(KeyOf(i)));
      const std::vector<std::string_view> views(keys.begin(), keys.end());
      std::vector<const VersionIndex::Entry*> found(keys.size());
      index_.FindMany(table, views, found);
      for (size_t i = 0; i < keys.size(); ++i) ASSERT_EQ(found[i], index_.Find(table, keys[i])) << keys[i];
    }
  }

  void Drain() {
    readers_.clear();
    Flush();
    Trim();
    Collect();
    EXPECT_EQ(epochs_.retired_bytes(), 0u);
    const size_t empty = VersionIndex(epochs_, 1).bytes();
    for (int i = 0; i < 4; ++i) index_.EvictTo(0, SIZE_MAX);
    EXPECT_EQ(index_.rows(), 0u);
    EXPECT_EQ(index_.bytes(), empty) << "bytes are counted wrong";
    Collect();
    EXPECT_EQ(epochs_.retired_bytes(), 0u);
  }

  Random& random() { return random_; }

 private:
  static constexpr int kKeys = 24;
  static std::string KeyOf(int i) {
    return std::string(1, static_cast<char>(i % 3)) + std::string(static_cast<size_t>(i / 6), 'k') +
           std::to_string(i / 3);
  }
  std::string Key() { return KeyOf(static_cast<int>(random_.Below(kKeys))); }
  const State& Store() const { return std::prev(states_.upper_bound(flushed_))->second; }

  Random random_;
  EpochDomain epochs_;
  VersionIndex index_;
  uint64_t sequence_ = 0;
  uint64_t flushed_ = 0;
  std::map<uint64_t, State> states_;
  std::map<uint64_t, std::vector<VersionIndex::Entry*>> transitions_;
  std::deque<Reader> readers_;
};

TEST(VersionIndex, RandomAgainstTheModel) {
  const Random seeds;
  for (int run = 0; run < Scaled(30); ++run) {
    const uint64_t seed = seeds.seed() + static_cast<uint64_t>(run);
    SCOPED_TRACE(::testing::Message() << "MPTD_TEST_SEED=" << seed);
    Model model(seed);
    for (int step = 0; step < 400; ++step) {
      switch (model.random().Below(10)) {
        case 0:
          model.Flush();
          break;
        case 1:
          model.Read();
          break;
        case 2:
          model.Release();
          break;
        case 3:
          model.Trim();
          break;
        case 4:
          model.Cache();
          break;
        case 5:
          model.Evict();
          break;
        case 6:
          model.Collect();
          break;
        default:
          model.Transition();
      }
      ASSERT_NO_FATAL_FAILURE(model.Check()) << "step " << step;
    }
    model.Drain();
  }
}

TEST(VersionIndex, EmptyKeysAndValues) {
  EpochDomain epochs;
  VersionIndex index(epochs, 1);
  const EpochPin pin(epochs);
  EXPECT_EQ(index.Find(1, ""), nullptr);
  VersionIndex::Entry* entry = index.Put(1, "", std::nullopt, "", 5);
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(index.Find(1, ""), entry);
  EXPECT_EQ(index.Find(2, ""), nullptr);
  EXPECT_TRUE(VersionIndex::ValueAt(*entry, 4)->absent());
  EXPECT_FALSE(VersionIndex::ValueAt(*entry, 5)->absent());
  EXPECT_EQ(VersionIndex::ValueAt(*entry, 5)->view(), "");
}

TEST(VersionIndex, ReplacedRowsLeaveTheNewestToTheStore) {
  EpochDomain epochs;
  VersionIndex index(epochs, 1);
  const EpochPin pin(epochs);
  VersionIndex::Entry* entry = index.PutReplaced(1, "row", "at 2", 3);
  EXPECT_EQ(index.PutReplaced(1, "row", std::nullopt, 5), entry);
  EXPECT_EQ(index.PutReplaced(1, "row", "at 6", 7), entry);
  EXPECT_EQ(entry->latest(), nullptr);
  EXPECT_EQ(VersionIndex::ValueAt(*entry, 2)->view(), "at 2");
  EXPECT_TRUE(VersionIndex::ValueAt(*entry, 3)->absent());
  EXPECT_TRUE(VersionIndex::ValueAt(*entry, 4)->absent());
  EXPECT_EQ(VersionIndex::ValueAt(*entry, 5)->view(), "at 6");
  EXPECT_EQ(VersionIndex::ValueAt(*entry, 7), nullptr);

  // A change on top: from now on the index knows the newest too.
  EXPECT_EQ(index.Put(1, "row", "at 8", "at 9", 9), entry);
  EXPECT_EQ(VersionIndex::ValueAt(*entry, 7)->view(), "at 8");
  EXPECT_EQ(VersionIndex::ValueAt(*entry, 9)->view(), "at 9");
  index.Trim(entry, 6);
  EXPECT_EQ(VersionIndex::ValueAt(*entry, 6)->view(), "at 6");
  index.Trim(entry, 9);
  EXPECT_EQ(index.Find(1, "row"), entry);  // stays as a cached row
  index.PutReplaced(1, "other", "x", 11);
  index.Trim(const_cast<VersionIndex::Entry*>(index.Find(1, "other")), 11);
  EXPECT_EQ(index.Find(1, "other"), nullptr);  // nothing was known of it any more
}

// What is taken out is not freed while a reader may look at it (the address sanitizer watches).
TEST(VersionIndex, PinsKeepWhatTheySaw) {
  EpochDomain epochs;
  VersionIndex index(epochs, 1);
  VersionIndex::Entry* entry = index.Put(1, "row", "before", "after", 1);
  auto pin = std::make_unique<EpochPin>(epochs);
  const VersionIndex::Entry* seen = index.Find(1, "row");
  const RowBlob* blob = VersionIndex::ValueAt(*seen, 0);
  index.Trim(entry, 1);
  index.EvictTo(0, SIZE_MAX);
  index.EvictTo(0, SIZE_MAX);
  EXPECT_EQ(index.Find(1, "row"), nullptr);
  for (int i = 0; i < 3; ++i) epochs.Collect();
  EXPECT_GT(epochs.retired_bytes(), 0u);
  EXPECT_EQ(blob->view(), "before");
  EXPECT_EQ(seen->key(), "row");
  {
    const EpochPin later(epochs);
    pin.reset();
    epochs.Collect();
    EXPECT_EQ(epochs.retired_bytes(), 0u) << "a later pin cannot see it";
  }
}

// One writer, several readers: a row's value is the number of the newest multiple of its stride, so every reader knows
// what it must see at its own sequence. Values come and go, versions are trimmed behind the oldest reader, rows
// evicted.
class Concurrent {
 public:
  void Run(int readers, uint64_t transitions) {
    std::vector<std::thread> threads;
    for (int i = 0; i < readers; ++i) threads.emplace_back([this, i] { Read(static_cast<uint64_t>(i)); });
    for (uint64_t s = 1; s <= transitions || reads_ == 0; ++s) Write(s);
    stop_ = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong_, 0u);
    EXPECT_GT(reads_, 0u);
  }

 private:
  static constexpr uint64_t kRows = 40;
  static uint64_t Stride(uint64_t row) { return 1 + row % 7; }
  static Value ValueOf(uint64_t row, uint64_t sequence) {
    const uint64_t change = sequence / Stride(row) * Stride(row);
    if (change == 0 || change % 5 == 3) return std::nullopt;
    return std::to_string(row) + " at " + std::to_string(change) + std::string(change % 50, '.');
  }

  void Write(uint64_t s) {
    auto& entries = transitions_.emplace_back(s, std::vector<VersionIndex::Entry*>()).second;
    for (uint64_t row = 0; row < kRows; ++row) {
      if (s % Stride(row) != 0) continue;
      const Value before = ValueOf(row, s - 1);
      const Value after = ValueOf(row, s);
      entries.push_back(index_.Put(static_cast<uint8_t>(row % 3), std::to_string(row), View(before), View(after), s));
    }
    {
      const MutexLock lock(mutex_);
      published_ = s;
    }
    if (s % 4 != 0) return;
    uint64_t through = s;
    {
      const MutexLock lock(mutex_);
      if (!live_.empty()) through = std::min(through, *live_.begin());
    }
    while (!transitions_.empty() && transitions_.front().first <= through) {
      for (VersionIndex::Entry* entry : transitions_.front().second) index_.Trim(entry, through);
      transitions_.pop_front();
    }
    if (s % 16 == 0) {
      // Only rows without versions go; what the store would say of them is ValueOf at `through`.
      index_.EvictTo(0, 400);
    }
    epochs_.Collect();
  }

  void Read(uint64_t id) {
    Random random(id);
    while (!stop_) {
      uint64_t sequence;
      std::unique_ptr<EpochPin> pin;
      {
        const MutexLock lock(mutex_);
        sequence = published_;
        live_.insert(sequence);
        pin = std::make_unique<EpochPin>(epochs_);
      }
      for (int i = 0; i < 60; ++i) {
        const uint64_t row = random.Below(kRows);
        const VersionIndex::Entry* entry = index_.Find(static_cast<uint8_t>(row % 3), std::to_string(row));
        if (entry == nullptr) continue;
        const RowBlob* blob = VersionIndex::ValueAt(*entry, sequence);
        if (blob == nullptr || Copy(*blob) != ValueOf(row, sequence)) ++wrong_;
        ++reads_;
      }
      pin.reset();
      const MutexLock lock(mutex_);
      live_.erase(live_.find(sequence));
    }
  }

  EpochDomain epochs_;
  VersionIndex index_{epochs_, 1};
  std::deque<std::pair<uint64_t, std::vector<VersionIndex::Entry*>>> transitions_;  // the writer's
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> wrong_{0};
  std::atomic<uint64_t> reads_{0};
  Mutex mutex_;
  uint64_t published_ ABSL_GUARDED_BY(mutex_) = 0;
  std::multiset<uint64_t> live_ ABSL_GUARDED_BY(mutex_);
};

TEST(VersionIndex, OneWriterAndSeveralReaders) { Concurrent().Run(3, static_cast<uint64_t>(Scaled(30000))); }

}  // namespace
}  // namespace mptd::storage
