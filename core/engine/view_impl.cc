#include "core/engine/view_impl.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "core/account.h"
#include "core/engine/history_reader.h"
#include "core/hex.h"
#include "core/keccak.h"
#include "core/rlp.h"

namespace mptd {
namespace {

using storage::RowBlob;
using storage::Table;
using storage::VersionIndex;

std::optional<Bytes> CopyOf(const RowBlob& blob) {
  if (blob.absent()) return std::nullopt;
  return Bytes(blob.view());
}

// What is wrong with a row that does not decode. What it needs besides may be unreadable for now, which is no damage.
absl::Status DamagedRow(Table table, BytesView key, const absl::Status& why) {
  if (absl::IsUnavailable(why)) return why;
  return absl::DataLossError(absl::StrFormat("table %s, row %s: %s", storage::TableName(table), ToHex(key),
                                             std::string_view(why.message().data(), why.message().size())));
}

const BranchNode* FindInMemory(const TrieRoot& root, const Hash* account, const NibblePath& path, bool& known);

// The branch at `path` of the storage trie of `account`, whose place in the account trie holds a leaf with this handle.
const BranchNode* FindInStorage(const LeafNode* leaf, const Hash& account, const NibblePath& path, bool& known) {
  known = false;
  if (leaf == nullptr) return nullptr;
  known = true;
  if (leaf->key != account) return nullptr;
  return FindInMemory(StorageRootOf(*leaf), nullptr, path, known);
}

// The branch at exactly `path` of a trie in memory. Null with `known`: there is none; null without: its row tells.
const BranchNode* FindInMemory(const TrieRoot& root, const Hash* account, const NibblePath& path, bool& known) {
  known = root.kind == TrieRoot::Kind::kEmpty || (root.kind == TrieRoot::Kind::kLeaf && account == nullptr);
  if (root.kind == TrieRoot::Kind::kLeaf && account != nullptr) return FindInStorage(root.leaf, *account, path, known);
  const BranchNode* node = root.kind == TrieRoot::Kind::kBranch ? root.node : nullptr;
  const BytesView key = account == nullptr ? path.packed.view() : account->view();
  const size_t size = account == nullptr ? path.size : 64;
  size_t depth = 0;
  while (node != nullptr) {
    if (depth == size) return node;
    const BytesView extension = node->extension();
    known = true;
    if (depth + extension.size() >= size) return nullptr;
    for (size_t i = 0; i < extension.size(); ++i) {
      if (NibbleAt(key, depth + i) != static_cast<uint8_t>(extension[i])) return nullptr;
    }
    const int nibble = NibbleAt(key, depth + extension.size());
    if (!node->has(nibble)) return nullptr;
    if (!node->is_branch(nibble)) {
      if (account == nullptr) return nullptr;
      return FindInStorage(node->has_pointer(nibble) ? node->child_leaf(nibble) : nullptr, *account, path, known);
    }
    depth += extension.size() + 1;
    known = false;
    node = node->child_branch(nibble);
  }
  return nullptr;
}

}  // namespace

void AppendNodeKey(Bytes& out, const Hash* account, const NibblePath& path) {
  if (account != nullptr) out.append(account->view());
  path.AppendRowKey(out);
}

absl::StatusOr<Bytes> LeafValueOf(const Hash* account, BytesView row) {
  Bytes value;
  if (account != nullptr) {
    if (absl::StatusOr<U256> slot = U256::FromMinimal(row); !slot.ok()) return slot.status();
    rlp::AppendString(value, row);
    return value;
  }
  absl::StatusOr<Account> decoded = DecodeSlimAccount(row);
  if (!decoded.ok()) return decoded.status();
  AppendAccountRlp(value, *decoded);
  return value;
}

ViewImpl::ViewImpl(std::shared_ptr<StateStore> store, Parts parts)
    : store_(std::move(store)),
      parts_(std::move(parts)),
      row_pin_(store_->row_epochs),
      node_pin_(store_->node_epochs) {}

ViewImpl::~ViewImpl() {
  absl::MutexLock lock(&store_->mutex);
  store_->live_views.erase(store_->live_views.find(parts_.sequence));
}

absl::StatusOr<TrieRoot> ViewImpl::AccountRoot() const {
  if (parts_.block.state_root == kEmptyRoot) return TrieRoot{};
  if (HasOwnTrie()) return parts_.trie->root;
  BranchNode* root = parts_.old_trie->root();
  if (root == nullptr) {
    BranchRequest request;
    if (absl::Status s = LoadBranches({&request, 1}); !s.ok()) return s;
    if (request.node == nullptr) return TrieRoot{TrieRoot::Kind::kLeaf};
    root = parts_.old_trie->SetRoot(std::move(request.node));
  }
  return TrieRoot{TrieRoot::Kind::kBranch, root};
}

// Rows ----------------------------------------------------------------------------------------------------------------

std::optional<std::optional<Bytes>> ViewImpl::RowOf(const VersionIndex::Entry* entry, uint64_t sequence) {
  if (entry == nullptr) return std::nullopt;
  const RowBlob* blob = VersionIndex::ValueAt(*entry, sequence);
  if (blob == nullptr) return std::nullopt;
  return CopyOf(*blob);
}

std::optional<std::optional<Bytes>> ViewImpl::IndexedRow(Table table, BytesView key) const {
  return RowOf(store_->rows.Find(TableId(table), key), parts_.sequence);
}

void ViewImpl::Offer(Table table, BytesView key, const std::optional<Bytes>& row, uint64_t flushed) const {
  if (table == Table::kCode) return;
  store_->offers.Offer(table, key, row ? std::optional<BytesView>(*row) : std::nullopt, flushed);
}

// Code is not kept in memory.
void ViewImpl::CountRows(Table table, uint64_t hits, uint64_t misses) const {
  if (table == Table::kAccounts) store_->lookups.Count(CacheKind::kAccounts, hits, misses);
  if (table == Table::kSlots) store_->lookups.Count(CacheKind::kSlots, hits, misses);
}

absl::StatusOr<std::optional<Bytes>> ViewImpl::RowAt(Table table, BytesView key) const {
  if (parts_.history != nullptr && table != Table::kCode) {
    absl::StatusOr<std::optional<std::optional<Bytes>>> old = parts_.history->Row(table, key);
    if (!old.ok()) return old.status();
    if (old->has_value()) return **std::move(old);
  }
  return RowAfter(parts_.sequence, table, key);
}

absl::StatusOr<std::optional<Bytes>> ViewImpl::RowAfter(uint64_t sequence, Table table, BytesView key) const {
  const auto indexed = [&] { return RowOf(store_->rows.Find(TableId(table), key), sequence); };
  if (auto known = indexed()) {
    CountRows(table, 1, 0);
    return *std::move(known);
  }
  CountRows(table, 0, 1);
  const uint64_t flushed = store_->flushed_sequence.load(std::memory_order_acquire);
  absl::StatusOr<storage::Value> row = store_->kv->Get(table, key);
  if (!row.ok()) return row.status();
  // A transition may have been recorded and flushed since the first look; then the index knows what was before.
  if (auto known = indexed()) return *std::move(known);
  Offer(table, key, *row, flushed);
  return *std::move(row);
}

namespace {

// Calls each(part, begin, count) for the parts of a range, one a thread. Below `share_from`, waking threads would cost
// more than it saves, and there is one part.
template <typename Each>
void InParts(WorkerPool* pool, size_t size, size_t share_from, const Each& each) {
  if (pool == nullptr || pool->threads() == 1 || size < share_from) return each(size_t{0}, size_t{0}, size);
  const auto parts = static_cast<size_t>(pool->threads());
  pool->Run(pool->threads(), [&](int i) {
    const auto part = static_cast<size_t>(i);
    const size_t begin = size * part / parts;
    each(part, begin, size * (part + 1) / parts - begin);
  });
}

}  // namespace

absl::Status ViewImpl::ReadTable(Table table, std::span<const std::string_view> keys, std::span<storage::Value> values,
                                 WorkerPool* pool) const {
  constexpr size_t kShareFrom = 64;
  std::vector<absl::Status> statuses(pool == nullptr ? 1 : static_cast<size_t>(pool->threads()));
  InParts(pool, keys.size(), kShareFrom, [&](size_t part, size_t begin, size_t count) {
    statuses[part] = store_->kv->MultiGet(table, keys.subspan(begin, count), values.subspan(begin, count), true);
  });
  for (const absl::Status& status : statuses) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ViewImpl::RowsAt(Table table, std::span<const BytesView> keys, std::span<std::optional<Bytes>> rows,
                              std::vector<const VersionIndex::Entry*>* entries, WorkerPool* pool) const {
  if (parts_.history != nullptr) {
    for (size_t i = 0; i < keys.size(); ++i) {
      absl::StatusOr<std::optional<Bytes>> row = RowAt(table, keys[i]);
      if (!row.ok()) return row.status();
      rows[i] = *std::move(row);
    }
    return absl::OkStatus();
  }
  std::vector<const VersionIndex::Entry*> found(keys.size());
  std::vector<uint8_t> in_memory(keys.size());
  constexpr size_t kShareFrom = 2048;
  InParts(pool, keys.size(), kShareFrom, [&](size_t, size_t begin, size_t count) {
    store_->rows.FindMany(TableId(table), keys.subspan(begin, count), std::span(found).subspan(begin, count));
    for (size_t i = begin; i < begin + count; ++i) {
      if (auto row = RowOf(found[i], parts_.sequence)) {
        rows[i] = *std::move(row);
        in_memory[i] = 1;
      }
    }
  });
  std::vector<std::string_view> missing;
  std::vector<size_t> places;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (in_memory[i] != 0) continue;
    missing.push_back(keys[i]);
    places.push_back(i);
  }
  CountRows(table, keys.size() - missing.size(), missing.size());
  if (entries != nullptr) *entries = std::move(found);
  if (missing.empty()) return absl::OkStatus();
  const uint64_t flushed = store_->flushed_sequence.load(std::memory_order_acquire);
  std::vector<storage::Value> values(missing.size());
  if (absl::Status s = ReadTable(table, missing, values, pool); !s.ok()) return s;
  for (size_t i = 0; i < missing.size(); ++i) {
    if (auto known = IndexedRow(table, missing[i])) {
      rows[places[i]] = *std::move(known);
    } else {
      if (entries == nullptr) Offer(table, missing[i], values[i], flushed);
      rows[places[i]] = std::move(values[i]);
    }
  }
  return absl::OkStatus();
}

std::shared_ptr<const TransitionList> ViewImpl::Transitions() const {
  absl::MutexLock lock(&store_->mutex);
  return store_->transitions;
}

namespace {

// Keys of rows in the range that transitions after `since` changed.
void AddChangedKeys(const TransitionList& transitions, uint64_t since, Table table, BytesView first, BytesView last,
                    std::vector<Bytes>& keys) {
  for (const auto& transition : transitions) {
    if (transition->sequence <= since) continue;
    const auto& entries = transition->of(table);
    auto it = std::lower_bound(entries.begin(), entries.end(), first,
                               [](const VersionIndex::Entry* e, BytesView k) { return e->key() < k; });
    for (; it != entries.end() && (*it)->key() <= last; ++it) keys.emplace_back((*it)->key());
  }
}

}  // namespace

absl::Status ViewImpl::ScanRows(Table table, BytesView first, BytesView last, const EachRow& each) const {
  // The order matters. A transition up to this view's that the iterator does not show is in the first list, though it
  // may be flushed and forgotten at any time; one after this view's that it does show is in the second, and stays
  // there.
  const std::shared_ptr<const TransitionList> before = Transitions();
  const uint64_t flushed = store_->flushed_sequence.load(std::memory_order_acquire);
  const std::unique_ptr<storage::Iterator> it = store_->kv->NewIterator(table, first, last);
  std::vector<Bytes> changed;
  AddChangedKeys(*before, std::min(parts_.sequence, flushed), table, first, last, changed);
  AddChangedKeys(*Transitions(), parts_.sequence, table, first, last, changed);
  if (parts_.history != nullptr) {
    if (absl::Status s = parts_.history->ChangedKeys(table, first, last, changed); !s.ok()) return s;
  }
  std::sort(changed.begin(), changed.end());
  changed.erase(std::unique(changed.begin(), changed.end()), changed.end());
  auto next_changed = changed.begin();
  while (true) {
    // Of a disk that cannot be read: the changed rows that follow are not all that follows.
    if (!it->Valid() && !it->status().ok()) return it->status();
    const bool have_row = it->Valid();
    if (!have_row && next_changed == changed.end()) return absl::OkStatus();
    if (next_changed != changed.end() && (!have_row || BytesView(*next_changed) <= it->key())) {
      if (have_row && BytesView(*next_changed) == it->key()) it->Next();
      absl::StatusOr<std::optional<Bytes>> row = RowAt(table, *next_changed);
      if (!row.ok()) return row.status();
      if (row->has_value() && !each(*next_changed, **row)) return absl::OkStatus();
      ++next_changed;
      continue;
    }
    if (!each(it->key(), it->value())) return absl::OkStatus();
    it->Next();
  }
}

// Branches and leaves -------------------------------------------------------------------------------------------------

absl::Status ViewImpl::AddUndo(const BranchRequest& request, BytesView row_key, BranchRebuilder& rebuilder) const {
  const Table table = NodeTable(request.account);
  if (parts_.history != nullptr) {
    absl::Status s = parts_.history->Undo(table, row_key, [&](BytesView undo) { return rebuilder.Add(undo); });
    if (!s.ok() || rebuilder.complete()) return s;
  }
  std::vector<BytesView> entries;
  store_->nodes.EntriesAfter(table, row_key, parts_.sequence, entries);
  for (BytesView entry : entries) {
    absl::StatusOr<bool> complete = rebuilder.Add(entry);
    if (!complete.ok()) return complete.status();
    if (*complete) break;
  }
  return absl::OkStatus();
}

// The branch as this view has it, from `now`, which is newer or the same; null when there is none now.
absl::Status ViewImpl::RebuildBranch(BranchRequest& request, BytesView row_key, OwnedBranch now) const {
  BranchRebuilder rebuilder;
  if (absl::Status s = AddUndo(request, row_key, rebuilder); !s.ok()) return s;
  if (!rebuilder.started()) {
    request.node = std::move(now);
    return absl::OkStatus();
  }
  std::optional<BranchValue> value;
  if (now != nullptr && !rebuilder.complete()) value = ToValue(*now);
  if (absl::Status s = rebuilder.AddCurrent(value ? &*value : nullptr); !s.ok()) return s;
  if (rebuilder.result() != nullptr) request.node = ToNode(*rebuilder.result());
  return absl::OkStatus();
}

// The branch of a trie in memory that this view goes back from, on its own; false when its row is to be read.
absl::StatusOr<bool> ViewImpl::LoadFromMemory(BranchRequest& request, BytesView row_key) const {
  if (HasOwnTrie()) return false;
  bool known = false;
  const BranchNode* node = FindInMemory(parts_.trie->root, request.account, request.path, known);
  if (node == nullptr && !known) return false;
  OwnedBranch now(node == nullptr ? nullptr : BranchNode::WithoutPointers(*node));
  if (absl::Status s = RebuildBranch(request, row_key, std::move(now)); !s.ok()) {
    return DamagedRow(NodeTable(request.account), row_key, s);
  }
  return true;
}

absl::Status ViewImpl::LoadFromRow(BranchRequest& request, BytesView row_key, const storage::Value& row) const {
  const Table table = NodeTable(request.account);
  OwnedBranch now;
  if (row.has_value()) {
    absl::StatusOr<OwnedBranch> decoded = DecodeBranchNode(*row);
    if (!decoded.ok()) return DamagedRow(table, row_key, decoded.status());
    now = *std::move(decoded);
  }
  if (now != nullptr && request.account != nullptr && !HasOwnTrie()) {
    // The trie that this view goes back from may have lost the account. The tables have its storage until the next
    // flush, and the leaf in its place, another's, need not have a handle that says so.
    absl::StatusOr<std::optional<Bytes>> there =
        RowAfter(parts_.trie->sequence, Table::kAccounts, request.account->view());
    if (!there.ok()) return there.status();
    if (!there->has_value()) now.reset();
  }
  const absl::Status status = RebuildBranch(request, row_key, std::move(now));
  return status.ok() ? status : DamagedRow(table, row_key, status);
}

absl::Status ViewImpl::LoadBranches(std::span<BranchRequest> requests) const {
  // In order of keys: the store reads neighbours together.
  for (const Table table : {Table::kAccountNodes, Table::kSlotNodes}) {
    std::vector<std::pair<Bytes, BranchRequest*>> wanted;
    for (BranchRequest& request : requests) {
      if (NodeTable(request.account) != table) continue;
      Bytes key;
      AppendNodeKey(key, request.account, request.path);
      absl::StatusOr<bool> done = LoadFromMemory(request, key);
      if (!done.ok()) return done.status();
      if (!*done) wanted.emplace_back(std::move(key), &request);
    }
    if (wanted.empty()) continue;
    std::sort(wanted.begin(), wanted.end());
    std::vector<std::string_view> keys;
    keys.reserve(wanted.size());
    for (const auto& [key, request] : wanted) keys.push_back(key);
    std::vector<storage::Value> rows(keys.size());
    if (absl::Status s = store_->kv->MultiGet(table, keys, rows, true); !s.ok()) return s;
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (absl::Status s = LoadFromRow(*wanted[i].second, keys[i], rows[i]); !s.ok()) return s;
    }
  }
  return absl::OkStatus();
}

bool ViewImpl::KeepsLoaded() const { return HasOwnTrie() ? store_->HasRoomForNodes() : parts_.old_trie->HasRoom(); }

void ViewImpl::CountLinked(size_t bytes) const {
  if (HasOwnTrie()) {
    store_->node_bytes.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
  } else {
    parts_.old_trie->Count(bytes);
  }
}

LeafRow ViewImpl::MakeLeafRow(const Hash* account, const Hash& key, BytesView row) const {
  LeafRow leaf;
  leaf.key = key;
  leaf.has_storage = account == nullptr && !row.empty() && SlimHasStorage(row);
  return leaf;
}

// The leaf at a place without a handle, in the trie of the view's own block. New leaves have handles until they are
// flushed, so this one has, or had, a row in the tables; rows beside it may be of leaves that have gone since, and its
// own may have gone when the view is not the newest.
absl::Status ViewImpl::FindRow(Table table, BytesView first, BytesView last, const EachRow& each) const {
  const std::unique_ptr<storage::Iterator> it = store_->kv->NewIterator(table, first, last);
  for (; it->Valid(); it->Next()) {
    const std::optional<std::optional<Bytes>> known = IndexedRow(table, it->key());
    if (known && !known->has_value()) continue;
    if (!each(it->key(), known ? BytesView(**known) : it->value())) return absl::OkStatus();
  }
  return it->status();
}

absl::StatusOr<LeafRow> ViewImpl::LeafBelow(const Hash* account, const NibblePath& path, const Hash* key) const {
  const Table table = account == nullptr ? Table::kAccounts : Table::kSlots;
  const Bytes prefix = account == nullptr ? Bytes() : Bytes(account->view());
  std::optional<std::pair<Hash, Bytes>> found;
  if (key != nullptr) {
    absl::StatusOr<std::optional<Bytes>> row = RowAt(table, prefix + Bytes(key->view()));
    if (!row.ok()) return row.status();
    if (row->has_value()) found.emplace(*key, **std::move(row));
  } else {
    const Bytes first = prefix + Bytes(path.packed.view());
    const Bytes last = prefix + Bytes(path.LastKey().view());
    const auto take = [&](BytesView k, BytesView v) {
      found.emplace(Hash::FromView(k.substr(prefix.size())), Bytes(v));
      return false;
    };
    absl::Status s = HasOwnTrie() ? FindRow(table, first, last, take) : absl::OkStatus();
    if (s.ok() && !found) s = ScanRows(table, first, last, take);
    if (!s.ok()) return s;
  }
  if (!found) {
    return absl::DataLossError(absl::StrFormat("table %s has no row for the leaf below the path of %d nibbles of %s",
                                               storage::TableName(table), path.size, ToHex(path.packed)));
  }
  LeafRow leaf = MakeLeafRow(account, found->first, found->second);
  absl::StatusOr<Bytes> value = LeafValueOf(account, found->second);
  if (!value.ok()) return DamagedRow(table, prefix + Bytes(found->first.view()), value.status());
  leaf.value = *std::move(value);
  return leaf;
}

// Answers -------------------------------------------------------------------------------------------------------------

absl::StatusOr<std::optional<Account>> ViewImpl::FindAccount(const Address& address) const {
  const Hash key = Keccak256(address.view());
  absl::StatusOr<std::optional<Bytes>> row = RowAt(Table::kAccounts, key.view());
  if (!row.ok()) return row.status();
  if (!row->has_value()) return std::optional<Account>();
  absl::StatusOr<Account> account = DecodeSlimAccount(**row);
  if (!account.ok()) return DamagedRow(Table::kAccounts, key.view(), account.status());
  return std::optional<Account>(*account);
}

namespace {

// Hashes inputs together; result[i] belongs to inputs[i].
template <typename T>
std::vector<Hash> HashAllOf(std::span<const T> inputs) {
  std::vector<Hash> keys(inputs.size());
  std::vector<KeccakJob> jobs;
  jobs.reserve(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) jobs.push_back({inputs[i].view(), keys[i].bytes.data()});
  Keccak256Batch(jobs);
  return keys;
}

std::vector<size_t> SortedOrder(const std::vector<Hash>& keys) {
  std::vector<size_t> order(keys.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return keys[a] < keys[b]; });
  return order;
}

}  // namespace

absl::StatusOr<std::vector<std::optional<Account>>> ViewImpl::FindAccounts(std::span<const Address> addresses) const {
  const std::vector<Hash> keys = HashAllOf(addresses);
  const std::vector<size_t> order = SortedOrder(keys);
  std::vector<BytesView> sorted;
  sorted.reserve(order.size());
  for (size_t i : order) sorted.push_back(keys[i].view());
  std::vector<std::optional<Bytes>> rows(keys.size());
  if (absl::Status s = RowsAt(Table::kAccounts, sorted, rows); !s.ok()) return s;
  std::vector<std::optional<Account>> accounts(addresses.size());
  for (size_t i = 0; i < order.size(); ++i) {
    if (!rows[i].has_value()) continue;
    absl::StatusOr<Account> account = DecodeSlimAccount(*rows[i]);
    if (!account.ok()) return DamagedRow(Table::kAccounts, sorted[i], account.status());
    accounts[order[i]] = *account;
  }
  return accounts;
}

absl::StatusOr<std::vector<U256>> ViewImpl::FindSlots(const Address& address, std::span<const Hash> slots) const {
  const Hash account = Keccak256(address.view());
  const std::vector<Hash> hashed = HashAllOf(slots);
  const std::vector<size_t> order = SortedOrder(hashed);
  std::vector<Bytes> keys;
  keys.reserve(slots.size());
  for (size_t i : order) keys.push_back(Bytes(account.view()) + Bytes(hashed[i].view()));
  const std::vector<BytesView> views(keys.begin(), keys.end());
  std::vector<std::optional<Bytes>> rows(keys.size());
  if (absl::Status s = RowsAt(Table::kSlots, views, rows); !s.ok()) return s;
  std::vector<U256> values(slots.size());
  for (size_t i = 0; i < order.size(); ++i) {
    if (!rows[i].has_value()) continue;
    absl::StatusOr<U256> value = U256::FromMinimal(*rows[i]);
    if (!value.ok()) return DamagedRow(Table::kSlots, views[i], value.status());
    values[order[i]] = *value;
  }
  return values;
}

absl::StatusOr<std::optional<Bytes>> ViewImpl::FindCode(const Hash& code_hash) const {
  if (code_hash == kEmptyCodeHash) return std::optional<Bytes>(Bytes());
  return RowAt(Table::kCode, code_hash.view());
}

namespace {

// The smallest key after `key`, or nullopt behind the last.
std::optional<Hash> Following(Hash key) {
  for (size_t i = 32; i-- > 0;) {
    if (++key.bytes[i] != 0) return key;
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<Page<HashedAccount>> ViewImpl::PageOfAccounts(const Hash& start, size_t limit) const {
  Page<HashedAccount> page;
  absl::Status bad;
  Hash last_key;
  last_key.bytes.fill(0xff);
  bool more = false;
  absl::Status s = ScanRows(Table::kAccounts, start.view(), last_key.view(), [&](BytesView key, BytesView row) {
    if (page.items.size() == limit) {
      more = true;
      return false;
    }
    absl::StatusOr<Account> account = DecodeSlimAccount(row);
    if (!account.ok()) {
      bad = DamagedRow(Table::kAccounts, key, account.status());
      return false;
    }
    page.items.push_back({Hash::FromView(key), *account});
    return true;
  });
  if (!s.ok()) return s;
  if (!bad.ok()) return bad;
  if (more) page.next = page.items.empty() ? start : Following(page.items.back().key);
  return page;
}

absl::StatusOr<Page<HashedSlot>> ViewImpl::PageOfSlots(const Address& address, const Hash& start, size_t limit) const {
  const Bytes prefix(Keccak256(address.view()).view());
  Page<HashedSlot> page;
  absl::Status bad;
  Hash last_key;
  last_key.bytes.fill(0xff);
  bool more = false;
  absl::Status s = ScanRows(Table::kSlots, prefix + Bytes(start.view()), prefix + Bytes(last_key.view()),
                            [&](BytesView key, BytesView row) {
                              if (page.items.size() == limit) {
                                more = true;
                                return false;
                              }
                              absl::StatusOr<U256> value = U256::FromMinimal(row);
                              if (!value.ok()) {
                                bad = DamagedRow(Table::kSlots, key, value.status());
                                return false;
                              }
                              page.items.push_back({Hash::FromView(key.substr(32)), *value});
                              return true;
                            });
  if (!s.ok()) return s;
  if (!bad.ok()) return bad;
  if (more) page.next = page.items.empty() ? start : Following(page.items.back().key);
  return page;
}

}  // namespace mptd
