#include "core/trie/branch_record.h"

#include <array>
#include <bit>

#include "absl/status/status.h"
#include "core/rlp.h"

namespace mptd {
namespace {

constexpr uint8_t kHasExtension = 1;
constexpr uint8_t kHasEmbedded = 2;
constexpr uint8_t kHasStorage = 4;
constexpr char kAbsent = '\xff';

void AppendMask(Bytes& out, uint16_t mask) {
  out.push_back(static_cast<char>(mask & 0xff));
  out.push_back(static_cast<char>(mask >> 8));
}

void AppendShape(Bytes& out, const BranchShape& shape, BytesView extension) {
  if (extension.empty() && shape.embedded == 0 && shape.storage == 0) {
    // Of most branches, and put together in a register: what is written byte by byte and then copied has to wait for
    // all that was written before.
    static_assert(std::endian::native == std::endian::little);
    const uint64_t head = uint64_t{shape.children} << 8 | uint64_t{shape.branches} << 24;
    std::array<char, 8> bytes;
    std::memcpy(bytes.data(), &head, 8);
    out.append(bytes.data(), 5);
    return;
  }
  const int flags = (extension.empty() ? 0 : kHasExtension) | (shape.embedded == 0 ? 0 : kHasEmbedded) |
                    (shape.storage == 0 ? 0 : kHasStorage);
  out.push_back(static_cast<char>(flags));
  AppendMask(out, shape.children);
  AppendMask(out, shape.branches);
  if (shape.embedded != 0) AppendMask(out, shape.embedded);
  if (shape.storage != 0) AppendMask(out, shape.storage);
  if (!extension.empty()) {
    out.push_back(static_cast<char>(extension.size()));
    out.append(extension);
  }
}

// Calls `each(nibble)` for the bits of a mask in order.
template <typename F>
void ForEachChild(uint16_t mask, const F& each) {
  for (unsigned m = mask; m != 0; m &= m - 1) each(std::countr_zero(m));
}

absl::Status Damaged() { return absl::DataLossError("not a branch record"); }

bool TakeMask(BytesView& in, uint16_t& mask) {
  if (in.size() < 2) return false;
  mask = static_cast<uint16_t>(static_cast<uint8_t>(in[0]) | static_cast<uint8_t>(in[1]) << 8);
  in.remove_prefix(2);
  return true;
}

// Masks and extension; leaves the references in `in`.
absl::Status TakeShape(BytesView& in, BranchShape& shape, BytesView& extension) {
  if (in.empty()) return Damaged();
  const auto flags = static_cast<uint8_t>(in[0]);
  in.remove_prefix(1);
  if ((flags & ~(kHasExtension | kHasEmbedded | kHasStorage)) != 0) return Damaged();
  if (!TakeMask(in, shape.children) || !TakeMask(in, shape.branches)) return Damaged();
  if ((flags & kHasEmbedded) != 0 && !TakeMask(in, shape.embedded)) return Damaged();
  if ((flags & kHasStorage) != 0 && !TakeMask(in, shape.storage)) return Damaged();
  const auto outside = static_cast<uint16_t>(~shape.children);
  if (std::popcount(shape.children) < 2 || ((shape.branches | shape.embedded | shape.storage) & outside) != 0) {
    return Damaged();
  }
  if ((flags & kHasExtension) != 0) {
    if (in.empty()) return Damaged();
    const auto size = static_cast<uint8_t>(in[0]);
    in.remove_prefix(1);
    if (size == 0 || size > 63 || in.size() < size) return Damaged();
    extension = in.substr(0, size);
    for (char n : extension) {
      if (static_cast<uint8_t>(n) > 15) return Damaged();
    }
    in.remove_prefix(size);
  }
  return absl::OkStatus();
}

bool TakeRef(BytesView& in, bool embedded, uint8_t* ref) {
  size_t size = 32;
  if (embedded) {
    const auto header = static_cast<uint8_t>(in.empty() ? 0 : in[0]);
    if (header < 0xc0 || header >= 0xc0 + 31) return false;
    size = static_cast<size_t>(header - 0xc0) + 1;
  }
  if (in.size() < size) return false;
  std::memcpy(ref, in.data(), size);
  in.remove_prefix(size);
  return true;
}

bool Embedded(const BranchShape& shape, int nibble) { return (shape.embedded >> nibble & 1) != 0; }

template <typename RefOf>
void AppendBranchRlpOf(Bytes& out, const BranchShape& shape, const RefOf& ref_of) {
  size_t payload = 17;
  ForEachChild(shape.children,
               [&](int i) { payload += Embedded(shape, i) ? RefSize(true, ref_of(i)) - 1 : size_t{32}; });
  rlp::AppendListHeader(out, payload);
  const size_t begin = out.size();
  out.resize(begin + payload);
  char* to = out.data() + begin;
  for (int i = 0; i < 16; ++i) {
    if ((shape.children >> i & 1) == 0) {
      *to++ = '\x80';
    } else if (Embedded(shape, i)) {
      const size_t size = RefSize(true, ref_of(i));
      std::memcpy(to, ref_of(i), size);
      to += size;
    } else {
      *to++ = '\xa0';
      std::memcpy(to, ref_of(i), 32);
      to += 32;
    }
  }
  *to = '\x80';
}

}  // namespace

BranchValue ToValue(const BranchNode& node) {
  BranchValue value{node.shape, Bytes(node.extension()), {}};
  ForEachChild(node.shape.children,
               [&](int i) { std::memcpy(value.refs[static_cast<size_t>(i)].data(), node.ref(i), 32); });
  return value;
}

OwnedBranch ToNode(const BranchValue& value) {
  OwnedBranch node(BranchNode::Unlinked(value.extension, value.shape));
  ForEachChild(value.shape.children,
               [&](int i) { std::memcpy(node->ref(i), value.refs[static_cast<size_t>(i)].data(), 32); });
  return node;
}

void AppendBranchRecord(Bytes& out, const BranchNode& node) {
  AppendShape(out, node.shape, node.extension());
  if (node.shape.embedded == 0) {
    out.append(reinterpret_cast<const char*>(node.all_refs()), 32 * static_cast<size_t>(node.child_count()));
    return;
  }
  ForEachChild(node.shape.children, [&](int i) { out.append(RefView(node.is_embedded(i), node.ref(i))); });
}

void AppendBranchRecord(Bytes& out, const BranchValue& value) {
  AppendShape(out, value.shape, value.extension);
  ForEachChild(value.shape.children, [&](int i) { out.append(value.ref(i)); });
}

absl::StatusOr<BranchValue> DecodeBranchRecord(BytesView record) {
  BranchValue value;
  BytesView extension;
  if (absl::Status s = TakeShape(record, value.shape, extension); !s.ok()) return s;
  value.extension = Bytes(extension);
  for (int i = 0; i < 16; ++i) {
    if ((value.shape.children >> i & 1) == 0) continue;
    if (!TakeRef(record, Embedded(value.shape, i), value.refs[static_cast<size_t>(i)].data())) return Damaged();
  }
  if (!record.empty()) return Damaged();
  return value;
}

absl::StatusOr<OwnedBranch> DecodeBranchNode(BytesView record) {
  BranchShape shape;
  BytesView extension;
  if (absl::Status s = TakeShape(record, shape, extension); !s.ok()) return s;
  OwnedBranch node(BranchNode::Unlinked(extension, shape));
  for (int i = 0; i < 16; ++i) {
    if (node->has(i) && !TakeRef(record, node->is_embedded(i), node->ref(i))) return Damaged();
  }
  if (!record.empty()) return Damaged();
  return node;
}

void AppendReplaced(Bytes& out, const BranchNode& before, uint16_t changed) {
  const uint16_t replaced = before.shape.children & changed;
  out.push_back('\0');
  AppendMask(out, replaced);
  AppendShape(out, before.shape, before.extension());
  if (before.shape.embedded == 0) {
    ForEachChild(replaced, [&](int i) { out.append(reinterpret_cast<const char*>(before.ref(i)), 32); });
    return;
  }
  ForEachChild(replaced, [&](int i) { out.append(RefView(before.is_embedded(i), before.ref(i))); });
}

void AppendBranchUndo(Bytes& out, const BranchNode* before, const BranchNode* after, uint16_t changed) {
  if (before == nullptr) {
    out.push_back(kAbsent);
    return;
  }
  uint16_t replaced = 0;
  ForEachChild(before->shape.children & changed, [&](int i) {
    const bool kept = after != nullptr && after->has(i) && after->is_embedded(i) == before->is_embedded(i) &&
                      std::memcmp(after->ref(i), before->ref(i), RefSize(before->is_embedded(i), before->ref(i))) == 0;
    if (!kept) replaced = static_cast<uint16_t>(replaced | 1u << i);
  });
  AppendReplaced(out, *before, replaced);
}

absl::StatusOr<bool> BranchRebuilder::Add(BytesView undo) {
  if (complete()) return true;
  if (undo.empty()) return Damaged();
  if (undo[0] == kAbsent) {
    if (!started_) {
      started_ = absent_ = true;
      return true;
    }
    return Damaged();
  }
  undo.remove_prefix(1);
  uint16_t replaced = 0;
  if (!TakeMask(undo, replaced)) return Damaged();
  BranchShape shape;
  BytesView extension;
  if (absl::Status s = TakeShape(undo, shape, extension); !s.ok()) return s;
  if ((replaced & ~shape.children) != 0) return Damaged();
  if (!started_) {
    started_ = true;
    value_.shape = shape;
    value_.extension = Bytes(extension);
    missing_ = shape.children;
  }
  // Children that no entry so far has replaced are still as the first shape says. An embedded reference that is not one
  // would be read past its end.
  const auto known = static_cast<uint16_t>(replaced & missing_);
  if ((known & (shape.embedded ^ value_.shape.embedded)) != 0) return Damaged();
  for (int i = 0; i < 16; ++i) {
    if ((replaced >> i & 1) == 0) continue;
    std::array<uint8_t, 32> ref{};
    if (!TakeRef(undo, Embedded(shape, i), ref.data())) return Damaged();
    if ((missing_ >> i & 1) != 0) {
      value_.refs[static_cast<size_t>(i)] = ref;
      missing_ = static_cast<uint16_t>(missing_ & ~(1u << i));
    }
  }
  if (!undo.empty()) return Damaged();
  return missing_ == 0;
}

absl::Status BranchRebuilder::AddCurrent(const BranchValue* now) {
  if (complete()) return absl::OkStatus();
  if (!started_) {
    started_ = true;
    absent_ = now == nullptr;
    if (now != nullptr) value_ = *now;
    missing_ = 0;
    return absl::OkStatus();
  }
  if (now == nullptr || (missing_ & ~now->shape.children) != 0) return Damaged();
  if ((missing_ & (now->shape.embedded ^ value_.shape.embedded)) != 0) return Damaged();
  ForEachChild(missing_, [&](int i) { value_.refs[static_cast<size_t>(i)] = now->refs[static_cast<size_t>(i)]; });
  missing_ = 0;
  return absl::OkStatus();
}

void AppendBranchRlp(Bytes& out, const BranchNode& node) {
  const uint8_t* refs = node.all_refs();
  AppendBranchRlpOf(out, node.shape, [&](int i) { return refs + 32 * ChildRank(node.shape.children, i); });
}

void AppendBranchRlp(Bytes& out, const BranchValue& value) {
  AppendBranchRlpOf(out, value.shape, [&](int i) { return value.refs[static_cast<size_t>(i)].data(); });
}

void AppendExtensionRlp(Bytes& out, BytesView nibbles, BytesView ref, bool embedded) {
  const size_t prefix = nibbles.size() / 2 + 1;
  rlp::AppendListHeader(out, (prefix == 1 ? 1 : rlp::HeaderSize(prefix) + prefix) + ref.size() + (embedded ? 0 : 1));
  // The first byte of a hex prefix is below 0x80, so a single one is its own encoding.
  if (prefix > 1) out.push_back(static_cast<char>(0x80 + prefix));
  AppendHexPrefix(out, nibbles, false);
  if (!embedded) out.push_back('\xa0');
  out.append(ref);
}

void AppendLeafRlp(Bytes& out, const Hash& key, size_t depth, BytesView value) {
  const size_t rest = 64 - depth;
  const size_t prefix = rest / 2 + 1;
  rlp::AppendListHeader(out, (prefix == 1 ? 1 : 1 + prefix) + rlp::StringSize(value));
  if (prefix > 1) out.push_back(static_cast<char>(0x80 + prefix));
  if (rest % 2 == 0) {
    out.push_back('\x20');
  } else {
    out.push_back(static_cast<char>(0x30 | NibbleAt(key.view(), depth)));
    ++depth;
  }
  out.append(key.view().substr(depth / 2));
  rlp::AppendString(out, value);
}

}  // namespace mptd
