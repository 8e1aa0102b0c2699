// Whole tries from their keys in ascending order, in one pass and little memory: the roots and the record of every
// branch. Nodes wait until there are enough of them to be hashed many at once. Belongs to one thread.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "core/keccak.h"
#include "core/trie/branch_record.h"
#include "core/trie/nibble_path.h"
#include "core/types.h"

namespace mptd {

class TrieBuilder {
 public:
  // Called for each finished branch, children before parents, and for each finished trie after its branches: while more
  // keys are added, or at the latest by Flush. `path` is the row's.
  using OnBranch = std::function<void(const NibblePath& path, const BranchValue& branch)>;
  using OnRoot = std::function<void(const Hash& root)>;

  explicit TrieBuilder(OnBranch on_branch, OnRoot on_root = nullptr);
  TrieBuilder(const TrieBuilder&) = delete;
  TrieBuilder& operator=(const TrieBuilder&) = delete;

  // Keys of one trie strictly ascending. `value` is the leaf's RLP value; `has_storage` marks an account with storage.
  void Add(const Hash& key, BytesView value, bool has_storage);
  // The trie has no more keys; the next one added is another trie's.
  void End();
  // Hashes everything that can be: all of the tries that have ended.
  void Flush();
  // Ends the trie and returns its root; the builder is as new afterwards.
  Hash Finish();

 private:
  // A branch: on the stack while it may still get children, then waiting for its hash.
  struct Node {
    NibblePath path;
    size_t depth = 0;        // of the branch's own nibble
    size_t level = 1;        // hashed after all that waits on lower ones
    uint8_t* ref = nullptr;  // where its hash goes, once it is off the stack
    BranchValue branch;
  };
  // What is reported when everything before it is hashed: a branch, or where it is null the root of a trie.
  struct Event {
    Node* branch = nullptr;
    Hash* root = nullptr;
  };
  // An encoding in `encoded_` that can be hashed.
  struct Ready {
    size_t begin;
    size_t size;
    uint8_t* output;
  };

  Node* NewNode(size_t depth);
  void AttachLeaf();
  void Close(size_t parent_depth);
  void CloseRoot(Hash* root);
  bool TakeOff(size_t edge_depth);
  void HashLater(size_t begin, uint8_t* output);
  void HashReady();
  void HashLevel(const std::vector<Node*>& nodes);
  void Report();

  const OnBranch on_branch_;
  const OnRoot on_root_;
  std::vector<Node*> stack_;
  bool has_leaf_ = false;
  Hash key_;
  Bytes value_;
  bool has_storage_ = false;

  Bytes encoded_;  // of nodes that wait to be hashed
  std::vector<Ready> ready_;
  std::vector<std::vector<Node*>> levels_;  // closed branches that wait, by level
  std::vector<Event> events_;
  std::deque<Hash> roots_;
  Hash last_root_;

  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Node*> free_;
  std::vector<KeccakJob> jobs_;
};

}  // namespace mptd
