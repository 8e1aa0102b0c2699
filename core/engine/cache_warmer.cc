#include "core/engine/cache_warmer.h"

#include <utility>

#include "core/trie/branch_record.h"
#include "core/trie/link_loaded.h"
#include "storage/thread_name.h"

namespace mptd {
namespace {

using storage::Table;

// A few milliseconds' work: flushes wait for so much at most.
constexpr int kRowsAtOnce = 4096;

// Where the branch at `path`, a nibble a byte, would be linked: its parent, and the place there. Null when the parent
// is not in memory, or has no branch there that waits for its row.
struct Place {
  BranchNode* parent = nullptr;
  int nibble = 0;
};
Place FindPlace(BranchNode* node, BytesView path) {
  size_t depth = 0;
  while (node != nullptr) {
    const BytesView extension = node->extension();
    depth += extension.size();
    if (depth >= path.size() || path.substr(depth - extension.size(), extension.size()) != extension) return {};
    const int nibble = static_cast<uint8_t>(path[depth]);
    if (nibble > 15 || !node->has(nibble) || !node->is_branch(nibble)) return {};
    BranchNode* child = node->child_branch(nibble);
    if (++depth == path.size()) return child == nullptr ? Place{node, nibble} : Place{};
    node = child;
  }
  return {};
}

}  // namespace

CacheWarmer::CacheWarmer(std::shared_ptr<StateStore> store, Flusher& flusher,
                         std::function<std::shared_ptr<const ViewImpl>()> head)
    : store_(std::move(store)), flusher_(flusher), head_(std::move(head)) {
  thread_ = std::thread([this] {
    storage::NameThisThread("mptd-warm");
    storage::LetOthersGoFirst();
    Run();
  });
}

CacheWarmer::~CacheWarmer() {
  stopping_.store(true, std::memory_order_relaxed);
  thread_.join();
}

void CacheWarmer::Run() {
  Bytes next(1, '\0');  // behind the root, which is there
  while (!stopping_.load(std::memory_order_relaxed)) {
    bool more = false;
    // No flush meanwhile: what a trie lacks is then what the tables have. A node that was changed after the iterator
    // was made can neither be in a later flush, nor so leave the memory that its old row would be taken for it.
    (void)flusher_.WithoutFlush([&] {
      absl::StatusOr<bool> warmed = WarmSome(next);
      more = warmed.ok() && *warmed;
      return absl::OkStatus();
    });
    if (!more) break;
  }
  running_.store(false, std::memory_order_release);
}

absl::StatusOr<bool> CacheWarmer::WarmSome(Bytes& next) {
  const std::shared_ptr<const ViewImpl> view = head_();
  absl::StatusOr<TrieRoot> root = view->AccountRoot();
  if (!root.ok()) return root.status();
  if (root->kind != TrieRoot::Kind::kBranch || root->node == nullptr) return false;
  const std::unique_ptr<storage::Iterator> rows = store_->kv->NewIterator(Table::kAccountNodes);
  rows->Seek(next);
  for (int i = 0; i < kRowsAtOnce && rows->Valid(); ++i, rows->Next()) {
    if (!view->KeepsLoaded()) return false;
    if (absl::Status s = LinkRow(*view, root->node, rows->key(), rows->value()); !s.ok()) return s;
  }
  if (!rows->Valid()) return false;
  next.assign(rows->key());
  return true;
}

absl::Status CacheWarmer::LinkRow(const ViewImpl& view, BranchNode* root, BytesView path, BytesView row) {
  const Place place = FindPlace(root, path);
  if (place.parent == nullptr) return absl::OkStatus();
  absl::StatusOr<OwnedBranch> node = DecodeBranchNode(row);
  if (!node.ok()) return node.status();
  OwnedBranch loaded = *std::move(node);
  // The first to go when something that is needed wants the memory.
  loaded->used.store(0, std::memory_order_relaxed);
  const BranchNode* mine = loaded.get();
  if (LinkLoaded(view, *place.parent, place.nibble, loaded) == mine) linked_.fetch_add(1, std::memory_order_relaxed);
  return absl::OkStatus();
}

}  // namespace mptd
