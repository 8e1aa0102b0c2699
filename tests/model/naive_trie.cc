#include "tests/model/naive_trie.h"

#include <array>

#include "core/keccak.h"
#include "core/rlp.h"

namespace mptd::model {
namespace {

Bytes ToNibbles(BytesView key) {
  Bytes out;
  for (const char c : key) {
    out.push_back(static_cast<char>(static_cast<uint8_t>(c) >> 4));
    out.push_back(static_cast<char>(c & 0x0f));
  }
  return out;
}

Bytes FromNibbles(BytesView nibbles) {
  Bytes out;
  for (size_t i = 0; i + 1 < nibbles.size(); i += 2) out.push_back(static_cast<char>(nibbles[i] << 4 | nibbles[i + 1]));
  return out;
}

// Yellow Paper, appendix C.
Bytes HexPrefixed(BytesView nibbles, bool leaf) {
  Bytes digits;
  const bool odd = nibbles.size() % 2 == 1;
  digits.push_back(static_cast<char>((leaf ? 2 : 0) + (odd ? 1 : 0)));
  if (!odd) digits.push_back('\0');
  digits.append(nibbles);
  return FromNibbles(digits);
}

Bytes List(const std::vector<Bytes>& encoded_items) {
  Bytes payload;
  for (const Bytes& item : encoded_items) payload += item;
  Bytes out;
  rlp::AppendListHeader(out, payload.size());
  return out + payload;
}

Bytes String(BytesView payload) {
  Bytes out;
  rlp::AppendString(out, payload);
  return out;
}

}  // namespace

struct NaiveTrie::Node {
  enum class Kind { kLeaf, kExtension, kBranch };
  Kind kind;
  Bytes path;                                      // of a leaf or an extension
  Bytes value;                                     // of a leaf; of a branch that ends a key, empty otherwise
  std::array<std::unique_ptr<Node>, 16> children;  // of a branch; an extension's child is the first
  Bytes encoded;

  bool Hashed() const { return encoded.size() >= 32; }
  // As the parent holds it.
  Bytes Reference() const { return Hashed() ? String(Keccak256(encoded).view()) : encoded; }
};

NaiveTrie::NaiveTrie() = default;
NaiveTrie::~NaiveTrie() = default;
NaiveTrie::NaiveTrie(NaiveTrie&&) noexcept = default;
NaiveTrie& NaiveTrie::operator=(NaiveTrie&&) noexcept = default;

void NaiveTrie::Put(BytesView key, BytesView value) {
  root_.reset();
  if (value.empty()) {
    entries_.erase(Bytes(key));
  } else {
    entries_[Bytes(key)] = Bytes(value);
  }
}

void NaiveTrie::Delete(BytesView key) { Put(key, {}); }

std::optional<Bytes> NaiveTrie::Get(BytesView key) const {
  const auto found = entries_.find(Bytes(key));
  if (found == entries_.end()) return std::nullopt;
  return found->second;
}

// Yellow Paper, equation (194): the node for all entries that share their first `depth` nibbles. They are sorted, so
// what the first and the last share, all share.
std::unique_ptr<NaiveTrie::Node> NaiveTrie::Build(const Entry* begin, const Entry* end, size_t depth) {
  auto node = std::make_unique<Node>();
  const Bytes& first = begin->first;
  const Bytes& last = (end - 1)->first;
  if (end - begin == 1) {
    node->kind = Node::Kind::kLeaf;
    node->path = first.substr(depth);
    node->value = begin->second;
    node->encoded = List({String(HexPrefixed(node->path, true)), String(node->value)});
    return node;
  }
  size_t shared = depth;
  while (shared < first.size() && first[shared] == last[shared]) ++shared;
  if (shared > depth) {
    node->kind = Node::Kind::kExtension;
    node->path = first.substr(depth, shared - depth);
    node->children[0] = Build(begin, end, shared);
    node->encoded = List({String(HexPrefixed(node->path, false)), node->children[0]->Reference()});
    return node;
  }
  node->kind = Node::Kind::kBranch;
  if (first.size() == depth) node->value = (begin++)->second;
  std::vector<Bytes> items;
  for (size_t nibble = 0; nibble < 16; ++nibble) {
    const Entry* group = begin;
    while (begin != end && static_cast<size_t>(begin->first[depth]) == nibble) ++begin;
    if (group != begin) node->children[nibble] = Build(group, begin, depth + 1);
    items.push_back(group != begin ? node->children[nibble]->Reference() : String({}));
  }
  items.push_back(String(node->value));
  node->encoded = List(items);
  return node;
}

const NaiveTrie::Node* NaiveTrie::Built() const {
  if (entries_.empty()) return nullptr;
  if (root_ == nullptr) {
    std::vector<Entry> sorted;
    for (const auto& [key, value] : entries_) sorted.emplace_back(ToNibbles(key), value);
    root_ = Build(sorted.data(), sorted.data() + sorted.size(), 0);
  }
  return root_.get();
}

Hash NaiveTrie::Root() const {
  const Node* root = Built();
  return Keccak256(root == nullptr ? String({}) : root->encoded);
}

std::vector<Bytes> NaiveTrie::Proof(BytesView key) const {
  std::vector<Bytes> out;
  Bytes rest = ToNibbles(key);
  const Node* node = Built();
  while (node != nullptr) {
    if (out.empty() || node->Hashed()) out.push_back(node->encoded);
    if (node->kind == Node::Kind::kLeaf || !rest.starts_with(node->path)) break;
    rest.erase(0, node->path.size());
    if (node->kind == Node::Kind::kExtension) {
      node = node->children[0].get();
    } else if (rest.empty()) {
      break;
    } else {
      node = node->children[static_cast<size_t>(rest[0])].get();
      rest.erase(0, 1);
    }
  }
  return out;
}

void NaiveTrie::WalkNode(const Node& node, Bytes& path, std::vector<std::pair<Bytes, Bytes>>& out) {
  path += node.path;
  if (!node.value.empty()) out.emplace_back(FromNibbles(path), node.value);
  for (size_t i = 0; i < node.children.size(); ++i) {
    if (node.children[i] == nullptr) continue;
    if (node.kind == Node::Kind::kBranch) path.push_back(static_cast<char>(i));
    WalkNode(*node.children[i], path, out);
    if (node.kind == Node::Kind::kBranch) path.pop_back();
  }
  path.resize(path.size() - node.path.size());
}

std::vector<std::pair<Bytes, Bytes>> NaiveTrie::Walk() const {
  std::vector<std::pair<Bytes, Bytes>> out;
  Bytes path;
  if (const Node* root = Built(); root != nullptr) WalkNode(*root, path, out);
  return out;
}

namespace {

NaiveTrie StorageTrie(const NaiveAccount& account) {
  NaiveTrie trie;
  for (const auto& [slot, value] : account.storage) {
    if (!value.IsZero()) trie.Put(Keccak256(slot.view()).view(), String(value.minimal()));
  }
  return trie;
}

NaiveTrie AccountTrie(const NaiveState& state) {
  NaiveTrie trie;
  for (const auto& [address, account] : state.accounts) {
    const Account committed = Commit(account);
    Bytes nonce;
    rlp::AppendUint(nonce, committed.nonce);
    trie.Put(Keccak256(address.view()).view(),
             List({nonce, String(committed.balance.minimal()), String(committed.storage_root.view()),
                   String(committed.code_hash.view())}));
  }
  return trie;
}

}  // namespace

Hash StorageRoot(const NaiveAccount& account) { return StorageTrie(account).Root(); }

Account Commit(const NaiveAccount& account) {
  // Most accounts have neither storage nor code; the known hashes of nothing save most of the time.
  return {account.nonce, account.balance, account.storage.empty() ? kEmptyRoot : StorageRoot(account),
          account.code.empty() ? kEmptyCodeHash : Keccak256(account.code)};
}

Hash NaiveState::Root() const { return AccountTrie(*this).Root(); }

std::optional<Account> NaiveState::Get(const Address& address) const {
  const auto found = accounts.find(address);
  if (found == accounts.end()) return std::nullopt;
  return Commit(found->second);
}

AccountProof NaiveState::Proof(const Address& address, const std::vector<Hash>& slots) const {
  return Proofs({{address, slots}}).front();
}

std::vector<AccountProof> NaiveState::Proofs(const std::vector<std::pair<Address, std::vector<Hash>>>& wanted) const {
  const NaiveTrie trie = AccountTrie(*this);
  std::vector<AccountProof> out;
  for (const auto& [address, slots] : wanted) {
    AccountProof& proof = out.emplace_back();
    proof.address = address;
    proof.proof = trie.Proof(Keccak256(address.view()).view());
    const auto found = accounts.find(address);
    const NaiveAccount account = found == accounts.end() ? NaiveAccount{} : found->second;
    proof.account = Commit(account);
    const NaiveTrie storage = StorageTrie(account);
    for (const Hash& slot : slots) {
      const auto value = account.storage.find(slot);
      proof.storage.push_back({slot, value == account.storage.end() ? U256{} : value->second,
                               storage.Proof(Keccak256(slot.view()).view())});
    }
  }
  return out;
}

}  // namespace mptd::model
