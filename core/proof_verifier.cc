#include "core/proof_verifier.h"

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/account.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "core/nibbles.h"
#include "core/rlp.h"

namespace mptd {
namespace {

// Every key is a Keccak-256 hash, so every leaf lies exactly this deep and no branch has a value of its own.
constexpr size_t kKeyNibbles = 2 * Hash::kSize;
constexpr size_t kBranchItems = 17;
constexpr size_t kShortNodeItems = 2;  // leaves and extensions
constexpr char kEmptyNode[] = "\x80";

struct Node {
  enum class Kind { kBranch, kExtension, kLeaf };
  Kind kind = Kind::kBranch;
  Bytes path;                            // of an extension or a leaf
  BytesView value;                       // of a leaf
  std::array<rlp::Item, 16> children{};  // of a branch; an extension's child is the first
};

absl::Status Refuse(std::string_view what) { return absl::InvalidArgumentError(absl::StrFormat("%s", what)); }

absl::Status Prefixed(std::string_view prefix, const absl::Status& status) {
  return absl::Status(
      status.code(),
      absl::StrFormat("%s: %s", prefix, std::string_view(status.message().data(), status.message().size())));
}

bool IsBlank(const rlp::Item& child) { return !child.is_list && child.payload.empty(); }
bool IsHash(const rlp::Item& child) { return !child.is_list && child.payload.size() == Hash::kSize; }

absl::StatusOr<Node> DecodeNode(const rlp::Item& item, size_t depth);

// A child is blank, the hash of a node, or a whole node of less than 32 bytes, which is checked like any other even
// when the key does not pass through it. The recursion is as deep as lists can nest in 31 bytes.
absl::Status CheckChild(const rlp::Item& child, size_t depth, bool must_be_branch) {
  if (IsBlank(child) || IsHash(child)) return absl::OkStatus();
  if (!child.is_list) {
    return Refuse(absl::StrFormat("a child reference of %d bytes instead of 32", child.payload.size()));
  }
  if (child.encoded.size() >= Hash::kSize) {
    return Refuse(absl::StrFormat("an embedded child of %d bytes, which must be hashed", child.encoded.size()));
  }
  const absl::StatusOr<Node> node = DecodeNode(child, depth);
  if (!node.ok()) return Prefixed("embedded child", node.status());
  if (must_be_branch && node->kind != Node::Kind::kBranch) return Refuse("an extension whose child is not a branch");
  return absl::OkStatus();
}

absl::StatusOr<Node> DecodeBranch(const std::array<rlp::Item, kBranchItems>& items, size_t depth) {
  if (depth >= kKeyNibbles) return Refuse("a branch below the end of the key");
  Node out;
  size_t occupied = 0;
  for (size_t i = 0; i < out.children.size(); ++i) {
    const absl::Status status = CheckChild(items[i], depth + 1, /*must_be_branch=*/false);
    if (!status.ok()) return Prefixed(absl::StrFormat("branch slot %d", i), status);
    if (!IsBlank(items[i])) ++occupied;
    out.children[i] = items[i];
  }
  if (!IsBlank(items.back())) return Refuse("a branch with a value, though all keys have the same length");
  if (occupied < 2) return Refuse(absl::StrFormat("a branch with %d children instead of at least two", occupied));
  return out;
}

absl::StatusOr<Node> DecodeShortNode(const rlp::Item& path, const rlp::Item& target, size_t depth) {
  if (path.is_list) return Refuse("a list where the path is expected");
  absl::StatusOr<HexPrefix> decoded = DecodeHexPrefix(path.payload);
  if (!decoded.ok()) return decoded.status();
  Node out;
  out.kind = decoded->leaf ? Node::Kind::kLeaf : Node::Kind::kExtension;
  out.path = std::move(decoded->nibbles);
  const size_t end = depth + out.path.size();
  if (out.kind == Node::Kind::kLeaf) {
    if (end != kKeyNibbles) return Refuse(absl::StrFormat("a leaf that ends at nibble %d instead of 64", end));
    if (target.is_list) return Refuse("a leaf whose value is a list");
    if (target.payload.empty()) return Refuse("a leaf with an empty value");
    out.value = target.payload;
    return out;
  }
  if (out.path.empty()) return Refuse("an extension with an empty path");
  if (end >= kKeyNibbles) return Refuse("an extension that reaches the end of the key");
  if (IsBlank(target)) return Refuse("an extension without a child");
  const absl::Status status = CheckChild(target, end, /*must_be_branch=*/true);
  if (!status.ok()) return status;
  out.children[0] = target;
  return out;
}

// The node that starts `depth` nibbles down the key. Whatever is refused here could not be in any trie whose keys have
// 64 nibbles.
absl::StatusOr<Node> DecodeNode(const rlp::Item& item, size_t depth) {
  if (!item.is_list) return Refuse("a string where a node is expected");
  std::array<rlp::Item, kBranchItems> items;
  size_t count = 0;
  for (BytesView rest = item.payload; !rest.empty(); ++count) {
    const absl::StatusOr<rlp::Item> next = rlp::Read(rest);
    if (!next.ok()) return next.status();
    if (count == items.size()) return Refuse("a node of more than 17 items");
    items[count] = *next;
  }
  if (count == kBranchItems) return DecodeBranch(items, depth);
  if (count == kShortNodeItems) return DecodeShortNode(items[0], items[1], depth);
  return Refuse(absl::StrFormat("a node of %d items instead of 2 or 17", count));
}

// What a walk asks for the node with a hash: its place among the nodes, or nullopt when it is not there.
using PlaceOf = std::function<std::optional<size_t>(const Hash& hash)>;

// Descends from the root along one key. Each node is the next one, or lies where `place_of` says when that is given.
class Walk {
 public:
  Walk(const Hash& root, BytesView key, std::span<const Bytes> nodes, PlaceOf place_of = nullptr)
      : expected_(root), key_(UnpackNibbles(key)), nodes_(nodes), place_of_(std::move(place_of)) {}

  absl::StatusOr<std::optional<Bytes>> Run() {
    absl::StatusOr<Node> node = NextNode();
    while (node.ok()) {
      if (node->kind == Node::Kind::kLeaf) {
        if (BytesView(key_).substr(depth_) != node->path) return End(std::nullopt);
        return End(Bytes(node->value));
      }
      rlp::Item child = node->children[0];
      if (node->kind == Node::Kind::kBranch) {
        child = node->children[static_cast<uint8_t>(key_[depth_])];
        depth_ += 1;
      } else if (BytesView(key_).substr(depth_, node->path.size()) != node->path) {
        return End(std::nullopt);
      } else {
        depth_ += node->path.size();
      }
      if (IsBlank(child)) return End(std::nullopt);
      const bool from_extension = node->kind == Node::Kind::kExtension;
      if (child.is_list) {
        node = DecodeNode(child, depth_);
      } else {
        expected_ = Hash::FromView(child.payload);
        node = NextNode();
      }
      if (node.ok() && from_extension && node->kind != Node::Kind::kBranch) {
        return AtNode(Refuse("an extension whose child is not a branch"));
      }
    }
    return node.status();
  }

 private:
  // The node that `expected_` refers to.
  absl::StatusOr<Node> NextNode() {
    place_ = used_;
    if (place_of_ != nullptr) {
      const std::optional<size_t> place = place_of_(expected_);
      if (!place.has_value()) return Refuse(absl::StrFormat("no node has the hash %s", ToHex(expected_)));
      place_ = *place;
    } else if (used_ == nodes_.size()) {
      return Refuse(absl::StrFormat("the proof ends after %d nodes without an answer", used_));
    }
    const Bytes& encoded = nodes_[place_];
    ++used_;
    if (used_ > 1 && encoded.size() < Hash::kSize) {
      return AtNode(Refuse(absl::StrFormat("%d bytes, which must be embedded in the parent", encoded.size())));
    }
    if (Keccak256(encoded) != expected_) {
      return AtNode(Refuse(absl::StrFormat("the hash is not the expected %s", ToHex(expected_))));
    }
    const absl::StatusOr<rlp::Item> item = rlp::ReadOnly(encoded);
    if (!item.ok()) return AtNode(item.status());
    absl::StatusOr<Node> node = DecodeNode(*item, depth_);
    if (!node.ok()) return AtNode(node.status());
    return node;
  }

  absl::StatusOr<std::optional<Bytes>> End(std::optional<Bytes> answer) const {
    if (place_of_ == nullptr && used_ != nodes_.size()) {
      return Refuse(absl::StrFormat("node %d comes after the end of the proof", used_));
    }
    return answer;
  }

  // Names the node that was read last, counted from 0.
  absl::Status AtNode(const absl::Status& status) const { return Prefixed(absl::StrFormat("node %d", place_), status); }

  Hash expected_;
  const Bytes key_;
  const std::span<const Bytes> nodes_;
  const PlaceOf place_of_;
  size_t used_ = 0;
  size_t place_ = 0;  // of the node that was read last
  size_t depth_ = 0;
};

absl::Status CheckPresentAccount(const Account& claimed, BytesView leaf) {
  const absl::StatusOr<Account> actual = DecodeAccountRlp(leaf);
  if (!actual.ok()) return Prefixed("account proof", actual.status());
  if (actual->nonce != claimed.nonce) {
    return Refuse(absl::StrFormat("the nonce is stated as %d but proved as %d", claimed.nonce, actual->nonce));
  }
  if (actual->balance != claimed.balance) {
    return Refuse(absl::StrFormat("the balance is stated as %s but proved as %s", ToHexQuantity(claimed.balance),
                                  ToHexQuantity(actual->balance)));
  }
  if (actual->storage_root != claimed.storage_root) {
    return Refuse(absl::StrFormat("the storage root is stated as %s but proved as %s", ToHex(claimed.storage_root),
                                  ToHex(actual->storage_root)));
  }
  if (actual->code_hash != claimed.code_hash) {
    return Refuse(absl::StrFormat("the code hash is stated as %s but proved as %s", ToHex(claimed.code_hash),
                                  ToHex(actual->code_hash)));
  }
  return absl::OkStatus();
}

absl::Status CheckAbsentAccount(const AccountProof& proof) {
  const Account& claimed = proof.account;
  const bool empty_hashes = claimed.storage_root == kEmptyRoot && claimed.code_hash == kEmptyCodeHash;
  const bool zero_hashes = claimed.storage_root.IsZero() && claimed.code_hash.IsZero();
  if (claimed.nonce != 0 || !claimed.balance.IsZero() || !(empty_hashes || zero_hashes)) {
    return Refuse("the account is proved absent, but fields of it are stated");
  }
  for (const StorageProof& slot : proof.storage) {
    if (!slot.value.IsZero() || !slot.proof.empty()) {
      return Refuse(absl::StrFormat("the account is proved absent, but slot %s of it is stated", ToHex(slot.key)));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSlot(const Hash& storage_root, const StorageProof& slot) {
  const absl::StatusOr<std::optional<Bytes>> leaf =
      VerifyTrieProof(storage_root, Keccak256(slot.key.view()).view(), slot.proof);
  if (!leaf.ok()) return leaf.status();
  U256 actual;
  if (leaf->has_value()) {
    const absl::StatusOr<rlp::Item> item = rlp::ReadOnly(**leaf);
    if (!item.ok()) return item.status();
    if (item->is_list) return Refuse("the value is a list");
    const absl::StatusOr<U256> value = U256::FromMinimal(item->payload);
    if (!value.ok()) return value.status();
    if (value->IsZero()) return Refuse("a zero value in the trie");
    actual = *value;
  }
  if (actual != slot.value) {
    return Refuse(absl::StrFormat("the value is stated as %s but proved as %s", ToHexQuantity(slot.value),
                                  ToHexQuantity(actual)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<Bytes>> VerifyTrieProof(const Hash& root, BytesView key, std::span<const Bytes> nodes) {
  if (key.size() != Hash::kSize) {
    return Refuse(absl::StrFormat("a key of %d bytes instead of 32", key.size()));
  }
  if (root == kEmptyRoot && (nodes.empty() || (nodes.size() == 1 && nodes[0] == kEmptyNode))) {
    return std::optional<Bytes>();
  }
  return Walk(root, key, nodes).Run();
}

ProofNodes::ProofNodes(std::span<const Bytes> nodes) : nodes_(nodes) {
  for (size_t i = 0; i < nodes.size(); ++i) places_.emplace(Keccak256(nodes[i]), Place{.index = i});
}

absl::StatusOr<std::optional<Bytes>> ProofNodes::Find(const Hash& root, BytesView key) {
  if (key.size() != Hash::kSize) {
    return Refuse(absl::StrFormat("a key of %d bytes instead of 32", key.size()));
  }
  if (root == kEmptyRoot) return std::optional<Bytes>();
  return Walk(root, key, nodes_,
              [this](const Hash& hash) -> std::optional<size_t> {
                const auto found = places_.find(hash);
                if (found == places_.end()) return std::nullopt;
                found->second.used = true;
                return found->second.index;
              })
      .Run();
}

absl::Status ProofNodes::AllUsed() const {
  std::vector<bool> used(nodes_.size());
  for (const auto& [hash, place] : places_) used[place.index] = place.used;
  const auto unused = std::find(used.begin(), used.end(), false);
  if (unused == used.end()) return absl::OkStatus();
  return Refuse(absl::StrFormat("node %d is not needed, or is there twice", unused - used.begin()));
}

absl::Status VerifyAccountProof(const Hash& state_root, const AccountProof& proof) {
  const absl::StatusOr<std::optional<Bytes>> leaf =
      VerifyTrieProof(state_root, Keccak256(proof.address.view()).view(), proof.proof);
  if (!leaf.ok()) return Prefixed("account proof", leaf.status());
  if (!leaf->has_value()) return CheckAbsentAccount(proof);
  const absl::Status account = CheckPresentAccount(proof.account, **leaf);
  if (!account.ok()) return account;
  for (const StorageProof& slot : proof.storage) {
    const absl::Status status = CheckSlot(proof.account.storage_root, slot);
    if (!status.ok()) return Prefixed(absl::StrFormat("storage proof of slot %s", ToHex(slot.key)), status);
  }
  return absl::OkStatus();
}

}  // namespace mptd
