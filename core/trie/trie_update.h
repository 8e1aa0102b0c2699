// Sorted changes of keys applied to tries, and the new nodes hashed.
//
// A TrieUpdate belongs to one thread and one transition. It copies the nodes on the changed paths and never touches a
// published one, but for its pointers: it may link a child that it has loaded, and closes the places of what is to be
// replaced. Independent parts of a transition use a TrieUpdate each, side by side. Until Commit the new nodes are its
// own and go away with it.
//
// The order of work: Prepare loads the nodes on all paths, level by level, many rows at once; Apply rebuilds one trie's
// paths from sorted operations; HashAll computes the references of all new nodes of all tries, bottom-up, in SIMD
// lanes.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/keccak.h"
#include "core/trie/branch_node.h"
#include "core/trie/nibble_path.h"
#include "core/types.h"

namespace mptd {

// A leaf as a trie holds it.
struct LeafRow {
  Hash key;
  Bytes value;  // the RLP that is the leaf's value
  bool has_storage = false;
};

// Where nodes and leaves come from that are not in memory: one state, at one block. Called by any thread.
class TrieSource {
 public:
  // `account` is the hashed address whose storage trie is meant, or null for the account trie.
  struct BranchRequest {
    const Hash* account = nullptr;
    NibblePath path;
    OwnedBranch node = nullptr;  // the answer; null where there is no branch. After an error there is no answer.
  };

  virtual ~TrieSource() = default;
  virtual absl::Status LoadBranches(std::span<BranchRequest> requests) const = 0;
  // The only leaf whose key begins with `path`; `key`, when not null, is its key.
  virtual absl::StatusOr<LeafRow> LeafBelow(const Hash* account, const NibblePath& path, const Hash* key) const = 0;
  // Whether nodes that a reader has loaded may be linked into the trie now.
  virtual bool KeepsLoaded() const { return false; }
  // A loaded node of so many bytes has been linked into the trie.
  virtual void CountLinked(size_t bytes) const { (void)bytes; }
  // Handles of leaves without storage below nodes of transitions up to this one tell nothing that the rows do not.
  virtual uint64_t FlushedSequence() const { return 0; }
  // So many branches on the paths of changes were in memory, so many had to be loaded.
  virtual void CountLookups(uint64_t in_memory, uint64_t loaded) const {
    (void)in_memory;
    (void)loaded;
  }
};

// One key's change.
struct LeafOp {
  const Hash* key = nullptr;
  BytesView value;           // the leaf's new RLP value; empty removes the key
  bool exists = false;       // the key is in the trie now; removals only of such
  bool has_storage = false;  // of the new account
  bool storage_changed = false;
  BranchNode* storage_root = nullptr;  // the new one, where storage_changed
  // Found by Prepare: the handle of the present leaf, and where one could be linked.
  LeafNode* leaf = nullptr;
  const BranchNode* parent = nullptr;
  int nibble = 0;
};

// What is known of a trie's root.
struct TrieRoot {
  enum class Kind : uint8_t {
    kEmpty,
    kLeaf,     // a single key
    kBranch,   // `node`, or to be loaded when null
    kUnknown,  // kLeaf or kBranch: to be found out by loading
  };
  Kind kind = Kind::kEmpty;
  BranchNode* node = nullptr;
  LeafNode* leaf = nullptr;  // kLeaf: its handle, when there is one, as a branch would hold it
};

// The root of the storage trie of an account whose handle this is.
inline TrieRoot StorageRootOf(const LeafNode& leaf) {
  return {leaf.storage_root == nullptr ? TrieRoot::Kind::kLeaf : TrieRoot::Kind::kBranch, leaf.storage_root};
}

// A reference computed for someone outside the nodes: a trie's root, or a child of a root that is put together later.
struct RefOut {
  std::array<uint8_t, 32> ref{};
  bool embedded = false;
  bool always_hash = false;  // a root is hashed however short it is

  Hash hash() const { return Hash{ref}; }
};

// One trie to change.
struct TrieJob {
  const Hash* account = nullptr;
  TrieRoot root;
  std::span<LeafOp> ops;            // sorted by key, each key once, all of them changing something
  const LeafOp* owner = nullptr;    // of a storage trie: its account's, which has been prepared
  const Hash* root_hash = nullptr;  // of a storage trie: what a single leaf without a root's row must hash to

  // The result: `new_root`, and after HashAll its hash.
  TrieRoot new_root;
  RefOut ref;
};

// One row of branches before and after. Either may be null, not both.
struct NodeChange {
  const Hash* account;
  NibblePath path;
  BranchNode* before;
  BranchNode* after;
  // Of `before`: children whose references may not be those of `after`.
  uint16_t changed = 0xffff;
  // So that nobody has to look at the nodes again: their sizes in memory, and which transition made `before`.
  uint16_t before_bytes = 0;
  uint16_t after_bytes = 0;
  uint64_t before_sequence = 0;
  bool before_extended = false;  // has an extension
  bool after_extended = false;
  // The undo entry, when it was made with the node; points into the TrieChanges.
  BytesView undo = {};
};

// Everything that a transition has made of tries. It owns the new nodes until they are published; then it owns nothing,
// and whoever has published it retires the `before` nodes and the replaced leaves.
struct TrieChanges {
  TrieChanges() = default;
  ~TrieChanges();
  TrieChanges(const TrieChanges&) = delete;
  TrieChanges& operator=(const TrieChanges&) = delete;

  // Nearly always in the order of row keys: first the account trie's root.
  template <typename OnChange>
  void ForEachNode(const OnChange& on_change) const {
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
      for (auto change = part->rbegin(); change != part->rend(); ++change) on_change(*change);
    }
  }

  std::vector<std::vector<NodeChange>> parts;  // of each TrieUpdate, the last rows first
  std::deque<Bytes> undo_bytes;
  std::vector<LeafNode*> replaced_leaves;
  uint64_t nodes_hashed = 0;
  uint64_t permutations = 0;
  size_t linked_bytes = 0;  // of nodes that were linked below `loaded_before`

  bool published = false;
  bool closed = false;  // places of the `before` nodes have been closed
  std::vector<BranchNode*> fresh;
  std::vector<LeafNode*> fresh_leaves;
  std::vector<BranchNode*> loaded_before;  // `before` nodes that had never been linked into a trie
};

class TrieUpdate {
 public:
  enum class Purpose : uint8_t {
    kPublish,  // the writer's: loaded nodes are linked, and what is replaced is closed
    kTry,      // anybody's: nothing of it will be published
  };
  TrieUpdate(const TrieSource& source, uint64_t sequence, Purpose purpose);
  ~TrieUpdate();
  TrieUpdate(const TrieUpdate&) = delete;
  TrieUpdate& operator=(const TrieUpdate&) = delete;

  absl::Status Prepare(std::span<TrieJob> jobs);
  absl::Status Apply(TrieJob& job);
  absl::Status HashAll();

  // For splitting one large trie among threads: the same for some of the children of a branch root without extension.
  // `groups` are (nibble, operations below it). ApplyChildren, then HashAll, then TakeChildren; Combine, on another
  // TrieUpdate, makes the root of all parts. False when the parts do not make a branch: then the job is to be applied
  // whole.
  struct ChildGroup {
    int nibble = 0;
    std::span<LeafOp> ops;
    // The result.
    bool present = false;
    bool is_branch = false;
    bool storage = false;
    void* pointer = nullptr;
    RefOut ref;
  };
  absl::Status PrepareChildren(const Hash* account, BranchNode* root, std::span<ChildGroup> groups);
  absl::Status ApplyChildren(const Hash* account, BranchNode* root, std::span<ChildGroup> groups);
  void TakeChildren(std::span<ChildGroup> groups);
  bool Combine(TrieJob& job, std::span<const ChildGroup> groups);

  // Gives everything made to the caller, who publishes it.
  void Commit(TrieChanges& out);

 private:
  // What the recursion has made of a position: nothing, a leaf of leaves_, or a branch of fresh_, whose entry of
  // changes_ is `change`. Their references are still to be computed. One word: a processor that has just written many
  // cold lines waits for all of them when something is read back in larger pieces than it was written in.
  class Made {
   public:
    enum class Kind : uint8_t { kNothing, kLeaf, kBranch };

    Made() = default;
    static Made Leaf(uint32_t index) { return Made(uint64_t{index} << 32 | 1); }
    static Made Branch(uint32_t index, uint32_t change) {
      return Made(uint64_t{index} << 32 | uint64_t{change} << 2 | 2);
    }

    Kind kind() const { return static_cast<Kind>(bits_ & 3); }
    bool is_leaf() const { return kind() == Kind::kLeaf; }
    bool is_branch() const { return kind() == Kind::kBranch; }
    uint32_t index() const { return static_cast<uint32_t>(bits_ >> 32); }
    uint32_t change() const { return static_cast<uint32_t>(bits_ & UINT32_MAX) >> 2; }

   private:
    explicit Made(uint64_t bits) : bits_(bits) {}
    uint64_t bits_ = 0;
  };
  // A child of a branch that is put together.
  struct Child {
    enum class Kind : uint8_t { kEmpty, kClean, kMade };
    Kind kind = Kind::kEmpty;
    // kClean: not changed, or hashed already.
    bool is_branch = false;
    bool embedded = false;
    bool storage = false;
    const uint8_t* ref = nullptr;
    void* pointer = nullptr;
    Made made;  // kMade
  };
  struct PendingLeaf {
    const Hash* key;
    BytesView value;
    LeafNode* node;
    bool storage;
  };
  struct Target {
    RefOut* out = nullptr;  // or:
    uint32_t parent = 0;    // index into fresh_
    int nibble = 0;
  };
  struct LeafHashJob {
    uint32_t leaf;
    uint8_t depth;
    Target target;
  };
  struct BranchHashJob {
    uint32_t fresh;
    Target target;
  };
  using Kids = std::array<Child, 16>;
  struct ChangedKid {
    uint64_t nibble;
    Made made;
  };
  using Ops = std::span<LeafOp>;

  struct Frontier {
    const Hash* account;
    BranchNode* node;
    size_t depth;
    Ops ops;
  };

  absl::Status LoadRoots(std::span<TrieJob> jobs, std::vector<Frontier>& frontier);
  absl::Status PrepareLevels(std::vector<Frontier> frontier);
  void Descend(const Frontier& at, std::vector<Frontier>& next, std::vector<Frontier>& missing,
               std::vector<std::pair<BranchNode*, int>>& slots);
  // The branch at the first `depth` nibbles of `along`.
  absl::StatusOr<BranchNode*> Resolve(const Hash* account, const BranchNode* parent, int nibble, const Hash& along,
                                      size_t depth);
  // Where loaded nodes go: into the trie where they may, else they stay this update's.
  BranchNode* Adopt(const BranchNode* parent, int nibble, OwnedBranch loaded);
  absl::Status AdoptRoot(TrieJob& job, OwnedBranch loaded);
  BranchNode* Keep(OwnedBranch node);

  // The recursion. `along` is any key that begins with the path of the position, `depth` its length.
  absl::StatusOr<Made> UpdateBranch(const BranchNode* node, size_t skip, size_t depth, const Hash& along, Ops ops,
                                    BranchNode* row_before);
  absl::StatusOr<Made> FinishBranch(const BranchNode* node, size_t skip, size_t depth, const Hash& along,
                                    BranchNode* row_before, size_t begin);
  absl::StatusOr<Made> SplitExtension(const BranchNode* node, size_t skip, size_t shared, size_t depth,
                                      const Hash& along, Ops ops, BranchNode* row_before);
  absl::StatusOr<Made> UpdateChild(const BranchNode* node, int nibble, size_t depth, Ops ops);
  Made Build(std::vector<uint32_t>& leaves, size_t begin, size_t end, size_t depth);
  absl::StatusOr<Made> Finish(const BranchNode* node, BytesView extension, Kids& kids, size_t depth, const Hash& along,
                              BranchNode* row_before);
  absl::StatusOr<Made> Collapse(const BranchNode* node, BytesView extension, Kids& kids, int nibble, size_t depth,
                                const Hash& along, BranchNode* row_before);
  // True when `changed` gives a node with the same places for pointers and references.
  bool FitsInto(const BranchNode& node, std::span<const ChangedKid> changed) const;
  Made CopyBranch(const BranchNode& node, std::span<const ChangedKid> changed, size_t depth, const Hash& along,
                  BranchNode* row_before);
  Made MakeBranch(BytesView extension, const Kids& kids, size_t depth, const Hash& along, BranchNode* row_before);
  Made Lengthen(Made made, BytesView extension, size_t depth, const Hash& along, BranchNode* row_before);
  void* PointerTo(Made made) const;
  static Child ChildOf(Made made);
  Child CleanChild(const BranchNode* node, int nibble) const;
  uint32_t AddLeaf(const LeafOp& op);
  // The pointers that a copy of the node needs. The handles of leaves that have become superfluous go.
  uint16_t NeededPointers(const BranchNode& node, std::span<const ChangedKid> changed);
  void DropHandle(PendingLeaf& leaf, size_t first_fresh);
  absl::StatusOr<uint32_t> FetchLeaf(const NibblePath& path, const Hash* key, LeafNode* node);
  // The row at the first `depth` nibbles of `along`; returns the entry's place.
  uint32_t RecordChange(const Hash& along, size_t depth, BranchNode* before, BranchNode* after,
                        uint16_t changed = 0xffff);
  // Where the reference of what was made goes: to `out`, or to a place in the node fresh_[parent].
  void AddTarget(Made made, size_t depth, RefOut* out, uint32_t parent = 0, int nibble = 0);
  BytesView MakeUndo(const BranchNode& before, uint16_t changed);

  void HashLeaves(std::span<const LeafHashJob> jobs);
  void HashBranches(std::span<const BranchHashJob> jobs);
  // The reference of what is `encoded`, which the next HashBatch reads, to where it belongs.
  void Deliver(const Target& target, BytesView encoded);
  void HashBatch();

  const TrieSource& source_;
  const uint64_t sequence_;
  const Purpose purpose_;
  const uint64_t flushed_;  // handles below nodes of transitions up to here can go; 0 keeps all

  const Hash* account_ = nullptr;  // of the trie that Apply is at
  std::vector<BranchNode*> fresh_;
  std::vector<LeafNode*> fresh_leaves_;
  std::vector<PendingLeaf> leaves_;
  std::deque<LeafRow> fetched_;
  std::vector<NodeChange> changes_;
  std::deque<Bytes> undo_bytes_;  // blocks that never grow beyond what they have reserved
  std::vector<LeafNode*> replaced_leaves_;
  std::vector<LeafHashJob> leaf_jobs_;
  std::vector<std::vector<BranchHashJob>> branch_jobs_;  // by depth
  std::vector<ChangedKid> changed_;                      // of the branches that the recursion is in
  std::vector<Made> detached_;                           // of ApplyChildren, in the order of the groups
  Bytes scratch_;                                        // encoded nodes that are to be hashed
  std::vector<KeccakJob> batch_;                         // which they are, and where to
  uint64_t nodes_hashed_ = 0;
  uint64_t permutations_ = 0;
  size_t linked_bytes_ = 0;  // below private nodes

  // Loaded nodes that are not linked into the trie.
  absl::flat_hash_map<std::pair<const BranchNode*, int>, BranchNode*> private_children_;
  absl::flat_hash_set<const BranchNode*> private_nodes_;
  absl::flat_hash_set<const BranchNode*> below_private_;  // linked below such
};

}  // namespace mptd
