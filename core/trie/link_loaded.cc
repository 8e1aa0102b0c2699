#include "core/trie/link_loaded.h"

#include "absl/strings/str_format.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "core/trie/branch_record.h"

namespace mptd {

BranchNode* LinkLoaded(const TrieSource& source, const BranchNode& parent, int nibble, OwnedBranch& loaded) {
  BranchNode* linked = parent.Link(nibble, loaded.get());
  if (linked == nullptr) return nullptr;
  if (linked == loaded.get()) {
    source.CountLinked(linked->bytes());
    (void)loaded.release();
  } else {
    loaded.reset();
  }
  return linked;
}

LeafNode* LinkStorageRoot(const TrieSource& source, const BranchNode& parent, int nibble, const Hash& account,
                          OwnedBranch& loaded) {
  auto leaf = std::make_unique<LeafNode>(account, loaded.get());
  LeafNode* linked = parent.Link(nibble, leaf.get());
  if (linked == nullptr) return nullptr;
  if (linked == leaf.get()) {
    source.CountLinked(sizeof(LeafNode) + (loaded == nullptr ? 0 : loaded->bytes()));
    (void)leaf.release();
    (void)loaded.release();
  } else {
    loaded.reset();
  }
  return linked;
}

absl::Status CheckSingleLeaf(const TrieSource& source, const Hash& account, const Hash* key, const Hash& root) {
  const absl::StatusOr<LeafRow> leaf = source.LeafBelow(&account, NibblePath{}, key);
  if (absl::IsDataLoss(leaf.status())) return MissingRoot(&account);
  if (!leaf.ok()) return leaf.status();
  Bytes node;
  AppendLeafRlp(node, leaf->key, 0, leaf->value);
  return Keccak256(node) == root ? absl::OkStatus() : MissingRoot(&account);
}

absl::Status MissingRoot(const Hash* account) {
  return absl::DataLossError(
      absl::StrFormat("the trie %s has no row for its root, and is not a single leaf with the root's hash; run "
                      "`mptctl check`",
                      account == nullptr ? "of accounts" : "of the storage of account " + ToHex(*account)));
}

}  // namespace mptd
