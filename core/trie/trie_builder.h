// A whole trie from its keys in ascending order, in one pass and little memory: the root and the record of every
// branch. Belongs to one thread.
#pragma once

#include <functional>
#include <vector>

#include "core/trie/branch_record.h"
#include "core/trie/nibble_path.h"
#include "core/types.h"

namespace mptd {

class TrieBuilder {
 public:
  // Called for each finished branch, children before parents. `path` is the row's.
  using OnBranch = std::function<void(const NibblePath& path, const BranchValue& branch)>;

  explicit TrieBuilder(OnBranch on_branch) : on_branch_(std::move(on_branch)) {}

  // Keys strictly ascending. `value` is the leaf's RLP value; `has_storage` marks an account with storage.
  void Add(const Hash& key, BytesView value, bool has_storage);
  // The root; the builder is as new afterwards.
  Hash Finish();

 private:
  struct Frame {
    size_t depth;  // of the branch's own nibble
    BranchValue branch;
  };

  void AttachLeaf();
  void CloseTop(size_t parent_depth_plus_one);
  void SetChild(Frame& frame, int nibble, BytesView encoded);
  Bytes EncodeTop(size_t edge_depth);

  OnBranch on_branch_;
  std::vector<Frame> stack_;
  bool has_leaf_ = false;
  Hash key_;
  Bytes value_;
  bool has_storage_ = false;
};

}  // namespace mptd
