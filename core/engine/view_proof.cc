// Proofs: the nodes on the paths of keys, as RLP.
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "core/account.h"
#include "core/engine/view_impl.h"
#include "core/keccak.h"
#include "core/rlp.h"

namespace mptd {
namespace {

// Walks tries of one view and keeps the nodes that it had to load. Belongs to one call.
class ProofWalker {
 public:
  explicit ProofWalker(const ViewImpl& view) : view_(view) {}

  // Appends the RLP nodes from the root towards `key` (hashed), as eth_getProof lists them: those of 32 bytes and more,
  // and the root always. Returns whether the key is there, and sets `root` to the storage trie's root when it is
  // loaded.
  absl::Status Prove(const Hash* account, const TrieRoot& root, const Hash& key, std::vector<Bytes>& out);

  // The root of an account's storage trie, from memory when its handle is there.
  TrieRoot StorageRoot(const Hash& account, const Account& value);

 private:
  struct FreeNode {
    void operator()(BranchNode* node) const { BranchNode::Free(node); }
  };
  using Loaded = std::unique_ptr<BranchNode, FreeNode>;

  absl::StatusOr<const BranchNode*> Load(const Hash* account, const NibblePath& path);
  static void AddNode(Bytes node, bool is_root, std::vector<Bytes>& out) {
    if (is_root || node.size() >= 32) out.push_back(std::move(node));
  }
  absl::Status AddLeaf(const Hash* account, const NibblePath& path, const LeafNode* handle, std::vector<Bytes>& out);

  const ViewImpl& view_;
  absl::flat_hash_map<Bytes, Loaded> loaded_;
};

absl::StatusOr<const BranchNode*> ProofWalker::Load(const Hash* account, const NibblePath& path) {
  Bytes key(account == nullptr ? "a" : "s");
  AppendNodeKey(key, account, path);
  const auto it = loaded_.find(key);
  if (it != loaded_.end()) return it->second.get();
  TrieSource::BranchRequest request{account, path, nullptr};
  if (absl::Status s = view_.LoadBranches({&request, 1}); !s.ok()) return s;
  return (loaded_[key] = Loaded(request.node)).get();
}

absl::Status ProofWalker::AddLeaf(const Hash* account, const NibblePath& path, const LeafNode* handle,
                                  std::vector<Bytes>& out) {
  absl::StatusOr<LeafRow> leaf = view_.LeafBelow(account, path, handle == nullptr ? nullptr : &handle->key);
  if (!leaf.ok()) return leaf.status();
  Bytes node;
  AppendLeafRlp(node, leaf->key, path.size, leaf->value);
  AddNode(std::move(node), path.size == 0, out);
  return absl::OkStatus();
}

absl::Status ProofWalker::Prove(const Hash* account, const TrieRoot& root, const Hash& key, std::vector<Bytes>& out) {
  if (root.kind == TrieRoot::Kind::kEmpty) return absl::OkStatus();
  NibblePath path;
  const BranchNode* node = root.node;
  if (node == nullptr && root.kind != TrieRoot::Kind::kLeaf) {
    absl::StatusOr<const BranchNode*> loaded = Load(account, path);
    if (!loaded.ok()) return loaded.status();
    node = *loaded;
  }
  if (node == nullptr) return AddLeaf(account, path, root.leaf, out);
  while (true) {
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
      return AddLeaf(account, path, node->has_pointer(nibble) ? node->child_leaf(nibble) : nullptr, out);
    }
    const BranchNode* child = node->child_branch(nibble);
    if (child == nullptr) {
      absl::StatusOr<const BranchNode*> loaded = Load(account, path);
      if (!loaded.ok()) return loaded.status();
      if (*loaded == nullptr) return absl::DataLossError("a branch row is missing; run `mptctl check`");
      child = *loaded;
    }
    node = child;
  }
}

TrieRoot ProofWalker::StorageRoot(const Hash& account, const Account& value) {
  if (value.storage_root == kEmptyRoot) return {};
  const TrieRoot root = view_.AccountRoot();
  if (root.kind == TrieRoot::Kind::kUnknown) return {TrieRoot::Kind::kUnknown};
  bool known = false;
  const BranchNode* node = FindInMemory(root, &account, NibblePath{}, known);
  if (node != nullptr) return {TrieRoot::Kind::kBranch, const_cast<BranchNode*>(node), nullptr};
  return {known ? TrieRoot::Kind::kLeaf : TrieRoot::Kind::kUnknown};
}

}  // namespace

absl::StatusOr<AccountProof> ViewImpl::GetProof(const Address& address, std::span<const Hash> slots) const {
  AccountProof proof;
  proof.address = address;
  const Hash key = Keccak256(address.view());
  absl::StatusOr<std::optional<Account>> account = GetAccount(address);
  if (!account.ok()) return account.status();
  if (account->has_value()) proof.account = **account;
  ProofWalker walker(*this);
  if (absl::Status s = walker.Prove(nullptr, AccountRoot(), key, proof.proof); !s.ok()) return s;
  absl::StatusOr<std::vector<U256>> values = GetStorage(address, slots);
  if (!values.ok()) return values.status();
  const TrieRoot storage = walker.StorageRoot(key, proof.account);
  for (size_t i = 0; i < slots.size(); ++i) {
    StorageProof& entry = proof.storage.emplace_back(StorageProof{slots[i], (*values)[i], {}});
    if (absl::Status s = walker.Prove(&key, storage, Keccak256(slots[i].view()), entry.proof); !s.ok()) return s;
  }
  return proof;
}

absl::StatusOr<MultiProof> ViewImpl::GetMultiProof(std::span<const ProofTargetSpec> targets) const {
  MultiProof result;
  ProofWalker walker(*this);
  absl::flat_hash_set<Bytes> seen;
  const auto add = [&](std::vector<Bytes>& nodes) {
    for (Bytes& node : nodes) {
      if (seen.insert(node).second) result.nodes.push_back(std::move(node));
    }
    nodes.clear();
  };
  std::vector<Bytes> nodes;
  for (const ProofTargetSpec& target : targets) {
    MultiProof::Entry& entry = result.entries.emplace_back();
    entry.address = target.address;
    absl::StatusOr<std::optional<Account>> account = GetAccount(target.address);
    if (!account.ok()) return account.status();
    entry.account = *account;
    absl::Status s = walker.Prove(nullptr, AccountRoot(), Keccak256(target.address.view()), nodes);
    if (!s.ok()) return s;
    add(nodes);
  }
  for (size_t i = 0; i < targets.size(); ++i) {
    MultiProof::Entry& entry = result.entries[i];
    absl::StatusOr<std::vector<U256>> values = GetStorage(targets[i].address, targets[i].slots);
    if (!values.ok()) return values.status();
    entry.values = *std::move(values);
    if (!entry.account) continue;
    const Hash key = Keccak256(targets[i].address.view());
    const TrieRoot storage = walker.StorageRoot(key, *entry.account);
    for (const Hash& slot : targets[i].slots) {
      if (absl::Status s = walker.Prove(&key, storage, Keccak256(slot.view()), nodes); !s.ok()) return s;
      add(nodes);
    }
  }
  return result;
}

}  // namespace mptd
