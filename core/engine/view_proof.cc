// Proofs: the nodes on the paths of keys, as RLP.
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "core/account.h"
#include "core/engine/view_impl.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "core/rlp.h"
#include "core/trie/link_loaded.h"

namespace mptd {
namespace {

// Walks tries of one view. What it has to load becomes part of the trie in memory where it may, and is kept for the
// rest of the call where not. Belongs to one call.
class ProofWalker {
 public:
  explicit ProofWalker(const ViewImpl& view) : view_(view) {}
  ~ProofWalker() { view_.CountLookups(in_memory_, read_); }
  ProofWalker(const ProofWalker&) = delete;
  ProofWalker& operator=(const ProofWalker&) = delete;

  // Appends the RLP nodes from the root towards `key` (hashed), as eth_getProof lists them: those of 32 bytes and more,
  // and the root always. `value` is the key's leaf value, null when the key is not there. DATA_LOSS when there is no
  // root's row and the only leaf does not hash to `root_hash`.
  absl::Status Prove(const Hash* account, const TrieRoot& root, const Hash& root_hash, const Hash& key,
                     const Bytes* value, std::vector<Bytes>& out);

  // Where the last Prove found the key's leaf.
  struct LeafPlace {
    const LeafNode* handle = nullptr;    // when there is one
    const BranchNode* parent = nullptr;  // when one could be linked
    int nibble = 0;
  };
  const LeafPlace& leaf_place() const { return leaf_place_; }

  // The root of the storage trie of an account that is there, by the handle of its leaf; a new one is linked where it
  // can be.
  absl::StatusOr<TrieRoot> StorageRoot(const LeafPlace& leaf, const Hash& account, const Account& value);

 private:
  // A node on the way. What is below one that only this call has is also only this call's.
  struct Place {
    const BranchNode* node = nullptr;
    bool shared = false;
  };

  absl::StatusOr<Place> Load(const Hash* account, const Place& parent, const NibblePath& path);
  absl::StatusOr<Place> Child(const Hash* account, const Place& parent, const NibblePath& path);
  static void AddNode(Bytes node, bool is_root, std::vector<Bytes>& out) {
    if (is_root || node.size() >= 32) out.push_back(std::move(node));
  }
  absl::Status AddLeaf(const Hash* account, const NibblePath& path, const LeafNode* handle, const Hash& key,
                       const Bytes* value, std::vector<Bytes>& out);

  const ViewImpl& view_;
  LeafPlace leaf_place_;
  absl::flat_hash_map<Bytes, OwnedBranch> loaded_;
  // Branches that were there, and that were not.
  uint64_t in_memory_ = 0;
  uint64_t read_ = 0;
};

// `parent` has no such child in memory, or is null for a root.
absl::StatusOr<ProofWalker::Place> ProofWalker::Load(const Hash* account, const Place& parent, const NibblePath& path) {
  Bytes key(account == nullptr ? "a" : "s");
  AppendNodeKey(key, account, path);
  const auto it = loaded_.find(key);
  if (it != loaded_.end()) return Place{it->second.get(), false};
  ++read_;
  TrieSource::BranchRequest request{account, path, nullptr};
  if (absl::Status s = view_.LoadBranches({&request, 1}); !s.ok()) return s;
  OwnedBranch loaded = std::move(request.node);
  if (loaded != nullptr && parent.node != nullptr && parent.shared && view_.KeepsLoaded()) {
    if (BranchNode* linked = LinkLoaded(view_, *parent.node, path.at(path.size - 1), loaded))
      return Place{linked, true};
  }
  return Place{(loaded_[key] = std::move(loaded)).get(), false};
}

// The branch below `parent` at `path`, of which the last nibble is the child's.
absl::StatusOr<ProofWalker::Place> ProofWalker::Child(const Hash* account, const Place& parent,
                                                      const NibblePath& path) {
  BranchNode* child = parent.node->child_branch(path.at(path.size - 1));
  if (child == nullptr) return Load(account, parent, path);
  child->MarkUsed();
  ++in_memory_;
  return Place{child, parent.shared};
}

absl::Status ProofWalker::AddLeaf(const Hash* account, const NibblePath& path, const LeafNode* handle, const Hash& key,
                                  const Bytes* value, std::vector<Bytes>& out) {
  if (value != nullptr) {
    Bytes node;
    AppendLeafRlp(node, key, path.size, *value);
    AddNode(std::move(node), path.size == 0, out);
    return absl::OkStatus();
  }
  absl::StatusOr<LeafRow> leaf = view_.LeafBelow(account, path, handle == nullptr ? nullptr : &handle->key);
  if (!leaf.ok()) return leaf.status();
  Bytes node;
  AppendLeafRlp(node, leaf->key, path.size, leaf->value);
  AddNode(std::move(node), path.size == 0, out);
  return absl::OkStatus();
}

absl::Status ProofWalker::Prove(const Hash* account, const TrieRoot& root, const Hash& root_hash, const Hash& key,
                                const Bytes* value, std::vector<Bytes>& out) {
  leaf_place_ = {};
  if (root.kind == TrieRoot::Kind::kEmpty) return absl::OkStatus();
  NibblePath path;
  Place place{root.node, true};
  if (place.node == nullptr && root.kind != TrieRoot::Kind::kLeaf) {
    absl::StatusOr<Place> loaded = Load(account, {}, path);
    if (!loaded.ok()) return loaded.status();
    place = *loaded;
  }
  if (place.node == nullptr) {
    leaf_place_.handle = root.leaf;
    absl::Status status = AddLeaf(account, path, root.leaf, key, value, out);
    if (status.ok() && Keccak256(out.back()) != root_hash) return MissingRoot(account);
    return status;
  }
  while (true) {
    const BranchNode* node = place.node;
    Bytes branch;
    AppendBranchRlp(branch, *node);
    const BytesView extension = node->extension();
    if (!extension.empty()) {
      Bytes encoded;
      if (branch.size() < 32) {
        AppendExtensionRlp(encoded, extension, branch, true);
      } else {
        AppendExtensionRlp(encoded, extension, Keccak256(branch).view(), false);
      }
      AddNode(std::move(encoded), path.size == 0, out);
      for (char nibble : extension) {
        if (NibbleAt(key.view(), path.size) != static_cast<uint8_t>(nibble)) return absl::OkStatus();
        path.Push(static_cast<uint8_t>(nibble));
      }
      AddNode(std::move(branch), false, out);
    } else {
      AddNode(std::move(branch), path.size == 0, out);
    }
    const uint8_t nibble = NibbleAt(key.view(), path.size);
    if (!node->has(nibble)) return absl::OkStatus();
    path.Push(nibble);
    if (!node->is_branch(nibble)) {
      const LeafNode* handle = node->has_pointer(nibble) ? node->child_leaf(nibble) : nullptr;
      if (value != nullptr) {
        leaf_place_ = {handle, place.shared && node->has_pointer(nibble) ? node : nullptr, nibble};
      }
      return AddLeaf(account, path, handle, key, value, out);
    }
    absl::StatusOr<Place> child = Child(account, place, path);
    if (!child.ok()) return child.status();
    if (child->node == nullptr) return absl::DataLossError("a branch row is missing; run `mptctl check`");
    place = *child;
  }
}

absl::StatusOr<TrieRoot> ProofWalker::StorageRoot(const LeafPlace& leaf, const Hash& account, const Account& value) {
  if (value.storage_root == kEmptyRoot) return TrieRoot{};
  if (leaf.handle != nullptr) return StorageRootOf(*leaf.handle);
  if (leaf.parent == nullptr || !view_.KeepsLoaded()) return TrieRoot{TrieRoot::Kind::kUnknown};
  TrieSource::BranchRequest request{&account, NibblePath{}, nullptr};
  if (absl::Status s = view_.LoadBranches({&request, 1}); !s.ok()) return s;
  if (request.node == nullptr) {
    if (absl::Status s = CheckSingleLeaf(view_, account, nullptr, value.storage_root); !s.ok()) return s;
  }
  const LeafNode* linked = LinkStorageRoot(view_, *leaf.parent, leaf.nibble, account, request.node);
  return linked == nullptr ? TrieRoot{TrieRoot::Kind::kUnknown} : StorageRootOf(*linked);
}

std::optional<Bytes> LeafValueOf(const std::optional<Account>& account) {
  if (!account) return std::nullopt;
  Bytes value;
  AppendAccountRlp(value, *account);
  return value;
}

std::optional<Bytes> LeafValueOf(const U256& slot) {
  if (slot.IsZero()) return std::nullopt;
  Bytes value;
  rlp::AppendString(value, slot.minimal());
  return value;
}

const Bytes* PointerTo(const std::optional<Bytes>& value) { return value ? &*value : nullptr; }

// Rows name accounts by hashes; whoever asked knows the address.
absl::Status InStorageOf(const Address& address, absl::Status status) {
  if (!absl::IsDataLoss(status)) return status;
  return absl::DataLossError(absl::StrCat("account ", ToHex(address), ": ", status.message()));
}

}  // namespace

absl::StatusOr<AccountProof> ViewImpl::ProveAccount(const Address& address, std::span<const Hash> slots) const {
  AccountProof proof;
  proof.address = address;
  const Hash key = Keccak256(address.view());
  absl::StatusOr<std::optional<Account>> account = FindAccount(address);
  if (!account.ok()) return account.status();
  if (account->has_value()) proof.account = **account;
  ProofWalker walker(*this);
  absl::StatusOr<TrieRoot> root = AccountRoot();
  if (!root.ok()) return root.status();
  const std::optional<Bytes> leaf = LeafValueOf(*account);
  if (absl::Status s = walker.Prove(nullptr, *root, block().state_root, key, PointerTo(leaf), proof.proof); !s.ok())
    return s;
  if (slots.empty()) return proof;
  absl::StatusOr<std::vector<U256>> values = FindSlots(address, slots);
  if (!values.ok()) return values.status();
  const Hash& storage_root = proof.account.storage_root;
  absl::StatusOr<TrieRoot> storage = walker.StorageRoot(walker.leaf_place(), key, proof.account);
  if (!storage.ok()) return InStorageOf(address, storage.status());
  for (size_t i = 0; i < slots.size(); ++i) {
    StorageProof& entry = proof.storage.emplace_back(StorageProof{slots[i], (*values)[i], {}});
    const std::optional<Bytes> value = LeafValueOf(entry.value);
    const Hash slot = Keccak256(slots[i].view());
    absl::Status s = walker.Prove(&key, *storage, storage_root, slot, PointerTo(value), entry.proof);
    if (!s.ok()) return InStorageOf(address, s);
  }
  return proof;
}

absl::StatusOr<MultiProof> ViewImpl::ProveAll(std::span<const ProofTargetSpec> targets) const {
  MultiProof result;
  absl::StatusOr<TrieRoot> root = AccountRoot();
  if (!root.ok()) return root.status();
  ProofWalker walker(*this);
  absl::flat_hash_set<Bytes> seen;
  const auto add = [&](std::vector<Bytes>& nodes) {
    for (Bytes& node : nodes) {
      if (seen.insert(node).second) result.nodes.push_back(std::move(node));
    }
    nodes.clear();
  };
  std::vector<Bytes> nodes;
  std::vector<ProofWalker::LeafPlace> leaves;
  for (const ProofTargetSpec& target : targets) {
    MultiProof::Entry& entry = result.entries.emplace_back();
    entry.address = target.address;
    absl::StatusOr<std::optional<Account>> account = FindAccount(target.address);
    if (!account.ok()) return account.status();
    entry.account = *account;
    const std::optional<Bytes> leaf = LeafValueOf(*account);
    const Hash key = Keccak256(target.address.view());
    absl::Status s = walker.Prove(nullptr, *root, block().state_root, key, PointerTo(leaf), nodes);
    if (!s.ok()) return s;
    leaves.push_back(walker.leaf_place());
    add(nodes);
  }
  for (size_t i = 0; i < targets.size(); ++i) {
    MultiProof::Entry& entry = result.entries[i];
    absl::StatusOr<std::vector<U256>> values = FindSlots(targets[i].address, targets[i].slots);
    if (!values.ok()) return values.status();
    entry.values = *std::move(values);
    if (!entry.account) continue;
    const Hash key = Keccak256(targets[i].address.view());
    const Hash& storage_root = entry.account->storage_root;
    absl::StatusOr<TrieRoot> storage = walker.StorageRoot(leaves[i], key, *entry.account);
    if (!storage.ok()) return InStorageOf(entry.address, storage.status());
    for (size_t slot = 0; slot < targets[i].slots.size(); ++slot) {
      const std::optional<Bytes> value = LeafValueOf(entry.values[slot]);
      const Hash slot_key = Keccak256(targets[i].slots[slot].view());
      absl::Status s = walker.Prove(&key, *storage, storage_root, slot_key, PointerTo(value), nodes);
      if (!s.ok()) return InStorageOf(entry.address, s);
      add(nodes);
    }
  }
  return result;
}

}  // namespace mptd
