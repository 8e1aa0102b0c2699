// TrieUpdate against the model and against TrieBuilder: roots, rows and undo entries after every batch of changes.
#include "core/trie/trie_update.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <set>

#include "core/engine/node_cache.h"
#include "core/trie/branch_record.h"
#include "tests/core/trie_testing.h"

namespace mptd::testing {
namespace {

int Scaled(int full) {
  const char* scale = std::getenv("MPTD_TEST_SCALE");
  return scale != nullptr && std::string_view(scale) == "short" ? full / 5 : full;
}

// One trie as the tables hold it.
class Tables final : public TrieSource {
 public:
  absl::Status LoadBranches(std::span<BranchRequest> requests) const override {
    for (BranchRequest& request : requests) {
      EXPECT_EQ(request.account, account);
      ++loads;
      const auto it = rows.find(RowKeyOf(request.path));
      if (it == rows.end()) continue;
      absl::StatusOr<OwnedBranch> node = DecodeBranchNode(it->second);
      if (!node.ok()) return node.status();
      request.node = *std::move(node);
    }
    return absl::OkStatus();
  }
  absl::StatusOr<LeafRow> LeafBelow(const Hash* of, const NibblePath& path, const Hash* key) const override {
    EXPECT_EQ(of, account);
    auto it = leaves.lower_bound(path.packed);
    if (key != nullptr) {
      EXPECT_TRUE(path.IsPrefixOf(*key));
      it = leaves.find(*key);
    }
    if (it == leaves.end() || !path.IsPrefixOf(it->first)) return absl::DataLossError("no such leaf");
    const auto next = std::next(it);
    EXPECT_TRUE(key != nullptr || next == leaves.end() || !path.IsPrefixOf(next->first)) << "more than one leaf";
    return LeafRow{it->first, it->second.value, it->second.has_storage};
  }

  bool KeepsLoaded() const override { return keeps; }
  void CountLinked(size_t bytes) const override { linked += static_cast<int64_t>(bytes); }

  const Hash* account = nullptr;
  Leaves leaves;
  Rows rows;
  bool keeps = false;  // what readers load
  mutable size_t loads = 0;
  mutable std::atomic<int64_t> linked{0};
};

// Changes of keys, sorted, with the operations that say them. nullopt removes.
struct Batch {
  std::map<Hash, std::optional<Leaf>> changes;
  std::vector<LeafOp> ops;

  explicit Batch(std::map<Hash, std::optional<Leaf>> wanted, const Leaves& present) : changes(std::move(wanted)) {
    std::erase_if(changes, [&](const auto& change) {
      const auto it = present.find(change.first);
      return change.second.has_value() ? it != present.end() && it->second == *change.second : it == present.end();
    });
    for (const auto& [key, leaf] : changes) {
      LeafOp& op = ops.emplace_back();
      op.key = &key;
      op.exists = present.contains(key);
      if (leaf) {
        op.value = leaf->value;
        op.has_storage = leaf->has_storage;
      }
    }
  }
};

std::map<Hash, std::optional<Leaf>> RandomChanges(KeyMaker& keys, const Leaves& present, size_t target) {
  std::map<Hash, std::optional<Leaf>> changes;
  const uint64_t kind = keys.Below(12);
  if (kind == 0) {  // down to a few
    const uint64_t keep = keys.Below(4);
    std::vector<Hash> all;
    for (const auto& [key, leaf] : present) all.push_back(key);
    std::shuffle(all.begin(), all.end(), keys.random());
    for (size_t i = keep; i < all.size(); ++i) changes[all[i]] = std::nullopt;
  }
  for (uint64_t n = 1 + keys.Below(kind == 1 ? 40 : 8); n > 0; --n) {
    const bool remove = keys.Below(8) < (present.size() > target ? 5u : 3u);
    if (remove && !present.empty()) {
      changes[std::next(present.begin(), static_cast<ptrdiff_t>(keys.Below(present.size())))->first] = std::nullopt;
    } else {
      changes[keys.Key()] = keys.Value();
    }
  }
  return changes;
}

enum class Memory {
  kNone,     // every batch from the rows, nodes thrown away
  kInstall,  // as the writer: nodes stay and are loaded into the trie, evicted now and then
};

class TrieRun {
 public:
  TrieRun(uint64_t seed, Memory memory, uint64_t deep)
      : keys_(seed, deep), memory_(memory), cache_(epochs_, tables_.linked) {
    account_ = keys_.Random();
    if (seed % 2 == 0) tables_.account = &account_;  // a storage trie
    tables_.keeps = memory == Memory::kInstall;
  }
  ~TrieRun() {
    NodeCache::FreeAll(root_);
    epochs_.Collect();
  }

  void Step(size_t target) {
    const Batch batch(RandomChanges(keys_, tables_.leaves, target), tables_.leaves);
    if (batch.ops.empty()) return;
    Leaves after = tables_.leaves;
    for (const auto& [key, leaf] : batch.changes) {
      if (leaf) {
        after[key] = *leaf;
      } else {
        after.erase(key);
      }
    }
    const Built built = BuildTrie(after);
    ASSERT_EQ(built.root, ModelRoot(after));
    ++sequence_;
    if (memory_ == Memory::kInstall && keys_.Below(5) == 0) cache_.EvictTo(0, root_, UINT64_MAX - ++evictions_, 512);
    if (keys_.Below(4) == 0) {  // worked out and thrown away, as a refused block
      TrieJob job = NewJob();
      std::vector<LeafOp> ops = batch.ops;
      job.ops = ops;
      const bool try_only = keys_.Below(2) == 0;
      TrieUpdate dropped(tables_, sequence_, try_only ? TrieUpdate::Purpose::kTry : PurposeHere());
      ASSERT_NO_FATAL_FAILURE(Whole(dropped, job));
      ASSERT_EQ(job.ref.hash(), built.root);
      TrieChanges unpublished;
      if (keys_.Below(2) == 0) dropped.Commit(unpublished);
    }
    TrieChanges changes;
    std::vector<LeafOp> ops = batch.ops;
    TrieJob job = NewJob();
    job.ops = ops;
    const bool in_parts = job.root.node != nullptr && job.root.node->extension_size == 0 && keys_.Below(2) == 0;
    bool done = false;
    if (in_parts) {
      ASSERT_NO_FATAL_FAILURE(Parts(job, changes, done));
    }
    if (!done) {
      ops = batch.ops;
      job = NewJob();
      job.ops = ops;
      TrieUpdate update(tables_, sequence_, PurposeHere());
      ASSERT_NO_FATAL_FAILURE(Whole(update, job));
      update.Commit(changes);
    }
    ASSERT_EQ(job.ref.hash(), built.root);
    ASSERT_EQ(job.new_root.kind, after.empty()       ? TrieRoot::Kind::kEmpty
                                 : after.size() == 1 ? TrieRoot::Kind::kLeaf
                                                     : TrieRoot::Kind::kBranch);
    ASSERT_NO_FATAL_FAILURE(Record(changes));
    ASSERT_NO_FATAL_FAILURE(ExpectSameRows(tables_.rows, built.rows));
    tables_.leaves = std::move(after);
    if (memory_ == Memory::kInstall) {
      cache_.Account(changes);
      root_ = job.new_root;
      epochs_.Collect();
      ASSERT_EQ(tables_.linked, BytesInMemory());
    }
  }

  // Every state before, byte for byte, from the undo entries and what the rows are now.
  void TakeBack() {
    for (size_t version = 0; version < versions_.size(); ++version) {
      std::set<Bytes> paths;
      for (size_t v = version; v < undos_.size(); ++v) {
        for (const auto& [path, undo] : undos_[v]) paths.insert(path);
      }
      Rows rows = tables_.rows;
      for (const Bytes& path : paths) {
        BranchRebuilder rebuilder;
        for (size_t v = version; v < undos_.size() && !rebuilder.complete(); ++v) {
          const auto it = undos_[v].find(path);
          if (it == undos_[v].end()) continue;
          absl::StatusOr<bool> complete = rebuilder.Add(it->second);
          ASSERT_TRUE(complete.ok()) << complete.status();
          ASSERT_EQ(*complete, rebuilder.complete());
        }
        std::optional<BranchValue> now;
        if (const auto it = tables_.rows.find(path); it != tables_.rows.end()) now = *DecodeBranchRecord(it->second);
        ASSERT_TRUE(rebuilder.AddCurrent(now ? &*now : nullptr).ok());
        if (rebuilder.result() == nullptr) {
          rows.erase(path);
        } else {
          rows[path] = RecordOf(*rebuilder.result());
        }
      }
      ASSERT_NO_FATAL_FAILURE(ExpectSameRows(rows, versions_[version])) << "version " << version;
    }
    versions_.clear();
    undos_.clear();
  }

 private:
  TrieUpdate::Purpose PurposeHere() const {
    return memory_ == Memory::kInstall ? TrieUpdate::Purpose::kPublish : TrieUpdate::Purpose::kTry;
  }

  int64_t BytesInMemory() const {
    int64_t bytes = 0;
    const auto branch = [&](const BranchNode* node) { bytes += static_cast<int64_t>(node->bytes()); };
    const auto leaf = [&](const LeafNode*) { bytes += static_cast<int64_t>(sizeof(LeafNode)); };
    if (root_.kind == TrieRoot::Kind::kLeaf && root_.leaf != nullptr) leaf(root_.leaf);
    if (root_.kind == TrieRoot::Kind::kBranch && root_.node != nullptr) {
      ForEachInMemory(root_.node, branch, leaf);
    }
    return bytes;
  }

  TrieJob NewJob() const {
    TrieJob job;
    job.account = tables_.account;
    job.root = root_;
    if (memory_ == Memory::kNone) {
      job.root.kind = tables_.leaves.empty() ? TrieRoot::Kind::kEmpty : TrieRoot::Kind::kUnknown;
    }
    return job;
  }

  static void Whole(TrieUpdate& update, TrieJob& job) {
    ASSERT_TRUE(update.Prepare({&job, 1}).ok());
    const absl::Status applied = update.Apply(job);
    ASSERT_TRUE(applied.ok()) << applied;
    ASSERT_TRUE(update.HashAll().ok());
  }

  // The children of the root in some parts, side by side as far as they know, and then together.
  void Parts(TrieJob& job, TrieChanges& changes, bool& done) {
    std::vector<TrieUpdate::ChildGroup> groups;
    for (size_t i = 0; i < job.ops.size();) {
      const int nibble = NibbleAt(job.ops[i].key->view(), 0);
      size_t j = i;
      while (j < job.ops.size() && NibbleAt(job.ops[j].key->view(), 0) == nibble) ++j;
      groups.push_back({});
      groups.back().nibble = nibble;
      groups.back().ops = job.ops.subspan(i, j - i);
      i = j;
    }
    std::vector<std::unique_ptr<TrieUpdate>> updates;
    for (size_t i = 0; i < groups.size();) {
      const size_t n = std::min<size_t>(1 + keys_.Below(4), groups.size() - i);
      const std::span<TrieUpdate::ChildGroup> part(groups.data() + i, n);
      auto& update = updates.emplace_back(std::make_unique<TrieUpdate>(tables_, sequence_, PurposeHere()));
      ASSERT_TRUE(update->PrepareChildren(job.account, job.root.node, part).ok());
      ASSERT_TRUE(update->ApplyChildren(job.account, job.root.node, part).ok());
      ASSERT_TRUE(update->HashAll().ok());
      update->TakeChildren(part);
      i += n;
    }
    TrieUpdate top(tables_, sequence_, PurposeHere());
    done = top.Combine(job, groups);
    if (!done) return;
    ASSERT_TRUE(top.HashAll().ok());
    for (auto& update : updates) update->Commit(changes);
    top.Commit(changes);
  }

  // Applies the changed rows to the tables, and remembers what takes them back.
  void Record(const TrieChanges& changes) {
    versions_.push_back(tables_.rows);
    auto& undos = undos_.emplace_back();
    changes.ForEachNode([&](const NodeChange& change) {
      const Bytes path = RowKeyOf(change.path);
      const auto row = tables_.rows.find(path);
      ASSERT_EQ(change.account, tables_.account);
      ASSERT_EQ(change.before != nullptr, row != tables_.rows.end()) << ShowPath(path);
      if (change.before != nullptr) {
        ASSERT_EQ(ToHex(RecordOf(*change.before)), ToHex(row->second)) << ShowPath(path);
      }
      Bytes undo;
      AppendBranchUndo(undo, change.before, change.after);
      ASSERT_TRUE(undos.emplace(path, undo).second) << "two changes of the row at " << ShowPath(path);
      if (change.after != nullptr) {
        EXPECT_EQ(change.after->sequence, sequence_);
        tables_.rows[path] = RecordOf(*change.after);
      } else {
        tables_.rows.erase(path);
      }
    });
  }

  KeyMaker keys_;
  const Memory memory_;
  Hash account_;
  Tables tables_;
  storage::EpochDomain epochs_;
  NodeCache cache_;
  TrieRoot root_;
  uint64_t sequence_ = 0;
  uint64_t evictions_ = 0;
  std::vector<Rows> versions_;
  std::vector<std::map<Bytes, Bytes>> undos_;
};

void RunAll(Memory memory, uint64_t deep, size_t target) {
  const char* given = std::getenv("MPTD_TEST_SEED");
  const uint64_t first = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  for (int i = 0; i < Scaled(15); ++i) {
    SCOPED_TRACE(::testing::Message() << "MPTD_TEST_SEED=" << first + static_cast<uint64_t>(i));
    TrieRun run(first + static_cast<uint64_t>(i), memory, deep);
    for (int step = 0; step < 96; ++step) {
      ASSERT_NO_FATAL_FAILURE(run.Step(target)) << "step " << step;
      if (step % 16 == 15) {
        ASSERT_NO_FATAL_FAILURE(run.TakeBack());
      }
    }
  }
}

TEST(TrieUpdate, FewKeysFromRows) { RunAll(Memory::kNone, 8, 3); }
TEST(TrieUpdate, FewKeysInMemory) { RunAll(Memory::kInstall, 8, 3); }
TEST(TrieUpdate, ManyKeysFromRows) { RunAll(Memory::kNone, 4, 60); }
TEST(TrieUpdate, ManyKeysInMemory) { RunAll(Memory::kInstall, 4, 60); }
TEST(TrieUpdate, EmbeddedChildrenFromRows) { RunAll(Memory::kNone, 60, 20); }
TEST(TrieUpdate, EmbeddedChildrenInMemory) { RunAll(Memory::kInstall, 60, 20); }

// By name
// -----------------------------------------------------------------------------------------------------------------

struct Answer {
  Hash root;
  TrieRoot::Kind kind;
};

// One batch on top of `tables`, which it changes.
Answer Change(Tables& tables, std::map<Hash, std::optional<Leaf>> changes) {
  Batch batch(std::move(changes), tables.leaves);
  TrieJob job;
  job.root.kind = tables.leaves.empty() ? TrieRoot::Kind::kEmpty : TrieRoot::Kind::kUnknown;
  job.ops = batch.ops;
  TrieUpdate update(tables, 1, TrieUpdate::Purpose::kTry);
  EXPECT_TRUE(update.Prepare({&job, 1}).ok());
  EXPECT_TRUE(update.Apply(job).ok());
  EXPECT_TRUE(update.HashAll().ok());
  TrieChanges made;
  update.Commit(made);
  made.ForEachNode([&](const NodeChange& change) {
    if (change.after != nullptr) {
      tables.rows[RowKeyOf(change.path)] = RecordOf(*change.after);
    } else {
      tables.rows.erase(RowKeyOf(change.path));
    }
  });
  for (const auto& [key, leaf] : batch.changes) {
    if (leaf) {
      tables.leaves[key] = *leaf;
    } else {
      tables.leaves.erase(key);
    }
  }
  ExpectSameRows(tables.rows, BuildTrie(tables.leaves).rows);
  EXPECT_EQ(job.ref.hash(), ModelRoot(tables.leaves));
  return {job.ref.hash(), job.new_root.kind};
}

const Leaf kOne{Bytes("\x01"), false};
const Leaf kTwo{Bytes("\x02"), false};

TEST(TrieUpdate, EmptyToOneToTwoAndBack) {
  Tables tables;
  const Hash a = KeyMaker(1, 0).Random();
  const Hash b = KeyMaker::With(a, 0, static_cast<uint8_t>(NibbleAt(a.view(), 0) ^ 1));
  EXPECT_EQ(Change(tables, {{a, kOne}}).kind, TrieRoot::Kind::kLeaf);
  EXPECT_EQ(Change(tables, {{b, kTwo}}).kind, TrieRoot::Kind::kBranch);
  EXPECT_EQ(tables.rows.size(), 1u);
  EXPECT_EQ(Change(tables, {{a, std::nullopt}}).kind, TrieRoot::Kind::kLeaf);
  EXPECT_TRUE(tables.rows.empty());
  EXPECT_EQ(Change(tables, {{a, kTwo}, {b, std::nullopt}}).kind, TrieRoot::Kind::kLeaf);
  EXPECT_EQ(Change(tables, {{a, std::nullopt}}).root, kEmptyRoot);
}

// Two keys that part at each nibble in turn, then a third that splits their extension at each nibble in turn.
TEST(TrieUpdate, ExtensionsSplitAndMergeAtEveryNibble) {
  const Hash a = KeyMaker(2, 0).Random();
  for (size_t parting = 0; parting < 64; ++parting) {
    const Hash b = KeyMaker::With(a, parting, static_cast<uint8_t>(NibbleAt(a.view(), parting) ^ 5));
    for (size_t split = 0; split <= parting; split += parting < 8 ? 1 : 1 + parting / 8) {
      const Hash c = KeyMaker::With(a, split, static_cast<uint8_t>(NibbleAt(a.view(), split) ^ 2));
      Tables tables;
      Change(tables, {{a, kOne}, {b, kTwo}});
      Change(tables, {{c, kOne}});
      Change(tables, {{c, std::nullopt}});
      Change(tables, {{c, kOne}, {a, std::nullopt}});
      Change(tables, {{c, std::nullopt}, {a, kTwo}, {b, kOne}});
      ASSERT_FALSE(::testing::Test::HasFailure()) << "parting at " << parting << ", split at " << split;
    }
  }
}

// 16 leaves of 3 bytes each below 63 shared nibbles are a branch of more than 32 bytes; 4 are embedded in their parent.
TEST(TrieUpdate, ABranchGrowsOutOfItsParent) {
  Tables tables;
  const Hash base = KeyMaker(3, 0).Random();
  const Hash far = KeyMaker::With(base, 62, static_cast<uint8_t>(NibbleAt(base.view(), 62) ^ 1));
  Change(tables, {{far, kOne}});
  for (int i = 0; i < 16; ++i) Change(tables, {{KeyMaker::With(base, 63, static_cast<uint8_t>(i)), kOne}});
  for (int i = 0; i < 16; ++i) Change(tables, {{KeyMaker::With(base, 63, static_cast<uint8_t>(i)), std::nullopt}});
  EXPECT_EQ(tables.leaves.size(), 1u);
}

TEST(TrieUpdate, AMissingRowIsNamed) {
  Tables tables;
  KeyMaker keys(4, 0);
  std::map<Hash, std::optional<Leaf>> changes;
  for (int i = 0; i < 100; ++i) changes[keys.Random()] = keys.Value();
  Change(tables, changes);
  const auto row =
      std::find_if(tables.rows.begin(), tables.rows.end(), [](const auto& r) { return r.first.size() == 1; });
  ASSERT_TRUE(row != tables.rows.end());
  const auto nibble = static_cast<uint8_t>(row->first[0]);
  tables.rows.erase(row);
  const Batch batch({{KeyMaker::With(keys.Random(), 0, nibble), kOne}}, tables.leaves);
  TrieJob job;
  job.root.kind = TrieRoot::Kind::kUnknown;
  std::vector<LeafOp> ops = batch.ops;
  job.ops = ops;
  TrieUpdate update(tables, 1, TrieUpdate::Purpose::kTry);
  const absl::Status status = update.Prepare({&job, 1});
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(status.message().find(ShowPath(Bytes(1, static_cast<char>(nibble)))), std::string::npos) << status;
}

// All rows on the paths of a batch are asked for level by level, each once.
TEST(TrieUpdate, RowsAreLoadedOnce) {
  Tables tables;
  KeyMaker keys(5, 0);
  std::map<Hash, std::optional<Leaf>> changes;
  for (int i = 0; i < 500; ++i) changes[keys.Random()] = keys.Value();
  Change(tables, changes);
  tables.loads = 0;
  std::map<Hash, std::optional<Leaf>> updates;
  for (const auto& [key, leaf] : tables.leaves) updates[key] = Leaf{Bytes("\x7f"), false};
  Change(tables, updates);
  EXPECT_EQ(tables.loads, tables.rows.size());
}

}  // namespace
}  // namespace mptd::testing
